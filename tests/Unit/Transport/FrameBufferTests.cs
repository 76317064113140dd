using System.Globalization;
using System.Runtime.CompilerServices;
using CarServer.Rpc.WebSocket;

namespace CarServer.Tests.Unit.Transport;

public sealed class FrameBufferTests
{
    [Test, NotInParallel]   // it looks at the memory of the whole process
    public async Task A_buffer_whose_thread_has_ended_gives_its_memory_back()
    {
        if (!OperatingSystem.IsLinux()) Skip.Test("reads /proc");
        Round();
        long before = ResidentBytes();

        for (int i = 0; i < 40; i++) Round();

        // Kept, it would be 40 * 100 * 60 KB = 240 MB.
        await Assert.That(ResidentBytes() - before).IsLessThan(80L * 1024 * 1024);

        static void Round()
        {
            for (int i = 0; i < 100; i++) Fill();
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
    }

    [Test]
    public async Task A_frame_that_was_begun_and_not_ended_is_taken_back_by_the_next()
    {
        using FrameBuffer frames = new();
        frames.BeginFrame(Opcode.Text);
        frames.Append("half a mess"u8);

        frames.AppendFrame(Opcode.Text, "whole"u8);

        await Assert.That(frames.Written.ToArray()).IsEquivalentTo((byte[])[0x81, 5, .. "whole"u8]);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Fill() => new FrameBuffer().Append(new byte[60 * 1024]);

    private static long ResidentBytes() =>
        long.Parse(File.ReadLines("/proc/self/status").First(line => line.StartsWith("VmRSS:", StringComparison.Ordinal)).Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture) * 1024;
}

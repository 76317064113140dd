using CarServer.Rpc.WebSocket;

namespace CarServer.Tests.Unit.WebSocket;

public sealed class FrameBufferTests
{
    private static readonly int[] Lengths = [0, 1, 124, 125, 126, 127, 65534, 65535, 65536, 70000];

    [Test]
    public async Task A_frame_is_right_whatever_length_was_expected()
    {
        foreach (int length in Lengths)
            foreach (int expected in Lengths)
            {
                using var frames = new FrameBuffer();
                frames.AppendFrame(Opcode.Ping, "before"u8);
                frames.BeginFrame(Opcode.Text, expected);
                byte[] payload = [.. Enumerable.Range(0, length).Select(i => (byte)(i % 251))];
                frames.Append(payload.AsSpan(0, length / 2));
                payload.AsSpan(length / 2).CopyTo(frames.GetSpan(length - length / 2));
                frames.Advance(length - length / 2);
                frames.EndFrame();
                frames.AppendFrame(Opcode.Pong, "after"u8);

                byte[] written = [0x89, 6, .. "before"u8, .. Header(length), .. payload, 0x8A, 5, .. "after"u8];
                if (!frames.Written.SequenceEqual(written)) Assert.Fail($"{length} octets where {expected} were expected");
            }
        await Task.CompletedTask;
    }

    [Test]
    public async Task An_abandoned_frame_leaves_what_was_before_it()
    {
        using var frames = new FrameBuffer();
        frames.AppendFrame(Opcode.Pong, "a"u8);
        frames.BeginFrame(Opcode.Text, 100_000);
        frames.Append(new byte[200_000]);
        frames.AbandonFrame();
        frames.AbandonFrame();   // nothing is begun: nothing to take back
        await Assert.That(Convert.ToHexString(frames.Written)).IsEqualTo("8A0161");
        frames.Clear();
        await Assert.That(frames.IsEmpty).IsTrue();
        frames.AppendFrame(Opcode.Pong, "b"u8);
        await Assert.That(Convert.ToHexString(frames.Written)).IsEqualTo("8A0162");
    }

    private static byte[] Header(int length) => length switch
    {
        <= 125 => [0x81, (byte)length],
        <= 65535 => [0x81, 126, (byte)(length >> 8), (byte)length],
        _ => [0x81, 127, 0, 0, 0, 0, 0, (byte)(length >> 16), (byte)(length >> 8), (byte)length],
    };
}

using System.Runtime.InteropServices;

namespace CarServer.Rpc.CommandLine;

/// <summary>One of the three streams that a process is given: 0 to 2.</summary>
/// <remarks>Not the framework's: its console sends a terminal a sequence that sets it up, and drops in silence what nobody reads any more.</remarks>
internal sealed unsafe partial class StandardStream(int descriptor) : Stream
{
    private const int EINTR = 4;
    private static readonly int EAGAIN = OperatingSystem.IsMacOS() ? 35 : 11;

    /// <summary>The columns of the terminal that the standard output goes to; null when it goes elsewhere.</summary>
    public static int? Columns()
    {
        ushort* size = stackalloc ushort[4];   // struct winsize: rows, columns
        nuint request = OperatingSystem.IsMacOS() ? 0x40087468u : 0x5413u;   // TIOCGWINSZ
        // Behind as many arguments as there are registers, as Apple's ABI for arm64 wants what comes through an ellipsis.
        bool onStack = OperatingSystem.IsMacOS() && RuntimeInformation.ProcessArchitecture == Architecture.Arm64;
        int failed = onStack ? ioctlArm64(1, request, 0, 0, 0, 0, 0, 0, size) : ioctl(1, request, size);
        return failed == 0 ? Math.Max((int)size[1], 1) : null;
    }

    public override bool CanRead => descriptor == 0;
    public override bool CanWrite => descriptor != 0;
    public override bool CanSeek => false;

    public override int Read(Span<byte> buffer)
    {
        while (true)
        {
            nint length;
            fixed (byte* start = buffer) length = read(descriptor, start, (nuint)buffer.Length);
            if (length >= 0) return (int)length;
            if (!MayGoOn(Marshal.GetLastPInvokeError(), forReading: true, out int error)) throw new IOException("cannot read from standard input", error);
        }
    }

    /// <exception cref="OutputException">The standard output takes no more. That the standard error does not can be told to nobody.</exception>
    public override void Write(ReadOnlySpan<byte> buffer)
    {
        while (!buffer.IsEmpty)
        {
            nint length;
            fixed (byte* start = buffer) length = write(descriptor, start, (nuint)buffer.Length);
            if (length >= 0) buffer = buffer[(int)length..];
            else if (!MayGoOn(Marshal.GetLastPInvokeError(), forReading: false, out int error))
            {
                if (descriptor == 1) throw new OutputException(error);
                return;
            }
        }
    }

    /// <summary>After an interruption, and when somebody who shares the stream has set it not to block: then once it is ready.</summary>
    private bool MayGoOn(int failure, bool forReading, out int error)
    {
        error = failure;
        if (failure == EAGAIN)
        {
            long waited = (uint)descriptor | (forReading ? 1L : 4L) << 32;   // struct pollfd: POLLIN, POLLOUT
            _ = poll(&waited, 1, -1);
        }
        return failure == EAGAIN || failure == EINTR;
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));
    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));
    public override void Flush() { }
    public override long Length => throw new NotSupportedException();
    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
    public override void SetLength(long value) => throw new NotSupportedException();

    [LibraryImport("libc", SetLastError = true)] private static partial nint read(int descriptor, byte* buffer, nuint length);
    [LibraryImport("libc", SetLastError = true)] private static partial nint write(int descriptor, byte* buffer, nuint length);
    [LibraryImport("libc")] private static partial int poll(long* waited, nuint count, int timeout);
    [LibraryImport("libc")] private static partial int ioctl(int descriptor, nuint request, void* argument);
    [LibraryImport("libc", EntryPoint = "ioctl")] private static partial int ioctlArm64(int descriptor, nuint request, nint r2, nint r3, nint r4, nint r5, nint r6, nint r7, void* argument);
}

/// <summary>What a command has to say can't be said.</summary>
internal sealed class OutputException(int error) : IOException("the standard output takes no more", error)
{
    private const int EPIPE = 32;

    /// <summary>Whoever read has gone, as <c>head</c> does when it has enough: no failure of ours.</summary>
    public bool HasNoReader => HResult == EPIPE;
}

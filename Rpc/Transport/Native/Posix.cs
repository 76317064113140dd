using System.Net;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

[assembly: DisableRuntimeMarshalling]

namespace CarServer.Rpc.Transport.Native;

/// <summary>The few calls of the C library that the wire makes itself; the numbers differ between Linux and macOS.</summary>
/// <remarks>
/// <see cref="Socket"/> would queue each of them on its own engine and thread pool; a connection here is one descriptor that one loop
/// reads. Results below zero are the negated error number.
/// </remarks>
internal static unsafe partial class Posix
{
    public const int EINTR = 4;
    public static readonly int EAGAIN = OperatingSystem.IsMacOS() ? 35 : 11;
    public static readonly int ECONNABORTED = OperatingSystem.IsMacOS() ? 53 : 103;

    private const int Peek = 0x2;
    private static readonly int DontWait = OperatingSystem.IsMacOS() ? 0x80 : 0x40;
    private static readonly int NoSignal = OperatingSystem.IsMacOS() ? 0 : 0x4000;   // macOS: SO_NOSIGPIPE on the socket

    /// <summary>Whether taking octets from a Unix socket wakes a peer that sleeps in a receive on its own end of it.</summary>
    /// <remarks>
    /// On Linux the sender's buffers are freed then and there, and "there is room again" is told on the one queue on which its receivers sleep,
    /// too. On macOS receiving and sending have a queue each.
    /// </remarks>
    public static readonly bool TakingWakesPeer = OperatingSystem.IsLinux();

    /// <summary>Octets received; 0 at the end of the stream; the negated error number else.</summary>
    /// <param name="peek">They stay in the socket, and the next call receives them again.</param>
    public static int Receive(int descriptor, Span<byte> into, bool peek = false)
    {
        int flags = peek ? DontWait | Peek : DontWait;
        fixed (byte* p = into)
        {
            while (true)
            {
                nint n = recv(descriptor, p, (nuint)into.Length, flags);
                if (n >= 0) return (int)n;
                int error = Marshal.GetLastPInvokeError();
                if (error != EINTR) return -error;
            }
        }
    }

    /// <summary>Octets the kernel took; the negated error number else. Never waits, never raises SIGPIPE.</summary>
    public static int Send(int descriptor, ReadOnlySpan<byte> from)
    {
        fixed (byte* p = from)
        {
            while (true)
            {
                nint n = send(descriptor, p, (nuint)from.Length, DontWait | NoSignal);
                if (n >= 0) return (int)n;
                int error = Marshal.GetLastPInvokeError();
                if (error != EINTR) return -error;
            }
        }
    }

    /// <summary>The next connection, non-blocking and not inherited by children; or the negated error number.</summary>
    public static int Accept(int listener)
    {
        while (true)
        {
            int descriptor = OperatingSystem.IsMacOS() ? accept(listener, null, null) : accept4(listener, null, null, SockNonBlock | SockCloExec);
            if (descriptor < 0)
            {
                int error = Marshal.GetLastPInvokeError();
                if (error == EINTR) continue;
                return -error;
            }
            if (OperatingSystem.IsMacOS())
            {
                int one = 1;
                CloseOnExec(descriptor);   // and non-blocking as its listener is
                _ = setsockopt(descriptor, 0xFFFF, 0x1022, &one, sizeof(int));   // SOL_SOCKET, SO_NOSIGPIPE
            }
            return descriptor;
        }
    }

    /// <summary>macOS: keeps a descriptor from children.</summary>
    /// <remarks>
    /// <c>fcntl</c> takes its third argument through an ellipsis, and Apple's ABI for arm64 has those on the stack, where a plain
    /// declaration does not put it; behind as many arguments as there are registers it lies right. Apple's own ABI for x64 is the usual one.
    /// </remarks>
    private static void CloseOnExec(int descriptor)
    {
        const int SetDescriptorFlags = 2, CloseOnExecFlag = 1;
        if (RuntimeInformation.ProcessArchitecture == Architecture.Arm64) _ = fcntlArm64(descriptor, SetDescriptorFlags, 0, 0, 0, 0, 0, 0, CloseOnExecFlag);
        else _ = fcntl(descriptor, SetDescriptorFlags, CloseOnExecFlag);
    }

    /// <summary>Answers leave at once, and a peer that vanished is noticed within two minutes, on Linux also while it owes us acknowledgements.</summary>
    public static void TuneTcp(int descriptor)
    {
        bool mac = OperatingSystem.IsMacOS();
        Set(descriptor, 6, 1, 1);                                     // IPPROTO_TCP, TCP_NODELAY
        Set(descriptor, mac ? 0xFFFF : 1, mac ? 0x8 : 9, 1);          // SOL_SOCKET, SO_KEEPALIVE
        Set(descriptor, 6, mac ? 0x10 : 4, 60);                       // seconds of silence before the first probe
        Set(descriptor, 6, mac ? 0x101 : 5, 15);                      // seconds between probes
        Set(descriptor, 6, mac ? 0x102 : 6, 4);                       // probes before giving up
        if (!mac) Set(descriptor, 6, 18, 120_000);                    // TCP_USER_TIMEOUT, milliseconds: else up to a quarter of an hour
    }

    public static void ReuseAddress(int descriptor)
    {
        bool mac = OperatingSystem.IsMacOS();
        Set(descriptor, mac ? 0xFFFF : 1, mac ? 0x4 : 2, 1);          // SOL_SOCKET, SO_REUSEADDR
    }

    /// <summary>Sends a FIN and goes on reading.</summary>
    public static void ShutdownWrite(int descriptor) => _ = shutdown(descriptor, 1);

    public static void Close(int descriptor) => _ = close(descriptor);

    /// <summary>Whether a path is a Unix socket itself, not a link to one. The framework tells no socket from an empty file.</summary>
    public static bool IsSocket(string path)
    {
        byte* status = stackalloc byte[512];   // struct statx has 256 octets, macOS's struct stat 144
        int mode;
        if (OperatingSystem.IsLinux()) mode = statx(-100, path, 0x100, 1, status) == 0 ? *(ushort*)(status + 28) : 0;   // AT_FDCWD, AT_SYMLINK_NOFOLLOW, STATX_TYPE
        else if (RuntimeInformation.ProcessArchitecture == Architecture.X64) mode = lstat64(path, status) == 0 ? *(ushort*)(status + 4) : 0;
        else mode = lstat(path, status) == 0 ? *(ushort*)(status + 4) : 0;
        return (mode & 0xF000) == 0xC000;      // S_IFMT, S_IFSOCK
    }

    public static uint EffectiveUser() => geteuid();

    /// <summary>The user at the other end of a Unix socket; null when the system does not say.</summary>
    public static uint? UnixPeerUser(int descriptor)
    {
        if (OperatingSystem.IsMacOS())
        {
            uint user, group;
            return getpeereid(descriptor, &user, &group) == 0 ? user : null;
        }
        uint* credentials = stackalloc uint[3];   // struct ucred: pid, uid, gid
        uint length = 3 * sizeof(uint);
        return getsockopt(descriptor, 1, 17, credentials, &length) == 0 ? credentials[1] : null;   // SOL_SOCKET, SO_PEERCRED
    }

    /// <summary>The two ends of a TCP connection, as the kernel has them.</summary>
    public static (IPEndPoint Local, IPEndPoint Remote)? TcpEnds(int descriptor)
    {
        byte* address = stackalloc byte[128];
        uint length = 128;
        if (getsockname(descriptor, address, &length) != 0 || Read(address) is not { } local) return null;
        length = 128;
        if (getpeername(descriptor, address, &length) != 0 || Read(address) is not { } remote) return null;
        return (local, remote);

        // A dual-stack socket spells its IPv4 peers as IPv6; the other end knows itself by the plain form.
        static IPAddress Unmapped(IPAddress address) => address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address;

        static IPEndPoint? Read(byte* a)
        {
            int family = OperatingSystem.IsMacOS() ? a[1] : *(ushort*)a;
            int port = a[2] << 8 | a[3];
            if (family == 2 && *(uint*)(a + 4) == 0x0100007F) return new IPEndPoint(IPAddress.Loopback, port);   // nearly all of them
            if (family == 2) return new IPEndPoint(new IPAddress(new ReadOnlySpan<byte>(a + 4, 4)), port);
            if (family == (OperatingSystem.IsMacOS() ? 30 : 10)) return new IPEndPoint(Unmapped(new IPAddress(new ReadOnlySpan<byte>(a + 8, 16))), port);
            return null;
        }
    }

    /// <summary>Raises the soft limit of open descriptors to the hard one: a connection is a descriptor.</summary>
    /// <returns>How many this process may have open now.</returns>
    public static int RaiseDescriptorLimit()
    {
        ulong* limit = stackalloc ulong[2];
        int resource = OperatingSystem.IsMacOS() ? 8 : 7;   // RLIMIT_NOFILE
        if (getrlimit(resource, limit) != 0) return int.MaxValue;
        ulong ceiling = OperatingSystem.IsMacOS() ? Math.Min(limit[1], 10_240) : limit[1];   // OPEN_MAX on macOS
        if (limit[0] < ceiling)
        {
            ulong before = limit[0];
            limit[0] = ceiling;
            if (setrlimit(resource, limit) != 0) limit[0] = before;
        }
        return (int)Math.Min(limit[0], int.MaxValue);
    }

    private const int SockNonBlock = 0x800, SockCloExec = 0x80000;

    private static void Set(int descriptor, int level, int option, int value) => _ = setsockopt(descriptor, level, option, &value, sizeof(int));

    [LibraryImport("libc", SetLastError = true)] private static partial nint recv(int descriptor, byte* buffer, nuint length, int flags);
    [LibraryImport("libc", SetLastError = true)] private static partial nint send(int descriptor, byte* buffer, nuint length, int flags);
    [LibraryImport("libc", SetLastError = true)] private static partial int accept4(int descriptor, byte* address, uint* length, int flags);
    [LibraryImport("libc", SetLastError = true)] private static partial int accept(int descriptor, byte* address, uint* length);
    [LibraryImport("libc")] private static partial int fcntl(int descriptor, int command, nint argument);
    [LibraryImport("libc", EntryPoint = "fcntl")] private static partial int fcntlArm64(int descriptor, int command, nint r2, nint r3, nint r4, nint r5, nint r6, nint r7, nint argument);
    [LibraryImport("libc")] private static partial int setsockopt(int descriptor, int level, int option, void* value, uint length);
    [LibraryImport("libc")] private static partial int getsockopt(int descriptor, int level, int option, void* value, uint* length);
    [LibraryImport("libc")] private static partial int getsockname(int descriptor, byte* address, uint* length);
    [LibraryImport("libc")] private static partial int getpeername(int descriptor, byte* address, uint* length);
    [LibraryImport("libc")] private static partial int getpeereid(int descriptor, uint* user, uint* group);
    [LibraryImport("libc")] private static partial int shutdown(int descriptor, int how);
    [LibraryImport("libc")] private static partial int close(int descriptor);
    [LibraryImport("libc")] private static partial uint geteuid();
    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)] private static partial int statx(int directory, string path, int flags, uint mask, byte* status);
    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)] private static partial int lstat(string path, byte* status);
    [LibraryImport("libc", EntryPoint = "lstat$INODE64", StringMarshalling = StringMarshalling.Utf8)] private static partial int lstat64(string path, byte* status);
    [LibraryImport("libc")] private static partial int getrlimit(int resource, ulong* limit);
    [LibraryImport("libc")] private static partial int setrlimit(int resource, ulong* limit);
}

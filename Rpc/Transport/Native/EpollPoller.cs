using System.ComponentModel;
using System.Runtime.InteropServices;

namespace CarServer.Rpc.Transport.Native;

/// <summary>Linux: epoll(7), woken through an eventfd(2).</summary>
internal sealed unsafe partial class EpollPoller : Poller
{
    private const uint In = 0x1, Out = 0x4, Error = 0x8, HangUp = 0x10;
    private const int CtlAdd = 1, CtlModify = 3;
    private const int Capacity = 256;

    // struct epoll_event is packed on x86-64 only: 4 octets of events, then 8 of data.
    private static readonly int DataOffset = RuntimeInformation.ProcessArchitecture == Architecture.X64 ? 4 : 8;
    private static readonly int Stride = DataOffset + 8;

    private readonly int _epoll;
    private readonly int _wake;
    private readonly byte* _events;

    public EpollPoller()
    {
        _epoll = epoll_create1(0x80000);       // EPOLL_CLOEXEC
        _wake = eventfd(0, 0x80000 | 0x800);   // EFD_CLOEXEC, EFD_NONBLOCK
        if (_epoll < 0 || _wake < 0) throw new Win32Exception(Marshal.GetLastPInvokeError());
        _events = (byte*)NativeMemory.Alloc((nuint)(Capacity * Stride));
        Control(CtlAdd, _wake, In, WakeToken);
    }

    public override void Add(int descriptor, ulong token) => Control(CtlAdd, descriptor, In, token);

    public override void SetInterest(int descriptor, ulong token, bool read, bool write) =>
        Control(CtlModify, descriptor, (read ? In : 0) | (write ? Out : 0), token);

    public override int Wait(Span<Ready> ready, int timeout)
    {
        int n = epoll_wait(_epoll, _events, Math.Min(Capacity, ready.Length), timeout);
        if (n < 0) return 0;   // EINTR: a signal, and the loop asks again
        for (int i = 0; i < n; i++)
        {
            byte* e = _events + i * Stride;
            uint events = *(uint*)e;
            ulong token = *(ulong*)(e + DataOffset);
            if (token == WakeToken)
            {
                ulong count;
                _ = read(_wake, &count, 8);
            }
            ready[i] = new Ready(token, (events & (In | Error | HangUp)) != 0, (events & Out) != 0);
        }
        return n;
    }

    public override void Wake()
    {
        ulong one = 1;
        _ = write(_wake, &one, 8);
    }

    public override void Dispose()
    {
        Posix.Close(_epoll);
        Posix.Close(_wake);
        NativeMemory.Free(_events);
    }

    private void Control(int operation, int descriptor, uint events, ulong token)
    {
        byte* e = stackalloc byte[16];
        *(uint*)e = events;
        *(ulong*)(e + DataOffset) = token;
        if (epoll_ctl(_epoll, operation, descriptor, e) != 0) throw new Win32Exception(Marshal.GetLastPInvokeError());
    }

    [LibraryImport("libc", SetLastError = true)] private static partial int epoll_create1(int flags);
    [LibraryImport("libc", SetLastError = true)] private static partial int epoll_ctl(int epoll, int operation, int descriptor, byte* e);
    [LibraryImport("libc")] private static partial int epoll_wait(int epoll, byte* events, int capacity, int timeout);
    [LibraryImport("libc", SetLastError = true)] private static partial int eventfd(uint initial, int flags);
    [LibraryImport("libc")] private static partial nint read(int descriptor, void* buffer, nuint length);
    [LibraryImport("libc")] private static partial nint write(int descriptor, void* buffer, nuint length);
}

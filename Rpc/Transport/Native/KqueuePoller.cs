using System.ComponentModel;
using System.Runtime.InteropServices;

namespace CarServer.Rpc.Transport.Native;

/// <summary>macOS: kqueue(2). Written from its manual page; reading and writing are two filters there.</summary>
internal sealed unsafe partial class KqueuePoller : Poller
{
    private const short FilterRead = -1, FilterWrite = -2, FilterUser = -10;
    private const ushort FlagAdd = 0x1, FlagDelete = 0x2, FlagClear = 0x20;
    private const uint NoteTrigger = 0x01000000;
    private const int Capacity = 256;

    private readonly int _queue;
    private readonly Event* _events;

    public KqueuePoller()
    {
        _queue = kqueue();
        if (_queue < 0) throw new Win32Exception(Marshal.GetLastPInvokeError());
        _events = (Event*)NativeMemory.Alloc((nuint)(Capacity * sizeof(Event)));
        Change(0, FilterUser, FlagAdd | FlagClear, 0, WakeToken);
    }

    public override void Add(int descriptor, ulong token) => Change(descriptor, FilterRead, FlagAdd, 0, token);

    public override void SetInterest(int descriptor, ulong token, bool read, bool write)
    {
        // Deleting a filter that is not there fails with ENOENT, which is what was wanted.
        Change(descriptor, FilterRead, read ? FlagAdd : FlagDelete, 0, token);
        Change(descriptor, FilterWrite, write ? FlagAdd : FlagDelete, 0, token);
    }

    public override int Wait(Span<Ready> ready, int timeout)
    {
        Time limit = new() { Seconds = timeout / 1000, Nanoseconds = timeout % 1000 * 1_000_000 };
        int n = kevent(_queue, null, 0, _events, Math.Min(Capacity, ready.Length), timeout < 0 ? null : &limit);
        for (int i = 0; i < n; i++)
            ready[i] = new Ready(_events[i].Token, _events[i].Filter == FilterRead, _events[i].Filter == FilterWrite);
        return Math.Max(n, 0);
    }

    public override void Wake() => Change(0, FilterUser, 0, NoteTrigger, WakeToken);

    public override void Dispose()
    {
        Posix.Close(_queue);
        NativeMemory.Free(_events);
    }

    private void Change(nint identity, short filter, int flags, uint filterFlags, ulong token)
    {
        Event change = new() { Identity = identity, Filter = filter, Flags = (ushort)flags, FilterFlags = filterFlags, Token = token };
        _ = kevent(_queue, &change, 1, null, 0, null);
    }

    private struct Event
    {
        public nint Identity;
        public short Filter;
        public ushort Flags;
        public uint FilterFlags;
        public nint Data;
        public ulong Token;
    }

    private struct Time
    {
        public nint Seconds;
        public nint Nanoseconds;
    }

    [LibraryImport("libc", SetLastError = true)] private static partial int kqueue();
    [LibraryImport("libc")] private static partial int kevent(int queue, Event* changes, int changeCount, Event* events, int eventCount, Time* timeout);
}

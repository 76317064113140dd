namespace CarServer.Rpc.Transport.Native;

/// <summary>A descriptor that can be read or written, or whose peer is gone (then it is readable, and reading tells).</summary>
internal readonly record struct Ready(ulong Token, bool Readable, bool Writable);

/// <summary>The seam between the loops and the system's readiness call. Level-triggered.</summary>
/// <remarks><see cref="Wait"/> belongs to the loop's thread; everything else may be called from any thread.</remarks>
internal abstract class Poller : IDisposable
{
    /// <summary>What <see cref="Wait"/> reports after <see cref="Wake"/>.</summary>
    public const ulong WakeToken = ulong.MaxValue;

    public static Poller Create() => OperatingSystem.IsMacOS() ? new KqueuePoller() : new EpollPoller();

    /// <summary>Starts to watch for reading. Closing the descriptor ends it.</summary>
    public abstract void Add(int descriptor, ulong token);

    public abstract void SetInterest(int descriptor, ulong token, bool read, bool write);

    /// <param name="timeout">Milliseconds; -1 waits for ever.</param>
    public abstract int Wait(Span<Ready> ready, int timeout);

    /// <summary>Ends a <see cref="Wait"/> that sleeps.</summary>
    public abstract void Wake();

    public abstract void Dispose();
}

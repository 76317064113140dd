using CarServer.Rpc.Transport.Native;
using CarServer.Rpc.WebSocket;
using Microsoft.Extensions.Logging;

namespace CarServer.Rpc.Transport;

/// <summary>What a connection speaks at the moment: HTTP until the upgrade, WebSocket messages after it.</summary>
/// <remarks>All members are called on the connection's loop.</remarks>
internal interface IProtocol
{
    /// <summary>Octets came in. They may be changed, and are gone after the call.</summary>
    void OnBytes(Connection connection, Span<byte> bytes);

    /// <summary>The deadline that this protocol set has passed.</summary>
    void OnDeadline(Connection connection);

    /// <summary>Called once, last.</summary>
    void OnClosed(Connection connection, string reason);
}

/// <summary>One descriptor and what is needed to read, write, time out and close it.</summary>
/// <remarks>Reading, deadlines and closing belong to the loop's thread. <see cref="Send"/> and <see cref="Abort"/> may come from any.</remarks>
/// <param name="onClosed">Called once, last, on the loop.</param>
internal sealed class Connection(int descriptor, EventLoop loop, IProtocol protocol, string peer, Action onClosed, ILogger log)
{
    private readonly Outbox _outbox = new(descriptor);
    private IProtocol _protocol = protocol;
    private long _protocolDeadline = long.MaxValue;
    private long _stallDeadline = long.MaxValue;
    private long _progressSeen;
    private bool _interestWrite;
    private bool _interestRead = true;
    private bool _closeWhenFlushed;
    private bool _finished;      // our FIN is out: what still comes is thrown away
    private string? _abortReason;
    private int _closed;

    public int Descriptor { get; } = descriptor;
    public EventLoop Loop { get; } = loop;

    /// <summary>For the log: <c>unix</c>, or the address and port of a TCP peer.</summary>
    public string Peer { get; } = peer;

    internal ulong Token { get; set; }
    internal bool IsWatched { get; set; }

    /// <summary>The nearest moment, in <see cref="Environment.TickCount64"/>, at which <see cref="OnDeadline"/> has work.</summary>
    internal long Deadline => Math.Min(_protocolDeadline, _stallDeadline);

    /// <summary>True once the connection is closed, or will be as soon as the input at hand is dealt with.</summary>
    public bool IsClosed => Volatile.Read(ref _closed) != 0 || _abortReason is not null;

    /// <summary>True while this thread deals with this connection's input: what is written then leaves in one batch.</summary>
    /// <remarks>No longer once it is closed: the batch is the loop's, and what its farewell wrote there would go to the next connection.</remarks>
    public bool IsReadingHere => Volatile.Read(ref _closed) == 0 && EventLoop.Current is { } loop && loop.Reading == this;

    /// <summary>Goes over to another protocol, as an upgrade does.</summary>
    public void SwitchTo(IProtocol next) => _protocol = next;

    /// <summary>Sets or, with null, clears the protocol's one deadline.</summary>
    public void SetDeadline(TimeSpan? after)
    {
        _protocolDeadline = after is { } span ? Environment.TickCount64 + (long)span.TotalMilliseconds : long.MaxValue;
        if (after is not null) Loop.Watch(this);
    }

    /// <summary>Queues whole frames. False when the connection is closed or has to be, because its peer does not read.</summary>
    public bool Send(ReadOnlySpan<byte> frames)
    {
        switch (_outbox.Send(frames))
        {
            case SendOutcome.Sent:
                return true;
            case SendOutcome.Queued:
                if (EventLoop.Current == Loop) Attend();
                else Loop.Post(Attend);
                return true;
            case SendOutcome.TooLate:
                return false;
            case SendOutcome.Full:
                Abort($"peer does not read: over {Limits.MaxOutboxBytes} bytes of answers wait for it");
                return false;
            default:
                Abort("peer is gone");
                return false;
        }
    }

    /// <summary>Queues the frames after which nothing may follow, and refuses all later ones. On the loop's thread.</summary>
    public void SendLast(ReadOnlySpan<byte> frames)
    {
        if (IsReadingHere) FlushBatch(Loop.Batch);
        _outbox.Send(frames, last: true);
        Attend();
    }

    /// <summary>Sends what the loop gathered for this connection while it was read.</summary>
    internal void FlushBatch(FrameBuffer batch)
    {
        if (batch.IsEmpty) return;
        Send(batch.Written);
        batch.Clear();
    }

    /// <summary>Closes after what is queued has left: FIN, then wait, bounded, for the peer's.</summary>
    public void CloseWhenFlushed()
    {
        if (IsReadingHere) FlushBatch(Loop.Batch);
        _closeWhenFlushed = true;
        if (_outbox.Waiting == 0) FinishWriting();
    }

    /// <summary>Closes at once; the first reason stands. From another thread, or while this connection's input is read: soon.</summary>
    public void Abort(string reason)
    {
        if (IsClosed) return;
        // A message that is being dealt with lies in memory that closing would give back.
        if (IsReadingHere) _abortReason = reason;
        else if (EventLoop.Current == Loop) Close(reason);
        else Loop.Post(() => Close(reason));
    }

    /// <summary>The loop is through with this connection's input.</summary>
    internal void EndReading(FrameBuffer batch)
    {
        FlushBatch(batch);
        if (_abortReason is { } reason) Close(reason);
    }

    internal void OnReadable(byte[] buffer)
    {
        if (IsClosed) return;   // OnWritable may have closed it
        int n = Posix.Receive(Descriptor, buffer);
        if (n == -Posix.EAGAIN) return;
        if (n <= 0)
        {
            Close(n == 0 ? "peer closed" : "peer is gone");
            return;
        }
        if (_finished || _closeWhenFlushed) return;
        _protocol.OnBytes(this, buffer.AsSpan(0, n));
    }

    internal void OnWritable()
    {
        if (IsClosed) return;
        switch (_outbox.Flush())
        {
            case SendOutcome.Sent:
                _stallDeadline = long.MaxValue;
                SetInterest(read: true, write: false);
                if (_closeWhenFlushed) FinishWriting();
                break;
            case SendOutcome.Queued:
                SetInterest(read: _outbox.Waiting <= Limits.OutboxHighWater, write: true);
                break;
            default:
                Close("peer is gone");
                break;
        }
    }

    internal void OnDeadline(long now)
    {
        if (IsClosed) return;
        if (_stallDeadline <= now)
        {
            if (_outbox.Progress == _progressSeen)
            {
                Close($"peer does not read: no progress in {Limits.WriteStallTimeout.TotalSeconds:0} s");
                return;
            }
            WatchForStall(now);
        }
        if (_protocolDeadline > now) return;
        _protocolDeadline = long.MaxValue;
        if (_finished) Close("peer did not close in time");
        else _protocol.OnDeadline(this);
    }

    /// <summary>Something waits in the outbox: ask to be told when the peer reads, and for how long it does not.</summary>
    private void Attend()
    {
        if (IsClosed || _outbox.Waiting == 0) return;
        SetInterest(read: _outbox.Waiting <= Limits.OutboxHighWater, write: true);
        if (_stallDeadline == long.MaxValue) WatchForStall(Environment.TickCount64);
    }

    private void WatchForStall(long now)
    {
        _progressSeen = _outbox.Progress;
        _stallDeadline = now + (long)Limits.WriteStallTimeout.TotalMilliseconds;
        Loop.Watch(this);
    }

    private void SetInterest(bool read, bool write)
    {
        if (read == _interestRead && write == _interestWrite) return;
        (_interestRead, _interestWrite) = (read, write);
        Loop.Poller.SetInterest(Descriptor, Token, read, write);
    }

    private void FinishWriting()
    {
        if (_finished || IsClosed) return;
        _finished = true;
        Posix.ShutdownWrite(Descriptor);
        SetInterest(read: true, write: false);
        SetDeadline(Limits.CloseTimeout);
    }

    private void Close(string reason)
    {
        if (Interlocked.Exchange(ref _closed, 1) != 0) return;
        if (Loop.Reading == this) Loop.Batch.Clear();   // nobody is left to read it
        _protocolDeadline = _stallDeadline = long.MaxValue;
        Loop.Remove(this);
        _outbox.Close();
        log.LogDebug("connection closed peer={Peer} reason={Reason}", Peer, reason);
        try { _protocol.OnClosed(this, reason); }
        finally { onClosed(); }
    }
}

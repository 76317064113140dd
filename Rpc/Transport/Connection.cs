using CarServer.Rpc.Transport.Native;
using CarServer.Rpc.WebSocket;
using Microsoft.Extensions.Logging;

namespace CarServer.Rpc.Transport;

/// <summary>What a connection speaks at the moment: HTTP until the upgrade, WebSocket messages after it.</summary>
/// <remarks>All members are called on the connection's loop.</remarks>
internal interface IProtocol
{
    /// <summary>Octets came in. They may be changed, and are gone after the call.</summary>
    /// <returns>How many are dealt with: all of them, unless the protocol changed, <see cref="Connection.IsBackedUp"/> or <see cref="Connection.PausesAt"/>.</returns>
    int OnBytes(Connection connection, Span<byte> bytes);

    /// <summary>The deadline that this protocol set has passed.</summary>
    void OnDeadline(Connection connection);

    /// <summary>Called once, last.</summary>
    void OnClosed(Connection connection, string reason);
}

/// <summary>One descriptor and what is needed to read, write, time out and close it.</summary>
/// <remarks>Reading, deadlines and closing belong to the loop's thread. <see cref="Send"/> and <see cref="Abort"/> may come from any.</remarks>
/// <param name="onClosed">Called once, last, on the loop.</param>
/// <param name="takingWakes">To take octets from this socket wakes a peer that sleeps in a receive: <see cref="Posix.TakingWakesPeer"/>.</param>
internal sealed class Connection(int descriptor, EventLoop loop, IProtocol protocol, string peer, Action onClosed, ILogger log, bool takingWakes = false)
{
    /// <summary>A read of less is dealt with before a client that it woke could sleep again: some sixteen small requests.</summary>
    private const int LongRead = 1024;

    /// <summary>Octets of further reads after which no other follows before others have their turn: some 250 small requests, a tenth of a
    /// millisecond. The last one may be as long as the first.</summary>
    private const int MaxMoreOctets = 16 * 1024;

    private readonly Outbox _outbox = new(descriptor, loop.Unread);
    private IProtocol _protocol = protocol;
    private long _protocolDeadline = long.MaxValue;
    private long _stallDeadline = long.MaxValue;
    private long _progressSeen;
    private GrowableBuffer _unread;   // input whose answers have no room yet: less than one read, or a handshake's tail
    private bool _interestWrite;
    private bool _interestRead = true;
    private bool _answersAtOnce;   // the last read was a long one, and its answers left with its batch
    private bool _isAhead;         // while it was dealt with, the client had answers to read already
    private int _pauseAt;          // octets of the current read that may be left when its first answers leave
    private bool _closeWhenFlushed;
    private bool _finished;      // our FIN is out: what still comes is thrown away
    private string? _abortReason;
    private int _closed;
    private volatile bool _inBatch;   // the loop's batch holds frames of ours
    private int _behindBatch;         // sends of other threads that were posted to leave after it

    public int Descriptor { get; } = descriptor;
    public EventLoop Loop { get; } = loop;

    /// <summary>For the log: <c>unix</c>, <c>tcp</c>, or <c>refused</c> for one over the cap.</summary>
    public string Peer { get; } = peer;

    internal ulong Token { get; set; }
    internal bool IsWatched { get; set; }

    /// <summary>The nearest moment, in <see cref="Environment.TickCount64"/>, at which <see cref="OnDeadline"/> has work.</summary>
    internal long Deadline => Math.Min(_protocolDeadline, _stallDeadline);

    /// <summary>True once the connection is closed, or is going to be.</summary>
    public bool IsClosed => Volatile.Read(ref _closed) != 0 || Volatile.Read(ref _abortReason) is not null;

    /// <summary>True while so many answers wait for the peer that no further requests are taken from it.</summary>
    public bool IsBackedUp => _outbox.Waiting > Limits.OutboxHighWater;

    /// <summary>True where a protocol should stop between two messages, though octets are left: the answers so far leave first.</summary>
    public bool PausesAt(int left) => left > 0 && left <= _pauseAt;

    /// <summary>True while this thread deals with this connection's input, or with work posted to the loop: what is written then leaves in one batch.</summary>
    /// <remarks>No longer once it is closed: the batch is the loop's, and what its farewell wrote there would go to the next connection.</remarks>
    public bool IsBatchedHere => Volatile.Read(ref _closed) == 0 && EventLoop.Current is { } loop && loop.BatchesFor(this);

    /// <summary>Goes over to another protocol, as an upgrade does.</summary>
    public void SwitchTo(IProtocol next) => _protocol = next;

    /// <summary>Sets or, with null, clears the protocol's one deadline.</summary>
    public void SetDeadline(TimeSpan? after)
    {
        _protocolDeadline = after is { } span ? Environment.TickCount64 + (long)span.TotalMilliseconds : long.MaxValue;
        if (after is not null) Loop.Watch(this);
    }

    /// <summary>Where the frames go that are written while <see cref="IsBatchedHere"/>.</summary>
    public FrameBuffer Batch
    {
        get
        {
            _inBatch = true;
            return Loop.Batch;
        }
    }

    /// <summary>Queues whole frames. False when the connection is closed or has to be, because its peer does not read.</summary>
    /// <remarks>Never overtakes what caused it: a thread that was set off by a frame in the batch finds that out here and lines up behind it.</remarks>
    public bool Send(ReadOnlySpan<byte> frames)
    {
        if (EventLoop.Current == Loop && _inBatch && Loop.Batching == this)
        {
            Loop.Batch.Append(frames);
            if (Loop.Batch.Length > Limits.OutboxHighWater / 16) FlushBatch(Loop.Batch);
            return !IsClosed;
        }
        if (!_inBatch && Volatile.Read(ref _behindBatch) == 0) return SendNow(frames);
        if (IsClosed) return false;
        SendBehindBatch(frames.ToArray());
        return true;
    }

    private void SendBehindBatch(byte[] frames)
    {
        Interlocked.Increment(ref _behindBatch);
        Loop.Post(() =>
        {
            SendNow(frames);
            Interlocked.Decrement(ref _behindBatch);
        });
    }

    private bool SendNow(ReadOnlySpan<byte> frames) => Conclude(_outbox.Send(frames));

    private bool Conclude(SendOutcome outcome)
    {
        switch (outcome)
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
                Abort($"peer does not read: over {Limits.MaxOutboxBytes} bytes of answers would wait for it, or over {Limits.OutboxShare} while {Loop.Unread.Octets} wait for all");
                return false;
            default:
                Abort("peer is gone");
                return false;
        }
    }

    /// <summary>One frame is about to come in parts; see <see cref="Outbox.BeginParts"/>. Not from the loop's thread.</summary>
    /// <remarks>It does not overtake what caused it either: by the loop's next turn the batch, and what lined up behind it, has left.</remarks>
    public async Task<bool> BeginPartsAsync()
    {
        if (_inBatch || Volatile.Read(ref _behindBatch) != 0) await Loop.RunAsync(static () => { });
        return _outbox.BeginParts();
    }

    /// <summary>Queues a part of that frame. False when the connection is closed or has to be.</summary>
    public bool SendPart(ReadOnlySpan<byte> part) => Conclude(_outbox.SendPart(part));

    /// <summary>The frame is whole.</summary>
    public void EndParts()
    {
        Conclude(_outbox.EndParts());
        Loop.Post(OnWritable);   // what waited for the end of it: requests not yet read, a close
    }

    /// <inheritdoc cref="Outbox.RoomAsync"/>
    public Task<bool> RoomAsync(bool forPart) => _outbox.RoomAsync(forPart);

    /// <inheritdoc cref="Outbox.Progress"/>
    public long Taken => _outbox.Progress;

    /// <summary>Queues the frames after which nothing may follow, and refuses all later ones. On the loop's thread.</summary>
    public void SendLast(ReadOnlySpan<byte> frames)
    {
        if (IsBatchedHere) FlushBatch(Loop.Batch);
        _outbox.Send(frames, last: true);
        Attend();
    }

    /// <summary>Sends what the loop gathered for this connection while it was read.</summary>
    internal void FlushBatch(FrameBuffer batch)
    {
        batch.AbandonFrame();   // of a writer that failed
        if (!batch.IsEmpty)
        {
            SendNow(batch.Written);
            batch.Clear();
        }
        _inBatch = false;
    }

    /// <summary>Closes after what is queued has left: FIN, then wait, bounded, for the peer's.</summary>
    public void CloseWhenFlushed()
    {
        if (IsBatchedHere) FlushBatch(Loop.Batch);
        _closeWhenFlushed = true;
        if (_outbox.IsIdle) FinishWriting();
    }

    /// <summary>Closes as soon as the loop is through with what it does; the first reason stands.</summary>
    /// <remarks>Never inside the call: a send that fails sits below handlers, and on a message whose memory closing gives back.</remarks>
    public void Abort(string reason)
    {
        if (IsClosed || Interlocked.CompareExchange(ref _abortReason, reason, null) is not null) return;
        Loop.Post(() => Close(reason));
    }

    /// <summary>Reads, and has what came dealt with.</summary>
    /// <param name="alone">No other connection was ready, now or the time before.</param>
    internal void OnReadable(byte[] buffer, bool alone)
    {
        Read(buffer, alone);
        FlushBatch(Loop.Batch);
        for (int more = 0; _isAhead && more < MaxMoreOctets && _interestRead && _unread.IsEmpty;)
        {
            more += Read(buffer, alone);
            FlushBatch(Loop.Batch);
        }
    }

    /// <returns>How many octets came.</returns>
    /// <remarks>
    /// A client that sends many requests at once sleeps until they are answered, and we sleep until it has read the answers and sent more. So
    /// the first half of such a read is answered before the second is looked at: from then on the client works on one half while we work
    /// on the other, and the next requests are there when we are done. With 64 of them in flight that is 1.4 times as many a second over
    /// TCP, each for 0.8 of the processor time; over a Unix socket 1.7 times as many, for 0.7. Several busy connections do that for each other.
    /// <para/>
    /// A client that does sleep is woken by our taking its requests out of a Unix socket, finds nothing, and is woken again by the answers: so
    /// they are dealt with while they still lie there, and taken just before the answers leave. It costs a second read, which is more than it
    /// brings where little was sent, where nothing is answered at once, and where many clients keep us busy.
    /// </remarks>
    private int Read(byte[] buffer, bool alone)
    {
        bool clientWaits = alone && _answersAtOnce && !_isAhead, peek = clientWaits && takingWakes, wasAhead = _isAhead;
        _isAhead = false;
        if (IsClosed) return 0;   // OnWritable may have closed it
        int n = Posix.Receive(Descriptor, buffer, peek);   // also tells of the end, and of errors
        if (n == -Posix.EAGAIN) return 0;
        if (n <= 0)
        {
            Close(n == 0 ? "peer closed" : "peer is gone");
            return 0;
        }
        Span<byte> input = buffer.AsSpan(0, n), seen = peek ? input : default;
        _pauseAt = clientWaits && n >= 2 * LongRead ? n / 2 : 0;
        try
        {
            int taken = _unread.IsEmpty ? Feed(input) : 0;
            if (PausesAt(n - taken) && !Loop.Batch.IsEmpty)
            {
                if (peek)
                {
                    TakeSeen(input[..taken]);
                    seen = input[taken..];
                }
                FlushBatch(Loop.Batch);
                _isAhead = true;
            }
            _pauseAt = 0;
            if (_unread.IsEmpty) taken += Feed(input[taken..]);
            _unread.Append(input[taken..]);
        }
        finally
        {
            _pauseAt = 0;
            TakeSeen(seen);
        }
        _answersAtOnce = n >= LongRead && (_isAhead || !Loop.Batch.IsEmpty);
        _isAhead |= alone && wasAhead && _answersAtOnce;
        return n;
    }

    /// <summary>Takes out of the socket what was dealt with while it lay there, and no octet more.</summary>
    private void TakeSeen(Span<byte> seen)
    {
        while (!seen.IsEmpty && Volatile.Read(ref _closed) == 0)
        {
            int n = Posix.Receive(Descriptor, seen);
            if (n <= 0)
            {
                Abort("what was read cannot be taken");   // nor may it be read again
                return;
            }
            seen = seen[n..];
        }
    }

    /// <summary>Hands on input for as long as its answers find room.</summary>
    private int Feed(Span<byte> input)
    {
        int taken = 0;
        while (taken < input.Length)
        {
            if (IsClosed || _finished || _closeWhenFlushed) return input.Length;
            if (IsBackedUp || PausesAt(input.Length - taken)) break;
            taken += _protocol.OnBytes(this, input[taken..]);
        }
        return taken;
    }

    internal void OnWritable()
    {
        if (IsClosed) return;
        if (_outbox.Flush() == SendOutcome.Broken)
        {
            Close("peer is gone");
            return;
        }
        // What was read before its answers had room goes first.
        if (!_unread.IsEmpty && !IsBackedUp) _unread.Consume(Feed(_unread.Bytes));
        if (!_outbox.IsBlocked) _stallDeadline = long.MaxValue;
        if (_closeWhenFlushed && _outbox.IsIdle) FinishWriting();
        else UpdateInterest();
    }

    internal void OnDeadline(long now)
    {
        if (IsClosed) return;
        if (_stallDeadline <= now)
        {
            if (_outbox.Progress - _progressSeen < Limits.SlowReaderBytes)
            {
                Close($"peer does not read: less than {Limits.SlowReaderBytes} bytes in {Limits.WriteStallTimeout.TotalSeconds:0} s");
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
        if (IsClosed || _outbox.IsIdle) return;
        UpdateInterest();
        if (_outbox.IsBlocked && _stallDeadline == long.MaxValue) WatchForStall(Environment.TickCount64);
    }

    private void WatchForStall(long now)
    {
        _progressSeen = _outbox.Progress;
        _stallDeadline = now + (long)Limits.WriteStallTimeout.TotalMilliseconds;
        Loop.Watch(this);
    }

    private void UpdateInterest() =>
        SetInterest(read: _unread.IsEmpty && !IsBackedUp, write: _outbox.IsBlocked || (!_unread.IsEmpty && !IsBackedUp));

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
        if (Loop.Batching == this) Loop.Batch.Clear();   // nobody is left to read it
        _protocolDeadline = _stallDeadline = long.MaxValue;
        Loop.Remove(this);
        _outbox.Close();
        _unread.Free();
        log.LogDebug("connection closed peer={Peer} reason={Reason}", Peer, reason);
        try { _protocol.OnClosed(this, reason); }
        finally { onClosed(); }
    }
}

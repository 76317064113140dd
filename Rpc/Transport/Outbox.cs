using CarServer.Rpc.Transport.Native;

namespace CarServer.Rpc.Transport;

internal enum SendOutcome
{
    /// <summary>All of it is with the kernel.</summary>
    Sent,
    /// <summary>Some of it waits until the peer reads.</summary>
    Queued,
    /// <summary>The peer has let too much pile up; nothing of this was taken.</summary>
    Full,
    /// <summary>The last frame was queued before; nothing of this was taken.</summary>
    TooLate,
    /// <summary>The connection can carry nothing more.</summary>
    Broken,
}

/// <summary>The write half of a connection: tries the kernel first and keeps what it does not take.</summary>
/// <remarks>
/// <para>Any thread may send; the lock also keeps the descriptor from being closed, and its number reused, under a sender.</para>
/// <para>One frame at a time may be sent in parts, by whoever called <see cref="BeginParts"/>. Nothing may stand between the parts of a
/// frame, so what others send meanwhile lines up behind the last of them.</para>
/// </remarks>
internal sealed class Outbox(int descriptor, Unread? unread = null)
{
    private readonly Unread _unread = unread ?? new Unread();
    private readonly Lock _gate = new();
    private GrowableBuffer _waiting;
    private GrowableBuffer _behindParts;
    private bool _inParts;
    private bool _closed;
    private bool _lastQueued;
    private List<(TaskCompletionSource<bool> Heard, bool ForPart)>? _wantRoom;

    /// <summary>Octets the kernel has not taken yet.</summary>
    public int Waiting { get; private set; }

    /// <summary>True when nothing waits and no frame is half sent.</summary>
    public bool IsIdle => Waiting == 0 && !_inParts;

    /// <summary>True while there is something that only the peer's reading holds up.</summary>
    public bool IsBlocked => !_waiting.IsEmpty;

    /// <summary>Octets the kernel ever took; a stall is when this does not move.</summary>
    public long Progress { get; private set; }

    /// <param name="last">Nothing may follow these frames: a data frame after a close frame would break RFC 6455 5.5.1.</param>
    public SendOutcome Send(ReadOnlySpan<byte> frames, bool last = false)
    {
        lock (_gate)
        {
            if (_closed) return SendOutcome.Broken;
            if (_lastQueued) return SendOutcome.TooLate;
            _lastQueued = last;
            if (!_inParts) return Pass(frames);
            if (!_unread.TryAdd(frames.Length, Waiting)) return SendOutcome.Full;
            _behindParts.Append(frames);
            Waiting += frames.Length;
            return SendOutcome.Queued;
        }
    }

    /// <summary>The caller is about to send one frame in parts. Whoever begins also ends, or closes, and nobody else begins before that.</summary>
    /// <returns>False when no frame may follow any more.</returns>
    public bool BeginParts()
    {
        lock (_gate) return _inParts = !_closed && !_lastQueued;
    }

    /// <summary>Sends a part of the frame. Also after <see cref="Send"/> was given the last one meanwhile: that one waits behind.</summary>
    public SendOutcome SendPart(ReadOnlySpan<byte> part)
    {
        lock (_gate) return _closed ? SendOutcome.Broken : Pass(part);
    }

    /// <summary>The frame is whole; what waited behind it follows. Of a frame that breaks off this is not called: what the peer then
    /// got would be read as the rest of it.</summary>
    public SendOutcome EndParts()
    {
        lock (_gate)
        {
            _inParts = false;
            if (_closed) return SendOutcome.Broken;
            if (_behindParts.IsEmpty) return Waiting == 0 ? SendOutcome.Sent : SendOutcome.Queued;
            Take(_behindParts.Length);
            SendOutcome outcome = Pass(_behindParts.Bytes);
            _behindParts.Free();
            OfferRoom();
            return outcome;
        }
    }

    /// <summary>Completes when at most <see cref="Limits.OutboxLowWater"/> octets wait: with true, or with false once this is closed.</summary>
    /// <param name="forPart">For the sender of the parts: what waits behind them does not count.</param>
    public Task<bool> RoomAsync(bool forPart)
    {
        lock (_gate)
        {
            if (_closed) return Task.FromResult(false);
            if (HasRoom(forPart)) return Task.FromResult(true);
            var heard = new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
            (_wantRoom ??= []).Add((heard, forPart));
            return heard.Task;
        }
    }

    private bool HasRoom(bool forPart) => (forPart ? _waiting.Length : Waiting) <= Limits.OutboxLowWater;

    private void OfferRoom()
    {
        if (_wantRoom is null) return;
        _wantRoom.RemoveAll(one => (_closed || HasRoom(one.ForPart)) && one.Heard.TrySetResult(!_closed));
        if (_wantRoom.Count == 0) _wantRoom = null;
    }

    private void Take(int octets)
    {
        Waiting -= octets;
        _unread.Remove(octets);
    }

    private SendOutcome Pass(ReadOnlySpan<byte> bytes)
    {
        if (_waiting.IsEmpty)
        {
            int sent = Posix.Send(descriptor, bytes);
            if (sent == bytes.Length)
            {
                Progress += sent;
                return SendOutcome.Sent;
            }
            if (sent < 0 && sent != -Posix.EAGAIN) return SendOutcome.Broken;
            if (sent > 0)
            {
                Progress += sent;
                bytes = bytes[sent..];
            }
        }
        if (!_unread.TryAdd(bytes.Length, Waiting)) return SendOutcome.Full;
        _waiting.Append(bytes);
        Waiting += bytes.Length;
        return SendOutcome.Queued;
    }

    /// <summary>Hands on what waits. Broken, or Sent when nothing is left that could be handed on.</summary>
    public SendOutcome Flush()
    {
        lock (_gate)
        {
            if (_closed) return SendOutcome.Broken;
            while (!_waiting.IsEmpty)
            {
                int sent = Posix.Send(descriptor, _waiting.Bytes);
                if (sent == -Posix.EAGAIN) return SendOutcome.Queued;
                if (sent < 0) return SendOutcome.Broken;
                Progress += sent;
                _waiting.Consume(sent);
                Take(sent);
                OfferRoom();
            }
            return SendOutcome.Sent;
        }
    }

    /// <summary>Closes the descriptor. False when that was done before.</summary>
    public bool Close()
    {
        lock (_gate)
        {
            if (_closed) return false;
            _closed = true;
            _waiting.Free();
            _behindParts.Free();
            Take(Waiting);
            OfferRoom();
            Posix.Close(descriptor);
            return true;
        }
    }
}

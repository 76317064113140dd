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
/// <remarks>Any thread may send; the lock also keeps the descriptor from being closed, and its number reused, under a sender.</remarks>
internal sealed class Outbox(int descriptor)
{
    private readonly Lock _gate = new();
    private GrowableBuffer _waiting;
    private bool _closed;
    private bool _lastQueued;

    /// <summary>Octets the kernel has not taken yet.</summary>
    public int Waiting { get; private set; }

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
            if (Waiting == 0)
            {
                int sent = Posix.Send(descriptor, frames);
                if (sent == frames.Length)
                {
                    Progress += sent;
                    return SendOutcome.Sent;
                }
                if (sent < 0 && sent != -Posix.EAGAIN) return SendOutcome.Broken;
                if (sent > 0)
                {
                    Progress += sent;
                    frames = frames[sent..];
                }
            }
            if (Waiting + (long)frames.Length > Limits.MaxOutboxBytes) return SendOutcome.Full;
            _waiting.Append(frames);
            Waiting = _waiting.Length;
            return SendOutcome.Queued;
        }
    }

    /// <summary>Hands on what waits. Broken, or Sent when nothing waits any more.</summary>
    public SendOutcome Flush()
    {
        lock (_gate)
        {
            if (_closed) return SendOutcome.Broken;
            while (Waiting > 0)
            {
                int sent = Posix.Send(descriptor, _waiting.Bytes);
                if (sent == -Posix.EAGAIN) return SendOutcome.Queued;
                if (sent < 0) return SendOutcome.Broken;
                Progress += sent;
                _waiting.Consume(sent);
                Waiting = _waiting.Length;
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
            Waiting = 0;
            Posix.Close(descriptor);
            return true;
        }
    }
}

using System.Buffers;
using System.Text.Unicode;
using CarServer.Rpc.WebSocket;
using Microsoft.Extensions.Logging;

namespace CarServer.Rpc.Transport;

/// <summary>Takes the messages of one connection. All members are called on the connection's loop.</summary>
internal interface IMessageHandler
{
    /// <summary>Most octets the next message may have.</summary>
    int MessageLimit { get; }

    /// <summary>A whole text message, valid UTF-8. May be changed; gone after the call.</summary>
    void OnText(Span<byte> message);

    /// <summary>Called once, last: nothing can be sent any more.</summary>
    void OnClosed(string reason);

    /// <summary>How long the connection may go on without having made itself known; null when it has, or needs not.</summary>
    TimeSpan? Probation { get; }
}

/// <summary>WebSocket over a <see cref="Connection"/>: frames in, messages out, and the closing handshake in both directions.</summary>
internal sealed class MessageConnection(Connection connection, ILogger log) : IProtocol
{
    /// <summary>What is read and sent at a time of a message in parts.</summary>
    private const int PartSize = 64 * 1024;

    [ThreadStatic] private static FrameBuffer? t_side;

    private FrameReader _frames;
    private IMessageHandler _handler = null!;
    private Purpose _deadlineFor;
    private bool _closeSent;
    private int _messageBytes;

    private enum Purpose : byte { Nothing, Probation, SlowMessage, ClosingHandshake }

    public string Peer => connection.Peer;
    public bool IsClosed => connection.IsClosed;

    public void Start(IMessageHandler handler)
    {
        _handler = handler;
        connection.SwitchTo(this);
        if (handler.Probation is { } probation) SetDeadline(Purpose.Probation, probation);
        else SetDeadline(Purpose.Nothing, null);
    }

    /// <summary>The client has made itself known: it may stay.</summary>
    public void EndProbation()
    {
        if (_deadlineFor == Purpose.Probation) SetDeadline(Purpose.Nothing, null);
    }

    /// <summary>Where the next frames go. Write them, then call <see cref="EndSend"/> on the same thread; nothing may come between.</summary>
    public FrameBuffer BeginSend() => connection.IsBatchedHere ? connection.Batch : t_side ??= new FrameBuffer();

    /// <summary>Frames in the batch leave when the input is dealt with; others leave now.</summary>
    /// <returns>False when the connection can carry nothing more.</returns>
    public bool EndSend(FrameBuffer frames)
    {
        if (frames == t_side)
        {
            bool sent = connection.Send(frames.Written);
            frames.Clear();
            return sent;
        }
        if (frames.Length > Limits.OutboxHighWater / 16) connection.FlushBatch(frames);
        return !connection.IsClosed;
    }

    /// <summary>Sends frames that were made before, in this order and with nothing in between.</summary>
    /// <returns>False when the connection can carry nothing more.</returns>
    public bool Send(ReadOnlySpan<ReadOnlyMemory<byte>> frames)
    {
        if (frames.Length == 1) return connection.Send(frames[0].Span);
        FrameBuffer side = t_side ??= new FrameBuffer();
        foreach (ReadOnlyMemory<byte> frame in frames) side.Append(frame.Span);
        bool sent = connection.Send(side.Written);
        side.Clear();
        return sent;
    }

    /// <inheritdoc cref="Outbox.RoomAsync"/>
    public Task<bool> RoomAsync() => connection.RoomAsync(forPart: false);

    /// <inheritdoc cref="Outbox.Progress"/>
    public long Taken => connection.Taken;

    /// <summary>Appends a text frame for <see cref="Send"/>, on any connection.</summary>
    public static void WriteFrame(IBufferWriter<byte> output, Action<FrameBuffer> writePayload)
    {
        FrameBuffer side = t_side ??= new FrameBuffer();
        side.BeginFrame(Opcode.Text);
        writePayload(side);
        side.EndFrame();
        output.Write(side.Written);
        side.Clear();
    }

    /// <summary>Sends one text message of any length as the peer reads it. One at a time on a connection; other messages go before it or after it.</summary>
    /// <param name="body">Read to its end, which must come after <see cref="Stream.Length"/> octets.</param>
    /// <remarks>A body that can't be read any more ends the connection: what the peer has of the message is good for nothing.</remarks>
    public async Task SendInPartsAsync(ReadOnlyMemory<byte> head, Stream body, ReadOnlyMemory<byte> tail)
    {
        if (!await connection.BeginPartsAsync()) return;
        byte[] part = ArrayPool<byte>.Shared.Rent(PartSize);
        try
        {
            long left = body.Length;
            long length = head.Length + left + tail.Length;
            int used = FrameWriter.HeaderSize(length);
            FrameWriter.WriteHeader(part, Opcode.Text, length);
            if (!connection.SendPart(part.AsSpan(0, used)) || !connection.SendPart(head.Span)) return;
            for (; left > 0; left -= used)
            {
                used = body.Read(part, 0, (int)Math.Min(left, part.Length));
                if (used == 0) throw new EndOfStreamException();
                if (!connection.SendPart(part.AsSpan(0, used)) || !await connection.RoomAsync(forPart: true)) return;
            }
            if (connection.SendPart(tail.Span)) connection.EndParts();
        }
        catch (Exception e)
        {
            log.LogError(e, "a message could not be sent to its end peer={Peer}", Peer);
            connection.Abort("a message could not be sent to its end");
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(part);
        }
    }

    /// <summary>Starts the closing handshake; what is queued leaves first. From any thread; only the first call counts.</summary>
    public void Close(CloseCode code, string reason)
    {
        if (EventLoop.Current != connection.Loop)
        {
            connection.Loop.Post(() => Close(code, reason));
            return;
        }
        if (_closeSent || connection.IsClosed) return;
        SendClose(code, reason);
        SetDeadline(Purpose.ClosingHandshake, Limits.CloseTimeout);
    }

    int IProtocol.OnBytes(Connection _, Span<byte> bytes)
    {
        int given = bytes.Length;
        _messageBytes = (int)Math.Min((long)_messageBytes + given, Limits.SlowMessageBytes);
        bool messageEnded = false;
        while (!connection.IsClosed && !connection.IsBackedUp && !(messageEnded && connection.PausesAt(bytes.Length)))
        {
            FrameRead read = _frames.Read(bytes, _handler.MessageLimit, out int consumed, out Incoming incoming);
            bytes = bytes[consumed..];
            if (read == FrameRead.NeedMore) break;
            if (read == FrameRead.Violation)
            {
                Fail(incoming.Violation!);
                return given;
            }
            if (incoming.Opcode is Opcode.Text or Opcode.Binary)
            {
                messageEnded = true;
                _messageBytes = Math.Min(bytes.Length, Limits.SlowMessageBytes);
            }
            if (!Take(incoming)) return given;
        }
        _messageBytes = Math.Max(0, _messageBytes - bytes.Length);   // what is left is given again
        WatchForSlowMessage(messageEnded);
        return given - bytes.Length;
    }

    void IProtocol.OnDeadline(Connection _)
    {
        Purpose purpose = _deadlineFor;
        _deadlineFor = Purpose.Nothing;
        switch (purpose)
        {
            case Purpose.Probation:
                log.LogInformation("connection closed peer={Peer} reason=\"no session.auth in time\"", Peer);
                Close(CloseCode.PolicyViolation, "no session.auth in time");
                break;
            // While answers wait for it to read, we do not listen to it either: its silence says nothing.
            case Purpose.SlowMessage when _messageBytes < Limits.SlowMessageBytes && !connection.IsBackedUp:
                log.LogInformation("connection closed peer={Peer} reason=\"message comes too slowly\"", Peer);
                Close(CloseCode.PolicyViolation, "message comes too slowly");
                break;
            case Purpose.SlowMessage:
                _messageBytes = 0;
                SetDeadline(Purpose.SlowMessage, Limits.SlowMessageWindow);
                break;
            case Purpose.ClosingHandshake:
                connection.CloseWhenFlushed();
                break;
        }
    }

    void IProtocol.OnClosed(Connection _, string reason)
    {
        _frames.Free();
        _handler.OnClosed(reason);
    }

    /// <summary>False when nothing after this frame counts.</summary>
    private bool Take(in Incoming incoming)
    {
        switch (incoming.Opcode)
        {
            case Opcode.Text:
                if (!_closeSent) _handler.OnText(incoming.Payload);
                return true;
            case Opcode.Binary:
                if (_closeSent) return true;
                Fail(BinaryNotSupported);
                return false;
            case Opcode.Ping:
                if (_closeSent) return true;
                FrameBuffer frames = BeginSend();
                frames.AppendFrame(Opcode.Pong, incoming.Payload);
                EndSend(frames);
                return true;
            case Opcode.Pong:
                return true;
            default:
                // The peer closes: echo its code, if we have not said goodbye ourselves, and let it go (RFC 6455 5.5.1, 7.1.1).
                if (!_closeSent) SendLast(incoming.Payload.Length >= 2 ? incoming.Payload[..2] : default);
                connection.CloseWhenFlushed();
                return false;
        }
    }

    private static readonly FrameViolation BinaryNotSupported = new(CloseCode.UnsupportedData, "no binary messages in this build");

    private void Fail(FrameViolation violation)
    {
        log.LogInformation("connection failed peer={Peer} code={Code} reason={Reason}", Peer, (int)violation.Code, violation.Rule);
        if (!_closeSent) SendClose(violation.Code, violation.Rule);
        connection.CloseWhenFlushed();   // RFC 6455 7.1.7: no reason to hear more from this peer
    }

    private void SendClose(CloseCode code, string reason)
    {
        Span<byte> payload = stackalloc byte[125];
        payload[0] = (byte)((int)code >> 8);
        payload[1] = (byte)code;
        Utf8.FromUtf16(reason, payload[2..], out _, out int length);   // as many whole characters as fit
        SendLast(payload[..(2 + length)]);
    }

    private void SendLast(ReadOnlySpan<byte> closePayload)
    {
        _closeSent = true;
        Span<byte> frame = stackalloc byte[2 + 125];
        FrameWriter.WriteHeader(frame, Opcode.Close, closePayload.Length);
        closePayload.CopyTo(frame[2..]);
        connection.SendLast(frame[..(2 + closePayload.Length)]);
    }

    private void WatchForSlowMessage(bool messageEnded)
    {
        if (_deadlineFor is Purpose.ClosingHandshake or Purpose.Probation) return;
        if (_frames.IsMidMessage)
        {
            if (messageEnded || _deadlineFor == Purpose.Nothing) SetDeadline(Purpose.SlowMessage, Limits.SlowMessageWindow);
        }
        else if (_deadlineFor == Purpose.SlowMessage) SetDeadline(Purpose.Nothing, null);
    }

    private void SetDeadline(Purpose purpose, TimeSpan? after)
    {
        _deadlineFor = purpose;
        connection.SetDeadline(after);
    }
}

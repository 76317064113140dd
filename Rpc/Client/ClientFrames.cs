using System.Buffers.Binary;

namespace CarServer.Rpc.Client;

/// <summary>What a frame is (RFC 6455, 5.2).</summary>
internal enum FrameKind : byte { Continuation = 0, Text = 1, Binary = 2, Close = 8, Ping = 9, Pong = 10 }

/// <summary>A whole message or one control frame. The payload is valid until the next <see cref="ClientFrames.TryRead"/>.</summary>
internal readonly record struct ServerMessage(FrameKind Kind, ReadOnlyMemory<byte> Payload);

/// <summary>The client's half of RFC 6455 framing: what comes in is bare, what goes out is masked.</summary>
/// <remarks>
/// Apart from the daemon's own reader on purpose: the two are each other's test. One thread reads; <see cref="Write"/> is pure.
/// </remarks>
/// <param name="maxMessageBytes">Largest message taken, all fragments together.</param>
internal sealed class ClientFrames(int maxMessageBytes)
{
    /// <summary>Two bytes, eight of length, four of masking key.</summary>
    public const int MaxHeaderBytes = 14;

    private const int MaxControlPayload = 125;

    private byte[] _buffer = new byte[4096];
    private int _start;
    private int _end;
    private byte[] _message = [];
    private int _messageLength;
    private FrameKind? _messageKind;

    /// <summary>Writes one masked, final frame and returns its length.</summary>
    /// <param name="destination">At least <see cref="MaxHeaderBytes"/> longer than the payload.</param>
    public static int Write(Span<byte> destination, FrameKind kind, ReadOnlySpan<byte> payload, ReadOnlySpan<byte> maskingKey)
    {
        destination[0] = (byte)(0x80 | (byte)kind);
        int header;
        if (payload.Length <= MaxControlPayload)
        {
            destination[1] = (byte)(0x80 | payload.Length);
            header = 2;
        }
        else if (payload.Length <= ushort.MaxValue)
        {
            destination[1] = 0x80 | 126;
            BinaryPrimitives.WriteUInt16BigEndian(destination[2..], (ushort)payload.Length);
            header = 4;
        }
        else
        {
            destination[1] = 0x80 | 127;
            BinaryPrimitives.WriteUInt64BigEndian(destination[2..], (ulong)payload.Length);
            header = 10;
        }
        maskingKey[..4].CopyTo(destination[header..]);
        header += 4;
        for (int i = 0; i < payload.Length; i++) destination[header + i] = (byte)(payload[i] ^ maskingKey[i & 3]);
        return header + payload.Length;
    }

    /// <summary>Where the next received bytes go; never empty.</summary>
    public Memory<byte> FreeSpace()
    {
        if (_start == _end) _start = _end = 0;
        if (_end == _buffer.Length)
        {
            if (_start > 0)
            {
                _buffer.AsSpan(_start, _end - _start).CopyTo(_buffer);
                _end -= _start;
                _start = 0;
            }
            // Grows with what arrived, not to the length that a header announces.
            else Array.Resize(ref _buffer, _buffer.Length * 2);
        }
        return _buffer.AsMemory(_end);
    }

    public void Commit(int received) => _end += received;

    /// <summary>Takes the next whole message or control frame. False: come back with more bytes.</summary>
    /// <exception cref="RpcConnectionException">The server broke a rule of RFC 6455, or the bound on messages.</exception>
    public bool TryRead(out ServerMessage message)
    {
        message = default;
        while (true)
        {
            ReadOnlySpan<byte> bytes = _buffer.AsSpan(_start, _end - _start);
            if (bytes.Length < 2) return false;

            bool final = (bytes[0] & 0x80) != 0;
            var kind = (FrameKind)(bytes[0] & 0x0F);
            bool control = kind >= FrameKind.Close;
            if ((bytes[0] & 0x70) != 0) throw Broken("reserved bits set");
            if ((bytes[1] & 0x80) != 0) throw Broken("a server frame is masked");
            if (kind is > FrameKind.Pong or (> FrameKind.Binary and < FrameKind.Close)) throw Broken("reserved opcode");
            if (control && (!final || bytes[1] > MaxControlPayload)) throw Broken("a control frame is fragmented or too long");
            if (!control && kind == FrameKind.Continuation != _messageKind is not null) throw Broken("fragments out of order");

            ulong length = bytes[1];
            int header = length switch { 126 => 4, 127 => 10, _ => 2 };
            if (bytes.Length < header) return false;
            if (header == 4) length = BinaryPrimitives.ReadUInt16BigEndian(bytes[2..]);
            if (header == 10) length = BinaryPrimitives.ReadUInt64BigEndian(bytes[2..]);
            if (!control && length > (ulong)(maxMessageBytes - _messageLength)) throw Broken($"a message is over {maxMessageBytes} bytes");
            if ((ulong)(bytes.Length - header) < length) return false;

            ReadOnlyMemory<byte> payload = _buffer.AsMemory(_start + header, (int)length);
            _start += header + (int)length;
            if (control || (final && _messageKind is null))
            {
                message = new ServerMessage(kind, payload);
                return true;
            }

            if (_messageKind is null) { _messageKind = kind; _messageLength = 0; }
            int needed = _messageLength + payload.Length;
            if (needed > _message.Length) Array.Resize(ref _message, Math.Max(needed, Math.Min(_message.Length * 2, maxMessageBytes)));
            payload.CopyTo(_message.AsMemory(_messageLength));
            _messageLength = needed;
            if (!final) continue;

            message = new ServerMessage(_messageKind.Value, _message.AsMemory(0, _messageLength));
            _messageKind = null;
            _messageLength = 0;
            return true;
        }
    }

    private static RpcConnectionException Broken(string rule) => new($"the server broke the WebSocket protocol: {rule}");
}

using System.Runtime.CompilerServices;

namespace CarServer.Rpc.WebSocket;

internal enum FrameRead
{
    /// <summary>All input is taken; nothing whole came of it yet.</summary>
    NeedMore,
    /// <summary>A whole text or binary message, or a control frame.</summary>
    Message,
    /// <summary>The peer broke a rule; the reader must not be used again.</summary>
    Violation,
}

/// <summary>What one call of <see cref="FrameReader.Read"/> found.</summary>
internal ref struct Incoming
{
    /// <summary>Text or Binary for a message (never Continuation), else the control opcode.</summary>
    public Opcode Opcode;
    /// <summary>Unmasked. Lies in the input or in the reader's own buffer: valid, and writable, until the next call.</summary>
    public Span<byte> Payload;
    public FrameViolation? Violation;
}

/// <summary>Turns the octets of a client into messages (RFC 6455, 5 and 6.2). Knows no socket and no task.</summary>
/// <remarks>
/// Octets may be cut anywhere: the outcome depends only on their sequence. A message that lies whole in the input is unmasked and
/// delivered where it lies; only the rest of an unfinished one is copied, into a buffer that grows with the octets that came and never
/// to the length a header announced. Between messages the reader holds no memory. A mutable struct: keep it in a field, pass it by ref.
/// </remarks>
internal struct FrameReader
{
    private GrowableBuffer _message;
    private Utf8Checker _utf8;
    private HeaderOctets _header;
    private byte[]? _control;        // made when a control frame comes in pieces, which is rare
    private ulong _frameLeft;
    private uint _key;
    private byte _headerLength;
    private byte _controlLength;
    private Opcode _frameOpcode;
    private Opcode _messageOpcode;   // Continuation: no message has begun
    private bool _frameFin;
    private bool _inFrame;
    private bool _delivered;

    /// <summary>True between the first octet of a message (or of any header) and its last one.</summary>
    public readonly bool IsMidMessage => _inFrame || _headerLength > 0 || _messageOpcode != Opcode.Continuation;

    /// <summary>Reads on. Call again with the rest of the input while it returns <see cref="FrameRead.Message"/>.</summary>
    /// <param name="input">Is changed: payloads are unmasked in place.</param>
    /// <param name="limit">Most octets a message may have, all fragments together.</param>
    /// <param name="consumed">Octets of <paramref name="input"/> that are dealt with.</param>
    public FrameRead Read(Span<byte> input, int limit, out int consumed, out Incoming incoming)
    {
        incoming = default;
        consumed = 0;
        if (_delivered)
        {
            _message.Free();
            _delivered = false;
        }
        while (true)
        {
            if (!_inFrame)
            {
                if (ReadHeader(input, ref consumed, limit, out FrameHeader header, out FrameViolation? violation) is false)
                {
                    if (violation is null) return FrameRead.NeedMore;
                    incoming.Violation = violation;
                    return FrameRead.Violation;
                }
                bool here = header.PayloadLength <= (ulong)(input.Length - consumed);
                if (here && header.Fin && header.Opcode != Opcode.Continuation)
                {
                    Span<byte> payload = input.Slice(consumed, (int)header.PayloadLength);
                    consumed += payload.Length;
                    Masking.Apply(payload, header.MaskingKey);
                    return Deliver(header.Opcode, payload, ref incoming);
                }
                Begin(header);
            }

            int taken = (int)Math.Min(_frameLeft, (ulong)(input.Length - consumed));
            Span<byte> piece = input.Slice(consumed, taken);
            consumed += taken;
            _frameLeft -= (ulong)taken;
            _key = Masking.Apply(piece, _key);
            if (((byte)_frameOpcode & 0x8) != 0)
            {
                piece.CopyTo(_control.AsSpan(_controlLength));
                _controlLength += (byte)taken;
            }
            else
            {
                if (_messageOpcode == Opcode.Text && !_utf8.Accept(piece))
                {
                    incoming.Violation = FrameViolation.NotUtf8;
                    return FrameRead.Violation;
                }
                _message.Append(piece);
            }
            if (_frameLeft > 0) return FrameRead.NeedMore;
            _inFrame = false;
            if (((byte)_frameOpcode & 0x8) != 0) return Deliver(_frameOpcode, _control.AsSpan(0, _controlLength), ref incoming);
            if (_frameFin) return DeliverAssembled(ref incoming);
        }
    }

    /// <summary>Gives back all memory. The reader may not be used afterwards.</summary>
    public void Free() => _message.Free();

    /// <summary>False with a violation, or false without one when the header is not whole yet: its octets are kept.</summary>
    private bool ReadHeader(ReadOnlySpan<byte> input, ref int consumed, int limit, out FrameHeader header, out FrameViolation? violation)
    {
        bool midMessage = _messageOpcode != Opcode.Continuation;
        ReadOnlySpan<byte> octets = input[consumed..];
        violation = null;
        if (_headerLength > 0)
        {
            // The kept octets go first; what the header does not need stays in the input.
            int kept = _headerLength;
            int more = Math.Min(FrameHeader.LongestSize - kept, octets.Length);
            octets[..more].CopyTo(((Span<byte>)_header)[kept..]);
            ReadOnlySpan<byte> joined = ((Span<byte>)_header)[..(kept + more)];
            if (!Parse(joined, out header, out violation))
            {
                _headerLength = (byte)joined.Length;
                consumed += more;
                return false;
            }
            consumed += header.Size - kept;
            _headerLength = 0;
        }
        else
        {
            if (!Parse(octets, out header, out violation))
            {
                if (violation is not null) return false;
                octets.CopyTo(_header);
                _headerLength = (byte)octets.Length;
                consumed = input.Length;
                return false;
            }
            consumed += header.Size;
        }
        violation = header.CheckLength((ulong)(limit - _message.Length));
        return violation is null;

        bool Parse(ReadOnlySpan<byte> from, out FrameHeader parsed, out FrameViolation? broken)
        {
            parsed = default;
            broken = from.Length >= 2 ? FrameHeader.CheckStart(from[0], from[1], midMessage) : null;
            return broken is null && FrameHeader.TryParse(from, out parsed);
        }
    }

    private void Begin(in FrameHeader header)
    {
        _inFrame = true;
        _frameFin = header.Fin;
        _frameOpcode = header.Opcode;
        _frameLeft = header.PayloadLength;
        _key = header.MaskingKey;
        if (header.IsControl)
        {
            _control ??= new byte[125];
            _controlLength = 0;
        }
        else if (header.Opcode != Opcode.Continuation)
        {
            _messageOpcode = header.Opcode;
            _utf8.Reset();
        }
    }

    private readonly FrameRead Deliver(Opcode opcode, Span<byte> payload, ref Incoming incoming)
    {
        incoming.Opcode = opcode;
        incoming.Payload = payload;
        incoming.Violation = opcode switch
        {
            Opcode.Text when !System.Text.Unicode.Utf8.IsValid(payload) => FrameViolation.NotUtf8,
            Opcode.Close => CheckClose(payload),
            _ => null,
        };
        return incoming.Violation is null ? FrameRead.Message : FrameRead.Violation;
    }

    private FrameRead DeliverAssembled(ref Incoming incoming)
    {
        incoming.Opcode = _messageOpcode;
        incoming.Payload = _message.Bytes;
        _messageOpcode = Opcode.Continuation;
        _delivered = true;
        if (incoming.Opcode != Opcode.Text || _utf8.MayEnd) return FrameRead.Message;
        incoming.Violation = FrameViolation.NotUtf8;
        return FrameRead.Violation;
    }

    private static FrameViolation? CheckClose(ReadOnlySpan<byte> payload)
    {
        if (payload.Length == 0) return null;
        if (payload.Length == 1) return FrameViolation.CloseTooShort;
        if (!CloseCodes.MayBeSent(payload[0] << 8 | payload[1])) return FrameViolation.CloseCodeNotAllowed;
        return System.Text.Unicode.Utf8.IsValid(payload[2..]) ? null : FrameViolation.NotUtf8;
    }

    [InlineArray(FrameHeader.LongestSize)]
    private struct HeaderOctets
    {
        private byte _first;
    }
}

using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace CarServer.Rpc.WebSocket;

/// <summary>A rule of the protocol that the peer broke, and the code to close with.</summary>
internal sealed record FrameViolation(CloseCode Code, string Rule)
{
    // One instance a rule: a flood of bad frames costs no allocation.
    public static readonly FrameViolation ReservedBits = new(CloseCode.ProtocolError, "reserved bits set (RFC 6455 5.2)");
    public static readonly FrameViolation ReservedOpcode = new(CloseCode.ProtocolError, "reserved opcode (RFC 6455 5.2)");
    public static readonly FrameViolation NotMasked = new(CloseCode.ProtocolError, "client frame not masked (RFC 6455 5.1)");
    public static readonly FrameViolation FragmentedControl = new(CloseCode.ProtocolError, "fragmented control frame (RFC 6455 5.5)");
    public static readonly FrameViolation LongControl = new(CloseCode.ProtocolError, "control frame over 125 bytes (RFC 6455 5.5)");
    public static readonly FrameViolation NothingToContinue = new(CloseCode.ProtocolError, "continuation without a message (RFC 6455 5.4)");
    public static readonly FrameViolation MessageInMessage = new(CloseCode.ProtocolError, "new message before the last one ended (RFC 6455 5.4)");
    public static readonly FrameViolation LengthNotShortest = new(CloseCode.ProtocolError, "length not in its shortest form (RFC 6455 5.2)");
    public static readonly FrameViolation LengthSign = new(CloseCode.ProtocolError, "highest bit of a 64-bit length set (RFC 6455 5.2)");
    public static readonly FrameViolation TooBig = new(CloseCode.MessageTooBig, "message over the limit");
    public static readonly FrameViolation NotUtf8 = new(CloseCode.InvalidPayload, "text is not UTF-8 (RFC 6455 8.1)");
    public static readonly FrameViolation CloseTooShort = new(CloseCode.ProtocolError, "close frame with one octet (RFC 6455 5.5.1)");
    public static readonly FrameViolation CloseCodeNotAllowed = new(CloseCode.ProtocolError, "close code may not be sent (RFC 6455 7.4)");
}

/// <summary>The header of a frame as a client sends it (RFC 6455, 5.2).</summary>
/// <param name="MaskingKey">The four octets as they lie in memory.</param>
/// <param name="Size">Octets the header itself takes.</param>
internal readonly record struct FrameHeader(bool Fin, Opcode Opcode, uint MaskingKey, ulong PayloadLength, int Size)
{
    /// <summary>Two octets, eight of length, four of masking key.</summary>
    public const int LongestSize = 14;

    public bool IsControl => ((byte)Opcode & 0x8) != 0;

    /// <summary>Judges what the first two octets already settle. Null: no rule broken so far.</summary>
    public static FrameViolation? CheckStart(byte first, byte second, bool midMessage)
    {
        var opcode = (Opcode)(first & 0xF);
        bool fin = (first & 0x80) != 0;
        if ((first & 0x70) != 0) return FrameViolation.ReservedBits;
        if ((second & 0x80) == 0) return FrameViolation.NotMasked;
        switch (opcode)
        {
            case Opcode.Close or Opcode.Ping or Opcode.Pong:
                if (!fin) return FrameViolation.FragmentedControl;
                return (second & 0x7F) > 125 ? FrameViolation.LongControl : null;
            case Opcode.Continuation: return midMessage ? null : FrameViolation.NothingToContinue;
            case Opcode.Text or Opcode.Binary: return midMessage ? FrameViolation.MessageInMessage : null;
            default: return FrameViolation.ReservedOpcode;
        }
    }

    /// <summary>Reads a header whose first two octets passed <see cref="CheckStart"/>. False: come back with more octets.</summary>
    public static bool TryParse(ReadOnlySpan<byte> octets, out FrameHeader header)
    {
        header = default;
        if (octets.Length < 2) return false;
        ulong length = (uint)octets[1] & 0x7F;
        int size = length switch { 126 => 8, 127 => 14, _ => 6 };
        if (octets.Length < size) return false;
        if (size == 8) length = BinaryPrimitives.ReadUInt16BigEndian(octets[2..]);
        else if (size == 14) length = BinaryPrimitives.ReadUInt64BigEndian(octets[2..]);
        uint key = MemoryMarshal.Read<uint>(octets[(size - 4)..]);
        header = new FrameHeader((octets[0] & 0x80) != 0, (Opcode)(octets[0] & 0xF), key, length, size);
        return true;
    }

    /// <summary>Judges the length, once it is known, against what the message may still take.</summary>
    public FrameViolation? CheckLength(ulong room)
    {
        if (Size == 14 && (PayloadLength >> 63) != 0) return FrameViolation.LengthSign;
        if (Size == 8 && PayloadLength < 126 || Size == 14 && PayloadLength <= ushort.MaxValue) return FrameViolation.LengthNotShortest;
        return !IsControl && PayloadLength > room ? FrameViolation.TooBig : null;
    }
}

using System.Buffers.Binary;
using CarServer.Rpc.WebSocket;

namespace CarServer.Tests.Support;

/// <summary>RFC 6455 section 5 once more, written for the reader and not for speed: what the daemon's parser is compared with.</summary>
internal static class FrameReference
{
    public static ulong Digest(ReadOnlySpan<byte> stream, int limit)
    {
        var heard = new FrameReading.Digester();
        FrameViolation? broken = Run(stream, limit, ref heard, out bool midMessage);
        if (broken is not null) heard.OnViolation(broken);
        else heard.OnEnd(midMessage);
        return heard.Value;
    }

    private static FrameViolation? Run(ReadOnlySpan<byte> rest, int limit, ref FrameReading.Digester heard, out bool midMessage)
    {
        List<byte>? message = null;
        Opcode opcode = default;
        midMessage = false;
        while (!rest.IsEmpty)
        {
            midMessage = true;
            if (rest.Length < 2) return null;
            int op = rest[0] & 0xF;
            bool fin = rest[0] >= 0x80, control = op >= 8;
            int length7 = rest[1] & 0x7F;
            if ((rest[0] & 0x70) != 0) return FrameViolation.ReservedBits;
            if (rest[1] < 0x80) return FrameViolation.NotMasked;
            if (op is 3 or 4 or 5 or 6 or 7 or > 10) return FrameViolation.ReservedOpcode;
            if (control && !fin) return FrameViolation.FragmentedControl;
            if (control && length7 > 125) return FrameViolation.LongControl;
            if (op == 0 && message is null) return FrameViolation.NothingToContinue;
            if (op is 1 or 2 && message is not null) return FrameViolation.MessageInMessage;

            int header = length7 < 126 ? 6 : length7 == 126 ? 8 : 14;
            if (rest.Length < header) return null;
            ulong length = length7 < 126 ? (ulong)length7 : length7 == 126 ? BinaryPrimitives.ReadUInt16BigEndian(rest[2..]) : BinaryPrimitives.ReadUInt64BigEndian(rest[2..]);
            if (length > long.MaxValue) return FrameViolation.LengthSign;
            if (header == 8 && length < 126 || header == 14 && length < 65536) return FrameViolation.LengthNotShortest;
            if (!control && length + (ulong)(message?.Count ?? 0) > (ulong)limit) return FrameViolation.TooBig;

            int here = (int)Math.Min(length, (ulong)(rest.Length - header));
            byte[] payload = rest.Slice(header, here).ToArray();
            for (int i = 0; i < here; i++) payload[i] ^= rest[header - 4 + i % 4];
            bool whole = (ulong)here == length;
            rest = rest[(header + here)..];

            if (control)
            {
                if (!whole) return null;
                if (op == 8 && payload.Length == 1) return FrameViolation.CloseTooShort;
                if (op == 8 && payload.Length > 1)
                {
                    int code = payload[0] << 8 | payload[1];
                    if (code is < 1000 or 1004 or 1005 or 1006 or >= 1015 and <= 2999 or > 4999) return FrameViolation.CloseCodeNotAllowed;
                    if (Utf8Reference.Check(payload.AsSpan(2)) != 0) return FrameViolation.NotUtf8;
                }
                heard.OnMessage((Opcode)op, payload);
                midMessage = message is not null;
                continue;
            }
            if (op != 0) (message, opcode) = ([], (Opcode)op);
            message!.AddRange(payload);
            bool ends = whole && fin;
            if (opcode == Opcode.Text && Utf8Reference.Check(message.ToArray()) is var valid && (valid < 0 || ends && valid > 0)) return FrameViolation.NotUtf8;
            if (!whole) return null;
            if (!fin) continue;
            heard.OnMessage(opcode, message.ToArray());
            message = null;
            midMessage = false;
        }
        return null;
    }
}

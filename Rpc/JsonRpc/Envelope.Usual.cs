using CarServer.RunStore;

namespace CarServer.Rpc.JsonRpc;

internal ref partial struct Envelope
{
    /// <summary>
    /// Reads an envelope that is what nearly all are: right, and with nothing escaped in the names it goes by. A third of the time that the
    /// reader takes for a short request. False says nothing about the message; the reader then looks at it from the beginning.
    /// </summary>
    private static bool TryReadUsual(ReadOnlySpan<byte> message, out Envelope envelope)
    {
        envelope = default;
        if (message.Length < 2 || message[0] != '{') return false;
        int seen = 0, at = 1;
        bool isRightVersion = false, isCompact = true;
        while (true)
        {
            at = JsonScan.Token(message, at);
            if ((uint)at >= (uint)message.Length || message[at] != '"') return false;
            int start = at + 1;
            at = JsonScan.String(message, start, out bool hasEscapes);
            if (at < 0 || hasEscapes) return false;
            Member member = Name(message[start..(at - 1)]);
            int bit = 1 << (int)member;
            if (member != Member.Other && (seen & bit) != 0) return false;
            seen |= bit;

            at = JsonScan.Token(message, at);
            if ((uint)at >= (uint)message.Length || message[at] != ':') return false;
            start = JsonScan.Token(message, at + 1);
            at = JsonScan.Value(message, start, ref isCompact);
            if (at < 0) return false;
            ReadOnlySpan<byte> value = message[start..at];
            if (!envelope.Take(member, value, ref isRightVersion)) return false;

            at = JsonScan.Token(message, at);
            if ((uint)at >= (uint)message.Length) return false;
            if (message[at++] == ',') continue;
            if (message[at - 1] != '}' || at != message.Length) return false;
            break;
        }
        bool hasId = (seen & 1 << (int)Member.Id) != 0;
        if ((seen & 1 << (int)Member.Method) != 0) envelope.Kind = hasId ? EnvelopeKind.Request : EnvelopeKind.Notification;
        else if (hasId) envelope.Kind = EnvelopeKind.Reply;
        else return false;
        return isRightVersion || envelope.Kind == EnvelopeKind.Reply;
    }

    /// <summary>False for a value that is not the usual one of its member.</summary>
    private bool Take(Member member, ReadOnlySpan<byte> value, ref bool isRightVersion)
    {
        switch (member)
        {
            case Member.Version:
                return isRightVersion = value.SequenceEqual("\"2.0\""u8);
            case Member.Method:
                Method = value[0] == '"' ? value[1..^1] : default;
                return value[0] == '"' && !Method.Contains((byte)'\\');
            case Member.Id:
                Id = value;
                return value[0] is not ((byte)'{' or (byte)'[' or (byte)'t' or (byte)'f') && value.Length <= Transport.Limits.MaxRequestIdBytes;
            case Member.Params:
                Params = value;
                return value[0] is (byte)'{' or (byte)'[';
            case Member.Result:
                Result = value;
                return true;
            case Member.Error:
                Error = value;
                return true;
            default:
                return true;
        }
    }
}

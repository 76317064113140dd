using System.Buffers;
using System.Text;
using System.Text.Unicode;

namespace CarServer.Rpc.WebSocket;

/// <summary>Validates UTF-8 that arrives in pieces, cut anywhere, and says no at the first octet that settles it (RFC 6455, 8.1).</summary>
internal struct Utf8Checker
{
    private uint _pending;      // the first octets of a character whose end has not come yet, lowest byte first
    private int _pendingCount;

    /// <summary>False as soon as no continuation could make the text valid.</summary>
    public bool Accept(ReadOnlySpan<byte> piece)
    {
        if (_pendingCount > 0)
        {
            Span<byte> character = stackalloc byte[4];
            for (int i = 0; i < _pendingCount; i++) character[i] = (byte)(_pending >> (8 * i));
            int taken = Math.Min(4 - _pendingCount, piece.Length);
            piece[..taken].CopyTo(character[_pendingCount..]);
            switch (Rune.DecodeFromUtf8(character[..(_pendingCount + taken)], out _, out int used))
            {
                case OperationStatus.Done: piece = piece[(used - _pendingCount)..]; _pendingCount = 0; break;
                case OperationStatus.NeedMoreData: Keep(character[..(_pendingCount + taken)]); return true;
                default: return false;
            }
        }

        int tail = UnfinishedTail(piece);
        if (!Utf8.IsValid(piece[..^tail])) return false;
        if (tail == 0) return true;
        Keep(piece[^tail..]);
        return Rune.DecodeFromUtf8(piece[^tail..], out _, out _) == OperationStatus.NeedMoreData;
    }

    /// <summary>True when no character is left half-way: the text may end here.</summary>
    public readonly bool MayEnd => _pendingCount == 0;

    public void Reset() => _pendingCount = 0;

    private void Keep(ReadOnlySpan<byte> octets)
    {
        _pending = 0;
        for (int i = 0; i < octets.Length; i++) _pending |= (uint)octets[i] << (8 * i);
        _pendingCount = octets.Length;
    }

    /// <summary>How many of the last octets start a character that is longer than what is here.</summary>
    private static int UnfinishedTail(ReadOnlySpan<byte> piece)
    {
        for (int back = 1; back <= Math.Min(3, piece.Length); back++)
        {
            byte octet = piece[^back];
            if ((octet & 0xC0) == 0x80) continue;
            int length = octet >= 0xF0 ? 4 : octet >= 0xE0 ? 3 : octet >= 0xC0 ? 2 : 1;
            return length > back ? back : 0;
        }
        return 0;
    }
}

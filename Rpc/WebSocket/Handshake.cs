using System.Buffers.Binary;
using System.Buffers.Text;
using System.Numerics;
using System.Text;

namespace CarServer.Rpc.WebSocket;

/// <summary>The opening handshake's proof that the server understood it (RFC 6455, 4.2.2).</summary>
internal static class Handshake
{
    /// <summary>Octets of a <c>Sec-WebSocket-Key</c>: 16 octets in base64.</summary>
    public const int KeyLength = 24;

    /// <summary>Octets of a <c>Sec-WebSocket-Accept</c>: a SHA-1 digest in base64.</summary>
    public const int AcceptLength = 28;

    private static ReadOnlySpan<byte> Suffix => "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"u8;

    /// <summary>A key is valid when it is the base64 form of exactly 16 octets.</summary>
    public static bool IsValidKey(ReadOnlySpan<byte> key)
    {
        Span<byte> decoded = stackalloc byte[18];
        return key.Length == KeyLength
            && Base64.DecodeFromUtf8(key, decoded, out int consumed, out int written) == System.Buffers.OperationStatus.Done
            && consumed == KeyLength && written == 16;
    }

    public static void WriteAccept(ReadOnlySpan<byte> key, Span<byte> accept)
    {
        Span<byte> input = stackalloc byte[KeyLength + 36];
        key.CopyTo(input);
        Suffix.CopyTo(input[KeyLength..]);
        Span<byte> digest = stackalloc byte[20];
        Sha1(input, digest);
        Base64.EncodeToUtf8(digest, accept, out _, out _);
    }

    /// <summary>The value the server must answer a key with, for the client's side of the check.</summary>
    public static string AcceptKey(string key)
    {
        Span<byte> accept = stackalloc byte[AcceptLength];
        WriteAccept(Encoding.ASCII.GetBytes(key), accept);
        return Encoding.ASCII.GetString(accept);
    }

    /// <summary>SHA-1 of a short text (FIPS 180-4, 6.1).</summary>
    /// <remarks>
    /// The protocol uses it as a checksum, not for security. The framework's own implementation would load the system's crypto library
    /// at the first connection: several megabytes and milliseconds for sixty octets.
    /// </remarks>
    internal static void Sha1(ReadOnlySpan<byte> text, Span<byte> digest)
    {
        int blocks = (text.Length + 8) / 64 + 1;
        Span<byte> padded = blocks <= 4 ? stackalloc byte[blocks * 64] : new byte[blocks * 64];
        padded.Clear();
        text.CopyTo(padded);
        padded[text.Length] = 0x80;
        BinaryPrimitives.WriteUInt64BigEndian(padded[^8..], (ulong)text.Length * 8);

        uint h0 = 0x67452301, h1 = 0xEFCDAB89, h2 = 0x98BADCFE, h3 = 0x10325476, h4 = 0xC3D2E1F0;
        Span<uint> w = stackalloc uint[80];
        for (; padded.Length > 0; padded = padded[64..])
        {
            for (int t = 0; t < 16; t++) w[t] = BinaryPrimitives.ReadUInt32BigEndian(padded[(4 * t)..]);
            for (int t = 16; t < 80; t++) w[t] = BitOperations.RotateLeft(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
            uint a = h0, b = h1, c = h2, d = h3, e = h4;
            for (int t = 0; t < 80; t++)
            {
                (uint f, uint k) = t switch
                {
                    < 20 => (b & c | ~b & d, 0x5A827999u),
                    < 40 => (b ^ c ^ d, 0x6ED9EBA1u),
                    < 60 => (b & c | b & d | c & d, 0x8F1BBCDCu),
                    _ => (b ^ c ^ d, 0xCA62C1D6u),
                };
                uint next = BitOperations.RotateLeft(a, 5) + f + e + k + w[t];
                (e, d, c, b, a) = (d, c, BitOperations.RotateLeft(b, 30), a, next);
            }
            h0 += a;
            h1 += b;
            h2 += c;
            h3 += d;
            h4 += e;
        }
        BinaryPrimitives.WriteUInt32BigEndian(digest, h0);
        BinaryPrimitives.WriteUInt32BigEndian(digest[4..], h1);
        BinaryPrimitives.WriteUInt32BigEndian(digest[8..], h2);
        BinaryPrimitives.WriteUInt32BigEndian(digest[12..], h3);
        BinaryPrimitives.WriteUInt32BigEndian(digest[16..], h4);
    }
}

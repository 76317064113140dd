using System.Text;
using CarServer.Rpc.Transport.Native;
using CarServer.Rpc.WebSocket;

namespace CarServer.Rpc.Client;

/// <summary>The client's half of the opening handshake (RFC 6455, 4.1).</summary>
internal static class ClientHandshake
{
    /// <summary>A daemon answers in a few hundred bytes; whatever sends more is none.</summary>
    public const int MaxHeadBytes = 8 * 1024;

    public static string NewKey()
    {
        Span<byte> nonce = stackalloc byte[16];
        Entropy.Fill(nonce);
        return Convert.ToBase64String(nonce);
    }

    public static byte[] Request(DaemonAddress address, string key) => Encoding.UTF8.GetBytes(
        $"GET {address.Target} HTTP/1.1\r\nHost: {address.HostHeader}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
        $"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n");

    /// <summary>The first rule that the answer breaks, in words, or null.</summary>
    /// <param name="head">From the status line up to and without the empty line.</param>
    public static string? Check(ReadOnlySpan<byte> head, string key)
    {
        string[] lines = Encoding.Latin1.GetString(head).Split("\r\n");
        string[] status = lines[0].Split(' ', 3);
        if (!status[0].StartsWith("HTTP/1.", StringComparison.Ordinal) || status.Length < 2) return "it does not speak HTTP";
        if (status[1] != "101") return $"it answered '{lines[0]}'";

        bool upgrade = false, connection = false, accept = false;
        foreach (string line in lines.AsSpan(1))
        {
            int colon = line.IndexOf(':');
            if (colon <= 0) return "its answer has a malformed header";
            string name = line[..colon];
            string value = line[(colon + 1)..].Trim();
            if (Same(name, "Upgrade")) upgrade = Same(value, "websocket");
            else if (Same(name, "Connection")) connection |= value.Split(',').Any(token => Same(token.Trim(), "upgrade"));
            else if (Same(name, "Sec-WebSocket-Accept")) accept = value == Handshake.AcceptKey(key);
            else if (Same(name, "Sec-WebSocket-Extensions") || Same(name, "Sec-WebSocket-Protocol")) return $"it chose a {name} that nobody offered";
        }
        if (!upgrade || !connection) return "it did not upgrade to WebSocket";
        return accept ? null : "its Sec-WebSocket-Accept does not match the key";
    }

    private static bool Same(string a, string b) => string.Equals(a, b, StringComparison.OrdinalIgnoreCase);
}

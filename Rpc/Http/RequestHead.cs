using System.Text;

namespace CarServer.Rpc.Http;

/// <summary>What a request is refused with: a status line and a sentence for the body.</summary>
internal sealed record HttpRefusal(int Status, string Reason)
{
    /// <summary>Further header lines, each ending in CRLF.</summary>
    public string Headers { get; init; } = "";
}

/// <summary>The head of an HTTP/1.1 request (RFC 9112, 2 to 5), read strictly: what is not clearly allowed is refused.</summary>
/// <remarks>A view on the octets it was parsed from; nothing is copied. Lines end in CRLF, there is no folding, every byte is checked.</remarks>
internal ref struct RequestHead
{
    /// <summary>A browser's head with cookies for <c>localhost</c> stays well below.</summary>
    public const int MaxBytes = 16 * 1024;
    /// <summary>Nothing here is named by a long path, and tokens never go into one.</summary>
    public const int MaxTargetBytes = 2 * 1024;
    /// <summary>A browser sends some twenty; each one more is work before anybody has shown a token.</summary>
    public const int MaxHeaders = 64;
    /// <summary>The one that is served has three letters; a longer word than this is hardly a method.</summary>
    private const int MaxMethodBytes = 16;

    public ReadOnlySpan<byte> Method;
    public ReadOnlySpan<byte> Target;
    public ReadOnlySpan<byte> Host;
    public ReadOnlySpan<byte> Origin;
    public ReadOnlySpan<byte> WebSocketKey;
    public ReadOnlySpan<byte> WebSocketVersion;
    public bool HasOrigin;
    public bool UpgradesToWebSocket;
    public bool ConnectionUpgrade;
    public bool HasBody;

    /// <summary>Octets of the head, the empty line included.</summary>
    public int Length;

    /// <summary>Reads a head from the front of <paramref name="octets"/>.</summary>
    /// <returns>False with a refusal, or false without one: come back with more octets.</returns>
    public static bool TryParse(ReadOnlySpan<byte> octets, out RequestHead head, out HttpRefusal? refusal)
    {
        head = default;
        refusal = null;
        // Octets past the limit are not looked at: what is said must not depend on how many of them came in the same packet.
        if (octets.Length > MaxBytes) octets = octets[..MaxBytes];
        int end = octets.IndexOf("\r\n\r\n"u8);
        ReadOnlySpan<byte> lines = end < 0 ? octets : octets[..(end + 2)];

        int lineEnd = lines.IndexOf((byte)'\n');
        ReadOnlySpan<byte> first = lineEnd < 0 ? lines : lines[..(lineEnd + 1)];
        refusal = CheckStart(first, lineEnd >= 0, ref head);
        if (refusal is null && HasBareLineFeed(lines)) refusal = BareLineFeed;
        if (refusal is null && end < 0 && octets.Length == MaxBytes) refusal = TooLarge;
        if (refusal is not null || end < 0) return false;
        head.Length = end + 4;
        refusal = head.ParseHeaders(lines[(lineEnd + 1)..]);
        return refusal is null;
    }

    private static readonly HttpRefusal TooLarge = new(431, $"request head over {MaxBytes} bytes");
    private static readonly HttpRefusal BareLineFeed = new(400, "line does not end in CRLF");

    /// <summary>Judges the request line as far as it has come.</summary>
    private static HttpRefusal? CheckStart(ReadOnlySpan<byte> line, bool whole, ref RequestHead head)
    {
        int space = line.IndexOf((byte)' ');
        ReadOnlySpan<byte> method = space < 0 ? line : line[..space];
        // In the order in which octets come in, so that pieces are refused for the reason the whole is.
        if (method.TrimEnd("\r\n"u8).IndexOfAnyExceptInRange((byte)'A', (byte)'Z') is >= 0 and < MaxMethodBytes) return new HttpRefusal(400, "malformed method");
        if (method.Length > MaxMethodBytes || whole && space < 0) return new HttpRefusal(400, "malformed request line");
        if (space == 0) return new HttpRefusal(400, "malformed request line");
        if (space < 0) return null;

        ReadOnlySpan<byte> rest = line[(space + 1)..];
        int targetEnd = rest.IndexOf((byte)' ');
        ReadOnlySpan<byte> target = targetEnd < 0 ? rest : rest[..targetEnd];
        if (target.Length > MaxTargetBytes) return new HttpRefusal(414, $"request target over {MaxTargetBytes} bytes");
        if (!whole) return null;
        if (targetEnd <= 0 || target[0] != (byte)'/' || !line.EndsWith("\r\n"u8)) return new HttpRefusal(400, "malformed request line");
        foreach (byte b in target) if (b is <= 0x20 or >= 0x7F) return new HttpRefusal(400, "malformed request target");
        if (!rest[(targetEnd + 1)..^2].SequenceEqual("HTTP/1.1"u8)) return new HttpRefusal(400, "only HTTP/1.1 is spoken here");
        head.Method = method;
        head.Target = target;
        return null;
    }

    private HttpRefusal? ParseHeaders(ReadOnlySpan<byte> lines)
    {
        bool host = false, key = false, version = false;
        for (int count = 1; !lines.IsEmpty; count++)
        {
            if (count > MaxHeaders) return new HttpRefusal(431, $"more than {MaxHeaders} header lines");
            int end = lines.IndexOf((byte)'\n');
            if (end < 1 || lines[end - 1] != (byte)'\r') return BareLineFeed;
            ReadOnlySpan<byte> line = lines[..(end - 1)];
            lines = lines[(end + 1)..];
            int colon = line.IndexOf((byte)':');
            if (colon <= 0) return new HttpRefusal(400, "malformed header line");
            ReadOnlySpan<byte> name = line[..colon];
            ReadOnlySpan<byte> value = line[(colon + 1)..].Trim(" \t"u8);
            foreach (byte b in name) if (!IsTokenOctet(b)) return new HttpRefusal(400, "malformed header name");
            foreach (byte b in value) if (b < 0x20 && b != (byte)'\t' || b == 0x7F) return new HttpRefusal(400, "control character in a header");

            if (Is(name, "host"u8))
            {
                if (host) return new HttpRefusal(400, "more than one Host header");
                host = true;
                Host = value;
            }
            else if (Is(name, "origin"u8))
            {
                if (HasOrigin) return new HttpRefusal(400, "more than one Origin header");
                HasOrigin = true;
                Origin = value;
            }
            else if (Is(name, "sec-websocket-key"u8))
            {
                if (key) return new HttpRefusal(400, "more than one Sec-WebSocket-Key header");
                key = true;
                WebSocketKey = value;
            }
            else if (Is(name, "sec-websocket-version"u8))
            {
                if (version) return new HttpRefusal(400, "more than one Sec-WebSocket-Version header");
                version = true;
                WebSocketVersion = value;
            }
            else if (Is(name, "upgrade"u8)) UpgradesToWebSocket |= ListHas(value, "websocket"u8);
            else if (Is(name, "connection"u8)) ConnectionUpgrade |= ListHas(value, "upgrade"u8);
            else if (Is(name, "transfer-encoding"u8)) HasBody = true;
            else if (Is(name, "content-length"u8))
            {
                if (value.IsEmpty || value.IndexOfAnyExceptInRange((byte)'0', (byte)'9') >= 0) return new HttpRefusal(400, "malformed Content-Length");
                HasBody |= value.IndexOfAnyExcept((byte)'0') >= 0;
            }
        }
        return host ? null : new HttpRefusal(400, "no Host header");
    }

    private static bool HasBareLineFeed(ReadOnlySpan<byte> octets)
    {
        for (int at; (at = octets.IndexOf((byte)'\n')) >= 0; octets = octets[(at + 1)..])
            if (at == 0 || octets[at - 1] != (byte)'\r') return true;
        return false;
    }

    private static bool Is(ReadOnlySpan<byte> name, ReadOnlySpan<byte> lowercase) => Ascii.EqualsIgnoreCase(name, lowercase);

    private static bool ListHas(ReadOnlySpan<byte> list, ReadOnlySpan<byte> lowercase)
    {
        foreach (Range part in list.Split((byte)','))
            if (Ascii.EqualsIgnoreCase(list[part].Trim(" \t"u8), lowercase)) return true;
        return false;
    }

    /// <summary>RFC 9110, 5.6.2.</summary>
    private static bool IsTokenOctet(byte b) =>
        b is >= (byte)'a' and <= (byte)'z' or >= (byte)'A' and <= (byte)'Z' or >= (byte)'0' and <= (byte)'9' || "!#$%&'*+-.^_`|~"u8.Contains(b);
}

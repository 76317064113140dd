using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd.Hostile;

/// <summary>The opening handshake: RFC 6455 section 4.2, RFC 9112, and the daemon's own rules on Host and Origin.</summary>
internal static class HandshakeCases
{
    private const string Upgraded = "HTTP 101";

    private static readonly string[] Good = ["Host: localhost", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"];

    public static IEnumerable<HostileCase> All => Rows.Select(row => row with { OpensItself = true });

    private static IEnumerable<HostileCase> Rows =>
    [
        // ------------------------------------------------------------ what is allowed
        new("a plain upgrade", Head(), Upgraded),
        new("header names in capitals, tokens in mixed case, lists and spaces", Head("GET / HTTP/1.1", "HOST:localhost", "UPGRADE:  foo, WebSocket ", "CONNECTION: keep-alive , upGRADE", "SEC-WEBSOCKET-KEY:\tdGhlIHNhbXBsZSBub25jZQ==\t", "SEC-WEBSOCKET-VERSION: 13"), Upgraded),
        new("Upgrade and Connection over two lines each", Head(With("Upgrade: other", "Connection: keep-alive")), Upgraded),
        new("any path and query", Head("GET /a/b?c=%20d HTTP/1.1", Good), Upgraded),
        new("extensions and subprotocols are declined by silence", Head(With("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits", "Sec-WebSocket-Protocol: chat, superchat")), Upgraded),
        new("a body announced as nothing", Head(With("Content-Length: 0")), Upgraded),
        new("64 header lines", Head(With(Filler(59, 1))), Upgraded),
        new("a head of exactly 16 KiB", Head(With("X: " + new string('x', 16 * 1024 - HeadLength(With("X: "))))), Upgraded),
        new("a target of exactly 2 KiB", Head("GET /" + new string('a', 2047) + " HTTP/1.1", Good), Upgraded),
        new("a frame in the same packet as the upgrade", $"{Head()} 89 82 00000000 'hi'", $"{Upgraded}, pong 'hi'"),
        new("a message in the same packet as the upgrade", $"{Head()} {Drawing.Text("""{"jsonrpc":"2.0","method":"ping","id":1}""")}", $"{Upgraded}, id 1: \"pong\""),
        new("half a frame behind the upgrade", $"{Head()} 89 82 00 | 000000 'hi'", $"{Upgraded}, pong 'hi'"),
        new("a close frame in the same packet as the upgrade", $"{Head()} 88 82 00000000 03E8", $"{Upgraded}, close 1000"),

        // ------------------------------------------------------------ garbage behind a head
        new("a second request behind the upgrade is no frame", $"{Head()} {Head()}", $"{Upgraded}, close 1002"),
        new("zeros behind the upgrade", $"{Head()} 00*64", $"{Upgraded}, close 1002"),
        new("garbage behind a refused request is dropped", $"{Head("GET / HTTP/1.1", "Host: localhost")} FF*5000", "HTTP 426 (Sec-WebSocket-Version: 13)"),
        new("a good request behind a refused one is dropped", $"{Head("POST / HTTP/1.1", Good)} {Head()}", "HTTP 405 (Allow: GET)"),

        // ------------------------------------------------------------ 400: not HTTP/1.1 as we read it
        new("octets that are no text", "00 01 02 03 FF FE 0D0A0D0A", "HTTP 400"),
        new("a TLS client hello", "16 0301 0200 01 0001FC 0303 00*64", "HTTP 400"),
        new("an empty line first", $"0D0A {Head()}", "HTTP 400"),
        new("nothing but an empty line", "0D0A0D0A", "HTTP 400"),
        new("a method in small letters", Head("get / HTTP/1.1", Good), "HTTP 400"),
        new("a method of 17 letters", Head("ABCDEFGHIJKLMNOPQ / HTTP/1.1", Good), "HTTP 400"),
        new("no method", Head(" / HTTP/1.1", Good), "HTTP 400"),
        new("no target", Head("GET HTTP/1.1", Good), "HTTP 400"),
        new("two spaces before the target", Head("GET  / HTTP/1.1", Good), "HTTP 400"),
        new("two spaces behind the target", Head("GET /  HTTP/1.1", Good), "HTTP 400"),
        new("a target that is no path", Head("GET http://localhost/ HTTP/1.1", Good), "HTTP 400"),
        new("a target with a control octet", $"'GET /' 01 ' HTTP/1.1\r\nHost: localhost\r\n\r\n'", "HTTP 400"),
        new("a target with an octet over 127", $"'GET /ä HTTP/1.1\r\nHost: localhost\r\n\r\n'", "HTTP 400"),
        new("HTTP/1.0", Head("GET / HTTP/1.0", Good), "HTTP 400"),
        new("HTTP/2 with prior knowledge", "'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'", "HTTP 400"),
        new("a version in small letters", Head("GET / http/1.1", Good), "HTTP 400"),
        new("something behind the version", Head("GET / HTTP/1.1 x", Good), "HTTP 400"),
        new("no Host", Head(Without("Host")), "HTTP 400"),
        new("two Hosts", Head(With("Host: localhost")), "HTTP 400"),
        new("two Origins", Head(With("Origin: http://localhost", "Origin: http://localhost")), "HTTP 400"),
        new("two keys", Head(With(Good[3])), "HTTP 400"),
        new("two versions", Head(With(Good[4])), "HTTP 400"),
        new("no key", Head(Without("Sec-WebSocket-Key")), "HTTP 400"),
        new("a key of 15 bytes", Head(Replaced("Sec-WebSocket-Key: " + Convert.ToBase64String(new byte[15]))), "HTTP 400"),
        new("a key of 17 bytes", Head(Replaced("Sec-WebSocket-Key: " + Convert.ToBase64String(new byte[17]))), "HTTP 400"),
        new("a key that is no base64", Head(Replaced("Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!==")), "HTTP 400"),
        new("a key with a space inside", Head(Replaced("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ ==")), "HTTP 400"),
        new("a header line without a colon", Head(With("what is this")), "HTTP 400"),
        new("a header line without a name", Head(With(": value")), "HTTP 400"),
        new("a space before the colon", Head(With("X : y")), "HTTP 400"),
        new("a folded header line", Head(With("X: y", " z")), "HTTP 400"),
        new("a control octet in a value", $"'GET / HTTP/1.1\r\nHost: localhost\r\nX: ' 00 '\r\n\r\n'", "HTTP 400"),
        new("a carriage return in a value", Head(With("X: a\rb")), "HTTP 400"),
        new("lines that end in a line feed alone", "'GET / HTTP/1.1\nHost: localhost\n\n'", "HTTP 400"),
        new("one header line that ends in a line feed alone", Head(With("X: y\nZ: z")), "HTTP 400"),
        new("a Content-Length that is no number", Head(With("Content-Length: +1")), "HTTP 400"),
        new("an empty Content-Length", Head(With("Content-Length:")), "HTTP 400"),

        // ------------------------------------------------------------ 403: who asks, and for whom
        new("a Host of another machine", Head(Replaced("Host: evil.example")), "HTTP 403"),
        new("a Host that begins like ours", Head(Replaced("Host: localhost.evil.example")), "HTTP 403"),
        new("a Host that ends like ours", Head(Replaced("Host: notlocalhost")), "HTTP 403"),
        new("a Host that is another address", Head(Replaced("Host: 192.0.2.1:9100")), "HTTP 403"),
        new("an empty Host", Head(Replaced("Host:")), "HTTP 403"),
        new("a Host whose port is no port", Head(Replaced("Host: localhost:80@evil.example")), "HTTP 403"),
        new("a Host with something behind the bracket", Head(Replaced("Host: [::1]evil.example")), "HTTP 403"),
        new("a Host with an octet over 127", $"'GET / HTTP/1.1\r\nHost: löcalhost\r\n\r\n'", "HTTP 403"),
        new("a Host of ours in IPv6", Head(Replaced("Host: [::1]:9100")), Upgraded),
        new("a Host of ours in IPv4", Head(Replaced("Host: 127.0.0.1")), Upgraded),
        new("an Origin of another site", Head(With("Origin: https://evil.example")), "HTTP 403"),
        new("the Origin null", Head(With("Origin: null")), "HTTP 403"),
        new("an empty Origin", Head(With("Origin:")), "HTTP 403"),
        new("an Origin that is a file", Head(With("Origin: file://")), "HTTP 403"),
        new("an Origin that begins like ours", Head(With("Origin: http://localhost.evil.example")), "HTTP 403"),
        new("an Origin with ours as its user", Head(With("Origin: http://localhost@evil.example")), "HTTP 403"),
        new("an Origin with a user on ours", Head(With("Origin: http://user@localhost")), "HTTP 403"),
        new("an Origin with a path", Head(With("Origin: http://localhost/x")), "HTTP 403"),
        new("an Origin with a fragment", Head(With("Origin: http://localhost#x")), "HTTP 403"),
        new("two Origins in one line", Head(With("Origin: http://localhost http://evil.example")), "HTTP 403"),
        new("an extension's Origin", Head(With("Origin: chrome-extension://abcdefgh")), "HTTP 403"),
        new("an Origin of this machine", Head(With("Origin: http://localhost:3000")), Upgraded),
        new("an Origin of this machine in IPv6", Head(With("Origin: https://[::1]:3000")), Upgraded),

        // ------------------------------------------------------------ 405, 413, 414, 426, 431
        new("POST", Head("POST / HTTP/1.1", Good), "HTTP 405 (Allow: GET)"),
        new("HEAD", Head("HEAD / HTTP/1.1", Good), "HTTP 405 (Allow: GET)"),
        new("CONNECT to a path", Head("CONNECT / HTTP/1.1", Good), "HTTP 405 (Allow: GET)"),
        new("a body by its length", Head(With("Content-Length: 1")), "HTTP 413"),
        new("a body by its length, over any number", Head(With("Content-Length: 99999999999999999999999999")), "HTTP 413"),
        new("a body in chunks", Head(With("Transfer-Encoding: chunked")), "HTTP 413"),
        new("a target one byte over 2 KiB", Head("GET /" + new string('a', 2048) + " HTTP/1.1", Good), "HTTP 414"),
        new("a target that does not end", $"'GET /' 'a'*40000", "HTTP 414"),
        new("no upgrade at all", Head("GET / HTTP/1.1", "Host: localhost"), "HTTP 426 (Sec-WebSocket-Version: 13)"),
        new("no Upgrade", Head(Without("Upgrade")), "HTTP 426 (Sec-WebSocket-Version: 13)"),
        new("no Connection", Head(Without("Connection")), "HTTP 426 (Sec-WebSocket-Version: 13)"),
        new("an upgrade to something else", Head(Replaced("Upgrade: h2c")), "HTTP 426 (Sec-WebSocket-Version: 13)"),
        new("an upgrade to something longer", Head(Replaced("Upgrade: websocket2")), "HTTP 426 (Sec-WebSocket-Version: 13)"),
        new("no version", Head(Without("Sec-WebSocket-Version")), "HTTP 426 (Sec-WebSocket-Version: 13)"),
        new("version 8", Head(Replaced("Sec-WebSocket-Version: 8")), "HTTP 426 (Sec-WebSocket-Version: 13)"),
        new("version 13 and another", Head(Replaced("Sec-WebSocket-Version: 13, 8")), "HTTP 426 (Sec-WebSocket-Version: 13)"),
        new("version 013", Head(Replaced("Sec-WebSocket-Version: 013")), "HTTP 426 (Sec-WebSocket-Version: 13)"),
        new("65 header lines", Head(With(Filler(60, 1))), "HTTP 431"),
        new("a head one byte over 16 KiB", Head(With("X: " + new string('x', 16 * 1024 + 1 - HeadLength(With("X: "))))), "HTTP 431"),
        new("a head that does not end", $"'GET / HTTP/1.1\r\nHost: localhost\r\nX: ' 'x'*60000", "HTTP 431"),
        new("a version that does not end", $"'GET / HTTP/1.1' 'x'*60000", "HTTP 431"),
        new("a flood of header lines", $"'GET / HTTP/1.1\r\nHost: localhost\r\n' 'a:\r\n'*15000", "HTTP 431"),
    ];

    /// <summary>A good head, drawn: also cut at every byte by a test of its own.</summary>
    public static string Head() => Head("GET / HTTP/1.1", Good);

    private static string Head(params string[] lines) => $"'{string.Join("\r\n", lines)}\r\n\r\n'";
    private static string Head(string first, string[] lines) => Head([first, .. lines]);
    private static string Head(IEnumerable<string> headers) => Head("GET / HTTP/1.1", [.. headers]);

    private static IEnumerable<string> With(params IEnumerable<string> more) => [.. Good, .. more];
    private static IEnumerable<string> Without(string name) => Good.Where(line => !line.StartsWith(name + ":", StringComparison.Ordinal));
    private static IEnumerable<string> Replaced(string line) => [.. Without(line[..line.IndexOf(':')]), line];
    private static IEnumerable<string> Filler(int lines, int length) => Enumerable.Range(0, lines).Select(i => $"X-{i}: {new string('x', length)}");
    private static int HeadLength(IEnumerable<string> headers) => Drawing.Octets(Head(headers)).Length;
}

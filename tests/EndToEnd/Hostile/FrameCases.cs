using CarServer.Tests.Support;
using static CarServer.Tests.Support.Drawing;

namespace CarServer.Tests.EndToEnd.Hostile;

/// <summary>Frames: RFC 6455 section 5. Masking keys are zero where the key is not what matters, so that payloads can be read.</summary>
internal static class FrameCases
{
    private const string Ping = """{"jsonrpc":"2.0","method":"ping","id":1}""";
    private const string Pong = """id 1: "pong" """;

    public static IEnumerable<HostileCase> All => Rows.Concat(ReservedOpcodes).Concat(ReservedBits).Concat(Unmasked).Concat(NotShortest).Concat(Lengths)
        .Select(row => row with { Heard = row.Heard.Replace("\" ", "\"", StringComparison.Ordinal) });

    private static IEnumerable<HostileCase> ReservedOpcodes =>
        from opcode in (int[])[3, 4, 5, 6, 7, 11, 12, 13, 14, 15]
        select new HostileCase($"reserved opcode {opcode:X}", $"8{opcode:X} 80 00000000", "close 1002") { Reason = "reserved opcode (RFC 6455 5.2)" };

    private static IEnumerable<HostileCase> ReservedBits =>
        from bit in (int[])[1, 2, 4]
        from opcode in (int[])[Op.Text, Op.Ping, Op.Close]
        select new HostileCase($"RSV bit {bit} on opcode {opcode:X}", $"{0x80 | bit << 4 | opcode:X2} 80 00000000", "close 1002") { Reason = "reserved bits set (RFC 6455 5.2)" };

    private static IEnumerable<HostileCase> Unmasked =>
        from opcode in (int[])[Op.Continuation, Op.Text, Op.Binary, Op.Close, Op.Ping, Op.Pong]
        select new HostileCase($"opcode {opcode:X} not masked", $"8{opcode:X} 02 03E8", "close 1002") { Reason = "client frame not masked (RFC 6455 5.1)" };

    private static IEnumerable<HostileCase> NotShortest =>
    [
        new("length 0 in 16 bits", "82 FE 0000 00000000", "close 1002"),
        new("length 125 in 16 bits", "82 FE 007D 00000000", "close 1002"),
        new("length 126 in 16 bits is the shortest form", $"81 FE 007E 00000000 '{Ping}' 20*{126 - Ping.Length}", Pong),
        new("length 0 in 64 bits", "82 FF 0000000000000000 00000000", "close 1002"),
        new("length 126 in 64 bits", "82 FF 000000000000007E 00000000", "close 1002"),
        new("length 65535 in 64 bits", "82 FF 000000000000FFFF 00000000", "close 1002"),
        new("length 65536 in 64 bits is the shortest form", $"81 FF 0000000000010000 00000000 '{Ping}' 20*{65536 - Ping.Length}", Pong),
        new("the highest bit of 64", "82 FF 8000000000000000 00000000", "close 1002"),
        new("all bits of 64", "82 FF FFFFFFFFFFFFFFFF 00000000", "close 1002"),
        new("63 bits of length", "82 FF 7FFFFFFFFFFFFFFF 00000000", "close 1009"),
        new("4 GiB and a little", "82 FF 0000000100000005 00000000 'hello'", "close 1009"),
        new("2 GiB", "81 FF 0000000080000000 00000000", "close 1009"),
    ];

    private static IEnumerable<HostileCase> Lengths =>
        from length in (int[])[0, 1, 125, 126, 127, 65535, 65536]
        from binary in (bool[])[false, true]
        select binary
            ? new HostileCase($"a binary message of {length} bytes", Frame(Op.Binary, $"00*{length}"), "close 1003")
            : new HostileCase($"a text message of {length} bytes", Frame(Op.Text, length < Ping.Length ? $"20*{length}" : $"'{Ping}' 20*{length - Ping.Length}"),
                length < Ping.Length ? "id null: -32700" : Pong);

    private static IEnumerable<HostileCase> Rows =>
    [
        // ------------------------------------------------------------ masking
        new("the masked example of RFC 6455 5.7", "81 85 37FA213D 7F9F4D5158", "id null: -32700"),
        new("a ping masked with all bits", "89 82 FFFFFFFF 9796", "pong 'hi'"),

        // ------------------------------------------------------------ control frames
        new("an empty ping", "89 80 00000000", "pong ''"),
        new("a ping of 125 bytes", Frame(Op.Ping, "'x'*125"), "pong '125 bytes'"),
        new("a ping of 126 bytes", Frame(Op.Ping, "'x'*126"), "close 1002"),
        new("a ping of 65536 bytes", "89 FF 0000000000010000 00000000", "close 1002"),
        new("a ping of binary octets comes back whole", "89 82 00000000 C3A9", "pong 'é'"),
        new("a fragmented ping", "09 80 00000000", "close 1002"),
        new("a fragmented pong", "0A 80 00000000", "close 1002"),
        new("a fragmented close", "08 80 00000000", "close 1002"),
        new("a pong of 126 bytes", Frame(Op.Pong, "'x'*126"), "close 1002"),
        new("a close of 126 bytes", Frame(Op.Close, "03E8 'x'*124"), "close 1002"),
        new("a pong nobody asked for", "8A 82 00000000 'hi'", ""),
        new("three pings in one packet", "89 81 00000000 'a' 89 81 00000000 'b' 89 81 00000000 'c'", "pong 'a', pong 'b', pong 'c'"),
        new("a thousand pings in one packet", string.Concat(Enumerable.Repeat("89 80 00000000 ", 1000)), string.Join(", ", Enumerable.Repeat("pong ''", 1000))),
        new("a ping in pieces", "89 | 82 | 01020304 | 69 | 6B", "pong 'hi'"),

        // ------------------------------------------------------------ fragments
        new("a message in two fragments", $"{Frame(Op.Text, $"'{Ping[..9]}'", fin: false)} {Frame(Op.Continuation, $"'{Ping[9..]}'")}", Pong),
        new("a message in one fragment for each byte", string.Join(' ', Ping.Select((c, i) => Frame(i == 0 ? Op.Text : Op.Continuation, $"'{c}'", fin: i == Ping.Length - 1))), Pong),
        new("empty fragments around a message", $"{Frame(Op.Text, "", fin: false)} {Frame(Op.Continuation, "", fin: false)} {Frame(Op.Continuation, $"'{Ping}'", fin: false)} {Frame(Op.Continuation, "")}", Pong),
        new("ten thousand empty fragments", $"{Frame(Op.Text, $"'{Ping}'", fin: false)} {string.Concat(Enumerable.Repeat("00 80 00000000 ", 10_000))} 80 80 00000000", Pong),
        new("a message of empty fragments", "01 80 00000000 00 80 00000000 80 80 00000000", "id null: -32700"),
        new("a ping between fragments is answered before the message", $"{Frame(Op.Text, $"'{Ping[..9]}'", fin: false)} 89 81 00000000 'x' {Frame(Op.Continuation, $"'{Ping[9..]}'")}", $"pong 'x', {Pong}"),
        new("a ping in pieces between fragments", $"{Frame(Op.Text, $"'{Ping[..9]}'", fin: false)} 89 | 82 0000 | 0000 'x' | 'y' {Frame(Op.Continuation, $"'{Ping[9..]}'")}", $"pong 'xy', {Pong}"),
        new("a close between fragments ends it", $"{Frame(Op.Text, $"'{Ping[..9]}'", fin: false)} 88 82 00000000 03E8 {Frame(Op.Continuation, $"'{Ping[9..]}'")}", "close 1000"),
        new("a binary message in fragments", "02 81 00000000 'a' 80 81 00000000 'b'", "close 1003"),
        new("a continuation of nothing", "80 80 00000000", "close 1002"),
        new("an unfinished continuation of nothing", "00 80 00000000", "close 1002"),
        new("a continuation behind a whole message", $"{Text(Ping)} 80 80 00000000", $"{Pong}, close 1002"),
        new("a continuation behind a finished one", $"01 80 00000000 {Frame(Op.Continuation, $"'{Ping}'")} 80 80 00000000", $"{Pong}, close 1002"),
        new("a text message inside a text message", $"01 80 00000000 {Text(Ping)}", "close 1002"),
        new("a binary message inside a text message", "01 80 00000000 82 80 00000000", "close 1002"),
        new("an unfinished text message inside another", "01 80 00000000 01 80 00000000", "close 1002"),
        new("a reserved opcode inside a message", "01 80 00000000 83 80 00000000", "close 1002"),

        // ------------------------------------------------------------ the limit of a message
        new("a message exactly at the limit", Frame(Op.Text, $"'{Ping}' 20*{HostileCase.SmallLimit - Ping.Length}"), Pong) { At = At.Small },
        new("a message one byte over the limit", Frame(Op.Text, $"'{Ping}' 20*{HostileCase.SmallLimit + 1 - Ping.Length}"), "close 1009") { At = At.Small },
        new("a header that announces one byte over the limit", Convert.ToHexString(RawPeer.FrameHeader(Op.Text, HostileCase.SmallLimit + 1)), "close 1009") { At = At.Small, Reason = "message over the limit" },
        new("fragments exactly at the limit", $"{Frame(Op.Text, $"'{Ping}'", fin: false)} {Frame(Op.Continuation, $"20*{HostileCase.SmallLimit - Ping.Length}", fin: false)} 80 80 00000000", Pong) { At = At.Small },
        new("fragments one byte over the limit", $"{Frame(Op.Text, $"'{Ping}'", fin: false)} {Frame(Op.Continuation, $"20*{HostileCase.SmallLimit - Ping.Length}", fin: false)} 80 81 00000000 20", "close 1009") { At = At.Small },
        new("a ping counts for nothing at the limit", $"{Frame(Op.Text, $"'{Ping}' 20*{HostileCase.SmallLimit - Ping.Length}", fin: false)} {Frame(Op.Ping, "'x'*125")} 80 80 00000000", $"pong '125 bytes', {Pong}") { At = At.Small },
        new("the limit counts each message anew", $"{Frame(Op.Text, $"'{Ping}' 20*{HostileCase.SmallLimit - Ping.Length}")} {Frame(Op.Text, $"'{Ping}' 20*{HostileCase.SmallLimit - Ping.Length}")}", $"{Pong}, {Pong}") { At = At.Small },
        new("the default limit of 32 MiB, one byte over", Convert.ToHexString(RawPeer.FrameHeader(Op.Text, 32 * 1024 * 1024 + 1)), "close 1009"),

        // ------------------------------------------------------------ the first fault ends it
        new("nothing after a fault counts", $"83 80 00000000 {Text(Ping)} 89 80 00000000", "close 1002"),
        new("what came before a fault is answered", $"{Text(Ping)} 89 81 00000000 'x' FF FF", $"{Pong}, pong 'x', close 1002"),
    ];
}

using CarServer.Tests.Support;
using static CarServer.Tests.Support.Drawing;

namespace CarServer.Tests.EndToEnd.Hostile;

/// <summary>Close frames: RFC 6455 sections 5.5.1 and 7.4. A legal code is echoed, an illegal one answered with 1002.</summary>
internal static class CloseCases
{
    private static readonly int[] Legal = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999];
    private static readonly int[] Illegal = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 9999, 65535];

    public static IEnumerable<HostileCase> All => Legal.Select(code => Code(code, code)).Concat(Illegal.Select(code => Code(code, 1002))).Concat(Rows);

    private static HostileCase Code(int code, int answer) =>
        new($"close code {code}", Frame(Op.Close, $"{code:X4}"), $"close {answer}") { Reason = code == answer ? "" : "close code may not be sent (RFC 6455 7.4)" };

    private static IEnumerable<HostileCase> Rows =>
    [
        new("a close without a code", "88 80 00000000", "close 1005"),
        new("a close of one octet", "88 81 00000000 03", "close 1002"),
        new("a reason", Frame(Op.Close, "03E8 'goodbye'"), "close 1000"),
        new("a reason of 123 octets", Frame(Op.Close, "03E8 'x'*123"), "close 1000"),
        new("a reason of 124 octets", Frame(Op.Close, "03E8 'x'*124"), "close 1002"),
        new("a reason that is no UTF-8", Frame(Op.Close, "03E8 FF"), "close 1007"),
        new("a reason that ends inside a character", Frame(Op.Close, "03E8 'x'*121 C3"), "close 1007"),
        new("a reason with a surrogate", Frame(Op.Close, "03E8 ED A0 80"), "close 1007"),
        new("an illegal code with a bad reason", Frame(Op.Close, "03ED FF"), "close 1002"),
        new("a close in pieces", "88 | 87 | 0000 | 0000 03 | E8 'good' | 'b'", "close 1000"),
        new("nothing counts behind a close", $"88 82 00000000 03E8 {Text("""{"jsonrpc":"2.0","method":"ping","id":1}""")} 89 80 00000000", "close 1000"),
        new("a fault behind a close is not heard", "88 82 00000000 03E8 FF FF FF", "close 1000"),
        new("two closes get one answer", "88 82 00000000 03E8 88 82 00000000 03E9", "close 1000"),
        new("a close behind requests: they are answered first", $"{Text("""{"jsonrpc":"2.0","method":"ping","id":1}""")} 88 82 00000000 03E8", """id 1: "pong", close 1000"""),
    ];
}

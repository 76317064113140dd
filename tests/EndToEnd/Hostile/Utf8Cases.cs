using static CarServer.Tests.Support.Drawing;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd.Hostile;

/// <summary>Text that is no UTF-8: RFC 6455 section 8.1, refused as soon as no continuation could save it.</summary>
internal static class Utf8Cases
{
    private static readonly (string What, string Octets)[] Wrong =
    [
        ("a lone continuation octet", "80"),
        ("a lone continuation octet, the highest", "BF"),
        ("a lead octet alone", "C3 20"),
        ("a three-octet lead with one follower", "E2 82 20"),
        ("a four-octet lead with two followers", "F0 9F 98 20"),
        ("a slash in two octets", "C0 AF"),
        ("the largest ASCII in two octets", "C1 BF"),
        ("a slash in three octets", "E0 80 AF"),
        ("U+07FF in three octets", "E0 9F BF"),
        ("a slash in four octets", "F0 80 80 AF"),
        ("U+FFFF in four octets", "F0 8F BF BF"),
        ("NUL in two octets", "C0 80"),
        ("the first high surrogate", "ED A0 80"),
        ("the last low surrogate", "ED BF BF"),
        ("a surrogate pair in six octets", "ED A0 BD ED B8 80"),
        ("U+110000", "F4 90 80 80"),
        ("a lead octet F5", "F5 80 80 80"),
        ("five octets", "F8 88 80 80 80"),
        ("six octets", "FC 84 80 80 80 80"),
        ("FE", "FE"),
        ("FF", "FF"),
        ("Latin-1", "'na' EF 've'"),
        ("UTF-16", "FF FE 7B 00 7D 00"),
    ];

    public static IEnumerable<HostileCase> All => InOneFrame.Concat(BeforeTheEnd).Concat(Rows);

    private static IEnumerable<HostileCase> InOneFrame =>
        from wrong in Wrong
        select new HostileCase($"{wrong.What}, in a string", Frame(Op.Text, $"'{{\"a\":\"' {wrong.Octets} '\"}}'"), "close 1007");

    /// <summary>The frame announces far more than will come: who waits for its end says nothing.</summary>
    private static IEnumerable<HostileCase> BeforeTheEnd =>
        from wrong in Wrong
        select new HostileCase($"{wrong.What}, in a message that has not ended", $"81 FE 4000 00000000 '{{\"a\":\"' {wrong.Octets}", "close 1007");

    private static IEnumerable<HostileCase> Rows =>
    [
        // ------------------------------------------------------------ characters cut by the end of the message
        new("a message that ends inside two octets", Frame(Op.Text, "'a' C3"), "close 1007"),
        new("a message that ends inside three octets", Frame(Op.Text, "'a' E2 82"), "close 1007"),
        new("a message that ends inside four octets", Frame(Op.Text, "'a' F0 9F 98"), "close 1007"),
        new("fragments that end inside a character", "01 81 00000000 F0 00 81 00000000 9F 80 81 00000000 98", "close 1007"),
        new("an empty last fragment does not finish a character", "01 81 00000000 C3 80 80 00000000", "close 1007"),

        // ------------------------------------------------------------ characters cut by fragments
        new("a character of four octets in four fragments", "01 82 00000000 22 F0 00 81 00000000 9F 00 81 00000000 98 80 82 00000000 80 22", "id null: -32600"),
        new("a character of four octets around a ping", "01 82 00000000 22 F0 89 81 00000000 'x' 00 81 00000000 9F 00 81 00000000 98 80 82 00000000 80 22", "pong 'x', id null: -32600"),
        new("a character of four octets around empty fragments", "01 82 00000000 22 F0 00 80 00000000 00 80 00000000 80 84 00000000 9F 98 80 22", "id null: -32600"),
        new("a character of four octets cut by packets", "81 86 | 00000000 22 | F0 | 9F | 98 | 80 | 22", "id null: -32600"),
        new("a character that goes wrong in the next fragment", "01 82 00000000 22 F0 80 81 00000000 22", "close 1007"),
        new("a surrogate across fragments, before its last octet", "01 82 00000000 22 ED 00 FE 4000 00000000 A0", "close 1007"),
        new("an overlong form across fragments, before its last octet", "01 82 00000000 22 E0 00 FE 4000 00000000 80", "close 1007"),
        new("U+110000 across fragments, before its last octet", "01 82 00000000 22 F4 00 FE 4000 00000000 90", "close 1007"),
        new("a lead octet C0 at the end of a fragment", "01 82 00000000 22 C0", "close 1007"),
        new("a lead octet F5 at the end of a fragment", "01 82 00000000 22 F5", "close 1007"),
        new("wrong octets in a second message", $"{Frame(Op.Text, "'1'")} {Frame(Op.Text, "FF")}", "id null: -32600, close 1007"),

        // ------------------------------------------------------------ what is right, at its borders
        new("the first and last characters of every length", Frame(Op.Text, "22 20 7F C280 DFBF E0A080 ED9FBF EE8080 EFBFBF F0908080 F48FBFBF 22"), "id null: -32600"),
        new("noncharacters are characters", Frame(Op.Text, "22 EFB790 EFBFBE F09FBFBE 22"), "id null: -32600"),
        new("a byte order mark is UTF-8, but no JSON", Frame(Op.Text, "EFBBBF '{}'"), "id null: -32700"),
        new("wrong octets in a binary message are its own affair", Frame(Op.Binary, "FF FE"), "close 1003"),
        new("wrong octets in a ping come back as they are", Frame(Op.Ping, "'a' ED A0 80"), "pong 'a\uFFFD\uFFFD\uFFFD'"),
    ];
}

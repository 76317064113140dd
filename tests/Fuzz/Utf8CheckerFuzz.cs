using CarServer.Rpc.WebSocket;
using CarServer.Tests.Support;

namespace CarServer.Tests.Fuzz;

/// <summary>In any pieces, the checker says what the table of well-formed sequences says, and says no at the same octet.</summary>
public sealed class Utf8CheckerFuzz
{
    private static readonly byte[] Alphabet = [(byte)'a', 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC2, 0xDF, 0xE0, 0xE1, 0xED, 0xEF, 0xF0, 0xF1, 0xF4, 0xF5, 0xFF];

    [Test]
    public async Task Any_octets_in_any_pieces_are_judged_as_by_the_table()
    {
        var random = new Random(3629);
        byte[] text = new byte[64];
        int counted = FuzzBudget.ParserInputs / 5;
        for (int round = 0; round < counted; round++)
        {
            int length = random.Next(random.Next(8) == 0 ? 64 : 9);
            for (int i = 0; i < length; i++) text[i] = Alphabet[random.Next(Alphabet.Length)];
            if (random.Next(3) == 0) "ab😀é€"u8.CopyTo(text.AsSpan(random.Next(40)));
            if (Disagrees(text.AsSpan(0, length), random)) Assert.Fail(Convert.ToHexString(text.AsSpan(0, length)));
        }
        FuzzReport.Print($"UTF-8: {counted:N0} inputs");
        await Task.CompletedTask;
    }

    private static bool Disagrees(ReadOnlySpan<byte> text, Random random)
    {
        var checker = new Utf8Checker();
        for (int at = 0; at < text.Length;)
        {
            int piece = 1 + random.Next(Math.Min(text.Length - at, 6));
            at += piece;
            bool possible = Utf8Reference.Check(text[..at]) >= 0;
            if (checker.Accept(text.Slice(at - piece, piece)) != possible) return true;
            if (!possible) return false;
        }
        return checker.MayEnd != (Utf8Reference.Check(text) == 0);
    }
}

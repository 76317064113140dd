using CarServer.Rpc.WebSocket;
using CarServer.Tests.Support;

namespace CarServer.Tests.Unit.WebSocket;

public sealed class Utf8CheckerTests
{
    [Test]
    public async Task Every_two_octets_and_every_lead_with_its_borders_are_judged_as_by_the_table()
    {
        byte[] borders = [0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC2, 0xE0, 0xF0, 0xFF];
        var texts = new List<byte[]>();
        for (int a = 0; a < 256; a++)
            for (int b = 0; b < 256; b++) texts.Add([(byte)a, (byte)b]);
        for (int lead = 0xC0; lead < 256; lead++)
            foreach (byte b in borders)
                foreach (byte c in borders)
                {
                    texts.Add([(byte)lead, b, c]);
                    foreach (byte d in borders) texts.Add([(byte)lead, b, c, d, (byte)'x']);
                }
        foreach (byte[] text in texts)
            for (int first = 0; first <= text.Length; first++)
                for (int second = first; second <= text.Length; second++)
                    if (Judge(text, first, second) != Utf8Reference.Check(text)) Assert.Fail($"{Convert.ToHexString(text)} cut at {first} and {second}");
        await Assert.That(texts.Count).IsGreaterThan(65_536);
    }

    [Test]
    public async Task No_is_said_at_the_first_octet_that_settles_it()
    {
        foreach (byte[] wrong in (byte[][])[[0xED, 0xA0], [0xE0, 0x9F], [0xF0, 0x8F], [0xF4, 0x90], [0xC0], [0xC1], [0xF5], [0xFF], [0x80], [0xE2, 0x82, 0x20], [0xC3, 0x28]])
        {
            var checker = new Utf8Checker();
            for (int i = 0; i < wrong.Length - 1; i++) await Assert.That(checker.Accept(wrong.AsSpan(i, 1))).IsTrue();
            await Assert.That(checker.Accept(wrong.AsSpan(wrong.Length - 1))).IsFalse().Because(Convert.ToHexString(wrong));
        }
    }

    [Test]
    public async Task Reset_forgets_half_a_character()
    {
        var checker = new Utf8Checker();
        checker.Accept([0xF0, 0x9F]);
        await Assert.That(checker.MayEnd).IsFalse();
        checker.Reset();
        await Assert.That(checker.MayEnd).IsTrue();
        await Assert.That(checker.Accept("a"u8)).IsTrue();
    }

    private static int Judge(byte[] text, int first, int second)
    {
        var checker = new Utf8Checker();
        if (!checker.Accept(text.AsSpan(0, first)) || !checker.Accept(text.AsSpan(first, second - first)) || !checker.Accept(text.AsSpan(second))) return -1;
        return checker.MayEnd ? 0 : 1;
    }
}

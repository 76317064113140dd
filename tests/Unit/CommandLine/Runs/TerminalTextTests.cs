using System.Text;
using CarServer.Rpc.CommandLine.Runs;
using CarServer.RunStore;

namespace CarServer.Tests.Unit.CommandLine.Runs;

/// <summary>What comes from a trace may neither steer the terminal nor hide, and is cut where a person would.</summary>
internal sealed class TerminalTextTests
{
    [Test]
    [Arguments("plain é 漢 😀", "plain é 漢 😀")]
    [Arguments("\e[2J\e]0;owned\a", @"\u001b[2J\u001b]0;owned\u0007")]
    [Arguments("\u009b31m\u0085", @"\u009b31m\u0085")]
    [Arguments("a\u2028b\u2029c", @"a\u2028b\u2029c")]
    [Arguments("\u202egnp.exe\u2066", @"\u202egnp.exe\u2066")]
    [Arguments("\ufeffx\u00ad", @"\ufeffx\u00ad")]
    [Arguments("\ud83dx\ude00", @"\ud83dx\ude00")]
    [Arguments("\U000e0041", @"\udb40\udc41")]
    [Arguments("👩\u200d🔬", "👩\u200d🔬")]
    [Arguments("  two\r\n\tlines ", "two lines")]
    [Arguments("\0", @"\u0000")]
    public async Task A_line_holds_nothing_that_steers_or_hides(string text, string shown) => await Assert.That(TerminalText.OneLine(text)).IsEqualTo(shown);

    [Test]
    public async Task Lines_are_those_of_the_text_and_no_others()
    {
        await Assert.That(string.Join('|', TerminalText.Lines("a\r\n\n\tb\n"))).IsEqualTo("a||    b");
        await Assert.That(string.Join('|', TerminalText.Lines("10%\r20%\u2028x\v"))).IsEqualTo(@"10%\u000d20%\u2028x\u000b");
        await Assert.That(string.Join('|', TerminalText.Lines(""))).IsEqualTo("");
    }

    [Test]
    public async Task No_character_of_Unicode_comes_through_that_a_terminal_obeys()
    {
        var all = new StringBuilder();
        for (int unit = 0; unit <= char.MaxValue; unit++) all.Append((char)unit).Append('x');
        string shown = TerminalText.OneLine(all.ToString()) + string.Concat(TerminalText.Lines(all.ToString()));
        await Assert.That(shown.Any(char.IsControl)).IsFalse();
        await Assert.That(shown.Any(char.IsSurrogate)).IsFalse();
        await Assert.That(shown.IndexOfAny(['\u2028', '\u202e', '\ufeff'])).IsEqualTo(-1);
    }

    [Test]
    [Arguments("abcdef", 6, "abcdef")]
    [Arguments("abcdef", 5, "abcd…")]
    [Arguments("abcdef", 1, "…")]
    [Arguments("abcdef", 0, "")]
    [Arguments("漢字漢字", 5, "漢字…")]
    [Arguments("漢字漢字", 4, "漢…")]
    [Arguments("漢字", 4, "漢字")]
    [Arguments("e\u0301e\u0301e\u0301", 2, "e\u0301…")]
    [Arguments("a👩\u200d🔬b", 3, "a…")]
    [Arguments("a👩\u200d🔬b", 4, "a👩\u200d🔬b")]
    public async Task A_cut_keeps_whole_characters_and_fits(string text, int columns, string cut)
    {
        await Assert.That(TerminalText.Cut(text, columns)).IsEqualTo(cut);
        await Assert.That(TerminalText.Width(TerminalText.Cut(text, columns))).IsLessThanOrEqualTo(columns);
    }

    [Test]
    public async Task Columns_line_up_whatever_is_in_them()
    {
        foreach (string text in (string[])["ab", "漢", "e\u0301x", "😀"]) await Assert.That(TerminalText.Width(TerminalText.PadRight(text, 5))).IsEqualTo(5);
    }

    [Test]
    [Arguments("""{"a":1,"b":"two\nlines","c":{"d":[1,{"e":null}],"f":{},"g":[]},"h":""}""", "a: 1|b:|  two|  lines|c:|  d:|    - 1|    -|      e: null|  f: {}|  g: []|h: \"\"")]
    [Arguments("\"text\"", "text")]
    [Arguments("[]", "[]")]
    [Arguments("12.50", "12.50")]
    [Arguments("[[1],[2]]", "-|  - 1|-|  - 2")]
    [Arguments("""{"\u001b[2J":"\u001b[2J","half":"\ud83d"}""", @"\u001b[2J: \u001b[2J|half: \ud83d")]
    public async Task A_value_is_an_outline(string json, string lines) => await Assert.That(string.Join('|', ValueText.Lines(RawJson.Parse(json)))).IsEqualTo(lines);

    [Test]
    [Arguments("""{"command":"ls  -la\n","cwd":"/","empty":"","deep":{"a":[1, 2]}}""", """command: ls -la, cwd: /, deep: {"a":[1,2]}""")]
    [Arguments("\"a\\nb\"", "a b")]
    [Arguments("[1, 2]", "[1,2]")]
    [Arguments("null", "")]
    [Arguments("{}", "")]
    public async Task A_glance_is_one_line(string json, string glance) => await Assert.That(ValueText.Glance(RawJson.Parse(json))).IsEqualTo(glance);

    [Test]
    public async Task A_glance_at_a_large_value_is_short()
    {
        string long64K = new('漢', 64 * 1024);
        await Assert.That(TerminalText.Width(ValueText.Glance(RawJson.Parse($$"""{"a":"{{long64K}}"}""")))).IsLessThanOrEqualTo(200);
    }

    [Test]
    [Arguments(-1, "0 ms")]
    [Arguments(0.42, "0.4 ms")]
    [Arguments(12.4, "12 ms")]
    [Arguments(999.9, "1 s")]
    [Arguments(3400, "3.4 s")]
    [Arguments(59_990, "60 s")]
    [Arguments(60_000, "1 min 0 s")]
    [Arguments(125_000, "2 min 5 s")]
    [Arguments(11_520_000, "3 h 12 min")]
    [Arguments(200_000_000, "2 d 7 h")]
    public async Task A_duration_has_two_units_at_most(double milliseconds, string words) =>
        await Assert.That(TimeText.Of(TimeSpan.FromMilliseconds(milliseconds))).IsEqualTo(words);

    [Test]
    [Arguments(1e300, "1e+300 ms")]
    [Arguments(-5, "-5 ms")]
    [Arguments(2500, "2.5 s")]
    public async Task What_a_client_calls_a_duration_is_shown_whatever_it_is(double milliseconds, string words) =>
        await Assert.That(TimeText.OfMilliseconds(milliseconds)).IsEqualTo(words);
}

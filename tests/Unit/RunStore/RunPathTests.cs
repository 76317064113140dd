using CarServer.RunStore;
using TUnit.Core;

namespace CarServer.Tests.Unit.RunStore;

public sealed class RunPathTests
{
    [Test]
    [Arguments("builder-2.x_y", "builder-2.x_y")]
    [Arguments("name:my-agent", "name%3amy-agent")]
    [Arguments("Agent", "%41gent")]
    [Arguments(".nobackup", "%2enobackup")]
    [Arguments("...", "%2e.%2e")]
    [Arguments("a.", "a%2e")]
    [Arguments("a..b", "a..b")]
    [Arguments("con", "%63on")]
    [Arguments("nul.jsonl", "%6eul.jsonl")]
    [Arguments("com1.txt.gz", "%63om1.txt.gz")]
    [Arguments("lpt0", "%6cpt0")]
    [Arguments("com10", "com10")]
    [Arguments("icon", "icon")]
    [Arguments("console", "console")]
    [Arguments("CON", "%43%4f%4e")]
    [Arguments("%63on", "%2563on")]
    [Arguments("con ", "con%20")]
    [Arguments("../../etc/passwd", "%2e.%2f..%2fetc%2fpasswd")]
    [Arguments("a%2fb", "a%252fb")]
    [Arguments("a\0b\n", "a%00b%0a")]
    [Arguments("C:\\con", "%43%3a%5ccon")]
    [Arguments("é", "%c3%a9")]
    public async Task An_id_becomes_one_harmless_name_and_comes_back(string id, string name)
    {
        await Assert.That(RunPath.TryEncode(id, out string encoded)).IsTrue();
        await Assert.That(encoded).IsEqualTo(name);
        await Assert.That(RunPath.Decode(encoded)).IsEqualTo(id);
    }

    [Test]
    [Arguments("")]
    [Arguments(".")]
    [Arguments("..")]
    [Arguments("half a pair \ud800")]
    public async Task An_id_that_cannot_be_a_name_is_refused(string id) =>
        await Assert.That(RunPath.TryEncode(id, out _)).IsFalse();

    [Test]
    public async Task No_two_ids_meet_in_one_name_on_any_file_system()
    {
        string[] letters = ["c", "o", "n", "C", ".", "%", "6", "3", "/", "1", "m", " ", "\0", "é"];
        var names = new HashSet<string>(StringComparer.OrdinalIgnoreCase);
        int ids = 0;
        foreach (string id in letters.SelectMany(a => letters.SelectMany(b => letters.SelectMany(c => (string[])[a + b + c, a + b + c + "1", a + b + c + ".x"])))
            .Concat(letters).Concat(letters.SelectMany(a => letters.Select(b => a + b))).Distinct())
        {
            if (!RunPath.TryEncode(id, out string name)) continue;
            ids++;
            await Assert.That(names.Add(name.TrimEnd('.', ' '))).IsTrue().Because(id);   // as Windows reads it
            await Assert.That(RunPath.Decode(name)).IsEqualTo(id);
        }
        await Assert.That(ids).IsGreaterThan(5_000);
    }

    [Test]
    public async Task The_encoded_form_has_at_most_200_bytes()
    {
        await Assert.That(RunPath.TryEncode(new string('a', 200), out _)).IsTrue();
        await Assert.That(RunPath.TryEncode(new string('a', 201), out _)).IsFalse();
        await Assert.That(RunPath.TryEncode(new string('A', 66) + "aa", out string longest)).IsTrue();
        await Assert.That(longest.Length).IsEqualTo(200);
        await Assert.That(RunPath.TryEncode(new string('A', 66) + "aaa", out _)).IsFalse();
    }

    [Test]
    public async Task Names_that_we_did_not_make_decode_to_something()
    {
        await Assert.That(RunPath.Decode("50%")).IsEqualTo("50%");
        await Assert.That(RunPath.Decode("a%zz")).IsEqualTo("a%zz");
        await Assert.That(RunPath.Decode("é%41")).IsEqualTo("éA");
    }
}

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
    [Arguments("...", "%2e..")]
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

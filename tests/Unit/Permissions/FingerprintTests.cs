using System.Security.Cryptography;
using System.Text;
using CarServer.State.Permissions;
using CarServer.Tests.Unit.Engine;

namespace CarServer.Tests.Unit.Permissions;

public sealed class FingerprintTests
{
    [Test]
    [Arguments("""{"type":"tool_call","tool":"t","parameters":{"b":1,"a":{"d":2, "c":"é\n"}}}""", """{"parameters":{"a":{"c":"é\n","d":2},"b":1},"tool":"t","type":"tool_call"}""")]
    [Arguments("""{"type":"state_read"}""", """{"parameters":{},"tool":null,"type":"state_read"}""")]
    [Arguments("""{"type":"tool_call","tool":"\"é\""}""", """{"parameters":{},"tool":"\"é\"","type":"tool_call"}""")]
    public async Task It_is_the_hash_of_type_tool_and_parameters(string action, string json)
    {
        string fingerprint = Of(action);
        await Assert.That(fingerprint).IsEqualTo(Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(json))));
        await Assert.That(Fingerprint.IsOne(fingerprint)).IsTrue();
        await Assert.That(Fingerprint.IsOne(fingerprint.ToUpperInvariant())).IsFalse();
        await Assert.That(Fingerprint.IsOne(fingerprint[1..])).IsFalse();
    }

    [Test]
    [Arguments("""{"id":"x","type":"tool_call","tool":"t","parameters":{"c":2,"a":1},"timeout_ms":5,"metadata":{"m":1}}""", true)]
    [Arguments("""{"type":"tool_call","tool":"t","parameters":{"a":1,"c":3}}""", false)]
    [Arguments("""{"type":"tool_call","tool":"t","parameters":{"a":1}}""", false)]
    [Arguments("""{"type":"tool_call","tool":"T","parameters":{"a":1,"c":2}}""", false)]
    [Arguments("""{"type":"assertion","tool":"t","parameters":{"a":1,"c":2}}""", false)]
    public async Task It_tells_what_runs_and_nothing_else(string action, bool same) =>
        await Assert.That(Of(action) == Of("""{"type":"tool_call","tool":"t","parameters":{"a":1,"c":2}}""")).IsEqualTo(same);

    private static string Of(string action) => Fingerprint.Of(TestEngine.Parse($$"""{"actions":[{{action}}]}""").Actions[0]);
}

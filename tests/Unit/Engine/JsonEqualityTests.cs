using CarServer.RunStore;
using CarServer.State.Engine;

namespace CarServer.Tests.Unit.Engine;

public class JsonEqualityTests
{
    [Test]
    [Arguments("1", "1.0", true)]
    [Arguments("100", "1e2", true)]
    [Arguments("0.1", "1e-1", true)]
    [Arguments("0", "-0.0", true)]
    [Arguments("1", "2", false)]
    [Arguments("9007199254740993", "9007199254740992", false)]
    [Arguments("1", "\"1\"", false)]
    [Arguments("null", "false", false)]
    [Arguments("\"\\u0041\"", "\"A\"", true)]
    [Arguments("\"a\"", "\"A\"", false)]
    [Arguments("{\"a\":1,\"b\":[1,2]}", "{ \"b\" : [1.0, 2], \"a\" : 1 }", true)]
    [Arguments("{\"a\":1}", "{\"a\":1,\"b\":2}", false)]
    [Arguments("[1,2]", "[2,1]", false)]
    [Arguments("1e99999999999", "1e99999999999", true)]
    [Arguments("1e99999999999", "10e99999999998", false)]
    [Arguments("\"\\ud800\"", "\"\\ud800\"", true)]
    [Arguments("\"\\ud800\"", "\"\\uD800\"", false)]
    [Arguments("{\"\\ud800\":1,\"a\":1}", "{\"a\":1,\"\\uD800\":1}", false)]
    public async Task Values_are_compared_not_spellings(string left, string right, bool equal)
    {
        await Assert.That(JsonEquality.Equal(RawJson.Parse(left), RawJson.Parse(right))).IsEqualTo(equal);
        await Assert.That(JsonEquality.Equal(RawJson.Parse(right), RawJson.Parse(left))).IsEqualTo(equal);
    }
}

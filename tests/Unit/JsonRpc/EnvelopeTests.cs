using System.Text;
using CarServer.Rpc.JsonRpc;
using CarServer.Tests.Support;

namespace CarServer.Tests.Unit.JsonRpc;

public sealed class EnvelopeTests
{
    [Test]
    [Arguments("""{"jsonrpc":"2.0","method":"a.b","params":{"x":[1, 2]},"id":1}""", "Request id=1 method=a.b params={\"x\":[1, 2]}")]
    [Arguments("""{"id":"\u0031","params":[ ],"method":"a","jsonrpc":"2.0"}""", "Request id=\"\\u0031\" method=a params=[ ]")]
    [Arguments("""{"jsonrpc":"2.0","method":"a","params":null,"id":null}""", "Request id=null method=a")]
    [Arguments("""{"jsonrpc":"2.0","method":"a"}""", "Notification method=a")]
    [Arguments("""{"jsonrpc":"2.0","id":"cb-1","result":{"ok":true}}""", "Reply id=\"cb-1\" result={\"ok\":true}")]
    [Arguments("""{"id":7,"error":{"code":1}}""", "Reply id=7 error={\"code\":1}")]
    [Arguments("""{"jsonrpc":"2.0","method":"a","id":1,"result":2}""", "Request id=1 method=a")]
    [Arguments("""{"\u006a\u0073\u006f\u006E\u0072\u0070\u0063":"\u0032.0","method":"a","id":1}""", "Request id=1 method=a")]
    [Arguments("""{"\ud800":1,"jsonrpc\ud800":2,"\"":3,"i\u0064x":4,"jsonrpc":"2.0","method":"a","id":1}""", "Request id=1 method=a")]
    [Arguments("""{"jsonrpc":"\ud800","method":"a","id":1}""", "Invalid id=1")]
    [Arguments("""{"jsonrpc":"2.\n","method":"a","id":1}""", "Invalid id=1")]
    [Arguments("""{"method":"a","id":1,"id":1}""", "Invalid")]
    [Arguments("""{"jsonrpc":"2.0","method":"a","id":1} x""", "NotJson")]
    [Arguments("", "NotJson")]
    [Arguments("[]", "Batch -32600")]
    [Arguments("[1", "Batch -32700")]
    [Arguments("""[ {"jsonrpc":"2.0","method":"a"} , 3 ]""", "Batch [Notification method=a] [Invalid]")]
    public async Task A_message_is_read_in_one_pass(string message, string told) =>
        await Assert.That(EnvelopeReading.Tell(Encoding.UTF8.GetBytes(message))).IsEqualTo(told);

    [Test]
    [Arguments(128, "", "Notification")]
    [Arguments(128, "1", "Notification")]
    [Arguments(129, "", "Invalid")]
    [Arguments(129, "1", "Invalid")]
    [Arguments(5000, "", "Invalid")]
    public async Task A_message_goes_128_levels_deep_whatever_lies_at_the_bottom(int levels, string bottom, string kind)
    {
        string message = "{\"jsonrpc\":\"2.0\",\"method\":\"a\",\"x\":" + new string('[', levels - 1) + bottom + new string(']', levels - 1) + "}";
        await Assert.That(Envelope.Read(Encoding.UTF8.GetBytes(message)).Kind.ToString()).IsEqualTo(kind);
    }

    [Test]
    [Arguments("""{"method":"\u0070ing"}""", "ping")]
    [Arguments("""{"method":"\ud83d\ude00"}""", "😀")]
    [Arguments("""{"method":"\ud800"}""", null)]
    [Arguments("""{"method":"\ude00\ud83d"}""", null)]
    [Arguments("""{"method":"plain"}""", "plain")]
    public async Task A_methods_escapes_are_resolved_or_spell_nothing(string message, string? name) =>
        await Assert.That(Envelope.Read(Encoding.UTF8.GetBytes(message)).MethodName()).IsEqualTo(name);
}

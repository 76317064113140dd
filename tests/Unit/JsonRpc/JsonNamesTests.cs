using System.Text;
using CarServer.Rpc.JsonRpc;
using CarServer.State.Sessions;
using TUnit.Core;

namespace CarServer.Tests.Unit.JsonRpc;

/// <summary>JSON may hold an escaped half of a surrogate pair anywhere; where the daemon compares names it is just another name.</summary>
public sealed class JsonNamesTests
{
    [Test]
    [Arguments("""{"\ud800-----":1,"jsonrpc":"2.0","method":"ping","id":1}""", (int)EnvelopeKind.Request)]
    [Arguments("""{"\uD800x":1,"jsonrpc":"2.0","method":"ping"}""", (int)EnvelopeKind.Notification)]
    [Arguments("""{"jsonrpc":"\ud800","method":"ping","id":1}""", (int)EnvelopeKind.Invalid)]
    [Arguments("""{"json\u0072pc":"2\u002e0","m\u0065thod":"ping","id":1}""", (int)EnvelopeKind.Request)]
    public async Task A_name_that_is_no_text_is_another_name(string message, int kind) => await Assert.That(Read(message)).IsEqualTo((EnvelopeKind)kind);

    [Test]
    [Arguments("""{"\ud800xx":1,"message":"no"}""", "no")]
    [Arguments("""{"data":DEEP,"message":"no"}""", "no")]
    public async Task A_clients_error_is_its_message(string error, string expected)
    {
        error = error.Replace("DEEP", new string('[', 100) + new string(']', 100), StringComparison.Ordinal);
        var callbacks = new Callbacks();
        Task<CallbackReply> reply = callbacks.WaitAsync("cb-1", () => true, TimeSpan.FromMinutes(1), TimeProvider.System, CancellationToken.None);
        callbacks.Complete(Envelope.Read(Encoding.UTF8.GetBytes($$"""{"id":"cb-1","error":{{error}} }""")));
        await Assert.That((await reply).Error).IsEqualTo(expected);
    }

    private static EnvelopeKind Read(string message) => Envelope.Read(Encoding.UTF8.GetBytes(message)).Kind;
}

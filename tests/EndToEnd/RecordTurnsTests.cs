using System.Text.Json;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>Protocol 13.7: turns that an agent records itself.</summary>
public sealed class RecordTurnsTests
{
    [Test]
    public async Task Turns_are_numbered_by_the_run_and_stored_as_they_came()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.CallAsync("runs.start", """{"intent":"test","agent_id":"a","idempotency_key":"r"}""");

        JsonElement first = await peer.CallAsync("runs.record_turns", """{"run_id":"r","turns":[{"index":"none of your business","tool":"t","parameters":{"a": [1.50,null]}},{"prompt":"why","output":null}]}""");
        JsonElement second = await peer.CallAsync("runs.record_turns", """{"run_id":"r","turns":[{"index":0,"verifier_verdict":"passed","policy_rejected":true,"cli_outcome":{"kind":"failed","exit_code":2}}]}""");

        await Assert.That(first.GetRawText()).IsEqualTo("""{"run_id":"r","base_index":0,"count":2,"ok":true}""");
        await Assert.That(second.GetRawText()).IsEqualTo("""{"run_id":"r","base_index":2,"count":1,"ok":true}""");
        JsonElement trace = await peer.CallAsync("runs.get_trace", """{"run_id":"r","cursor":1}""");
        await Assert.That(trace.GetProperty("records").GetRawText()).IsEqualTo(
            """[{"record":"turn","index":0,"tool":"t","parameters":{"a":[1.50,null]},"verifier_verdict":"not_run"},""" +
            """{"record":"turn","index":1,"prompt":"why","output":null,"verifier_verdict":"not_run"},""" +
            """{"record":"turn","index":2,"cli_outcome":{"kind":"failed","exit_code":2},"verifier_verdict":"passed","policy_rejected":true}]""");
    }
}

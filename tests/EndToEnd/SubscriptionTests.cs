using System.Text.Json;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>Protocol 13.8: following a run while it happens.</summary>
public sealed class SubscriptionTests
{
    [Test]
    public async Task A_subscriber_gets_what_was_and_then_what_comes()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer agent = await daemon.ConnectAsync();
        await using RpcPeer watcher = await daemon.ConnectAsync();
        await agent.CallAsync("runs.start", """{"intent":"test","agent_id":"a","idempotency_key":"r"}""");
        await agent.CallAsync("runs.record_turns", """{"run_id":"r","turns":[{"tool":"before"}]}""");

        JsonElement snapshot = await watcher.CallAsync("runs.subscribe", """{"run_id":"r"}""");
        await agent.CallAsync("runs.record_turns", """{"run_id":"r","turns":[{"tool":"after"}]}""");
        await agent.CallAsync("runs.complete", """{"run_id":"r","outcome":{"status":"timeout"}}""");

        await Assert.That(snapshot.GetRawText()).IsEqualTo(
            """{"run_id":"r","agent_id":"a","turns_so_far":[{"record":"turn","index":0,"tool":"before","verifier_verdict":"not_run"}],"cursor":1,"status":"in_progress"}""");
        JsonElement turn = await watcher.NextNotificationAsync("runs.trace.event");
        await Assert.That(turn.GetRawText()).IsEqualTo(
            """{"run_id":"r","agent_id":"a","record":{"record":"turn","index":1,"tool":"after","verifier_verdict":"not_run"},"cursor":2,"status":"in_progress"}""");
        JsonElement ended = await watcher.NextNotificationAsync("runs.trace.event");
        await Assert.That(ended.GetProperty("record").GetProperty("record").GetString()).IsEqualTo("ended");
        await Assert.That(ended.GetProperty("cursor").GetInt32()).IsEqualTo(2);
        await Assert.That(ended.GetProperty("status").GetString()).IsEqualTo("completed");
    }

    [Test]
    public async Task Unsubscribing_ends_it_and_says_whether_there_was_one()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.CallAsync("runs.start", """{"intent":"test","agent_id":"a","idempotency_key":"r"}""");
        await peer.CallAsync("runs.subscribe", """{"run_id":"r"}""");

        await Assert.That((await peer.CallAsync("runs.unsubscribe", """{"run_id":"r"}""")).GetRawText()).IsEqualTo("""{"run_id":"r","removed":true}""");
        await Assert.That((await peer.CallAsync("runs.unsubscribe", """{"run_id":"r"}""")).GetRawText()).IsEqualTo("""{"run_id":"r","removed":false}""");
    }
}

using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>Check 11 of section 24: one who follows a run and does not read costs nobody anything but himself.</summary>
public sealed class WedgedSubscriberTests
{
    private const int Turns = 2_000, TurnBytes = 16_000;

    [Test]
    public async Task A_subscriber_that_never_reads_holds_up_neither_the_recorder_nor_others_nor_its_own_calls()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer agent = await daemon.ConnectAsync();
        await using RawPeer reading = await daemon.ConnectRawAsync(daemon.Unix);
        await using RawPeer wedged = await daemon.ConnectRawAsync(daemon.Unix);
        await agent.CallAsync("runs.start", """{"intent":"test","agent_id":"a","idempotency_key":"r"}""");
        await wedged.SendTextAsync("""{"jsonrpc":"2.0","id":"start","method":"runs.start","params":{"intent":"test","agent_id":"b","idempotency_key":"mine"}}""");
        await wedged.ReadTextAsync();
        var late = new Follower(wedged, "r");
        var follower = new Follower(reading, "r");
        await late.SubscribeAsync();      // and from here on it reads nothing
        await follower.SubscribeAsync();
        Task following = follower.FollowAsync();

        string turn = $$"""{"prompt":"{{new string('p', TurnBytes)}}"}""";
        string batch = $$"""{"run_id":"r","turns":[{{string.Join(',', Enumerable.Repeat(turn, 20))}}]}""";
        for (int i = 0; i < Turns; i += 20) await agent.CallAsync("runs.record_turns", batch);

        // Its connection is full, and what it asks for is done all the same.
        await wedged.SendTextAsync("""{"jsonrpc":"2.0","id":"mine","method":"runs.record_turns","params":{"run_id":"mine","turns":[{"tool":"t"}]}}""");
        await Eventually.TrueAsync("the turn of the one who does not read", async () =>
            (await agent.CallAsync("runs.get_trace", """{"run_id":"mine"}""")).GetProperty("records").GetArrayLength() == 2);
        await agent.CallAsync("runs.complete", """{"run_id":"r","outcome":{"status":"done"}}""");
        await following.Soon("the end of the run for the one who reads");
        byte[][] turns = Follower.Turns(daemon.Home.Trace("a", "r"));
        await Assert.That((follower.Cursor, follower.HasGap)).IsEqualTo((Turns, false));
        follower.Check(turns);
        await Assert.That((await agent.CallAsync("server.info")).GetProperty("connections").GetInt32()).IsEqualTo(3);

        // It wakes up: what was kept is in order, it can see that something is missing, its own answer is there, and subscribing again heals.
        string answer = "";
        while (answer.Length == 0)
        {
            string message = await wedged.ReadTextAsync();
            if (message.Contains("\"id\":\"mine\"", StringComparison.Ordinal)) answer = message;
            else late.Take(message);
        }
        await Assert.That(answer).IsEqualTo("""{"jsonrpc":"2.0","id":"mine","result":{"run_id":"mine","base_index":0,"count":1,"ok":true}}""");
        await late.FollowAsync();
        await Assert.That(late.HasGap).IsTrue();
        late.Check(turns);
        await late.SubscribeAsync();
        await Assert.That((late.Cursor, late.Status)).IsEqualTo((Turns, "completed"));
        late.Check(turns);
    }
}

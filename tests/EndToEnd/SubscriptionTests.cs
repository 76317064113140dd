using System.Globalization;
using System.Text;
using System.Text.Json;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>Protocol 13.8 and checks 6, 9, 10 and 11 of section 24: following a run while it happens.</summary>
public sealed class SubscriptionTests
{
    [Test]
    public async Task A_subscriber_gets_what_was_and_then_what_comes()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer agent = await daemon.ConnectAsync();
        await using RpcPeer watcher = await daemon.ConnectAsync();
        await StartAsync(agent, "r");
        await RecordAsync(agent, "r", "before");

        JsonElement snapshot = await watcher.CallAsync("runs.subscribe", """{"run_id":"r"}""");
        await RecordAsync(agent, "r", "after");
        await agent.CallAsync("runs.complete", """{"run_id":"r","outcome":{"status":"timeout"}}""");

        await Assert.That(snapshot.GetRawText()).IsEqualTo(
            """{"run_id":"r","agent_id":"a","turns_so_far":[{"record":"turn","index":0,"tool":"before","verifier_verdict":"not_run"}],"cursor":1,"status":"in_progress"}""");
        JsonElement turn = await watcher.NextNotificationAsync("runs.trace.event");
        await Assert.That(turn.GetRawText()).IsEqualTo(
            """{"run_id":"r","agent_id":"a","record":{"record":"turn","index":1,"tool":"after","verifier_verdict":"not_run"},"cursor":2,"status":"in_progress"}""");
        JsonElement ended = await watcher.NextNotificationAsync("runs.trace.event");
        string line = (await File.ReadAllLinesAsync(daemon.Home.Trace("a", "r")))[^1];
        await Assert.That(ended.GetRawText()).IsEqualTo($$"""{"run_id":"r","agent_id":"a","record":{{line}},"cursor":2,"status":"completed"}""");
    }

    /// <summary>Check 6, many times: whoever comes in the middle of a stream of turns misses none and gets none twice.</summary>
    [Test]
    public async Task Subscribing_while_turns_stream_leaves_no_gap_and_brings_nothing_twice()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer agent = await daemon.ConnectAsync();
        await StartAsync(agent, "r");
        var watchers = new List<Task<Follower>>();

        for (int turn = 0; turn < 400; turn++)
        {
            Task<JsonElement> recording = RecordAsync(agent, "r", $"t{turn}");
            if (turn % 7 == 6) watchers.Add(WatchAsync());
            if (turn % 3 == 2) await recording;
        }
        await CompleteAsync(agent, "r");

        byte[][] turns = Follower.Turns(daemon.Home.Trace("a", "r"));
        await Assert.That(turns.Length).IsEqualTo(400);
        int begunInside = 0;
        foreach (Follower watcher in await Task.WhenAll(watchers))
        {
            watcher.Check(turns);
            await Assert.That(watcher.HasGap).IsFalse();
            await Assert.That(watcher.Cursor).IsEqualTo(400);
            if (watcher is { Begin: > 0, Events: > 0 }) begunInside++;
        }
        await Assert.That(begunInside).IsGreaterThan(10);   // or nothing was tested

        async Task<Follower> WatchAsync()
        {
            await using RawPeer peer = await daemon.ConnectRawAsync();
            var watcher = new Follower(peer, "r");
            await watcher.SubscribeAsync();
            await watcher.FollowAsync();
            return watcher;
        }
    }

    /// <summary>Check 9.</summary>
    [Test]
    public async Task An_ended_run_is_told_from_the_disk_and_nothing_follows()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer agent = await daemon.ConnectAsync();
        await using RawPeer peer = await daemon.ConnectRawAsync();
        await StartAsync(agent, "r");
        await RecordAsync(agent, "r", "one", "two", "three");
        await CompleteAsync(agent, "r");

        var watcher = new Follower(peer, "r");
        await watcher.SubscribeAsync();

        await Assert.That((watcher.Begin, watcher.Status)).IsEqualTo((3, "completed"));
        watcher.Check(Follower.Turns(daemon.Home.Trace("a", "r")));
        await Assert.That(await watcher.LeaveAsync()).IsFalse();   // it was never a subscription, and nothing came before this answer
    }

    /// <summary>Check 10, but for its last word: a run of an earlier daemon is answered from the disk, where the reference has an error.</summary>
    [Test]
    public async Task After_kill_9_and_restart_a_run_is_incomplete_and_told_from_the_disk()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using (RpcPeer agent = await daemon.ConnectAsync())
        {
            await StartAsync(agent, "open");
            await RecordAsync(agent, "open", "one", "two");
            await StartAsync(agent, "done");
            await CompleteAsync(agent, "done");
            await daemon.KillAsync();
        }
        await daemon.RestartAsync();
        await using RpcPeer reader = await daemon.ConnectAsync();

        JsonElement open = await reader.CallAsync("runs.subscribe", """{"run_id":"open"}""");
        JsonElement done = await reader.CallAsync("runs.subscribe", """{"run_id":"done"}""");
        JsonElement trace = await reader.CallAsync("runs.get_trace", """{"run_id":"open"}""");

        await Assert.That(open.GetRawText()).IsEqualTo(
            """{"run_id":"open","agent_id":"a","turns_so_far":[{"record":"turn","index":0,"tool":"one","verifier_verdict":"not_run"},{"record":"turn","index":1,"tool":"two","verifier_verdict":"not_run"}],"cursor":2,"status":"incomplete"}""");
        await Assert.That(done.GetRawText()).IsEqualTo("""{"run_id":"done","agent_id":"a","turns_so_far":[],"cursor":0,"status":"completed"}""");
        await Assert.That(trace.GetProperty("records").GetArrayLength()).IsEqualTo(4);
    }

    [Test]
    public async Task A_run_that_is_open_in_another_daemon_is_to_be_followed_there()
    {
        await using TestDaemon primary = await TestDaemon.StartAsync("--no-auth");
        await using TestDaemon secondary = await TestDaemon.StartAsync(new DaemonStart { Home = primary.Home, Arguments = ["--no-auth"] });
        await using RpcPeer agent = await secondary.ConnectAsync();
        await using RpcPeer watcher = await primary.ConnectAsync();
        await Assert.That((await agent.CallAsync("server.info")).GetProperty("role").GetString()).IsEqualTo("secondary");
        await StartAsync(agent, "r");

        const string There = "run `r` is open in another daemon: subscribe there";
        await Assert.That((await watcher.CallFailsAsync("runs.subscribe", """{"run_id":"r"}""")).Text).IsEqualTo(There);
        // Also when the key has made a header of it here.
        await StartAsync(watcher, "r");
        await Assert.That((await watcher.CallFailsAsync("runs.subscribe", """{"run_id":"r"}""")).Text).IsEqualTo(There);

        await CompleteAsync(agent, "r");
        await Assert.That((await watcher.CallAsync("runs.subscribe", """{"run_id":"r"}""")).GetProperty("status").GetString()).IsEqualTo("completed");
    }

    [Test]
    public async Task A_run_whose_agent_has_gone_ends_incomplete_for_those_who_follow_it()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RawPeer peer = await daemon.ConnectRawAsync();
        var watcher = new Follower(peer, "r");
        await using (RpcPeer agent = await daemon.ConnectAsync())
        {
            await StartAsync(agent, "r");
            await watcher.SubscribeAsync();
            await RecordAsync(agent, "r", "one");
        }

        await watcher.FollowAsync();

        await Assert.That((watcher.Cursor, watcher.Status, watcher.HasGap)).IsEqualTo((1, "incomplete", false));
        await Assert.That(await watcher.LeaveAsync()).IsFalse();   // its end has ended it
    }

    /// <summary>The disk refuses the first line, so that it is stored, and told, with the first turn.</summary>
    [Test]
    public async Task The_start_of_a_run_is_told_with_the_cursor_0()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer peer = await daemon.ConnectAsync();
        await File.WriteAllTextAsync(daemon.Home.In("runs"), "a file where the directory should be");
        await StartAsync(peer, "r");
        JsonElement snapshot = await peer.CallAsync("runs.subscribe", """{"run_id":"r"}""");
        File.Delete(daemon.Home.In("runs"));

        await RecordAsync(peer, "r", "one");

        await Assert.That(snapshot.GetRawText()).IsEqualTo("""{"run_id":"r","agent_id":"a","turns_so_far":[],"cursor":0,"status":"in_progress"}""");
        string started = (await File.ReadAllLinesAsync(daemon.Home.Trace("a", "r")))[0];
        await Assert.That((await peer.NextNotificationAsync("runs.trace.event")).GetRawText()).IsEqualTo(
            $$"""{"run_id":"r","agent_id":"a","record":{{started}},"cursor":0,"status":"in_progress"}""");
        await Assert.That((await peer.NextNotificationAsync("runs.trace.event")).GetProperty("cursor").GetInt32()).IsEqualTo(1);
    }

    [Test]
    public async Task Who_has_the_first_turns_already_gets_the_others()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.CallAsync("runs.start", """{"intent":"test","agent_id":"a","idempotency_key":"r"}""");
        await peer.CallAsync("runs.record_turns", """{"run_id":"r","turns":[{"tool":"0"},{"tool":"1"},{"tool":"2"}]}""");

        foreach (bool ended in (bool[])[false, true])
        {
            if (ended) await peer.CallAsync("runs.complete", """{"run_id":"r","outcome":{"status":"done"}}""");
            await Assert.That(await IndicesFromAsync(0)).IsEqualTo("0 1 2, cursor 3");
            await Assert.That(await IndicesFromAsync(2)).IsEqualTo("2, cursor 3");
            await Assert.That(await IndicesFromAsync(3)).IsEqualTo(", cursor 3");
            await Assert.That(await IndicesFromAsync(2_000)).IsEqualTo(", cursor 3");
        }
        await Assert.That((await peer.CallFailsAsync("runs.subscribe", """{"run_id":"r","cursor":-1}""")).Code).IsEqualTo(-32602);

        async Task<string> IndicesFromAsync(int cursor)
        {
            JsonElement said = await peer.CallAsync("runs.subscribe", $$"""{"run_id":"r","cursor":{{cursor}} }""");
            return $"{string.Join(' ', said.GetProperty("turns_so_far").EnumerateArray().Select(turn => turn.GetProperty("index").GetInt32()))}, cursor {said.GetProperty("cursor").GetInt32()}";
        }
    }

    [Test]
    public async Task Unsubscribing_ends_it_and_says_whether_there_was_one()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer peer = await daemon.ConnectAsync();
        await StartAsync(peer, "r");
        await peer.CallAsync("runs.subscribe", """{"run_id":"r"}""");

        await Assert.That((await peer.CallAsync("runs.unsubscribe", """{"run_id":"r"}""")).GetRawText()).IsEqualTo("""{"run_id":"r","removed":true}""");
        await Assert.That((await peer.CallAsync("runs.unsubscribe", """{"run_id":"r"}""")).GetRawText()).IsEqualTo("""{"run_id":"r","removed":false}""");
    }

    /// <summary>Also of those that were waiting for the client to read.</summary>
    [Test]
    public async Task After_the_answer_to_unsubscribe_comes_no_event()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer agent = await daemon.ConnectAsync();
        await using RawPeer peer = await daemon.ConnectRawAsync(daemon.Unix);
        await StartAsync(agent, "r");
        var watcher = new Follower(peer, "r");
        await watcher.SubscribeAsync();
        string turn = $$"""{"prompt":"{{new string('p', 16_000)}}"}""";
        for (int i = 0; i < 10; i++) await agent.CallAsync("runs.record_turns", $$"""{"run_id":"r","turns":[{{string.Join(',', Enumerable.Repeat(turn, 20))}}]}""");

        await Assert.That(await watcher.LeaveAsync()).IsTrue();   // all that came before the answer was read with it

        await Assert.That(watcher.Cursor).IsLessThan(200);
        await RecordAsync(agent, "r", "late");
        await peer.SendTextAsync("""{"jsonrpc":"2.0","id":"after","method":"ping"}""");
        await Assert.That(await peer.ReadTextAsync()).IsEqualTo("""{"jsonrpc":"2.0","id":"after","result":"pong"}""");
    }

    [Test]
    public async Task Subscribing_again_replaces_and_brings_nothing_twice()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer agent = await daemon.ConnectAsync();
        await using RawPeer peer = await daemon.ConnectRawAsync();
        await StartAsync(agent, "r");
        var watcher = new Follower(peer, "r");

        for (int i = 0; i < 10; i++)
        {
            Task recording = Task.WhenAll(Enumerable.Range(0, 20).Select(i => RecordAsync(agent, "r", $"t{i}")));
            await watcher.SubscribeAsync();
            await recording;
        }
        await CompleteAsync(agent, "r");
        await watcher.FollowAsync();

        await Assert.That((watcher.Cursor, watcher.HasGap)).IsEqualTo((200, false));
        watcher.Check(Follower.Turns(daemon.Home.Trace("a", "r")));
    }

    /// <summary>The same connection records and follows, and sends all of it in one write: nothing but the order in the daemon keeps the events behind.</summary>
    [Test]
    [Arguments(0)]
    [Arguments(300)]   // a snapshot of a megabyte, which is sent in parts
    public async Task No_event_overtakes_the_answer_it_belongs_behind(int turnsBefore)
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RawPeer peer = await daemon.ConnectRawAsync();
        await CallAsync(peer, "runs.start", """{"intent":"test","agent_id":"a","idempotency_key":"r"}""");
        string padding = new('p', 4_000);
        for (int i = 0; i < turnsBefore; i++) await CallAsync(peer, "runs.record_turns", $$"""{"run_id":"r","turns":[{"prompt":"{{padding}}"}]}""");

        const int Rounds = 50;
        byte[] subscribe = Text("""{"jsonrpc":"2.0","id":"s","method":"runs.subscribe","params":{"run_id":"r"}}""");
        byte[] record = Text("""{"jsonrpc":"2.0","id":"r","method":"runs.record_turns","params":{"run_id":"r","turns":[{"tool":"t"}]}}""");
        byte[] both = [.. subscribe, .. record];
        for (int round = 0; round < Rounds; round++)
        {
            await peer.SendAsync(both);
            int cursor = -1, answers = 0;
            while (answers < 2 || cursor <= turnsBefore + round)
            {
                string message = await peer.ReadTextAsync();
                if (message.Contains("\"id\":\"s\"", StringComparison.Ordinal)) cursor = Cursor(message);
                else if (message.Contains("runs.trace.event", StringComparison.Ordinal))
                {
                    await Assert.That(cursor).IsGreaterThanOrEqualTo(0).Because($"the answer comes first, in round {round}");
                    await Assert.That(Cursor(message)).IsEqualTo(cursor + 1);
                    cursor++;
                }
                if (message.Contains("\"id\":", StringComparison.Ordinal)) answers++;
            }
            await CallAsync(peer, "runs.unsubscribe", """{"run_id":"r"}""");
        }

        static byte[] Text(string message) => RawPeer.Frame(Op.Text, Encoding.UTF8.GetBytes(message));

        static int Cursor(string message)
        {
            int at = message.LastIndexOf("\"cursor\":", StringComparison.Ordinal) + "\"cursor\":".Length;
            return int.Parse(message.AsSpan(at, message.IndexOf(',', at) - at), CultureInfo.InvariantCulture);
        }
    }

    [Test]
    public async Task A_subscription_in_a_batch_begins_behind_the_answer_to_the_batch()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RawPeer peer = await daemon.ConnectRawAsync();
        await CallAsync(peer, "runs.start", """{"intent":"test","agent_id":"a","idempotency_key":"r"}""");

        await peer.SendTextAsync("""
            [{"jsonrpc":"2.0","id":1,"method":"runs.subscribe","params":{"run_id":"r"}},
             {"jsonrpc":"2.0","id":2,"method":"runs.subscribe","params":{"run_id":"unknown"}},
             {"jsonrpc":"2.0","id":3,"method":"runs.record_turns","params":{"run_id":"r","turns":[{"tool":"one"},{"tool":"two"}]}}]
            """);
        using JsonDocument batch = JsonDocument.Parse(await peer.ReadTextAsync());
        JsonElement[] answers = [.. batch.RootElement.EnumerateArray().OrderBy(answer => answer.GetProperty("id").GetInt32())];
        int cursor = answers[0].GetProperty("result").GetProperty("cursor").GetInt32();

        await Assert.That(answers[1].GetProperty("error").GetProperty("message").GetString()).IsEqualTo("unknown run_id `unknown`");
        await Assert.That(answers[2].GetProperty("result").GetProperty("count").GetInt32()).IsEqualTo(2);
        for (; cursor < 2; cursor++) await Assert.That(await peer.ReadTextAsync()).Contains($"\"cursor\":{cursor + 1},");
        await CallAsync(peer, "runs.record_turns", """{"run_id":"r","turns":[{"tool":"three"}]}""", events: 1);
    }

    [Test]
    public async Task A_subscription_as_a_notification_has_no_answer_and_its_events_come_all_the_same()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer peer = await daemon.ConnectAsync();
        await StartAsync(peer, "r");
        await RecordAsync(peer, "r", "before");

        await peer.NotifyAsync("runs.subscribe", """{"run_id":"r"}""");
        await Eventually.TrueAsync("an event", async () =>
        {
            await RecordAsync(peer, "r", "t");
            return peer.Notifications > 0;
        });
        await Assert.That((await peer.NextNotificationAsync("runs.trace.event")).GetProperty("cursor").GetInt32()).IsGreaterThan(1);
    }

    [Test]
    public async Task A_connection_follows_256_runs_and_no_more_at_a_time()
    {
        const int Most = 256;
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer peer = await daemon.ConnectAsync();
        await using RpcPeer other = await daemon.ConnectAsync();
        for (int i = 0; i <= Most; i++) await StartAsync(peer, $"r{i}");
        for (int i = 0; i < Most; i++) await SubscribeAsync(i);

        RpcFailure failure = await peer.CallFailsAsync("runs.subscribe", $$"""{"run_id":"r{{Most}}"}""");
        await Assert.That((failure.Code, failure.Text)).IsEqualTo((-32603, "this connection follows 256 runs already, which is the limit"));
        await SubscribeAsync(0);   // once more: it replaces
        await other.CallAsync("runs.subscribe", $$"""{"run_id":"r{{Most}}"}""");

        await peer.CallAsync("runs.unsubscribe", """{"run_id":"r7"}""");
        await SubscribeAsync(Most);
        await CompleteAsync(peer, "r8");   // its end makes room as well
        await peer.NextNotificationAsync("runs.trace.event");
        await Eventually.TrueAsync("room", async () => !(await peer.SendAsync("runs.subscribe", """{"run_id":"r7"}""")).TryGetProperty("error", out _));

        Task SubscribeAsync(int run) => peer.CallAsync("runs.subscribe", $$"""{"run_id":"r{{run}}"}""");
    }

    [Test]
    [Arguments("runs.subscribe", "{}")]
    [Arguments("runs.subscribe", "[]")]
    [Arguments("runs.subscribe", """{"run_id":null}""")]
    [Arguments("runs.subscribe", """{"run_id":7}""")]
    [Arguments("runs.subscribe", """{"run_id":["r"]}""")]
    [Arguments("runs.subscribe", """{"run_id":"r","run_id":"r"}""")]
    [Arguments("runs.unsubscribe", "{}")]
    [Arguments("runs.unsubscribe", """{"run_id":null}""")]
    public async Task Params_without_one_run_id_are_refused(string method, string parameters)
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer peer = await daemon.ConnectAsync();

        RpcFailure failure = await peer.CallFailsAsync(method, parameters);

        await Assert.That(failure.Code).IsEqualTo(-32602);
        await Assert.That(failure.Text).StartsWith($"{method} requires {{ run_id");
    }

    private static Task StartAsync(RpcPeer peer, string run) =>
        peer.CallAsync("runs.start", $$"""{"intent":"test","agent_id":"a","idempotency_key":"{{run}}"}""");

    private static Task<JsonElement> RecordAsync(RpcPeer peer, string run, params string[] tools) =>
        peer.CallAsync("runs.record_turns", $$"""{"run_id":"{{run}}","turns":[{{string.Join(',', tools.Select(tool => $$"""{"tool":"{{tool}}"}"""))}}]}""");

    private static Task CompleteAsync(RpcPeer peer, string run) => peer.CallAsync("runs.complete", $$$"""{"run_id":"{{{run}}}","outcome":{"status":"done"}}""");

    /// <summary>Calls and reads until the answer and so many events have come.</summary>
    private static async Task CallAsync(RawPeer peer, string method, string parameters, int events = 0)
    {
        await peer.SendTextAsync($$"""{"jsonrpc":"2.0","id":0,"method":"{{method}}","params":{{parameters}}}""");
        for (bool answered = false; !answered || events > 0;)
        {
            string message = await peer.ReadTextAsync();
            if (message.Contains("runs.trace.event", StringComparison.Ordinal)) events--;
            else if (message.StartsWith("""{"jsonrpc":"2.0","id":0,"result":""", StringComparison.Ordinal)) answered = true;
            else throw new InvalidOperationException(message);
        }
    }
}

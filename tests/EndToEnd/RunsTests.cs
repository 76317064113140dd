using System.Globalization;
using System.Text.Json;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>Protocol 13 and 14, and checks 5, 7, 8 and 10 of section 24. Traces are read by a connection with the host role.</summary>
public sealed class RunsTests
{
    private const string Write = """{"type":"state_write","parameters":{"key":"k","value":1} }""";

    [Test]
    public async Task A_proposal_after_runs_start_is_recorded_under_that_run()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await using RpcPeer host = await daemon.ConnectHostAsync();
        await peer.RegisterToolsAsync("t");
        peer.Tools = _ => Task.FromResult("""{"x":[1,2.50]}""");

        string run = await StartRunAsync(peer);
        await SubmitAsync(peer, """{"type":"tool_call","tool":"t","parameters":{"prompt":"why","n":1e2} }""");
        JsonElement completed = await peer.CallAsync("runs.complete", $$"""{"run_id":"{{run}}","outcome":{"status":"success"} }""");
        JsonElement trace = await TraceAsync(host, run);

        await Assert.That(completed.GetRawText()).IsEqualTo($$"""{"run_id":"{{run}}","ok":true}""");
        await Assert.That(trace.GetProperty("agent_id").GetString()).IsEqualTo("a");
        JsonElement[] records = [.. trace.GetProperty("records").EnumerateArray()];
        await Assert.That(Kinds(records)).IsEqualTo("started turn ended");
        await Assert.That(records[0].GetProperty("intent").GetString()).IsEqualTo("test");
        JsonElement turn = records[1];
        await Assert.That(turn.GetProperty("index").GetInt32()).IsEqualTo(0);
        await Assert.That(turn.GetProperty("tool").GetString()).IsEqualTo("t");
        await Assert.That(turn.GetProperty("prompt").GetString()).IsEqualTo("why");
        await Assert.That(turn.GetProperty("parameters").GetRawText()).IsEqualTo("""{"prompt":"why","n":1e2}""");
        await Assert.That(turn.GetProperty("output").GetRawText()).IsEqualTo("""{"x":[1,2.50]}""");
        await Assert.That(turn.GetProperty("verifier_verdict").GetString()).IsEqualTo("not_run");
        await Assert.That(turn.TryGetProperty("cli_outcome", out _)).IsFalse();
        JsonElement termination = records[2].GetProperty("termination");
        await Assert.That(termination.GetProperty("kind").GetString()).IsEqualTo("outcome");
        JsonElement outcome = termination.GetProperty("outcome");
        await Assert.That(outcome.GetProperty("status").GetString()).IsEqualTo("success");
        await Assert.That(outcome.GetProperty("summary").GetString()).IsEqualTo("");
        await Assert.That(outcome.GetProperty("metrics").EnumerateObject().Count()).IsEqualTo(6);
    }

    [Test]
    public async Task A_failed_action_is_a_turn_with_its_error()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await using RpcPeer host = await daemon.ConnectHostAsync();
        await peer.RegisterToolsAsync("t");
        peer.Tools = _ => throw new ToolFailed("no disk");

        string run = await StartRunAsync(peer);
        await SubmitAsync(peer, """{"type":"tool_call","tool":"t"}""");

        JsonElement turn = (await TraceAsync(host, run)).GetProperty("records")[1];
        await Assert.That(turn.GetProperty("output").GetRawText()).IsEqualTo("""{"error":"no disk"}""");
    }

    [Test]
    public async Task Two_proposals_at_once_leave_contiguous_indices_on_the_wire_and_on_disk()
    {
        const int rounds = 10;
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await using RpcPeer host = await daemon.ConnectHostAsync();
        await peer.RegisterToolsAsync("t");
        peer.Tools = _ => Task.FromResult("1");
        string run = await StartRunAsync(peer);
        const string three = """{"type":"tool_call","tool":"t","failure_behavior":"skip"},{"type":"tool_call","tool":"t","failure_behavior":"skip"},{"type":"tool_call","tool":"t","failure_behavior":"skip"}""";

        for (int round = 0; round < rounds; round++) await Task.WhenAll(SubmitAsync(peer, three), SubmitAsync(peer, three));
        await CompleteAsync(peer, run);

        string expected = string.Join(' ', Enumerable.Range(0, rounds * 6));
        JsonElement[] records = [.. (await TraceAsync(host, run)).GetProperty("records").EnumerateArray()];
        await Assert.That(Indices(records)).IsEqualTo(expected);
        await Assert.That(Indices(RecordsOnDisk(daemon, run))).IsEqualTo(expected);
        await Assert.That(Kinds(records[^1..])).IsEqualTo("ended");
    }

    [Test]
    public async Task The_trace_on_disk_is_the_trace_on_the_wire_byte_for_byte()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await using RpcPeer host = await daemon.ConnectHostAsync();
        string run = await StartRunAsync(peer);
        await SubmitAsync(peer, """{"type":"state_write","parameters":{"key":"k","value":["<é>","\ud83d\ude00",1.0] } }""");
        await CompleteAsync(peer, run);

        string wire = string.Concat((await TraceAsync(host, run)).GetProperty("records").EnumerateArray().Select(r => r.GetRawText() + "\n"));

        await Assert.That(await File.ReadAllTextAsync(daemon.Home.Trace("a", run))).IsEqualTo(wire);
        await Assert.That(File.GetUnixFileMode(daemon.Home.Trace("a", run))).IsEqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite);
        await Assert.That(File.Exists(daemon.Home.In("runs", ".nobackup"))).IsTrue();
    }

    [Test]
    public async Task A_connection_that_drops_right_after_runs_complete_leaves_a_completed_run()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer host = await daemon.ConnectHostAsync();
        await using RawPeer raw = await daemon.ConnectRawAsync();
        await raw.SendTextAsync($$"""{"jsonrpc":"2.0","id":1,"method":"session.auth","params":{"token":"{{daemon.AuthToken}}"} }""");
        await raw.ReadTextAsync();
        await raw.SendTextAsync("""{"jsonrpc":"2.0","id":2,"method":"runs.start","params":{"intent":"test","agent_id":"a"} }""");
        string run = RunId(await raw.ReadTextAsync());

        await raw.SendTextAsync($$"""{"jsonrpc":"2.0","id":3,"method":"runs.complete","params":{"run_id":"{{run}}","outcome":{"status":"done"} } }""");
        raw.EndSending();

        await EndedAsync(host, run);
        await Assert.That(await StatusAsync(host, run)).IsEqualTo("completed");
    }

    [Test]
    public async Task A_run_whose_connection_dropped_is_incomplete_after_the_grace()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer host = await daemon.ConnectHostAsync();
        RpcPeer peer = await daemon.ConnectAsync();
        string run = await StartRunAsync(peer);
        await SubmitAsync(peer, Write);

        DateTimeOffset dropped = DateTimeOffset.UtcNow;
        await peer.DropAsync();
        JsonElement ended = await EndedAsync(host, run);

        await Assert.That(ended.GetProperty("termination").GetRawText()).IsEqualTo("""{"kind":"incomplete"}""");
        DateTimeOffset endedAt = DateTimeOffset.Parse(ended.GetProperty("ended_at").GetString()!, CultureInfo.InvariantCulture);
        await Assert.That((endedAt - dropped).TotalMilliseconds).IsGreaterThanOrEqualTo(245);   // 250 ms, less the grain of the timer and of the two clocks
        await Assert.That(await StatusAsync(host, run)).IsEqualTo("incomplete");
        await Assert.That(Kinds([.. (await TraceAsync(host, run)).GetProperty("records").EnumerateArray()])).IsEqualTo("started turn ended");
    }

    [Test]
    public async Task After_kill_9_and_restart_an_open_run_is_incomplete_and_its_trace_is_there()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        RpcPeer peer = await daemon.ConnectAsync();
        string finished = await StartRunAsync(peer);
        await SubmitAsync(peer, Write);
        await CompleteAsync(peer, finished);
        string open = await StartRunAsync(peer);
        await SubmitAsync(peer, Write);
        byte[] before = await File.ReadAllBytesAsync(daemon.Home.Trace("a", finished));

        await daemon.KillAsync();
        await peer.DisposeAsync();
        await daemon.RestartAsync();

        await using RpcPeer host = await daemon.ConnectHostAsync();
        await Assert.That(await StatusAsync(host, open)).IsEqualTo("incomplete");
        await Assert.That(await StatusAsync(host, finished)).IsEqualTo("completed");
        JsonElement[] records = [.. (await TraceAsync(host, open)).GetProperty("records").EnumerateArray()];
        await Assert.That(Kinds(records)).IsEqualTo("started turn ended");
        await Assert.That(records[^1].GetProperty("termination").GetRawText()).IsEqualTo("""{"kind":"incomplete"}""");
        await Assert.That((await File.ReadAllBytesAsync(daemon.Home.Trace("a", finished))).SequenceEqual(before)).IsTrue();
    }

    [Test]
    public async Task A_torn_last_line_is_cut_at_the_next_start_and_never_glued_to_what_follows()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        RpcPeer peer = await daemon.ConnectAsync();
        string run = await StartRunAsync(peer);
        await SubmitAsync(peer, Write);
        await daemon.KillAsync();
        await peer.DisposeAsync();
        await File.AppendAllTextAsync(daemon.Home.Trace("a", run), """{"record":"turn","index":1,"too""");

        await daemon.RestartAsync();

        await using RpcPeer host = await daemon.ConnectHostAsync();
        await Assert.That(Kinds([.. (await TraceAsync(host, run)).GetProperty("records").EnumerateArray()])).IsEqualTo("started turn ended");
        await Assert.That(Kinds(RecordsOnDisk(daemon, run))).IsEqualTo("started turn ended");
    }

    [Test]
    public async Task Get_trace_starts_at_the_cursor_and_is_empty_past_the_end()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await using RpcPeer host = await daemon.ConnectHostAsync();
        string run = await StartRunAsync(peer);
        await SubmitAsync(peer, $"{Write},{Write}");

        JsonElement from1 = await host.CallAsync("runs.get_trace", $$"""{"run_id":"{{run}}","cursor":1}""");
        JsonElement past = await host.CallAsync("runs.get_trace", $$"""{"run_id":"{{run}}","cursor":99}""");

        await Assert.That(Kinds([.. from1.GetProperty("records").EnumerateArray()])).IsEqualTo("turn turn");
        await Assert.That(from1.GetProperty("cursor").GetInt32()).IsEqualTo(1);
        await Assert.That(past.GetProperty("records").GetArrayLength()).IsEqualTo(0);
    }

    [Test]
    public async Task An_unknown_run_is_a_result_for_get_trace_and_an_error_for_complete()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer host = await daemon.ConnectHostAsync();

        JsonElement trace = await host.CallAsync("runs.get_trace", """{"run_id":"nope"}""");
        RpcFailure failure = await host.CallFailsAsync("runs.complete", """{"run_id":"nope","outcome":{"status":"done"} }""");

        await Assert.That(trace.GetRawText()).IsEqualTo("""{"run_id":"nope","not_found":true}""");
        await Assert.That(failure.Code).IsEqualTo(-32603);
        await Assert.That(failure.Text).IsEqualTo("unknown run_id `nope`");
    }

    [Test]
    public async Task A_run_ends_once()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        string run = await StartRunAsync(peer);
        await CompleteAsync(peer, run);

        RpcFailure failure = await peer.CallFailsAsync("runs.complete", $$"""{"run_id":"{{run}}","outcome":{"status":"done"} }""");

        await Assert.That(failure.Text).IsEqualTo($"run `{run}` is already terminal — cannot record another outcome");
    }

    [Test]
    public async Task Another_connection_cannot_end_a_run_or_learn_that_it_exists()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await using RpcPeer stranger = await daemon.ConnectAsync();
        string run = await StartRunAsync(peer);

        RpcFailure complete = await stranger.CallFailsAsync("runs.complete", $$"""{"run_id":"{{run}}","outcome":{"status":"done"} }""");
        JsonElement trace = await stranger.CallAsync("runs.get_trace", $$"""{"run_id":"{{run}}"}""");
        RpcFailure list = await stranger.CallFailsAsync("runs.list", """{"agent_id":"a"}""");

        await Assert.That(complete.Text).IsEqualTo($"unknown run_id `{run}`");
        await Assert.That(trace.GetRawText()).IsEqualTo($$"""{"run_id":"{{run}}","not_found":true}""");
        await Assert.That(list.Text).IsEqualTo("not authorized to read runs of agent 'a'");
    }

    [Test]
    public async Task Without_auth_every_connection_may_read()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer peer = await daemon.ConnectAsync();
        await using RpcPeer reader = await daemon.ConnectAsync();
        string run = await StartRunAsync(peer);

        await Assert.That(Kinds([.. (await TraceAsync(reader, run)).GetProperty("records").EnumerateArray()])).IsEqualTo("started");
        await Assert.That(await StatusAsync(reader, run)).IsEqualTo("in_progress");
    }

    [Test]
    public async Task Runs_are_listed_newest_first_with_their_turn_counts()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await using RpcPeer host = await daemon.ConnectHostAsync();
        string first = await StartRunAsync(peer);
        await SubmitAsync(peer, $"{Write},{Write}");
        await CompleteAsync(peer, first);
        string second = await StartRunAsync(peer);

        JsonElement list = await host.CallAsync("runs.list", """{"agent_id":"a"}""");

        JsonElement[] runs = [.. list.GetProperty("runs").EnumerateArray()];
        await Assert.That(runs.Select(r => r.GetProperty("run_id").GetString()).SequenceEqual([second, first])).IsTrue();
        await Assert.That(runs[0].GetProperty("turn_count").GetInt32()).IsEqualTo(0);
        await Assert.That(runs[1].GetProperty("turn_count").GetInt32()).IsEqualTo(2);
        await Assert.That((await host.CallAsync("runs.list", """{"agent_id":"nobody"}""")).GetProperty("runs").GetRawText()).IsEqualTo("[]");
    }

    [Test]
    public async Task An_agents_name_becomes_its_id()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();

        JsonElement started = await peer.CallAsync("runs.start", """{"intent":"test","agent_name":" My Agent, v2! "}""");
        RpcFailure nameless = await peer.CallFailsAsync("runs.start", """{"intent":"test","agent_name":"!"}""");
        RpcFailure nobody = await peer.CallFailsAsync("runs.start", """{"intent":"test"}""");

        await Assert.That(started.GetProperty("agent_id").GetString()).IsEqualTo("name:my-agent-v2");
        await Assert.That(nameless.Text).IsNotEmpty();
        await Assert.That(nobody.Text).IsNotEmpty();
    }

    [Test]
    public async Task The_same_idempotency_key_is_the_same_run()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();

        JsonElement one = await peer.CallAsync("runs.start", """{"intent":"test","agent_id":"a","idempotency_key":"k-1"}""");
        JsonElement two = await peer.CallAsync("runs.start", """{"intent":"test","agent_id":"a","idempotency_key":"k-1"}""");
        RpcFailure other = await peer.CallFailsAsync("runs.start", """{"intent":"test","agent_id":"b","idempotency_key":"k-1"}""");

        await Assert.That(one.GetProperty("run_id").GetString()).IsEqualTo("k-1");
        await Assert.That(two.GetProperty("run_id").GetString()).IsEqualTo("k-1");
        await Assert.That(other.Text).IsNotEmpty();
    }

    [Test]
    [Arguments("..")]
    [Arguments(".")]
    [Arguments("")]
    public async Task An_agent_id_that_is_no_file_name_is_refused(string agent)
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();

        await peer.CallFailsAsync("runs.start", $$"""{"intent":"test","agent_id":"{{agent}}"}""");

        await Assert.That(daemon.Home.Files().Where(f => f.EndsWith(".jsonl", StringComparison.Ordinal))).IsEmpty();
    }

    [Test]
    public async Task An_agent_id_with_a_slash_stays_inside_the_run_store()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await using RpcPeer host = await daemon.ConnectHostAsync();

        string run = (await peer.CallAsync("runs.start", """{"intent":"test","agent_id":"../Up"}""")).GetProperty("run_id").GetString()!;

        await Assert.That((await TraceAsync(host, run)).GetProperty("agent_id").GetString()).IsEqualTo("../Up");
        await Assert.That(daemon.Home.Files().Single(f => f.EndsWith(run + ".jsonl", StringComparison.Ordinal))).IsEqualTo($"runs/%2e.%2f%55p/{run}.jsonl");
    }

    private static async Task<string> StartRunAsync(RpcPeer peer) =>
        (await peer.CallAsync("runs.start", """{"intent":"test","agent_id":"a"}""")).GetProperty("run_id").GetString()!;

    private static Task SubmitAsync(RpcPeer peer, string actions) => peer.CallAsync("proposal.submit", $$"""{"proposal":{"actions":[{{actions}}]} }""");

    private static Task CompleteAsync(RpcPeer peer, string run) => peer.CallAsync("runs.complete", $$"""{"run_id":"{{run}}","outcome":{"status":"success"} }""");

    private static Task<JsonElement> TraceAsync(RpcPeer peer, string run) => peer.CallAsync("runs.get_trace", $$"""{"run_id":"{{run}}"}""");

    private static async Task<string> StatusAsync(RpcPeer peer, string run) =>
        (await peer.CallAsync("runs.list", """{"agent_id":"a"}""")).GetProperty("runs").EnumerateArray()
            .Single(r => r.GetProperty("run_id").GetString() == run).GetProperty("status").GetString()!;

    /// <summary>Waits for the record that ends a run.</summary>
    private static async Task<JsonElement> EndedAsync(RpcPeer host, string run)
    {
        JsonElement last = default;
        await Eventually.TrueAsync($"run {run} has ended", async () =>
        {
            last = (await TraceAsync(host, run)).GetProperty("records").EnumerateArray().Last();
            return last.GetProperty("record").GetString() == "ended";
        });
        return last;
    }

    private static string RunId(string answer)
    {
        using JsonDocument document = JsonDocument.Parse(answer);
        return document.RootElement.GetProperty("result").GetProperty("run_id").GetString()!;
    }

    private static JsonElement[] RecordsOnDisk(TestDaemon daemon, string run) =>
        [.. File.ReadAllLines(daemon.Home.Trace("a", run)).Select(line => { using JsonDocument d = JsonDocument.Parse(line); return d.RootElement.Clone(); })];

    private static string Kinds(JsonElement[] records) => string.Join(' ', records.Select(r => r.GetProperty("record").GetString()));

    private static string Indices(JsonElement[] records) =>
        string.Join(' ', records.Where(r => r.GetProperty("record").GetString() == "turn").Select(r => r.GetProperty("index").GetInt32()));
}

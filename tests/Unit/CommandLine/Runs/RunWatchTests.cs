using System.Text;
using System.Text.Json;
using CarServer.Rpc.CommandLine;
using CarServer.Tests.Unit.Client;

namespace CarServer.Tests.Unit.CommandLine.Runs;

/// <summary>'runs watch --json' against a daemon that a test plays: it drops, repeats, lags and goes away.</summary>
internal sealed class RunWatchTests
{
    private readonly MemoryStream _out = new();
    private readonly StringWriter _error = new();
    private readonly FakeServer _server = FakeServer.Tcp();

    [After(Test)]
    public void CloseServer() => _server.Dispose();

    [Test]
    public async Task Turns_are_shown_once_whatever_the_daemon_repeats()
    {
        Task<int> watching = WatchAsync();
        using FakePeer peer = await AcceptAsync(stored: 2);
        await EventAsync(peer, 1);
        await EventAsync(peer, 2);
        await EventAsync(peer, 2);
        await EventAsync(peer, 3);
        await EndEventAsync(peer, 4);
        await LeaveAsync(peer);
        await Assert.That(await watching).IsEqualTo(0);
        await Assert.That(Shown()).IsEqualTo("started 0 1 2 3 ended");
        await Assert.That(_error.ToString()).IsEqualTo("");
    }

    [Test]
    public async Task A_jump_is_healed_from_the_trace_and_told()
    {
        Task<int> watching = WatchAsync();
        using FakePeer peer = await AcceptAsync(stored: 1);
        await EventAsync(peer, 4);
        await ReplyToTraceAsync(peer, expectedCursor: 2, turns: 5);
        await EndEventAsync(peer, 5);
        await LeaveAsync(peer);
        await Assert.That(await watching).IsEqualTo(0);
        await Assert.That(Shown()).IsEqualTo("started 0 1 2 3 4 ended");
        await Assert.That(_error.ToString()).IsEqualTo("gap healed: turns 1-4\n");
    }

    [Test]
    public async Task Dropped_events_that_nothing_newer_shows_are_read_when_the_daemon_tells()
    {
        Task<int> watching = WatchAsync();
        using FakePeer peer = await AcceptAsync(stored: 1);
        await peer.SendTextAsync("""{"jsonrpc":"2.0","method":"runs.trace.lagged","params":{"run_id":"r","cursor":3,"status":"in_progress","subscribed":true}}""");
        await ReplyToTraceAsync(peer, expectedCursor: 2, turns: 3);
        await EndEventAsync(peer, 3);
        await LeaveAsync(peer);
        await Assert.That(await watching).IsEqualTo(0);
        await Assert.That(Shown()).IsEqualTo("started 0 1 2 ended");
        await Assert.That(_error.ToString()).IsEqualTo("gap healed: turns 1-2\n");
    }

    [Test]
    public async Task A_subscription_that_the_daemon_ended_is_made_again()
    {
        Task<int> watching = WatchAsync();
        using FakePeer peer = await AcceptAsync(stored: 1);
        await peer.SendTextAsync("""{"jsonrpc":"2.0","method":"runs.trace.lagged","params":{"run_id":"r","cursor":2,"status":"in_progress","subscribed":false}}""");
        await ReplyToTraceAsync(peer, expectedCursor: 2, turns: 2);
        await ReplyToTraceAsync(peer, expectedCursor: 3, turns: 2);
        await ReplyToSubscribeAsync(peer, turns: 2);
        await EventAsync(peer, 2);
        await EndEventAsync(peer, 3);
        await LeaveAsync(peer);
        await Assert.That(await watching).IsEqualTo(0);
        await Assert.That(Shown()).IsEqualTo("started 0 1 2 ended");
    }

    [Test]
    public async Task A_lost_connection_is_made_again_and_the_run_goes_on_where_it_was()
    {
        Task<int> watching = WatchAsync();
        using (FakePeer first = await AcceptAsync(stored: 2)) await EventAsync(first, 2);
        using FakePeer second = await _server.AcceptAsync();
        await ReplyToTraceAsync(second, expectedCursor: 4, turns: 5);
        await ReplyToSubscribeAsync(second, turns: 5);
        await EndEventAsync(second, 5);
        await LeaveAsync(second);
        await Assert.That(await watching).IsEqualTo(0);
        await Assert.That(Shown()).IsEqualTo("started 0 1 2 3 4 ended");
        string[] notes = _error.ToString().Split('\n');
        await Assert.That(notes[0]).StartsWith("connection lost (");
        await Assert.That(notes[1]).IsEqualTo("connected again");
        await Assert.That(notes[2]).IsEqualTo("gap healed: turns 3-4");
    }

    [Test]
    public async Task A_run_that_ended_meanwhile_is_told_from_the_trace()
    {
        Task<int> watching = WatchAsync();
        using (await AcceptAsync(stored: 1)) { }
        using FakePeer second = await _server.AcceptAsync();
        await ReplyToTraceAsync(second, expectedCursor: 2, turns: 2, ended: true);
        await LeaveAsync(second);
        await Assert.That(await watching).IsEqualTo(0);
        await Assert.That(Shown()).IsEqualTo("started 0 1 ended");
    }

    [Test]
    public async Task An_end_that_the_trace_does_not_have_yet_is_waited_for()
    {
        Task<int> watching = WatchAsync();
        using FakePeer peer = await AcceptAsync(stored: 1);
        await EndEventAsync(peer, 2);
        await ReplyToTraceAsync(peer, expectedCursor: 2, turns: 2);
        await ReplyToTraceAsync(peer, expectedCursor: 0, turns: 2);
        await ReplyToTraceAsync(peer, expectedCursor: 3, turns: 2, ended: true);
        await LeaveAsync(peer);
        await Assert.That(await watching).IsEqualTo(0);
        await Assert.That(Shown()).IsEqualTo("started 0 1 ended");
    }

    [Test]
    public async Task A_daemon_that_stays_away_longer_than_the_timeout_is_exit_code_3()
    {
        Task<int> watching = WatchAsync("--timeout", "0.2");
        using (await AcceptAsync(stored: 1)) _server.Dispose();
        await Assert.That(await watching).IsEqualTo(3);
        await Assert.That(_error.ToString()).Contains("error: the daemon did not come back within 0.2 s");
    }

    [Test]
    public async Task A_run_that_nobody_knows_is_an_error_of_the_daemon()
    {
        Task<int> watching = WatchAsync();
        using FakePeer peer = await _server.AcceptAsync();
        int id = (await RequestAsync(peer, "runs.get_trace")).GetProperty("id").GetInt32();
        await ReplyAsync(peer, id, """{"run_id":"r","not_found":true}""");
        await LeaveAsync(peer);
        await Assert.That(await watching).IsEqualTo(1);
        await Assert.That(_error.ToString().TrimEnd()).IsEqualTo("error -32603: unknown run_id `r`");
    }

    [Test]
    public async Task A_stranger_that_says_something_else_is_an_error_and_no_circle()
    {
        Task<int> watching = WatchAsync();
        using FakePeer peer = await _server.AcceptAsync();
        await ReplyAsync(peer, (await RequestAsync(peer, "runs.get_trace")).GetProperty("id").GetInt32(), "[]");
        await LeaveAsync(peer);
        await Assert.That(await watching).IsEqualTo(1);
        await Assert.That(_error.ToString()).Contains("what the daemon says in runs.get_trace cannot be understood");
    }

    private Task<int> WatchAsync(params string[] more) => CarCommand.RunAsync(["runs", "watch", "r", "--json", "--url", _server.Address.ToString(), .. more],
        new Surroundings(TestLayers.Environment("CAR_HOME=/nowhere"), Platform.Linux, "/here", Stream.Null, _out, _error));

    /// <summary>Lets it in, and answers the first reading and the subscription with as many turns.</summary>
    private async Task<FakePeer> AcceptAsync(int stored)
    {
        FakePeer peer = await _server.AcceptAsync();
        await ReplyToTraceAsync(peer, expectedCursor: 0, turns: stored);
        await ReplyToSubscribeAsync(peer, stored);
        return peer;
    }

    private static async Task ReplyToTraceAsync(FakePeer peer, int expectedCursor, int turns, bool ended = false)
    {
        JsonElement request = await RequestAsync(peer, "runs.get_trace");
        await Assert.That(request.GetProperty("params").GetProperty("cursor").GetInt32()).IsEqualTo(expectedCursor);
        string[] trace = [Started, .. Enumerable.Range(0, turns).Select(Turn), .. ended ? [Ended] : (string[])[]];
        await ReplyAsync(peer, request.GetProperty("id").GetInt32(), $$"""{"run_id":"r","agent_id":"a","records":[{{string.Join(',', trace.Skip(expectedCursor))}}],"cursor":{{expectedCursor}},"next_cursor":null}""");
    }

    private static async Task ReplyToSubscribeAsync(FakePeer peer, int turns)
    {
        int id = (await RequestAsync(peer, "runs.subscribe")).GetProperty("id").GetInt32();
        string soFar = string.Join(',', Enumerable.Range(0, turns).Select(Turn));
        await ReplyAsync(peer, id, $$"""{"run_id":"r","agent_id":"a","turns_so_far":[{{soFar}}],"cursor":{{turns}},"status":"in_progress"}""");
    }

    private static Task EventAsync(FakePeer peer, int index) => TellAsync(peer, Turn(index), index + 1, "in_progress");

    private static Task EndEventAsync(FakePeer peer, int cursor) => TellAsync(peer, Ended, cursor, "incomplete");

    private static Task TellAsync(FakePeer peer, string record, int cursor, string status) => peer.SendTextAsync(
        $$"""{"jsonrpc":"2.0","method":"runs.trace.event","params":{"run_id":"r","agent_id":"a","record":{{record}},"cursor":{{cursor}},"status":"{{status}}"} }""");

    private static Task ReplyAsync(FakePeer peer, int id, string result) => peer.SendTextAsync($$"""{"jsonrpc":"2.0","id":{{id}},"result":{{result}}}""");

    private static async Task<JsonElement> RequestAsync(FakePeer peer, string method)
    {
        using JsonDocument request = JsonDocument.Parse(await peer.ReadTextAsync());
        await Assert.That(request.RootElement.GetProperty("method").GetString()).IsEqualTo(method);
        return request.RootElement.Clone();
    }

    private static async Task LeaveAsync(FakePeer peer)
    {
        await peer.ReadCloseAsync();
        peer.Dispose();
    }

    private const string Started = """{"record":"started","run_id":"r","agent_id":"a","intent":"i","outcome_description":null,"started_at":"2026-01-01T00:00:00Z"}""";
    private const string Ended = """{"record":"ended","run_id":"r","agent_id":"a","termination":{"kind":"incomplete"},"ended_at":"2026-01-01T00:00:01Z"}""";

    private static string Turn(int index) => $$"""{"record":"turn","index":{{index}},"verifier_verdict":"not_run"}""";

    /// <summary>What was printed, a word for each record.</summary>
    private string Shown() => string.Join(' ', Encoding.UTF8.GetString(_out.ToArray()).Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line =>
    {
        using JsonDocument record = JsonDocument.Parse(line);
        return record.RootElement.TryGetProperty("index", out JsonElement index) ? index.GetRawText() : record.RootElement.GetProperty("record").GetString();
    }));
}

using System.Text;
using System.Text.Json;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>Protocol 13.7: turns that an agent records itself. Their sizes are in <see cref="TurnSizeTests"/>.</summary>
public sealed class RecordTurnsTests
{
    private const int MaxTurnsInBatch = 256, MaxTurnsOfRun = 2_000;
    private const string Shape = "runs.record_turns requires { run_id, turns: [RunTurn] }";

    [Test]
    public async Task Turns_are_numbered_by_the_run_and_stored_as_they_came()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer peer = await StartAsync(daemon);

        string first = await RecordAsync(peer, """[{"index":"none of your business","tool":"t","parameters":{"a": [1.50,null]}},{"prompt":"why","output":null}]""");
        string second = await RecordAsync(peer, """[{"index":0,"verifier_verdict":"passed","policy_rejected":true,"cli_outcome":{"kind":"failed","exit_code":2}}]""");

        await Assert.That(first).IsEqualTo("""{"run_id":"r","base_index":0,"count":2,"ok":true}""");
        await Assert.That(second).IsEqualTo("""{"run_id":"r","base_index":2,"count":1,"ok":true}""");
        JsonElement trace = await peer.CallAsync("runs.get_trace", """{"run_id":"r","cursor":1}""");
        await Assert.That(trace.GetProperty("records").GetRawText()).IsEqualTo(
            """[{"record":"turn","index":0,"tool":"t","parameters":{"a":[1.50,null]},"verifier_verdict":"not_run"},""" +
            """{"record":"turn","index":1,"prompt":"why","output":null,"verifier_verdict":"not_run"},""" +
            """{"record":"turn","index":2,"cli_outcome":{"kind":"failed","exit_code":2},"verifier_verdict":"passed","policy_rejected":true}]""");
    }

    /// <summary>What is left: the turn as it is stored, without what stands in every line.</summary>
    [Test]
    [Arguments("{}", "")]
    [Arguments("""{"prompt":null,"tool":null,"cli_outcome":null,"policy_rejected":null}""", "")]
    [Arguments("""{"parameters":null,"output":null}""", """ "parameters":null,"output":null,""")]
    [Arguments("""{"policy_rejected":false,"verifier_verdict":"not_run"}""", "", ""","policy_rejected":false""")]
    [Arguments("""{"index":-1,"tool":"t"}""", """ "tool":"t",""")]
    [Arguments("""{"index":1.5,"tool":"t"}""", """ "tool":"t",""")]
    [Arguments("""{"index":1e999,"tool":"t"}""", """ "tool":"t",""")]
    [Arguments("""{"index":null,"tool":"t"}""", """ "tool":"t",""")]
    [Arguments("""{"index":{"a":[7]},"tool":"t"}""", """ "tool":"t",""")]
    [Arguments("""{"index":"\ud800","tool":"t"}""", """ "tool":"t",""")]
    [Arguments("""{"record":"ended","termination":{"kind":"incomplete"},"tool":"t"}""", """ "tool":"t",""")]
    [Arguments("""{"run_id":"other","agent_id":"other","unknown":[1],"tool":"t"}""", """ "tool":"t",""")]
    [Arguments("""{"\u0074ool":"t","PROMPT":"p"}""", """ "tool":"t",""")]
    [Arguments("""{"tool":"","prompt":""}""", """ "prompt":"","tool":"",""")]
    [Arguments("""{"tool":"a\u0000b\n\u00e9\"<"}""", """ "tool":"a\u0000b\né\"<",""")]
    [Arguments("""{ "parameters" : { "b" :[ 1 , 2.50 , 1E+2 ] , "a" : { } , "b" : "" } }""", """ "parameters":{"b":[1,2.50,1E+2],"a":{},"b":""},""")]
    [Arguments("""{"output":"\u0061\/\ud800","parameters":["\ud83d\ude00","\ude00"]}""", """ "parameters":["\ud83d\ude00","\ude00"],"output":"\u0061\/\ud800",""")]
    [Arguments("""{"output":" \u2028\r\n "}""", """ "output":" \u2028\r\n ",""")]
    [Arguments("""{"cli_outcome":{"kind":"timed_out"}}""", """ "cli_outcome":{"kind":"timed_out"},""")]
    [Arguments("""{"cli_outcome":{"stderr_tail":"e","stdout_tail":"o","duration_ms":1.5,"exit_code":-9223372036854775808,"kind":"succeeded","new":1}}""",
        """ "cli_outcome":{"kind":"succeeded","exit_code":-9223372036854775808,"duration_ms":1.5,"stdout_tail":"o","stderr_tail":"e"},""")]
    [Arguments("""{"verifier_verdict":"inconclusive"}""", "", "", "inconclusive")]
    public async Task A_turn_is_stored_with_what_was_given_and_nothing_else(string given, string before, string behind = "", string verdict = "not_run")
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer peer = await StartAsync(daemon);

        await Assert.That(await RecordAsync(peer, $"[{given}]")).IsEqualTo("""{"run_id":"r","base_index":0,"count":1,"ok":true}""");

        await Assert.That((await File.ReadAllLinesAsync(daemon.Home.Trace("a", "r")))[1]).IsEqualTo(
            $$"""{"record":"turn","index":0,{{before.TrimStart()}}"verifier_verdict":"{{verdict}}"{{behind}}}""");
    }

    [Test]
    public async Task A_malformed_turn_refuses_the_whole_batch()
    {
        string[] malformed =
        [
            "1", "\"turn\"", "null", "[]", "true",
            """{"prompt":1}""", """{"prompt":{}}""", """{"prompt":["p"]}""", """{"prompt":"\ud83d"}""", """{"tool":"\ude00"}""",
            """{"tool":5}""", """{"tool":["t"]}""", """{"tool":true}""", """{"tool":"a","tool":"b"}""", """{"tool":"a","\u0074ool":"b"}""",
            """{"output":1,"output":2}""",
            """{"verifier_verdict":"maybe"}""", """{"verifier_verdict":null}""", """{"verifier_verdict":"NotRun"}""", """{"verifier_verdict":"passed,failed"}""",
            """{"verifier_verdict":1}""", """{"verifier_verdict":""}""", """{"verifier_verdict":"\ud800"}""",
            """{"cli_outcome":{}}""", """{"cli_outcome":[]}""", """{"cli_outcome":"succeeded"}""", """{"cli_outcome":{"kind":"died"}}""", """{"cli_outcome":{"kind":null}}""",
            """{"cli_outcome":{"kind":"failed","exit_code":"2"}}""", """{"cli_outcome":{"kind":"failed","exit_code":1.5}}""",
            """{"cli_outcome":{"kind":"failed","exit_code":9223372036854775808}}""", """{"cli_outcome":{"kind":"failed","duration_ms":"1"}}""",
            """{"cli_outcome":{"kind":"failed","duration_ms":1e999}}""", """{"cli_outcome":{"kind":"failed","stdout_tail":1}}""", """{"cli_outcome":{"kind":"failed","kind":"failed"}}""",
            """{"policy_rejected":"yes"}""", """{"policy_rejected":1}""", """{"policy_rejected":[]}""",
        ];
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer peer = await StartAsync(daemon);

        foreach (string turn in malformed)
        {
            JsonElement answer = await peer.SendAsync("runs.record_turns", $$"""{"run_id":"r","turns":[{"tool":"fine"},{{turn}},{"tool":"fine"}]}""").Soon("the answer");
            await Assert.That(Error(answer)).StartsWith($"-32602 {Shape}: wrong or unexpected value at params.turns[1]").Because(turn);
        }

        await Assert.That(Follower.Turns(daemon.Home.Trace("a", "r")).Length).IsEqualTo(0);
        await Assert.That(await RecordAsync(peer, "[{}]")).IsEqualTo("""{"run_id":"r","base_index":0,"count":1,"ok":true}""");
    }

    [Test]
    [Arguments("null", "")]
    [Arguments("{}", "")]
    [Arguments("[]", "")]
    [Arguments("""{"run_id":"r"}""", "")]
    [Arguments("""{"turns":[{}]}""", "")]
    [Arguments("""{"run_id":"","turns":[{}]}""", ": run_id is empty")]
    [Arguments("""{"run_id":null,"turns":[{}]}""", ": wrong or unexpected value at params.run_id")]
    [Arguments("""{"run_id":1,"turns":[{}]}""", ": wrong or unexpected value at params.run_id")]
    [Arguments("""{"run_id":"r","turns":[]}""", ": 1 to 256 turns, got 0")]
    [Arguments("""{"run_id":"unknown","turns":[]}""", ": 1 to 256 turns, got 0")]
    [Arguments("""{"run_id":"r","turns":null}""", ": wrong or unexpected value at params.turns")]
    [Arguments("""{"run_id":"r","turns":{}}""", ": wrong or unexpected value at params.turns")]
    [Arguments("""{"run_id":"r","turns":"[{}]"}""", ": wrong or unexpected value at params.turns")]
    [Arguments("""{"run_id":"r","turns":{"0":{},"length":1}}""", ": wrong or unexpected value at params.turns")]
    [Arguments("""{"run_id":"r","turns":[{}],"turns":[{}]}""", ": wrong or unexpected value at params.turns")]
    public async Task Params_that_are_no_batch_are_refused(string parameters, string detail)
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer peer = await StartAsync(daemon);

        RpcFailure failure = await peer.CallFailsAsync("runs.record_turns", parameters);

        await Assert.That((failure.Code, failure.Text)).IsEqualTo((-32602, Shape + detail));
        await Assert.That(Follower.Turns(daemon.Home.Trace("a", "r")).Length).IsEqualTo(0);
    }

    [Test]
    public async Task A_batch_has_up_to_256_turns_and_a_run_up_to_2000()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer peer = await StartAsync(daemon);

        RpcFailure failure = await peer.CallFailsAsync("runs.record_turns", $$"""{"run_id":"r","turns":{{Turns(MaxTurnsInBatch + 1)}}}""");
        await Assert.That((failure.Code, failure.Text)).IsEqualTo((-32602, $"{Shape}: 1 to 256 turns, got 257"));

        int recorded = 0;
        for (; recorded + MaxTurnsInBatch <= MaxTurnsOfRun; recorded += MaxTurnsInBatch)
            await Assert.That(await RecordAsync(peer, Turns(MaxTurnsInBatch))).IsEqualTo($$"""{"run_id":"r","base_index":{{recorded}},"count":256,"ok":true}""");
        // One too many, and none of them is taken; then the rest to the last one.
        const string Limit = """{"run_id":"r","base_index":0,"count":0,"ok":false,"dropped":"run_turn_limit"}""";
        int room = MaxTurnsOfRun - recorded;
        await Assert.That(await RecordAsync(peer, Turns(room + 1))).IsEqualTo(Limit);
        await Assert.That(await RecordAsync(peer, Turns(room))).IsEqualTo($$"""{"run_id":"r","base_index":{{recorded}},"count":{{room}},"ok":true}""");
        await Assert.That(await RecordAsync(peer, "[{}]")).IsEqualTo(Limit);
        await Assert.That(Follower.Turns(daemon.Home.Trace("a", "r")).Length).IsEqualTo(MaxTurnsOfRun);
        // A full run is a run like others.
        await CompleteAsync(peer);
        await Assert.That(await RecordAsync(peer, "[{}]")).IsEqualTo("""{"run_id":"r","base_index":0,"count":0,"ok":false,"dropped":"run_terminal"}""");
    }

    [Test]
    public async Task An_ended_run_takes_nothing_whatever_is_sent_and_an_unknown_one_is_not_found()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer peer = await StartAsync(daemon);
        await CompleteAsync(peer);
        byte[] before = await File.ReadAllBytesAsync(daemon.Home.Trace("a", "r"));
        string tooLarge = $$"""[{"tool":"{{new string('t', 300_000)}}"}]""";

        foreach (string turns in (string[])["[{}]", Turns(MaxTurnsInBatch), tooLarge])
        {
            await Assert.That(await RecordAsync(peer, turns)).IsEqualTo("""{"run_id":"r","base_index":0,"count":0,"ok":false,"dropped":"run_terminal"}""");
            await Assert.That(await RecordAsync(peer, turns, "nope")).IsEqualTo("""{"run_id":"nope","base_index":0,"count":0,"ok":false,"dropped":"run_not_found"}""");
        }
        await Assert.That((await File.ReadAllBytesAsync(daemon.Home.Trace("a", "r"))).SequenceEqual(before)).IsTrue();
    }

    [Test]
    public async Task A_run_that_was_taken_over_is_recorded_by_its_new_connection_alone()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer first = await StartAsync(daemon);
        await Assert.That(await RecordAsync(first, "[{}]")).IsEqualTo("""{"run_id":"r","base_index":0,"count":1,"ok":true}""");

        await using RpcPeer second = await StartAsync(daemon);

        await Assert.That(await RecordAsync(second, "[{}]")).IsEqualTo("""{"run_id":"r","base_index":1,"count":1,"ok":true}""");
        await Assert.That(await RecordAsync(first, "[{}]")).IsEqualTo("""{"run_id":"r","base_index":0,"count":0,"ok":false,"dropped":"run_not_found"}""");
    }

    [Test]
    public async Task Batches_of_two_connections_and_turns_of_proposals_meet_in_one_run_each_in_one_piece()
    {
        const int Batches = 60;
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer starter = await StartAsync(daemon);
        await using RpcPeer agent = await daemon.ConnectAsync();
        await agent.CallAsync("session.auth", """{"agent_id":"a"}""");

        var answers = new Dictionary<string, Task<string>>();
        var proposals = new List<Task>();
        for (int i = 0; i < Batches; i++)
        {
            foreach ((string name, RpcPeer peer) in ((string, RpcPeer)[])[("starter", starter), ("agent", agent)])
                answers[$"{name} {i}"] = RecordAsync(peer, $"[{string.Join(',', Enumerable.Range(0, 1 + i % 5).Select(k => $$$"""{"parameters":{"name":"{{{name}}} {{{i}}}"}}"""))}]");
            string write = $$$"""{"type":"state_write","parameters":{"key":"k","value":1,"name":"proposal {{{i}}}"}}""";
            proposals.Add(starter.CallAsync("proposal.submit", $$$"""{"proposal":{"actions":[{{{write}}},{{{write}}}]}}"""));
        }
        await Task.WhenAll(proposals);
        await Task.WhenAll(answers.Values);
        await CompleteAsync(starter);

        string[] names =
        [
            .. Follower.Turns(daemon.Home.Trace("a", "r")).Select((line, i) =>
            {
                JsonElement turn = JsonElement.Parse(line);
                return turn.GetProperty("index").GetInt32() == i ? turn.GetProperty("parameters").GetProperty("name").GetString()! : throw new InvalidDataException($"turn {i} has another index");
            }),
        ];
        await Assert.That(names.Length).IsEqualTo(2 * Enumerable.Range(0, Batches).Sum(i => 1 + i % 5) + 2 * Batches);
        foreach ((string name, Task<string> answer) in answers)
        {
            JsonElement recorded = JsonElement.Parse(await answer);
            int at = recorded.GetProperty("base_index").GetInt32(), count = recorded.GetProperty("count").GetInt32();
            await Assert.That(names[at..(at + count)].All(turn => turn == name)).IsTrue().Because($"{name} is at {at}");
            await Assert.That(names.Count(turn => turn == name)).IsEqualTo(count);
        }
        for (int i = 0; i < Batches; i++)
        {
            int at = Array.IndexOf(names, $"proposal {i}");
            await Assert.That((names[at + 1], names.Count(turn => turn == names[at]))).IsEqualTo((names[at], 2));
        }
    }

    [Test]
    public async Task Requests_of_one_connection_are_recorded_in_the_order_they_came_alone_or_in_a_batch()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer peer = await StartAsync(daemon);
        const string Record = """{"jsonrpc":"2.0","method":"runs.record_turns","params":{"run_id":"r","turns":[{"tool":"NAME"}]}ID}""";

        await peer.SendTextAsync(Named("a", null));
        await peer.SendTextAsync($"[{Named("b", 1)},{Named("c", null)},{Named("d", 2)}]");
        JsonElement batch = await peer.NextBatchAsync();
        await Assert.That(await RecordAsync(peer, """[{"tool":"e"}]""")).IsEqualTo("""{"run_id":"r","base_index":4,"count":1,"ok":true}""");

        await Assert.That(batch.GetArrayLength()).IsEqualTo(2);
        string tools = string.Concat(Follower.Turns(daemon.Home.Trace("a", "r")).Select(line => JsonElement.Parse(line).GetProperty("tool").GetString()));
        await Assert.That(tools).IsEqualTo("abcde");

        static string Named(string name, int? id) => Record.Replace("NAME", name).Replace("ID", id is null ? "" : $",\"id\":{id}");
    }

    [Test]
    public async Task Turns_that_were_accepted_before_the_end_are_in_front_of_it()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RawPeer peer = await daemon.ConnectRawAsync();
        var frames = new MemoryStream();
        Add("""{"jsonrpc":"2.0","id":"start","method":"runs.start","params":{"intent":"test","agent_id":"a","idempotency_key":"r"}}""");
        await peer.SendAsync(frames.ToArray());
        await peer.ReadTextAsync();
        frames.SetLength(0);
        for (int i = 0; i < 50; i++) Add($$$"""{"jsonrpc":"2.0","id":{{{i}}},"method":"runs.record_turns","params":{"run_id":"r","turns":[{},{},{}]}}""");
        Add("""{"jsonrpc":"2.0","id":"end","method":"runs.complete","params":{"run_id":"r","outcome":{"status":"done"}}}""");
        Add("""{"jsonrpc":"2.0","id":"late","method":"runs.record_turns","params":{"run_id":"r","turns":[{}]}}""");

        await peer.SendAsync(frames.ToArray());   // in one write, so that none of them waits for an answer

        var answers = new List<string>();
        while (answers.Count < 52) answers.Add(await peer.ReadTextAsync());
        await Assert.That(answers.Count(answer => answer.Contains("\"ok\":true", StringComparison.Ordinal))).IsEqualTo(51);
        await Assert.That(answers.Single(answer => answer.Contains("\"late\"", StringComparison.Ordinal))).Contains("\"dropped\":\"run_terminal\"");
        string[] lines = await File.ReadAllLinesAsync(daemon.Home.Trace("a", "r"));
        await Assert.That(lines.Length).IsEqualTo(1 + 150 + 1);
        await Assert.That(lines[^1]).StartsWith("""{"record":"ended",""");

        void Add(string message) => frames.Write(RawPeer.Frame(Op.Text, Encoding.UTF8.GetBytes(message)));
    }

    private static async Task<RpcPeer> StartAsync(TestDaemon daemon)
    {
        RpcPeer peer = await daemon.ConnectAsync();
        await peer.CallAsync("runs.start", """{"intent":"test","agent_id":"a","idempotency_key":"r"}""");
        return peer;
    }

    private static async Task<string> RecordAsync(RpcPeer peer, string turns, string run = "r") =>
        (await peer.CallAsync("runs.record_turns", $$"""{"run_id":"{{run}}","turns":{{turns}}}""")).GetRawText();

    private static Task CompleteAsync(RpcPeer peer) => peer.CallAsync("runs.complete", """{"run_id":"r","outcome":{"status":"done"}}""");

    private static string Turns(int count) => $"[{string.Join(',', Enumerable.Repeat("{}", count))}]";

    private static string Error(JsonElement answer) =>
        answer.TryGetProperty("error", out JsonElement error) ? $"{error.GetProperty("code").GetInt32()} {error.GetProperty("message").GetString()}" : answer.GetRawText();
}

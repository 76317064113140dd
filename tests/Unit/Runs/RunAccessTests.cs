using System.Text.Encodings.Web;
using System.Text.Json;
using CarServer.Rpc.Methods;
using CarServer.State.Auth;
using CarServer.Tests.Support;
using TUnit.Core;

namespace CarServer.Tests.Unit.Runs;

/// <summary>Protocol 13.10: every kind of caller, every method, every state a run can be in; over a real socket, answers byte for byte.</summary>
/// <remarks>In this process, because an agent's own token comes from its supervisor, and that one is played here.</remarks>
public sealed class RunAccessTests
{
    private const string Read = "read", Record = "record", Complete = "complete";

    /// <summary>What each caller may do with run <c>r</c> of agent <c>a</c>, and how it becomes what it is.</summary>
    private static readonly Caller[] Callers =
    [
        new("auth off: a neighbour", false, [], Read),
        new("auth off: who started it", false, [Start], $"{Read} {Record} {Complete}"),
        new("auth off: who took it over", false, [Start, TakeOver], $"{Read} {Record} {Complete}"),
        new("auth off: who lost it to another", false, [Start, LoseIt], Read),
        new("auth off: its agent", false, ["""session.auth {"agent_id":"a"}"""], $"{Read} {Record} {Complete}"),
        new("auth off: another agent", false, ["""session.auth {"agent_id":"b"}"""], Read),
        new("auth off: an agent that differs in case", false, ["""session.auth {"agent_id":"A"}"""], Read),
        new("a stranger", true, [], ""),
        new("a client", true, [Authenticate], ""),
        new("who started it", true, [Authenticate, Start], Complete),
        new("who took it over", true, [Authenticate, Start, TakeOver], Complete),
        new("who lost it to another", true, [Authenticate, Start, LoseIt], ""),
        new("the host", true, ["""session.auth {"host_token":"of the host"}"""], Read),
        new("its agent", true, ["""session.auth {"agent_id":"a","token":"of a"}"""], $"{Read} {Record} {Complete}"),
        new("another agent", true, ["""session.auth {"agent_id":"b","token":"of b"}"""], ""),
        new("an agent that differs in case", true, ["""session.auth {"agent_id":"A","token":"of A"}"""], ""),
        new("another agent that is the host as well", true, ["""session.auth {"agent_id":"b","token":"of b"}""", """session.auth {"host_token":"of the host"}"""], Read),
        new("its agent, which is the host as well", true, ["""session.auth {"agent_id":"a","token":"of a"}""", """session.auth {"host_token":"of the host"}"""], $"{Read} {Record} {Complete}"),
    ];

    private const string Authenticate = """session.auth {"token":"of everybody"}""";
    private const string Start = "start", TakeOver = "take over", LoseIt = "lose it";

    private static readonly string[] States = ["open", "ended", "stored"];

    private static readonly string[] OfRuns = ["runs.get_trace", "runs.subscribe", "runs.record_turns", "runs.complete", "runs.unsubscribe"];

    /// <summary>Ids that name no run, though some would find one if they were taken for a path, a pattern or a name without case.</summary>
    private static readonly string[] Forged =
    [
        "unknown", "R", "r ", " r", "r.jsonl", "../a/r", "a/r", "./r", "r\0", "r\0.jsonl", "%72", "*", "?", "r\n", ".lock", ".nobackup",
        "\u202er", "ŕ", "S", "s.jsonl", "../b/s", new('r', 200), "", ".", "..", new('r', 201), new('r', 300), new('R', 67), "../../../../../../etc/passwd",
    ];

    public sealed record Caller(string Name, bool Auth, string[] Becomes, string May)
    {
        public bool MayRead => May.Contains(Read, StringComparison.Ordinal);
        public bool MayRecord => May.Contains(Record, StringComparison.Ordinal);
        public bool MayComplete => May.Contains(Complete, StringComparison.Ordinal);
        public override string ToString() => Name;
    }

    public static IEnumerable<Caller> AllCallers() => Callers;

    public static IEnumerable<(Caller, string, string)> Table() =>
        from caller in Callers from state in States from method in (string[])["runs.list", .. OfRuns] select (caller, state, method);

    [Test, MethodDataSource(nameof(Table)), DisplayName("$method of a run that is $state, called by $caller")]
    public async Task Everybody_may_what_the_table_says_and_learns_nothing_else(Caller caller, string state, string method)
    {
        await using House house = await House.OpenAsync(caller, state);
        string[] before = house.Lines;

        string answer = await house.CallAsync(method, "r");

        bool known = state != "stored" || caller.Becomes.Contains(TakeOver) || caller.Becomes.Contains(LoseIt);   // in memory
        string expected = caller is { Auth: true, Becomes.Length: 0 } ? Error(-32001, "auth required: the first request must be session.auth")
            : Allowed(method, state, known, caller, before) ?? Unknown(method, "r");
        await Assert.That(answer).IsEqualTo(expected);
        // What was refused has left no trace, and what was not has left its own.
        string kinds = string.Join(' ', house.Lines.Skip(before.Length).Select(line => JsonElement.Parse(line).GetProperty("record").GetString()));
        bool writes = state == "open" && ((method == "runs.record_turns" && caller.MayRecord) || (method == "runs.complete" && caller.MayComplete));
        await Assert.That(kinds).IsEqualTo(!writes ? "" : method == "runs.complete" ? "ended" : "turn");
        await Assert.That(house.Lines.Take(before.Length).SequenceEqual(before)).IsTrue();
    }

    [Test, MethodDataSource(nameof(AllCallers)), DisplayName("Forged ids, sent by $caller")]
    public async Task A_forged_id_is_answered_like_an_unknown_one_whoever_sends_it(Caller caller)
    {
        if (caller is { Auth: true, Becomes.Length: 0 }) return;   // a stranger is sent away at the first call, whatever it is
        await using House house = await House.OpenAsync(caller, "open");
        house.Store("b", "s");
        foreach (string id in Forged)
        {
            foreach (string method in OfRuns) await Assert.That(await house.CallAsync(method, id)).IsEqualTo(Unknown(method, id)).Because($"{method} {Quoted(id)}");
        }
        await Assert.That(house.Lines.Length).IsEqualTo(2);
    }

    [Test, MethodDataSource(nameof(AllCallers)), DisplayName("Runs of other agents, asked for by $caller")]
    public async Task A_list_is_refused_before_anybody_looks_whether_there_is_such_an_agent(Caller caller)
    {
        if (caller is { Auth: true, Becomes.Length: 0 }) return;
        await using House house = await House.OpenAsync(caller, "open");
        house.Store("c", "s");
        bool readsAll = !caller.Auth || caller.Name.Contains("the host", StringComparison.Ordinal);
        foreach (string agent in (string[])["c", "nobody", "C", "../runs/a", "a\0", "a/", ".", "..", "", new('a', 300)])
        {
            string expected = !readsAll ? Error(-32603, $"not authorized to read runs of agent '{agent}'")
                : !IsName(agent) ? Error(-32602, NotAName("agent_id"))
                : agent == "c" ? Result($$"""{"agent_id":"c","runs":[{{Summary("s", "c", "ended", 1)}}]}""")
                : Result($$"""{"agent_id":{{Quoted(agent)}},"runs":[]}""");
            await Assert.That(await house.AskAsync("runs.list", $$"""{"agent_id":{{Quoted(agent)}}}""")).IsEqualTo(expected);
        }
    }

    [Test, MethodDataSource(nameof(AllCallers)), DisplayName("A proposal of $caller")]
    public async Task A_proposal_is_recorded_in_the_callers_own_current_run_and_nowhere_else(Caller caller)
    {
        await using House house = await House.OpenAsync(caller, "open");
        await house.AskAsync("proposal.submit", House.Proposal);
        // Losing a run to another connection does not take it away as what this connection records under (protocol 25).
        await Assert.That(house.Lines.Length).IsEqualTo(caller.Becomes.Contains(Start) ? 3 : 2);
    }

    [Test]
    [Arguments(false)]
    [Arguments(true)]
    public async Task Nobody_ends_the_subscription_of_another(bool auth)
    {
        await using House house = await House.OpenAsync(Callers.First(caller => caller.Auth == auth && caller.MayRecord), "open");
        await house.CallAsync("runs.subscribe", "r");
        await using (RawPeer other = await house.ConnectAsync("""session.auth {"token":"of everybody"}"""))
            await Assert.That(await House.CallAsync(other, "runs.unsubscribe", "r")).IsEqualTo(Result("""{"run_id":"r","removed":false}"""));
        await Assert.That(await house.CallAsync("runs.unsubscribe", "r")).IsEqualTo(Result("""{"run_id":"r","removed":true}"""));
        await Assert.That(await house.CallAsync("runs.unsubscribe", "r")).IsEqualTo(Result("""{"run_id":"r","removed":false}"""));
    }

    [Test]
    public async Task An_agent_cannot_start_or_take_over_a_run_of_another()
    {
        await using House house = await House.OpenAsync(Callers.Single(caller => caller.Name == "another agent"), "open");
        await Assert.That(await house.AskAsync("runs.start", """{"intent":"i","agent_id":"a","idempotency_key":"r"}"""))
            .IsEqualTo(Error(-32602, "agent_id 'a' is not the agent this connection is bound to"));
        await Assert.That(await house.AskAsync("runs.start", """{"intent":"i","idempotency_key":"r"}"""))
            .IsEqualTo(Error(-32603, "idempotency_key `r` belongs to a run of another agent"));
        await Assert.That(await house.AskAsync("runs.start", """{"intent":"i","idempotency_key":"mine"}""")).IsEqualTo(Result("""{"run_id":"mine","agent_id":"b"}"""));
    }

    // ---------------------------------------------------------------- answers

    /// <summary>What the caller is told when it may; null when it may not.</summary>
    private static string? Allowed(string method, string state, bool known, Caller caller, string[] lines) => method switch
    {
        "runs.unsubscribe" => Result("""{"run_id":"r","removed":false}"""),
        "runs.list" when caller.MayRead => Result($$"""{"agent_id":"a","runs":[{{Summary("r", "a", state, 1)}}]}"""),
        "runs.get_trace" when caller.MayRead => Result($$"""{"run_id":"r","agent_id":"a","records":[{{string.Join(',', lines)}}],"cursor":0}"""),
        "runs.subscribe" when caller.MayRead =>
            Result($$"""{"run_id":"r","agent_id":"a","turns_so_far":[{{lines[1]}}],"cursor":1,"status":"{{(state == "open" ? "in_progress" : "completed")}}"}"""),
        "runs.record_turns" when known && caller.MayRecord => Result(state == "open"
            ? """{"run_id":"r","base_index":1,"count":1,"ok":true}"""
            : """{"run_id":"r","base_index":0,"count":0,"ok":false,"dropped":"run_terminal"}"""),
        "runs.complete" when known && caller.MayComplete =>
            state == "open" ? Result("""{"run_id":"r","ok":true}""") : Error(-32603, "run `r` is already terminal — cannot record another outcome"),
        _ => null,
    };

    /// <summary>What anybody is told of a run that is not there; what may not be seen gets the same.</summary>
    private static string Unknown(string method, string id) => method switch
    {
        "runs.list" => Error(-32603, "not authorized to read runs of agent 'a'"),
        "runs.get_trace" => IsName(id) ? Result($$"""{"run_id":{{Quoted(id)}},"not_found":true}""") : Error(-32602, NotAName("run_id")),
        "runs.subscribe" => IsName(id) ? Error(-32603, $"unknown run_id `{id}`") : Error(-32602, NotAName("run_id")),
        "runs.record_turns" => id.Length > 0
            ? Result($$"""{"run_id":{{Quoted(id)}},"base_index":0,"count":0,"ok":false,"dropped":"run_not_found"}""")
            : Error(-32602, "runs.record_turns requires { run_id, turns: [RunTurn] }: run_id is empty"),
        "runs.complete" => Error(-32603, $"unknown run_id `{id}`"),
        _ => Result($$"""{"run_id":{{Quoted(id)}},"removed":false}"""),
    };

    private static string Summary(string run, string agent, string state, int turns) =>
        $$"""{"run_id":"{{run}}","agent_id":"{{agent}}","intent":"i","started_at":"2026-01-02T03:04:05Z","ended_at":{{(state == "open" ? "null" : "\"2026-01-02T03:04:05Z\"")}},"status":"{{(state == "open" ? "in_progress" : "completed")}}","turn_count":{{turns}}}""";

    private static string Result(string result) => $$"""{"jsonrpc":"2.0","id":1,"result":{{result}}}""";

    private static string Error(int code, string message) => $$$"""{"jsonrpc":"2.0","id":1,"error":{"code":{{{code}}},"message":{{{Quoted(message)}}}}}""";

    private static string Quoted(string text) => $"\"{JsonEncodedText.Encode(text, JavaScriptEncoder.UnsafeRelaxedJsonEscaping)}\"";

    private static string NotAName(string field) => $"{field} must not be empty, '.' or '..', and must fit into 200 bytes as a file name";

    /// <summary>The rule of protocol 25 for the ids of this file: small letters and digits need one byte, all others three for each of theirs.</summary>
    private static bool IsName(string id) =>
        id is not ("" or "." or "..") && System.Text.Encoding.UTF8.GetBytes(id).Sum(b => char.IsAsciiLetterLower((char)b) || b == '.' ? 1 : 3) <= 200;

    // ---------------------------------------------------------------- the daemon

    /// <summary>A daemon with run <c>r</c> of agent <c>a</c>, and one caller.</summary>
    private sealed class House : IAsyncDisposable
    {
        public const string Proposal = """{"proposal":{"actions":[{"type":"state_write","parameters":{"key":"k","value":1}}]}}""";

        private readonly WireHarness _wire = new([.. AuthMethods.Rows, .. RunsMethods.Rows, .. ProposalMethods.Rows]);
        private readonly List<RawPeer> _others = [];
        private RawPeer _caller = null!;

        public static async Task<House> OpenAsync(Caller caller, string state)
        {
            var house = new House();
            if (caller.Auth)
            {
                house._wire.State.Auth.InstallAuthToken("of everybody");
                house._wire.State.Auth.InstallHostToken("of the host");
                house._wire.State.Auth.Agents = new Supervisor();
            }
            string[] plain = caller.Auth ? [Authenticate] : [];
            bool started = caller.Becomes.Contains(Start);
            RawPeer starter = await house.ConnectAsync(plain);
            if (state == "stored") house.Store("a", "r");
            else
            {
                await StartAsync(starter);
                await AskAsync(starter, "proposal.submit", Proposal);
                if (state == "ended") await CallAsync(starter, "runs.complete", "r");
            }
            bool takesOver = caller.Becomes.Contains(TakeOver);
            RawPeer? second = takesOver || caller.Becomes.Contains(LoseIt) ? await house.ConnectAsync(plain) : null;
            if (second is not null) await StartAsync(second);
            house._caller = !started ? await house.ConnectAsync(caller.Becomes) : takesOver ? second! : starter;
            return house;
        }

        public string[] Lines => File.ReadAllLines(_wire.Home.Trace("a", "r"));

        public Task<string> CallAsync(string method, string runId) => CallAsync(_caller, method, runId);
        public Task<string> AskAsync(string method, string parameters) => AskAsync(_caller, method, parameters);

        /// <summary>Connects and makes these calls, all of which have to succeed.</summary>
        public async Task<RawPeer> ConnectAsync(params string[] calls)
        {
            RawPeer peer = await _wire.ConnectRawAsync();
            _others.Add(peer);
            foreach (string call in calls)
            {
                string[] parts = call.Split(' ', 2);
                string answer = await AskAsync(peer, parts[0], parts[1]);
                if (!answer.Contains("\"ok\":true", StringComparison.Ordinal)) throw new InvalidOperationException($"{call}: {answer}");
            }
            return peer;
        }

        /// <summary>Puts a run on the disk that ended before this daemon started.</summary>
        public void Store(string agent, string run)
        {
            Directory.CreateDirectory(_wire.Home.In("runs", agent));
            File.WriteAllLines(_wire.Home.Trace(agent, run),
            [
                $$"""{"record":"started","run_id":"{{run}}","agent_id":"{{agent}}","intent":"i","outcome_description":null,"started_at":"2026-01-02T03:04:05Z"}""",
                """{"record":"turn","index":0,"tool":"t","verifier_verdict":"not_run"}""",
                $$$"""{"record":"ended","run_id":"{{{run}}}","agent_id":"{{{agent}}}","termination":{"kind":"outcome","outcome":{"status":"done"}},"ended_at":"2026-01-02T03:04:05Z"}""",
            ]);
        }

        public static Task<string> CallAsync(RawPeer peer, string method, string runId) => AskAsync(peer, method, method switch
        {
            "runs.list" => """{"agent_id":"a"}""",
            "runs.record_turns" => $$"""{"run_id":{{Quoted(runId)}},"turns":[{"tool":"forged"}]}""",
            "runs.complete" => $$$"""{"run_id":{{{Quoted(runId)}}},"outcome":{"status":"done"}}""",
            _ => $$"""{"run_id":{{Quoted(runId)}}}""",
        });

        public static async Task<string> AskAsync(RawPeer peer, string method, string parameters)
        {
            await peer.SendTextAsync($$"""{"jsonrpc":"2.0","id":1,"method":"{{method}}","params":{{parameters}}}""");
            while (true)
            {
                string message = await peer.ReadTextAsync();
                if (message.Contains("\"id\":1,", StringComparison.Ordinal)) return message;   // else an event of a run it follows
            }
        }

        private static async Task StartAsync(RawPeer peer)
        {
            string answer = await AskAsync(peer, "runs.start", """{"intent":"i","agent_id":"a","idempotency_key":"r"}""");
            if (answer != Result("""{"run_id":"r","agent_id":"a"}""")) throw new InvalidOperationException(answer);
        }

        public async ValueTask DisposeAsync()
        {
            foreach (RawPeer peer in _others) await peer.DisposeAsync();
            await _wire.DisposeAsync();
        }

        /// <summary>Each agent's token is <c>of</c> and its id.</summary>
        private sealed class Supervisor : IAgentTokens
        {
            public bool? Matches(string agentId, string token) => agentId.Length == 1 ? token == $"of {agentId}" : null;
        }
    }
}

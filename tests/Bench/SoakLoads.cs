using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using CarServer.State.Runs;
using CarServer.Tests.Support;

namespace CarServer.Tests.Bench;

/// <summary>What the soak does: some two thousand requests a second of every kind, each with the one answer it may have.</summary>
internal sealed class SoakLoads(TestDaemon daemon)
{
    private const int TurnsInBatch = 16, BatchesInRun = 4;


    public static void AddTo(Soak soak, TestDaemon daemon)
    {
        var loads = new SoakLoads(daemon);
        soak.Load("one ping at a time", 200, () => loads.Pings(soak));
        soak.Load("25 pings at a time", 20, loads.ManyPings);
        soak.Load("state over TCP", 10, () => loads.State(daemon.Tcp, keys: 256, atOnce: 32));
        soak.Load("state over the Unix socket", 10, () => loads.State(daemon.Unix, keys: 128, atOnce: 16));
        soak.Load("proposals", 20, loads.Proposals);
        soak.Load("parallel callbacks", 5, loads.ParallelCallbacks);
        soak.Load("analyses", 2, loads.Analyses);
        soak.Load("runs", 4, loads.Runs);
        soak.Load("short runs", 100, loads.ShortRuns);
        soak.Load("a slow subscriber", 0.125, loads.SlowSubscriber);
        soak.Load("comings and goings", 14, loads.ComingsAndGoings);
        soak.Load("nonsense", 4, loads.Nonsense);
        soak.Load("large values", 0.5, loads.LargeValues);
        soak.Load("housekeeping", 1.0 / 60, loads.Housekeeping);
    }

    // ---------------------------------------------------------------- small requests

    private Action Pings(Soak soak)
    {
        SoakClient client = new(daemon.Tcp);
        return () =>
        {
            long started = Stopwatch.GetTimestamp();
            Same("\"pong\"", client.Call("ping"));
            soak.Pinged(Stopwatch.GetElapsedTime(started));
        };
    }

    private Action ManyPings()
    {
        SoakClient client = new(daemon.Unix);
        long[] ids = new long[25];
        return () =>
        {
            for (int i = 0; i < ids.Length; i++) ids[i] = client.Begin("ping");
            foreach (long id in ids) Same("\"pong\"", client.Result(id));
        };
    }

    /// <summary>Reads back what the round before has written, and writes over it.</summary>
    private Action State(EndPoint address, int keys, int atOnce)
    {
        SoakClient client = new(address);
        string[] values = new string[keys];
        Array.Fill(values, "null");
        var reads = new (long Id, int Key)[atOnce];
        long[] writes = new long[atOnce];
        int next = 0, round = 0;
        return () =>
        {
            round++;
            for (int i = 0; i < atOnce; i++, next = (next + 1) % keys)
            {
                reads[i] = (client.Begin("state.get", $$"""{"key":"key {{next}}"}"""), next);
                writes[i] = client.Begin("state.set", $$"""{"key":"key {{next}}","value":{"round":{{round}},"text":"{{new string('x', (round * 31 + next) % 700)}}"} }""");
            }
            for (int i = 0; i < atOnce; i++)
            {
                int key = reads[i].Key;
                Same(values[key], client.Result(reads[i].Id));
                values[key] = $$"""{"round":{{round}},"text":"{{new string('x', (round * 31 + key) % 700)}}"}""";
                client.Result(writes[i]);
            }
        };
    }

    private Action LargeValues()
    {
        SoakClient client = new(daemon.Tcp);
        int round = 0;
        return () =>
        {
            string value = $"\"{new string((char)('a' + round++ % 26), 1024 * 1024)}\"";
            client.Call("state.set", $$"""{"key":"large","value":{{value}} }""");
            Same(value, client.Call("state.get", """{"key":"large"}"""));
        };
    }

    // ---------------------------------------------------------------- the engine

    private Action Proposals()
    {
        SoakClient client = new(daemon.Tcp);
        client.Call("tools.register", """[{"name":"echo","description":"gives back what it got","parameters":{"type":"object","properties":{"n":{"type":"integer"} } } }]""");
        client.Call("events.retention", """{"policy":{"max_events":5000} }""");
        int n = 0;
        return () =>
        {
            n++;
            JsonElement result = client.Call("proposal.submit", Proposal($$"""{"id":"call","type":"tool_call","tool":"echo","parameters":{"n":{{n}} } },{"id":"write","type":"state_write","parameters":{"key":"n","value":{{n}} },"dependencies":["call"]}"""));
            Same("succeeded succeeded", Statuses(result));
            Same($$"""{"n":{{n}}}""", result.GetProperty("results")[0].GetProperty("output"));
            Same(Text(n), client.Call("state.get", """{"key":"n"}"""));
            if (n % 8 == 0) Same("16", client.Call("events.query", """{"limit":16}""").GetProperty("count"));
            if (n % 20 == 0) Deny();
            if (n % 1000 == 0) client.Call("events.stats");
        };

        void Deny()
        {
            client.Call("policy.register", """{"name":"never","rule":"deny_tool_param","target":"echo","key":"n","pattern":"13"}""");
            Same("rejected", Statuses(client.Call("proposal.submit", Proposal("""{"id":"no","type":"tool_call","tool":"echo","parameters":{"n":13},"failure_behavior":"skip"}"""))));
            Same("succeeded", Statuses(client.Call("proposal.submit", Proposal("""{"id":"yes","type":"tool_call","tool":"echo","parameters":{"n":14} }"""))));
            Same("1", client.Call("policy.unregister", """{"name":"never"}""").GetProperty("removed"));
            Same("[]", client.Call("policy.list").GetProperty("policies"));
        }
    }

    private Action ParallelCallbacks()
    {
        const int Level = 8;
        SoakClient client = new(daemon.Unix);
        client.Call("tools.register", """[{"name":"echo","description":"gives back what it got","parameters":{} }]""");
        client.Call("events.retention", """{"policy":{"max_events":1000} }""");
        string actions = string.Join(',', Enumerable.Range(0, Level).Select(i => $$"""{"id":"a{{i}}","type":"tool_call","tool":"echo","parameters":{"n":{{i}} } }"""));
        string statuses = string.Join(' ', Enumerable.Repeat("succeeded", Level));
        return () => Same(statuses, Statuses(client.Call("proposal.submit", Proposal(actions))));
    }

    private Action Analyses()
    {
        SoakClient client = new(daemon.Tcp);
        client.Call("tools.register", """[{"name":"echo","description":"gives back what it got","parameters":{} }]""");
        string plan = $$"""{"id":"plan","actions":[{{string.Join(',', Enumerable.Range(0, 50).Select(i => $$"""{"id":"a{{i}}","type":"tool_call","tool":"echo","parameters":{"n":{{i}} },"expected_effects":{"k{{i}}":{{i}} }{{(i == 0 ? "" : $",\"dependencies\":[\"a{i - 1}\"]")}} }"""))}}]}""";
        string simulated = client.Call("simulate", $$"""{"proposal":{{plan}} }""").GetRawText();
        string trials = Trials();
        int n = 0;
        return () =>
        {
            Same("true", client.Call("verify", $$"""{"proposal":{{plan}} }""").GetProperty("valid"));
            Same(simulated, client.Call("simulate", $$"""{"proposal":{{plan}} }"""));
            if (n++ % 10 == 0) Same(trials, Trials());   // looks through five hundred runs
            Same("true", client.Call("equivalent", $$"""{"p1":{{plan}},"p2":{{plan}} }""").GetProperty("equivalent"));
        };

        string Trials() => client.Call("verify.monte_carlo",
            $$"""{"proposal":{{plan}},"tool_success_rates":{"echo":0.99},"config":{"trials":100,"seed":7} }""").GetProperty("p_all_effects_landed").GetRawText();
    }

    private static string Proposal(string actions) => $$"""{"proposal":{"id":"p","actions":[{{actions}}]} }""";

    private static string Statuses(JsonElement result) => string.Join(' ', result.GetProperty("results").EnumerateArray().Select(one => one.GetProperty("status").GetString()));

    // ---------------------------------------------------------------- runs

    /// <summary>A run from its start to its end, followed by somebody else, and read again.</summary>
    private Action Runs()
    {
        SoakClient agent = new(daemon.Tcp), follower = new(daemon.Unix);
        int n = 0;
        return () =>
        {
            string who = $"soak-{n++ % 4}";
            string run = agent.Call("runs.start", $$"""{"intent":"soak","agent_id":"{{who}}"}""").GetProperty("run_id").GetString()!;
            Same("0", follower.Call("runs.subscribe", $$"""{"run_id":"{{run}}"}""").GetProperty("cursor"));
            for (int batch = 0; batch < BatchesInRun; batch++)
            {
                Record(agent, run, batch * TurnsInBatch, TurnsInBatch, length: 200);
                for (int i = 1; i <= TurnsInBatch; i++) Same(Text(batch * TurnsInBatch + i), follower.NextNotification().GetProperty("params").GetProperty("cursor"));
            }
            Complete(agent, run);
            Same("\"completed\"", follower.NextNotification().GetProperty("params").GetProperty("status"));
            JsonElement records = agent.Call("runs.get_trace", $$"""{"run_id":"{{run}}"}""").GetProperty("records");
            Same(Text(BatchesInRun * TurnsInBatch + 2), Text(records.GetArrayLength()));
            Same(Text(BatchesInRun * TurnsInBatch - 1), records[BatchesInRun * TurnsInBatch].GetProperty("index"));
            Same($"\"{run}\"", agent.Call("runs.list", $$"""{"agent_id":"{{who}}","limit":5}""").GetProperty("runs")[0].GetProperty("run_id"));
        };
    }

    /// <summary>At first as many as fill the list of ended runs before memory is looked at; then a few.</summary>
    private Action ShortRuns()
    {
        SoakClient agent = new(daemon.Tcp);
        int n = 0;
        return () =>
        {
            if (n++ > RunLimits.MaxEndedRuns * 5 / 4 && n % 25 != 0) return;
            Complete(agent, agent.Call("runs.start", """{"intent":"soak","agent_id":"soak-short"}""").GetProperty("run_id").GetString()!);
        };
    }

    /// <summary>Reads nothing until the run is over: the turns come all, or it is told that they do not.</summary>
    private Action SlowSubscriber()
    {
        const int Batches = 31, Turns = 64;
        SoakClient agent = new(daemon.Tcp), follower = new(daemon.Tcp);
        return () =>
        {
            string run = agent.Call("runs.start", """{"intent":"soak","agent_id":"soak-slow"}""").GetProperty("run_id").GetString()!;
            follower.Call("runs.subscribe", $$"""{"run_id":"{{run}}"}""");
            for (int batch = 0; batch < Batches; batch++) Record(agent, run, batch * Turns, Turns, length: 2_000);
            Complete(agent, run);
            Thread.Sleep(TimeSpan.FromSeconds(2));
            for (int cursor = 0; ;)
            {
                JsonElement message = follower.NextNotification(), told = message.GetProperty("params");
                int at = told.GetProperty("cursor").GetInt32();
                bool ended = told.GetProperty("status").GetString() != "in_progress";
                if (ended ? at < cursor : at <= cursor) throw new InvalidOperationException($"after the cursor {cursor} came {at}");
                cursor = at;
                if (ended) break;
            }
        };
    }

    private static void Record(SoakClient agent, string run, int from, int count, int length)
    {
        string turn = $$"""{"tool":"read_file","parameters":{"path":"notes.txt"},"output":"{{new string('x', length)}}"}""";
        JsonElement recorded = agent.Call("runs.record_turns", $$"""{"run_id":"{{run}}","turns":[{{string.Join(',', Enumerable.Repeat(turn, count))}}]}""");
        Same(Text(from), recorded.GetProperty("base_index"));
        Same(Text(count), recorded.GetProperty("count"));
    }

    private static void Complete(SoakClient agent, string run) =>
        Same("true", agent.Call("runs.complete", $$"""{"run_id":"{{run}}","outcome":{"status":"done"} }""").GetProperty("ok"));

    /// <summary>Removes what nobody has written to for two minutes, which the daemon does each hour: or the disk would fill.</summary>
    private Action Housekeeping() => () =>
    {
        DateTime old = DateTime.UtcNow.AddMinutes(-2);
        foreach (string directory in new[] { daemon.Home.In("runs"), daemon.Home.Journals })
            foreach (string file in Directory.EnumerateFiles(directory, "*.jsonl", SearchOption.AllDirectories))
                if (File.GetLastWriteTimeUtc(file) < old) File.Delete(file);
    };

    // ---------------------------------------------------------------- connections

    private Action ComingsAndGoings()
    {
        int n = 0;
        return () =>
        {
            using SoakClient client = new(n / 8 % 2 == 0 ? daemon.Tcp : daemon.Unix);
            switch (n++ % 8)
            {
                case 0:   // in order
                    Same("\"pong\"", client.Call("ping"));
                    client.Send([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]);
                    client.EndsWith(1000);
                    break;
                case 1:   // without a word
                    client.Call("state.set", """{"key":"k","value":"gone soon"}""");
                    break;
                case 2:   // with a reset, after work
                    client.Call("state.snapshot");
                    client.Reset();
                    break;
                case 3:   // in the middle of a frame
                    client.Send([0x81, 0xfe, 0x40, 0, 0, 0, 0, 0, (byte)'{']);
                    client.Reset();
                    break;
                case 4:   // while a run goes on
                    string run = client.Call("runs.start", """{"intent":"soak","agent_id":"soak-gone"}""").GetProperty("run_id").GetString()!;
                    Record(client, run, 0, 4, length: 50);
                    break;
                case 5:   // with answers unread
                    for (int i = 0; i < 50; i++) client.Begin("rpc.discover");
                    client.Flush();
                    client.Reset();
                    break;
                case 6:   // while a tool is to run
                    client.Call("tools.register", """[{"name":"t","description":"never answers","parameters":{} }]""");
                    bool called = false;
                    client.OnTool = () => called = true;
                    client.Begin("proposal.submit", Proposal("""{"id":"a","type":"tool_call","tool":"t","parameters":{} }"""));
                    Same("\"pong\"", client.Call("ping"));
                    while (!called) client.Take();
                    client.Reset();
                    break;
                default:   // before it is a client
                    using (Socket stranger = WireClient.Connect(daemon.Tcp)) stranger.Send("GET / HTTP/1.1\r\nHost:"u8);
                    break;
            }
        };
    }

    private Action Nonsense()
    {
        SoakClient steady = new(daemon.Tcp);
        int n = 0;
        return () =>
        {
            steady.FailsAsText(-32700, """{"jsonrpc":"2.0","id":1,""");
            steady.Fails(-32601, "no.such.method");
            steady.Fails(-32602, "state.get", """{"key":7}""");
            steady.Fails(-32603, "policy.list", """{"session_id":"none"}""");
            using var client = new SoakClient(daemon.Tcp);
            switch (n++ % 4)
            {
                case 0:   // not masked
                    client.Send([0x81, 0x02, (byte)'{', (byte)'}']);
                    client.EndsWith(1002);
                    break;
                case 1:   // no text
                    client.Send([0x81, 0x82, 0, 0, 0, 0, 0xc3, 0x28]);
                    client.EndsWith(1007);
                    break;
                case 2:   // an opcode that is reserved
                    client.Send([0x83, 0x80, 0, 0, 0, 0]);
                    client.EndsWith(1002);
                    break;
                default:   // 64 MiB
                    client.Send([0x81, 0xff, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
                    client.EndsWith(1009);
                    break;
            }
        };
    }

    // ---------------------------------------------------------------- answers

    private static void Same(string expected, JsonElement found) => Same(expected, found.GetRawText());

    private static void Same(string expected, string found)
    {
        if (found == expected) return;
        int at = expected.AsSpan().CommonPrefixLength(found);
        throw new InvalidOperationException($"expected {Around(expected)}, got {Around(found)}");

        string Around(string text) => text.Length <= 200 ? text : $"…{text.AsSpan()[Math.Min(Math.Max(0, at - 20), text.Length)..Math.Min(at + 100, text.Length)]}… at {at} of {text.Length}";
    }

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
}

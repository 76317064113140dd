using System.Globalization;
using System.Text.Json;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>Protocol 12.2 and 12.3, and the events of 10.4.</summary>
public sealed class EventTests
{
    private const string Write = """{"proposal":{"id":"p1","actions":[{"id":"a1","type":"state_write","parameters":{"key":"k","value":1} }]} }""";

    private const string ToFail = """{"proposal":{"id":"p2","actions":[{"id":"a2","type":"assertion","parameters":{"key":"none","operator":"exists"} },{"id":"a3","type":"state_read","parameters":{"key":"k"} }]},"scope":{"callerId":"me","tenantId":"t"} }""";

    [Test]
    public async Task A_fresh_connection_has_no_events_and_no_journal()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();

        await Assert.That(await TextAsync(peer, "events.count")).IsEqualTo("0");
        await Assert.That(await TextAsync(peer, "events.stats")).IsEqualTo("""{"events":0,"spans":0,"approxEventBytes":0,"approxSpanBytes":0}""");
        await Assert.That(await TextAsync(peer, "events.query")).IsEqualTo("""{"count":0,"events":[]}""");
        await Assert.That(await TextAsync(peer, "events.clear")).IsEqualTo("""{"removed":0,"stats":{"events":0,"spans":0,"approxEventBytes":0,"approxSpanBytes":0}}""");
        await Assert.That(await TextAsync(peer, "events.chain.verify")).IsEqualTo("""{"verified":0}""");
        await Assert.That(await TextAsync(peer, "events.retention")).IsEqualTo("""{"policy":{"max_events":null,"max_age_secs":null}}""");
        await Assert.That(await TextAsync(peer, "events.cost_by_agent")).IsEqualTo("[]");
        await Assert.That(await TextAsync(peer, "metrics.summary")).IsEqualTo(
            ("""{"total_events":0,"actions_succeeded":0,"actions_failed":0,"actions_rejected":0,"success_rate":0,"error_rate":0,"cost_usd":0,"cumulative_cost_usd":0,"""
            + """ "tokens_in":0,"tokens_out":0,"avg_latency_ms":0,"approvals_recorded":0,"permission_decisions":0,"gate_rejections":0,"policy_violations":0,"""
            + """ "goal_evaluations":0,"goals_met":0,"goals_ungrounded":0,"cost_by_agent":[]}""").Replace(" ", "", StringComparison.Ordinal));
        await Assert.That(Directory.Exists(daemon.Home.Journals) && Directory.GetFiles(daemon.Home.Journals).Length > 0).IsFalse();
    }

    [Test]
    public async Task Events_are_found_by_every_filter_newest_first()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.CallAsync("proposal.submit", Write);
        await peer.CallAsync("proposal.submit", ToFail);

        await Assert.That(await KindsAsync(peer, "{}")).IsEqualTo("proposal_completed state_rollback state_snapshot action_skipped action_failed action_executing action_validated "
            + "proposal_received session_scope proposal_completed state_changed action_succeeded action_executing action_validated proposal_received");
        await Assert.That(await KindsAsync(peer, """{"proposal_id":"p1","limit":2}""")).IsEqualTo("proposal_completed state_changed");
        await Assert.That(await KindsAsync(peer, """{"action_id":"a3"}""")).IsEqualTo("action_skipped");
        await Assert.That(await KindsAsync(peer, """{"kinds":["action_failed","session_scope","kind_of_tomorrow"]}""")).IsEqualTo("action_failed session_scope");
        await Assert.That(await KindsAsync(peer, """{"data_matches":{"caller":"me","tenant":"t"} }""")).IsEqualTo("session_scope");
        await Assert.That(await KindsAsync(peer, """{"data_matches":{"rolled_back":"true"} }""")).IsEqualTo("proposal_completed");
        await Assert.That(await KindsAsync(peer, """{"since":"2999-01-01T00:00:00Z"}""")).IsEqualTo("");
        await Assert.That(await KindsAsync(peer, """{"until":"2999-01-01T00:00:00+02:00","kinds":["action_failed"]}""")).IsEqualTo("action_failed");

        JsonElement failed = (await peer.CallAsync("events.query", """{"kinds":["action_failed"]}""")).GetProperty("events")[0];
        await Assert.That(failed.GetProperty("data").GetProperty("error").GetString()).StartsWith("assertion failed");
        await Assert.That(failed.GetProperty("data").GetProperty("duration_ms").ValueKind).IsEqualTo(JsonValueKind.Number);
        string since = failed.GetProperty("timestamp").GetString()!;
        await Assert.That(await KindsAsync(peer, $$"""{"since":"{{since}}","until":"{{since}}"}""")).IsEqualTo("");
        await Assert.That(await KindsAsync(peer, $$"""{"since":"{{since}}","kinds":["action_failed"]}""")).IsEqualTo("action_failed");
        string[] journal = await JournalAsync(daemon, 15);
        await Assert.That(failed.GetRawText()).IsEqualTo(journal.Single(line => line.Contains("action_failed")));
    }

    [Test]
    [Arguments("events.query", """{"limit":-1}""", "limit must not be negative; 0 is all")]
    [Arguments("events.query", """{"since":"yesterday"}""", "wrong or unexpected value at params.since")]
    [Arguments("events.query", """{"kinds":"action_failed"}""", "wrong or unexpected value at params.kinds")]
    [Arguments("events.query", """{"data_matches":{"n":1} }""", "wrong or unexpected value at params.data_matches.n")]
    [Arguments("events.query", """{"data_matches":{"n":null} }""", "data_matches compares texts: null is none")]
    [Arguments("events.query", """{"action_id":7}""", "wrong or unexpected value at params.action_id")]
    [Arguments("events.retention", """{"policy":{"max_events":-1} }""", "policy.max_events must not be negative")]
    [Arguments("events.retention", """{"policy":{"max_age_secs":"1"} }""", "wrong or unexpected value at params.policy.max_age_secs")]
    [Arguments("metrics.alerts", """{"max_error_rate":-0.1}""", "max_error_rate must not be negative")]
    public async Task What_cannot_be_meant_is_refused_by_name(string method, string parameters, string text)
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        RpcFailure failure = await peer.CallFailsAsync(method, parameters);
        await Assert.That(failure.Code).IsEqualTo(-32602);
        await Assert.That(failure.Text).Contains(text);
    }

    [Test]
    public async Task Truncate_keeps_the_latest_and_what_is_no_number_changes_nothing()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.CallAsync("proposal.submit", Write);
        string stats = await TextAsync(peer, "events.stats");

        foreach (string nothing in (string[])["{}", """{"maxEvents":-1}""", """{"maxEvents":"2","maxSpans":[]}""", """{"maxEvents":1e99}""", """{"maxEvents":null,"maxSpans":0}"""])
            await Assert.That(await TextAsync(peer, "events.truncate", nothing)).IsEqualTo($$"""{"removedEvents":0,"removedSpans":0,"stats":{{stats}}}""");
        JsonElement truncated = await peer.CallAsync("events.truncate", """{"maxEvents":2}""");
        await Assert.That(truncated.GetProperty("removedEvents").GetInt32()).IsEqualTo(4);
        await Assert.That(truncated.GetProperty("stats").GetRawText()).IsEqualTo(await TextAsync(peer, "events.stats"));
        await Assert.That(await KindsAsync(peer, "{}")).IsEqualTo("proposal_completed state_changed");
        await Assert.That((await peer.CallAsync("events.clear")).GetProperty("removed").GetInt32()).IsEqualTo(2);
        await Assert.That((await peer.CallAsync("metrics.summary")).GetProperty("actions_succeeded").GetInt32()).IsEqualTo(1);
        await Assert.That((await JournalAsync(daemon, 6)).Length).IsEqualTo(6);
    }

    [Test]
    public async Task Alerts_name_what_is_over_its_threshold()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.CallAsync("proposal.submit", Write);
        await peer.CallAsync("proposal.submit", ToFail);

        JsonElement quiet = await peer.CallAsync("metrics.alerts", """{"max_error_rate":0.1}""");
        await Assert.That(quiet.GetProperty("alerts").GetRawText()).IsEqualTo("[]");
        JsonElement loud = await peer.CallAsync("metrics.alerts", """{"max_error_rate":0.1,"max_cost_usd":0,"min_actions":2}""");
        await Assert.That(loud.GetProperty("alerts").GetRawText()).IsEqualTo("""[{"kind":"error_rate","message":"error rate: 0.5 is over 0.1","observed":0.5,"threshold":0.1}]""");
        await Assert.That(loud.GetProperty("summary").GetRawText()).IsEqualTo(await TextAsync(peer, "metrics.summary"));
    }

    /// <summary>Through the socket and on the daemon's own file; Unit/Events/EventChainTests shows that it may be any byte of any line.</summary>
    [Test]
    public async Task A_changed_byte_of_the_journal_is_found_at_its_line()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.CallAsync("proposal.submit", Write);
        await Assert.That(await TextAsync(peer, "events.chain.enable")).IsEqualTo("""{"ok":true}""");
        await Assert.That(await TextAsync(peer, "events.chain.enable")).IsEqualTo("""{"ok":true}""");
        await peer.CallAsync("proposal.submit", Many(250));
        await Assert.That(await TextAsync(peer, "events.chain.verify")).IsEqualTo("""{"verified":1002}""");

        string path = Directory.GetFiles(daemon.Home.Journals).Single();
        string[] lines = await File.ReadAllLinesAsync(path);
        int unchained = lines.Length - 1002;
        int[] starts = [.. lines.Select((_, i) => lines.Take(i).Sum(line => line.Length + 1))];
        var random = new Random(12_2);
        for (int n = 0; n < 100; n++)
        {
            int at = random.Next(unchained, lines.Length - 1), length = lines[at].Length;
            int offset = (n % 5) switch { 0 => 0, 1 => length, 2 => length - 3 - random.Next(64), _ => random.Next(length) };
            byte flip = (byte)(1 << random.Next(8));
            using FileStream file = new(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
            file.Position = starts[at] + offset;
            byte before = (byte)file.ReadByte();
            file.Position = starts[at] + offset;
            file.WriteByte((byte)(before ^ flip));
            file.Flush();
            await Assert.That(await TextAsync(peer, "events.chain.verify")).IsEqualTo($$"""{"tampered_at":{{at}} }""".Replace(" ", "")).Because($"byte {offset} of line {at}, {before} without or with {flip}");
            file.Position = starts[at] + offset;
            file.WriteByte(before);
        }
        await Assert.That(await TextAsync(peer, "events.chain.verify")).IsEqualTo("""{"verified":1002}""");
    }

    [Test]
    public async Task Retention_bounds_memory_and_journal()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.CallAsync("proposal.submit", Many(500));   // 2,002 events

        await Assert.That(await TextAsync(peer, "events.retention", """{"policy":{"max_events":100} }""")).IsEqualTo("""{"policy":{"max_events":100,"max_age_secs":null},"removed":1902}""");
        await Assert.That(await TextAsync(peer, "events.retention")).IsEqualTo("""{"policy":{"max_events":100,"max_age_secs":null}}""");
        await Assert.That(await TextAsync(peer, "events.count")).IsEqualTo("100");
        await Assert.That((await JournalAsync(daemon, 100)).Length).IsEqualTo(100);
        await peer.CallAsync("proposal.submit", Write);
        await Assert.That((await JournalAsync(daemon, 106))[^1]).Contains("proposal_completed");
        await Assert.That(await TextAsync(peer, "events.retention", """{"policy":{"max_age_secs":3600} }""")).IsEqualTo("""{"policy":{"max_events":null,"max_age_secs":3600},"removed":0}""");
    }

    /// <summary>At whatever moment of a compaction the daemon dies: what was in the journal and within the policy is there, in order, in whole lines.</summary>
    [Test]
    public async Task A_kill_in_the_middle_of_compactions_loses_nothing_that_is_kept()
    {
        int seed = Environment.GetEnvironmentVariable("CAR_SEED") is { } given ? int.Parse(given, CultureInfo.InvariantCulture) : Random.Shared.Next();
        var random = new Random(seed);
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        for (int round = 0; round < (FuzzBudget.IsLong ? 100 : 6); round++)
        {
            RpcPeer peer = await daemon.ConnectAsync();
            string id = (await peer.CallAsync("session.init", """{"tools":[]}""")).GetProperty("session_id").GetString()!;
            await peer.CallAsync("events.chain.enable");
            await peer.CallAsync("events.retention", """{"policy":{"max_events":500} }""");
            // Each proposal makes about as many events as it takes until the next compaction.
            Task work = Task.Run(async () =>
            {
                try
                {
                    while (true) await peer.CallAsync("proposal.submit", Many(250));
                }
                catch (Exception e) when (e is PeerClosedException or IOException or ObjectDisposedException or System.Net.Sockets.SocketException) { }
            });
            await Task.Delay(TimeSpan.FromMilliseconds(50 + random.NextDouble() * 200));
            await daemon.KillAsync();
            await work.Soon("the end of the work");
            await peer.DisposeAsync();

            string text = await File.ReadAllTextAsync(Path.Combine(daemon.Home.Journals, id + ".jsonl"));
            string[] lines = text[..(text.LastIndexOf('\n') + 1)].Split('\n', StringSplitOptions.RemoveEmptyEntries);
            string? last = null;
            foreach (string line in lines)
            {
                using JsonDocument json = JsonDocument.Parse(line);
                string? previous = json.RootElement.GetProperty("prev_hash").GetString();
                if (last is not null && previous != last) throw new InvalidOperationException($"CAR_SEED={seed}: a line is missing before {line}");
                last = json.RootElement.GetProperty("hash").GetString();
            }
            // Of fewer than 500 events none may be missing.
            if (lines.Length is > 0 and < 500) await Assert.That(JsonDocument.Parse(lines[0]).RootElement.GetProperty("prev_hash").ValueKind).IsEqualTo(JsonValueKind.Null).Because($"CAR_SEED={seed}");
            await daemon.RestartAsync();
        }
    }

    private static string Many(int actions) =>
        $$"""{"proposal":{"id":"many","actions":[{{string.Join(',', Enumerable.Range(0, actions).Select(i => $$"""{"id":"m{{i}}","type":"state_write","parameters":{"key":"k{{i}}","value":{{i}} } }"""))}}]} }""";

    private static async Task<string> TextAsync(RpcPeer peer, string method, string? parameters = null) => (await peer.CallAsync(method, parameters)).GetRawText();

    private static async Task<string> KindsAsync(RpcPeer peer, string query)
    {
        JsonElement found = await peer.CallAsync("events.query", query);
        string[] kinds = [.. found.GetProperty("events").EnumerateArray().Select(item => item.GetProperty("kind").GetString()!)];
        await Assert.That(found.GetProperty("count").GetInt32()).IsEqualTo(kinds.Length);
        return string.Join(' ', kinds);
    }

    /// <summary>The one journal, once it has so many lines.</summary>
    private static async Task<string[]> JournalAsync(TestDaemon daemon, int lines)
    {
        string[] journal = [];
        await Eventually.TrueAsync($"{lines} lines in the journal", () => (journal = File.ReadAllLines(Directory.GetFiles(daemon.Home.Journals, "*.jsonl").Single())).Length == lines);
        return journal;
    }
}

using System.Collections.Concurrent;
using System.Globalization;
using System.Net.Sockets;
using System.Text.Json;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>kill -9 at any moment costs nothing that was acknowledged (protocol 13, 14 and check 10 of section 24).</summary>
public sealed class CrashTests
{
    /// <summary>Each writer has a connection, a tool of its own, and one open run at a time.</summary>
    private const int Writers = 4;

    /// <summary>Proposals that one writer has in flight: their turns meet in one run.</summary>
    private const int Lanes = 3;

    private static int Rounds => FuzzBudget.IsLong ? 200 : 20;

    [Test]
    public async Task What_was_acknowledged_before_a_kill_is_there_once_after_it()
    {
        int seed = Environment.GetEnvironmentVariable("CAR_SEED") is { } given ? int.Parse(given, CultureInfo.InvariantCulture) : Random.Shared.Next();
        var random = new Random(seed);
        var ledger = new Ledger();
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        try
        {
            for (int round = 0; round < Rounds; round++)
            {
                var writers = new List<Writer>();
                for (int i = 0; i < Writers; i++) writers.Add(new Writer(await daemon.ConnectAsync(), ledger, $"{round}-{i}"));
                Task[] work = [.. writers.Select(writer => writer.WorkAsync())];
                // The moment is what this test is about; it is drawn, not waited for.
                await Task.Delay(TimeSpan.FromMilliseconds(random.NextDouble() * 150));
                await daemon.KillAsync();
                await Task.WhenAll(work).Soon("the end of the writers");
                foreach (Writer writer in writers) await writer.DisposeAsync();
                await daemon.RestartAsync();
                await ledger.CheckAsync(daemon);
                ledger.Close();
            }

            // Another start finds nothing more to do: adoption is idempotent.
            Dictionary<string, byte[]> before = Traces(daemon);
            await daemon.KillAsync();
            await daemon.RestartAsync();
            Dictionary<string, byte[]> after = Traces(daemon);
            await Assert.That(after.Keys.Order(StringComparer.Ordinal)).IsEquivalentTo(before.Keys.Order(StringComparer.Ordinal));
            foreach ((string path, byte[] bytes) in after) await Assert.That(bytes.AsSpan().SequenceEqual(before[path])).IsTrue();
            // Or nothing was tested: some runs were completed, some were cut off, and turns were acknowledged.
            await Assert.That(ledger.Completed).IsGreaterThan(0);
            await Assert.That(ledger.CutOff).IsGreaterThan(0);
            await Assert.That(ledger.Turns).IsGreaterThan(Rounds);
        }
        catch (Exception e)
        {
            throw new InvalidOperationException($"CAR_SEED={seed}: {e.Message}", e);
        }
    }

    private static Dictionary<string, byte[]> Traces(TestDaemon daemon) =>
        daemon.Home.Files().Where(path => path.StartsWith("runs/", StringComparison.Ordinal) && path.EndsWith(".jsonl", StringComparison.Ordinal))
            .ToDictionary(path => path, path => File.ReadAllBytes(daemon.Home.In(path)));

    /// <summary>What a writer was told about one run, and what it asked for without hearing of it.</summary>
    private sealed class Story(string agent)
    {
        public string Agent { get; } = agent;
        public ConcurrentBag<string> Acknowledged { get; } = [];
        public volatile bool CompletionAsked;
        public volatile bool CompletionAcknowledged;
    }

    /// <summary>All that was acknowledged, and the comparison with what a restarted daemon has.</summary>
    private sealed class Ledger
    {
        private readonly ConcurrentDictionary<string, Story> _thisRound = new();

        public int Completed { get; private set; }
        public int CutOff { get; private set; }
        public int Turns { get; private set; }

        public Story Begin(string runId, string agent) => _thisRound[runId] = new Story(agent);

        public async Task CheckAsync(TestDaemon daemon)
        {
            await using RpcPeer reader = await daemon.ConnectAsync();
            foreach ((string runId, Story story) in _thisRound)
            {
                JsonElement trace = await reader.CallAsync("runs.get_trace", $$"""{"run_id":"{{runId}}"}""");
                JsonElement[] records = [.. trace.GetProperty("records").EnumerateArray()];
                string[] kinds = [.. records.Select(record => record.GetProperty("record").GetString()!)];
                string expected = string.Join(' ', (string[])["started", .. Enumerable.Repeat("turn", records.Length - 2), "ended"]);
                await Assert.That(string.Join(' ', kinds)).IsEqualTo(expected);
                JsonElement[] turns = records[1..^1];
                await Assert.That(turns.Select(turn => turn.GetProperty("index").GetInt32()).SequenceEqual(Enumerable.Range(0, turns.Length))).IsTrue();

                // Twice in the trace would show here: names are never used twice.
                string[] names = [.. turns.Select(Name)];
                await Assert.That(names.Distinct().Count()).IsEqualTo(names.Length);
                await Assert.That(story.Acknowledged.Except(names)).IsEmpty();
                await AssertOrderAsync(names);

                string kind = records[^1].GetProperty("termination").GetProperty("kind").GetString()!;
                if (story.CompletionAcknowledged) await Assert.That(kind).IsEqualTo("outcome");
                else if (!story.CompletionAsked) await Assert.That(kind).IsEqualTo("incomplete");
                JsonElement list = await reader.CallAsync("runs.list", $$"""{"agent_id":"{{story.Agent}}"}""");
                JsonElement summary = list.GetProperty("runs").EnumerateArray().Single(run => run.GetProperty("run_id").GetString() == runId);
                await Assert.That(summary.GetProperty("status").GetString()).IsEqualTo(kind == "outcome" ? "completed" : "incomplete");
                await Assert.That(summary.GetProperty("turn_count").GetInt32()).IsEqualTo(turns.Length);
                if (story.CompletionAcknowledged) Completed++;
                if (kind == "incomplete") CutOff++;
                Turns += story.Acknowledged.Count;
            }
        }

        public void Close() => _thisRound.Clear();

        /// <summary>A proposal's turns stand together in the order of its actions, and a lane's proposals in the order they were acknowledged in.</summary>
        private static async Task AssertOrderAsync(string[] names)
        {
            foreach (IGrouping<string, string> lane in names.GroupBy(name => name[..name.IndexOf('/', StringComparison.Ordinal)]))
            {
                string[] expected = [.. lane.OrderBy(name => int.Parse(name.Split('/')[1], CultureInfo.InvariantCulture)).ThenBy(name => name.Split('/')[2], StringComparer.Ordinal)];
                await Assert.That(lane.SequenceEqual(expected)).IsTrue();
            }
        }

        private static string Name(JsonElement turn) => turn.GetProperty("parameters").GetProperty("name").GetString()!;
    }

    /// <summary>One client: starts a run, submits proposals in several lanes, completes it, starts the next, until the daemon is gone.</summary>
    private sealed class Writer(RpcPeer peer, Ledger ledger, string id) : IAsyncDisposable
    {
        public async Task WorkAsync()
        {
            peer.Tools = call => Task.FromResult(call.Parameters.GetRawText());
            try
            {
                await peer.RegisterToolsAsync("echo");
                for (int run = 0; ; run++)
                {
                    // An agent for each run: of more than fifty of one agent the next start would collect some.
                    string agent = $"agent-{id}-{run}";
                    JsonElement started = await peer.CallAsync("runs.start", $$"""{"intent":"crash","agent_id":"{{agent}}"}""");
                    string runId = started.GetProperty("run_id").GetString()!;
                    Story story = ledger.Begin(runId, agent);
                    await Task.WhenAll(Enumerable.Range(0, Lanes).Select(lane => LaneAsync(story, lane)));
                    story.CompletionAsked = true;
                    await peer.CallAsync("runs.complete", $$"""{"run_id":"{{runId}}","outcome":{"status":"done"} }""");
                    story.CompletionAcknowledged = true;
                }
            }
            catch (Exception e) when (e is PeerClosedException or SocketException or ObjectDisposedException or IOException) { }
        }

        /// <summary>Some proposals one after another; each with a tool call, a write, and a payload that makes many lines of many sizes.</summary>
        private async Task LaneAsync(Story story, int lane)
        {
            for (int n = 0; n < 6; n++)
            {
                string name = $"{lane}/{n}";
                string padding = new('x', (lane * 7 + n) * 1_100 % 9_000);
                await peer.CallAsync("proposal.submit", $$$"""
                    {"proposal":{"actions":[
                      {"type":"tool_call","tool":"echo","parameters":{"name":"{{{name}}}/a","padding":"{{{padding}}}"} },
                      {"type":"state_write","parameters":{"key":"k{{{lane}}}","value":{{{n}}},"name":"{{{name}}}/b"} }]} }
                    """);
                story.Acknowledged.Add($"{name}/a");
                story.Acknowledged.Add($"{name}/b");
            }
        }

        public ValueTask DisposeAsync() => peer.DisposeAsync();
    }
}

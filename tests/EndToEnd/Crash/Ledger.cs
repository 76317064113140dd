using System.Collections.Concurrent;
using System.Globalization;
using System.Text.Json;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd.Crash;

/// <summary>What the writers were told about one run, and what they asked for without hearing of it.</summary>
internal sealed class Story(string agent)
{
    public string Agent { get; } = agent;

    /// <summary>Batches that were acknowledged, <c>lane/n</c>, and how many turns each has.</summary>
    public ConcurrentDictionary<string, int> Acknowledged { get; } = new();

    /// <summary>Where the daemon said that a batch begins.</summary>
    public ConcurrentDictionary<string, int> BaseIndices { get; } = new();

    public volatile Follower? Follower;
    public volatile bool CompletionAsked;
    public volatile bool CompletionAcknowledged;
}

/// <summary>All that was acknowledged in a round, and the comparison with what a restarted daemon has.</summary>
internal sealed class Ledger
{
    private readonly ConcurrentDictionary<string, Story> _thisRound = new();

    public int Completed { get; private set; }
    public int CutOff { get; private set; }
    public int Turns { get; private set; }

    /// <summary>Batches at the end of a trace that nobody was told of.</summary>
    public int Unheard { get; private set; }

    public int Followed { get; private set; }

    public Story Begin(string runId, string agent) => _thisRound[runId] = new Story(agent);

    public void Close() => _thisRound.Clear();

    public async Task CheckAsync(TestDaemon daemon)
    {
        await using RpcPeer reader = await daemon.ConnectAsync();
        foreach ((string runId, Story story) in _thisRound)
        {
            try
            {
                await CheckAsync(daemon, reader, runId, story);
            }
            catch (Exception e)
            {
                throw new InvalidOperationException($"run {runId} of {story.Agent}: {e.Message}", e);
            }
        }
    }

    private async Task CheckAsync(TestDaemon daemon, RpcPeer reader, string runId, Story story)
    {
        JsonElement trace = await reader.CallAsync("runs.get_trace", $$"""{"run_id":"{{runId}}"}""");
        JsonElement[] records = [.. trace.GetProperty("records").EnumerateArray()];
        string kinds = string.Join(' ', records.Select(record => record.GetProperty("record").GetString()));
        await Assert.That(kinds).IsEqualTo(string.Join(' ', (string[])["started", .. Enumerable.Repeat("turn", records.Length - 2), "ended"]));
        JsonElement[] turns = records[1..^1];
        await Assert.That(turns.Select(turn => turn.GetProperty("index").GetInt32()).SequenceEqual(Enumerable.Range(0, turns.Length))).IsTrue();
        await CheckBatchesAsync(story, [.. turns.Select(turn => turn.GetProperty("parameters").GetProperty("name").GetString()!)]);

        string kind = records[^1].GetProperty("termination").GetProperty("kind").GetString()!;
        if (story.CompletionAcknowledged) await Assert.That(kind).IsEqualTo("outcome");
        else if (!story.CompletionAsked) await Assert.That(kind).IsEqualTo("incomplete");
        JsonElement list = await reader.CallAsync("runs.list", $$"""{"agent_id":"{{story.Agent}}"}""");
        JsonElement summary = list.GetProperty("runs").EnumerateArray().Single(run => run.GetProperty("run_id").GetString() == runId);
        await Assert.That(summary.GetProperty("status").GetString()).IsEqualTo(kind == "outcome" ? "completed" : "incomplete");
        await Assert.That(summary.GetProperty("turn_count").GetInt32()).IsEqualTo(turns.Length);

        if (story.Follower is { } follower)
        {
            // Nothing is shown before it is stored: what was seen live is there after the crash.
            follower.Check(Follower.Turns(daemon.Home.Trace(story.Agent, runId)));
            if (follower.Status == "completed") await Assert.That(kind).IsEqualTo("outcome");
            Followed += follower.Events;
        }
        if (story.CompletionAcknowledged) Completed++;
        if (kind == "incomplete") CutOff++;
        Turns += story.Acknowledged.Values.Sum();
    }

    /// <summary>Each batch stands in one piece, each turn once; what was acknowledged is complete, and a lane's batches are in the order they were sent in.</summary>
    private async Task CheckBatchesAsync(Story story, string[] names)
    {
        var seen = new Dictionary<string, int>();
        var lastOfLane = new Dictionary<string, int>();
        for (int at = 0; at < names.Length;)
        {
            string batch = names[at][..names[at].LastIndexOf('/')];
            int begin = at;
            while (at < names.Length && names[at] == $"{batch}/{at - begin}") at++;
            if (at == begin) throw new InvalidDataException($"turn {at} is {names[at]}, which is not the beginning of a batch");
            if (!seen.TryAdd(batch, at - begin)) throw new InvalidDataException($"batch {batch} is there twice");
            string[] lane = batch.Split('/');
            int number = int.Parse(lane[1], CultureInfo.InvariantCulture);
            if (number != lastOfLane.GetValueOrDefault(lane[0], -1) + 1) throw new InvalidDataException($"batch {batch} is not the next one of its lane");
            lastOfLane[lane[0]] = number;
            if (story.BaseIndices.TryGetValue(batch, out int told) && told != begin) throw new InvalidDataException($"batch {batch} begins at {begin}, and {told} was answered");
            if (!story.Acknowledged.ContainsKey(batch) && at == names.Length) Unheard++;
        }
        foreach ((string batch, int count) in story.Acknowledged)
            await Assert.That(seen.GetValueOrDefault(batch)).IsEqualTo(count).Because($"batch {batch} was acknowledged");
    }
}

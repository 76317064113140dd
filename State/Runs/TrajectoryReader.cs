using System.Text.Json;
using CarServer.RunStore;
using CarServer.RunStore.Contracts;
using CarServer.State.Engine;
using CarServer.State.Engine.Analysis;

namespace CarServer.State.Runs;

/// <summary>How often each tool succeeded, counted from the turns of recorded runs. Any thread; every call reads the disk.</summary>
internal sealed class TrajectoryReader(RunCatalog catalog, TimeProvider clock)
{
    /// <summary>Runs that are read for one estimate, the newest first: what a tool did five hundred runs ago says little about today.</summary>
    public const int MaxRuns = 500;

    /// <summary>Bytes of turns that are read for one estimate: some tenths of a second.</summary>
    public const long MaxTotalBytes = 64 * 1024 * 1024;

    /// <summary>Bytes of turns that are read of one run, from its beginning, so that one long run does not speak for all.</summary>
    public const int MaxRunBytes = 4 * 1024 * 1024;

    /// <summary>Days that an estimate may look back: a century.</summary>
    public const int MaxWindowDays = 36_500;

    /// <param name="agentId">Whose runs; null for every agent's.</param>
    /// <param name="windowDays">Runs that began longer ago are left out; with 0 all of them are.</param>
    /// <param name="abandoned">Ends the reading.</param>
    public Trajectories Read(string? agentId, int windowDays, CancellationToken abandoned)
    {
        if (windowDays == 0) return Trajectories.None;
        DateTime since = clock.GetUtcNow().UtcDateTime.AddDays(-windowDays);
        var tools = new Dictionary<string, ToolRecord>(StringComparer.Ordinal);
        int runs = 0;
        long left = MaxTotalBytes;
        foreach (RunSummary run in NewestFirst(agentId, since))
        {
            abandoned.ThrowIfCancellationRequested();
            if (left <= 0 || runs == MaxRuns) break;
            if (!catalog.TryGetPath(run.AgentId, run.RunId, out string path) || ReadTurns(path, Math.Min(left, MaxRunBytes)) is not { } turns) continue;
            runs++;
            left -= turns.Length;
            Count(turns, tools);
        }
        return new Trajectories(runs, tools);
    }

    private List<RunSummary> NewestFirst(string? agentId, DateTime since)
    {
        var runs = new List<RunSummary>();
        try
        {
            string[] agents = agentId is not null ? [agentId] : [.. catalog.AgentDirectories().Select(static directory => RunPath.Decode(Path.GetFileName(directory)))];
            // Each list is sorted already, so its newest runs are at its front.
            foreach (string agent in agents) runs.AddRange(catalog.List(agent).TakeWhile(run => run.StartedAt >= since).Take(MaxRuns));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // An estimate rests on what can be read; how much that was, the answer tells.
        }
        runs.Sort(RunPlace.NewestFirst);
        return runs;
    }

    /// <summary>The turns with a comma between them; null when the trace is gone or can't be read.</summary>
    private static byte[]? ReadTurns(string path, long maxBytes)
    {
        try
        {
            using TraceSlice slice = TraceSlice.Open(path, new TraceQuery(MaxBytes: maxBytes, TurnsOnly: true));
            byte[] turns = new byte[slice.Length];
            slice.ReadExactly(turns);
            return turns;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private static void Count(byte[] turns, Dictionary<string, ToolRecord> tools)
    {
        for (int at = 0; at < turns.Length;)
        {
            // Every line was found to be one JSON object before it came into the slice.
            var reader = new Utf8JsonReader(turns.AsSpan(at), new JsonReaderOptions { MaxDepth = RawJsonConverter.MaxWrappedDepth });
            reader.Read();
            reader.Skip();
            int end = at + (int)reader.BytesConsumed;
            if (TryRead(turns.AsSpan(at..end)) is { Tool: { } tool } turn && TurnOutcome.Of(turn) is { } succeeded)
            {
                ToolRecord before = tools.GetValueOrDefault(tool);
                tools[tool] = new ToolRecord(before.Succeeded + (succeeded ? 1 : 0), before.Dispatched + 1);
            }
            at = end + 1;
        }
    }

    private static RunTurn? TryRead(ReadOnlySpan<byte> line)
    {
        try
        {
            return Json.RunTurn.Parse(line);
        }
        catch (JsonException)
        {
            return null;   // another version's turn
        }
    }
}

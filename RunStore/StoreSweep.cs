using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;

namespace CarServer.RunStore;

/// <summary>One pass over the tree of traces: ends what a dead daemon left open, then removes what is kept no longer (protocol 14.2, 14.3).</summary>
/// <remarks>
/// Only traces that have ended are removed, and to those nobody writes: a pass may run beside living daemons, but not beside another
/// pass. Links are not followed, and files that are no traces are left where they are. What fails is logged and passed over.
/// </remarks>
internal sealed class StoreSweep(RunCatalog catalog, Retention retention, DateTime now, ILogger log)
{
    private readonly ConcurrentBag<RemovedRun> _removed = [];
    private readonly ConcurrentBag<(string Path, Task Stored)> _ends = [];

    /// <summary>Ends the runs in progress. Null: they are left alone. Only while the store is held alone: nobody else's runs are among them then.</summary>
    public Appender? Adopter { get; init; }

    /// <summary>Asked about a run right before it is removed.</summary>
    public Func<string, bool> IsOpen { get; init; } = static _ => false;

    /// <summary>Only tells what would be removed.</summary>
    public bool DryRun { get; init; }

    /// <summary>More than one only where nothing else has to be done meanwhile.</summary>
    public int Threads { get; init; } = 1;

    /// <summary>Runs that were in progress, and now are not. Another pass finds none.</summary>
    public int Adopted { get; private set; }

    public IReadOnlyCollection<RemovedRun> Removed => _removed;

    public async Task RunAsync(CancellationToken stopping)
    {
        // Not Parallel.ForEach, which is 40 KiB of the executable.
        var directories = new ConcurrentQueue<string>(catalog.AgentDirectories());
        var sweepers = new Task[Threads];
        for (int i = 0; i < sweepers.Length; i++)
        {
            sweepers[i] = Task.Run(() =>
            {
                while (directories.TryDequeue(out string? directory))
                {
                    stopping.ThrowIfCancellationRequested();
                    SweepAgent(directory);
                }
            }, stopping);
        }
        await Task.WhenAll(sweepers);
        foreach ((string path, Task stored) in _ends)
        {
            try
            {
                await stored;
                Adopted++;
            }
            catch (IOException e)
            {
                log.LogWarning("could not end the orphaned run {Path}: {Reason}", path, e.Message);
            }
        }
    }

    private void SweepAgent(string directory)
    {
        try
        {
            if (new DirectoryInfo(directory).LinkTarget is not null) return;
            List<Found> traces = Look(directory, out bool isEmpty);
            traces.Sort(static (a, b) => RunPlace.NewestFirst(a.Run, b.Run));
            foreach ((Found found, RetentionReason reason) in retention.Excess(traces, static found => found.Run, now))
            {
                if (IsOpen(found.Run.RunId) || (!DryRun && !TryRemove(found))) continue;
                found.IsGone = true;
                _removed.Add(new RemovedRun(found.Run.RunId, found.Run.AgentId, found.Run.Status, found.Run.StartedAt, found.Run.EndedAt, reason));
            }
            foreach (Found found in traces)
                if (found is { IsOrphan: true, IsGone: false }) End(found);
            if (!DryRun && (isEmpty || (traces.Count > 0 && traces.TrueForAll(static found => found.IsGone)))) TryDeleteDirectory(directory);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            log.LogWarning("could not look at {Path}: {Reason}", directory, PrivateFiles.Reason(e));
        }
    }

    private List<Found> Look(string directory, out bool isEmpty)
    {
        var traces = new List<Found>();
        isEmpty = true;
        foreach (TraceFile trace in RunCatalog.TracesIn(directory))
        {
            isEmpty = false;
            try
            {
                RunSummary? run = trace.Summarise();
                if (run is null)
                {
                    // The daemon died before the run was acknowledged. While others live, the run may just be about to begin.
                    if (Adopter is not null) isEmpty = TryDelete(trace.Path) && traces.Count == 0;
                    continue;
                }
                bool isOrphan = Adopter is not null && run.Status == RunStatus.InProgress;
                if (isOrphan) run = run with { Status = RunStatus.Incomplete, EndedAt = now };
                traces.Add(new Found(trace.Path, run, isOrphan));
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                log.LogWarning("could not look at {Path}: {Reason}", trace.Path, PrivateFiles.Reason(e));
            }
        }
        return traces;
    }

    /// <summary>Removes a run. While somebody starts one of its id, it waits for the next pass.</summary>
    private bool TryRemove(Found found)
    {
        if (Adopter is not null) return TryDelete(found.Path);   // nobody else is there
        if (!RunPath.TryEncode(found.Run.RunId, out string run)) return IsStill(found) && TryDelete(found.Path);
        using IDisposable? hold = catalog.Index.TryHold(run);
        return hold is not null && IsStill(found) && TryDelete(found.Path);
    }

    /// <summary>Whether the file is the one that was looked at. Another daemon's pass may have removed that since, and a run of the same key have begun.</summary>
    private bool IsStill(Found found) =>
        RunTrace.Summarise(found.Path, found.Run.AgentId, found.Run.RunId) is { Status: not RunStatus.InProgress } run && run.StartedAt == found.Run.StartedAt;

    private void End(Found found)
    {
        byte[] line = new RunEnded(found.Run.RunId, found.Run.AgentId, new RunIncomplete(), now).ToLine();
        _ends.Add((found.Path, Adopter!.AppendAsync(Adopter.File(found.Path), line)));
    }

    private bool TryDelete(string path)
    {
        if (PrivateFiles.TryDelete(path))
        {
            catalog.Index.Remove(Path.GetFileNameWithoutExtension(path), Path.GetFileName(Path.GetDirectoryName(path)!));
            return true;
        }
        log.LogWarning("could not remove {Path}", path);
        return false;
    }

    /// <summary>Removes an agent's directory unless something is left in it, or has just come.</summary>
    private void TryDeleteDirectory(string path)
    {
        try
        {
            if (!Directory.EnumerateFileSystemEntries(path).Any()) Directory.Delete(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            log.LogDebug("could not remove {Path}: {Reason}", path, PrivateFiles.Reason(e));
        }
    }

    private sealed record Found(string Path, RunSummary Run, bool IsOrphan)
    {
        public bool IsGone { get; set; }
    }
}

/// <summary>A run that is kept no longer, and why.</summary>
internal sealed record RemovedRun(
    string RunId, string AgentId, RunStatus Status, DateTime StartedAt,
    [property: System.Text.Json.Serialization.JsonIgnore(Condition = System.Text.Json.Serialization.JsonIgnoreCondition.WhenWritingNull)] DateTime? EndedAt,
    RetentionReason Reason);

using Microsoft.Extensions.Logging;

namespace CarServer.RunStore;

/// <summary>The tree of run traces, <c>&lt;root&gt;/&lt;agent_id&gt;/&lt;run_id&gt;.jsonl</c> (protocol 14). The tree is the index: there is no other.</summary>
/// <remarks>Reads and, at boot, deletes; writing is the <see cref="Appender"/>'s. Any thread may call; every member does blocking I/O.</remarks>
internal sealed class RunCatalog
{
    /// <summary>Finished runs kept per agent (protocol 14.2).</summary>
    public const int DefaultMaxPerAgent = 50;

    /// <summary>Days that a finished run is kept (protocol 14.2).</summary>
    public const int DefaultMaxAgeDays = 30;

    private RunCatalog(string root) => Root = root;

    public string Root { get; }

    /// <summary>The traces live in <c>runs</c>, beside the journal directory. Nothing is created yet.</summary>
    public static RunCatalog ForJournalDirectory(string journalDirectory)
    {
        string journals = Path.TrimEndingDirectorySeparator(journalDirectory);
        string parent = Path.GetDirectoryName(journals) is { Length: > 0 } above ? above : Path.Combine(journals, "..");
        return new RunCatalog(Path.Combine(parent, "runs"));
    }

    /// <summary>Makes the root, private and kept out of backups: prompts and tool output are in it.</summary>
    public void EnsureRoot()
    {
        PrivateFiles.CreateDirectory(Root);
        PrivateFiles.Tighten(Root);
        PrivateFiles.Open(Path.Combine(Root, ".nobackup")).Dispose();
        BackupExclusion.Apply(Root);
    }

    /// <summary>Holds the store until the result is disposed or the process dies: together with others who write to it, or alone.</summary>
    /// <returns>Null while others are in the way.</returns>
    /// <remarks>Two daemons meet here when one is the other's secondary, and when two homes are given one journal directory.</remarks>
    public IDisposable? TryHold(bool alone)
    {
        try
        {
            // flock(2), exclusive or shared; the file stays, only the lock counts.
            return new FileStream(Path.Combine(Root, ".lock"), new FileStreamOptions
            {
                Mode = FileMode.OpenOrCreate,
                Access = FileAccess.ReadWrite,
                Share = alone ? FileShare.None : FileShare.ReadWrite,
                UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
                BufferSize = 0,
            });
        }
        catch (IOException)
        {
            return null;
        }
    }

    /// <summary>False when one of the ids can't be a file name.</summary>
    public bool TryGetPath(string agentId, string runId, out string path)
    {
        path = "";
        if (!RunPath.TryEncode(agentId, out string agent) || !RunPath.TryEncode(runId, out string run)) return false;
        path = Path.Combine(Root, agent, run + RunPath.Extension);
        return true;
    }

    /// <summary>The trace with this id, whoever owns it; null when there is none.</summary>
    public TraceFile? Find(string runId)
    {
        if (!RunPath.TryEncode(runId, out string run)) return null;
        foreach (string agent in AgentDirectories())
        {
            string path = Path.Combine(agent, run + RunPath.Extension);
            if (File.Exists(path)) return new TraceFile(path, RunPath.Decode(Path.GetFileName(agent)), runId);
        }
        return null;
    }

    /// <summary>An agent's runs, the newest start first. Empty for an agent without any, and for an id that can't have any.</summary>
    public IReadOnlyList<RunSummary> List(string agentId)
    {
        if (!RunPath.TryEncode(agentId, out string agent)) return [];
        var runs = new List<RunSummary>();
        foreach (TraceFile trace in TracesIn(Path.Combine(Root, agent)))
        {
            try
            {
                if (trace.Summarise() is { } summary) runs.Add(summary);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // Gone, or being replaced, since the directory was read: not there to be listed.
            }
        }
        SortNewestFirst(runs);
        return runs;
    }

    /// <summary>Ends every run that a dead daemon left open, as <c>incomplete</c> (protocol 14.3). Only while the store is held alone.</summary>
    /// <returns>How many there were. A second call finds none.</returns>
    /// <remarks>A file without one whole line is removed: the daemon died before the run was acknowledged.</remarks>
    public async Task<int> AdoptOrphansAsync(Appender appender, DateTime now, ILogger log)
    {
        var adopted = new List<(TraceFile Trace, Task Stored)>();
        foreach (TraceFile trace in AllTraces())
        {
            try
            {
                switch (trace.Summarise())
                {
                    case null:
                        File.Delete(trace.Path);
                        break;
                    case { Status: RunStatus.InProgress }:
                        byte[] line = new RunEnded(trace.RunId, trace.AgentId, new RunIncomplete(), now).ToLine();
                        adopted.Add((trace, appender.AppendAsync(appender.File(trace.Path), line)));
                        break;
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                log.LogWarning("could not look at {Path}: {Reason}", trace.Path, e.Message);
            }
        }
        int ended = 0;
        foreach ((TraceFile trace, Task stored) in adopted)
        {
            try
            {
                await stored;
                ended++;
            }
            catch (IOException e)
            {
                log.LogWarning("could not end the orphaned run {Path}: {Reason}", trace.Path, e.Message);
            }
        }
        return ended;
    }

    /// <summary>Removes finished runs: each agent's beyond the newest <paramref name="maxPerAgent"/>, and those that ended more than
    /// <paramref name="maxAgeDays"/> days ago. Never one in progress. Only while the store is held alone.</summary>
    /// <param name="maxPerAgent">0 or less: no such limit.</param>
    /// <param name="maxAgeDays">0 or less: no such limit.</param>
    /// <returns>How many were removed.</returns>
    public int Collect(DateTime now, ILogger log, int maxPerAgent = DefaultMaxPerAgent, int maxAgeDays = DefaultMaxAgeDays)
    {
        int removed = 0;
        foreach (string directory in AgentDirectories())
        {
            string agentId = RunPath.Decode(Path.GetFileName(directory));
            int newer = 0;
            foreach (RunSummary run in List(agentId))
            {
                if (run.Status == RunStatus.InProgress) continue;
                bool tooMany = maxPerAgent > 0 && newer >= maxPerAgent;
                bool tooOld = maxAgeDays > 0 && (now - (run.EndedAt ?? run.StartedAt)).TotalDays > maxAgeDays;
                if (!tooMany && !tooOld) newer++;
                else if (TryGetPath(agentId, run.RunId, out string path) && TryDelete(path, log)) removed++;
            }
            if (!Directory.EnumerateFileSystemEntries(directory).Any()) TryDeleteDirectory(directory, log);
        }
        return removed;
    }

    private static void SortNewestFirst(List<RunSummary> runs) => runs.Sort(static (a, b) =>
        b.StartedAt != a.StartedAt ? b.StartedAt.CompareTo(a.StartedAt) : string.CompareOrdinal(a.RunId, b.RunId));

    private IEnumerable<TraceFile> AllTraces() => AgentDirectories().SelectMany(TracesIn);

    private string[] AgentDirectories() => Directory.Exists(Root) ? Directory.GetDirectories(Root) : [];

    private static IEnumerable<TraceFile> TracesIn(string directory)
    {
        if (!Directory.Exists(directory)) return [];
        string agentId = RunPath.Decode(Path.GetFileName(directory));
        return Directory.GetFiles(directory, "*" + RunPath.Extension)
            .Select(path => new TraceFile(path, agentId, RunPath.Decode(Path.GetFileNameWithoutExtension(path))));
    }

    private static bool TryDelete(string path, ILogger log)
    {
        try
        {
            File.Delete(path);
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            log.LogWarning("could not remove {Path}: {Reason}", path, e.Message);
            return false;
        }
    }

    private static void TryDeleteDirectory(string path, ILogger log)
    {
        try
        {
            Directory.Delete(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            log.LogWarning("could not remove {Path}: {Reason}", path, e.Message);
        }
    }
}

/// <summary>A trace and whose it is; both ids come from the path.</summary>
internal sealed record TraceFile(string Path, string AgentId, string RunId)
{
    /// <summary>See <see cref="RunTrace.Summarise"/>.</summary>
    public RunSummary? Summarise() => RunTrace.Summarise(Path, AgentId, RunId);
}

using System.IO.Enumeration;

namespace CarServer.RunStore;

/// <summary>The tree of run traces, <c>&lt;root&gt;/&lt;agent_id&gt;/&lt;run_id&gt;.jsonl</c> (protocol 14). What is in the tree counts; <see cref="Index"/> says where to look first.</summary>
/// <remarks>Only reads traces; writing is the <see cref="Appender"/>'s, deleting <see cref="StoreSweep"/>'s. Any thread may call; every member does blocking I/O.</remarks>
internal sealed class RunCatalog
{
    private readonly SummaryCache _summaries = new();

    private RunCatalog(string root)
    {
        Root = root;
        Index = new RunIndex(root);
    }

    public string Root { get; }

    /// <summary>Which agent has which run.</summary>
    public RunIndex Index { get; }

    /// <summary>The file that says how long runs are kept (protocol 14.2).</summary>
    public string ConfigFile => Path.Combine(Path.GetDirectoryName(Root)!, "config.toml");

    /// <summary>The traces live in <c>runs</c>, beside the journal directory. Nothing is created yet.</summary>
    public static RunCatalog ForJournalDirectory(string journalDirectory)
    {
        string journals = Path.TrimEndingDirectorySeparator(journalDirectory);
        string parent = Path.GetDirectoryName(journals) is { Length: > 0 } above ? above : Path.Combine(journals, "..");
        return new RunCatalog(Path.Combine(parent, "runs"));
    }

    /// <summary>Makes the root, private and kept out of backups: prompts and tool output are in it.</summary>
    /// <param name="durability">With <see cref="Durability.Fsync"/> the names that lead to it are on stable storage afterwards.</param>
    public void EnsureRoot(Durability durability = Durability.Os)
    {
        bool isNew = PrivateFiles.CreateDirectory(Root) is not null;
        PrivateFiles.Tighten(Root);
        Index.Ensure(isComplete: isNew);
        PrivateFiles.Open(Path.Combine(Root, ".nobackup")).Dispose();
        BackupExclusion.Apply(Root);
        if (durability == Durability.Fsync) StableStorage.SyncUpwards(Root);
    }

    /// <summary>Holds the store until the result is disposed or the process dies: together with others who write to it, or alone.</summary>
    /// <returns>Null while others are in the way.</returns>
    /// <remarks>Two daemons meet here when one is the other's secondary, and when two homes are given one journal directory.</remarks>
    public IDisposable? TryHold(bool alone)
    {
        try
        {
            return PrivateFiles.OpenLock(Path.Combine(Root, ".lock"), alone);
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
    public TraceFile? Find(string runId) =>
        RunPath.TryEncode(runId, out string run) ? In(Index.AgentOf(run), run) ?? Search(run) : null;

    /// <summary>Finds the run that has an id, or makes sure that nobody else starts one before the result is disposed.</summary>
    /// <returns>Null while somebody else is about to start or to remove a run of this id.</returns>
    /// <remarks>Costs the same however many agents there are, but for an index that is not complete, an agent whose run was removed by
    /// hand, and a start that a dead daemon did not finish.</remarks>
    public RunClaim? TryClaim(string agentId, string runId)
    {
        RunPath.TryEncode(agentId, out string own);
        RunPath.TryEncode(runId, out string run);
        if (Index.TryHold(run) is not { } hold) return null;
        try
        {
            bool isComplete = Index.IsComplete;
            string? known = Index.AgentOf(run);
            TraceFile? taken = In(own, run) ?? In(known, run) ?? (isComplete && known is null ? null : Search(run));
            return new RunClaim(taken, isComplete, hold);
        }
        catch
        {
            hold.Dispose();
            throw;
        }
    }

    /// <summary>To be done right before a run's trace is made.</summary>
    public void AddToIndex(string agentId, string runId)
    {
        if (RunPath.TryEncode(agentId, out string agent) && RunPath.TryEncode(runId, out string run)) Index.TryAdd(run, agent);
    }

    /// <summary>See <see cref="RunIndex.Refresh"/>.</summary>
    public void RefreshIndex(CancellationToken stopping)
    {
        if (Directory.Exists(Root)) Index.Refresh(AgentDirectories, stopping);
    }

    private TraceFile? Search(string run)
    {
        foreach (string agent in AgentDirectories())
            if (In(Path.GetFileName(agent), run) is { } found) return found;
        return null;
    }

    private TraceFile? In(string? agent, string run)
    {
        if (agent is null) return null;
        string path = Path.Combine(Root, agent, run + RunPath.Extension);
        return File.Exists(path) ? new TraceFile(path, RunPath.Decode(agent), RunPath.Decode(run)) : null;
    }

    /// <summary>An agent's runs, the newest start first. Empty for an agent without any, and for an id that can't have any.</summary>
    public IReadOnlyList<RunSummary> List(string agentId)
    {
        if (!RunPath.TryEncode(agentId, out string agent)) return [];
        AgentRuns known = _summaries.Get(agentId);
        AgentRuns now = Read(agentId, Path.Combine(Root, agent), known);
        if (!ReferenceEquals(now, known)) _summaries.Put(agentId, now);
        return now.NewestFirst;
    }

    /// <summary>Every agent's directory, and links that stand for one.</summary>
    public string[] AgentDirectories() =>
        Directory.Exists(Root) ? Array.FindAll(Directory.GetDirectories(Root), static path => Path.GetFileName(path) != RunIndex.DirectoryName) : [];

    /// <summary>The traces in an agent's directory. Links and whatever is not named like a trace are not among them.</summary>
    public static IEnumerable<TraceFile> TracesIn(string directory)
    {
        string agentId = RunPath.Decode(Path.GetFileName(directory));
        return Entries(directory, (ref FileSystemEntry entry) =>
            new TraceFile(entry.ToFullPath(), agentId, RunPath.Decode(Stem(ref entry).ToString())));
    }

    /// <summary>Reads a directory and, of its files, those that <paramref name="known"/> does not tell of.</summary>
    /// <returns><paramref name="known"/> itself when nothing has changed.</returns>
    private static AgentRuns Read(string agentId, string directory, AgentRuns known)
    {
        if (!Directory.Exists(directory)) return AgentRuns.None;
        var lookup = known.Files.GetAlternateLookup<ReadOnlySpan<char>>();
        IEnumerable<(string Name, KnownTrace Trace, bool IsFresh)> entries = Entries(directory, (ref FileSystemEntry entry) =>
        {
            var seen = new KnownTrace(entry.Length, entry.LastWriteTimeUtc.UtcDateTime, null);
            return lookup.TryGetValue(Stem(ref entry), out string? name, out KnownTrace before) && before with { Run = null } == seen
                ? (name, before, false)
                : (Stem(ref entry).ToString(), seen, true);
        });
        var files = new List<(string Name, KnownTrace Trace)>(known.Files.Count);
        bool same = true;
        foreach ((string name, KnownTrace trace, bool isFresh) in entries)
        {
            same &= !isFresh;
            if (!isFresh) files.Add((name, trace));
            else if (TryLook(Path.Combine(directory, name + RunPath.Extension), agentId, name, out RunSummary? run)) files.Add((name, trace with { Run = run }));
        }
        if (same && files.Count == known.Files.Count) return known;

        var runs = new List<RunSummary>(files.Count);
        var byName = new Dictionary<string, KnownTrace>(files.Count);
        foreach ((string name, KnownTrace trace) in files)
        {
            byName.Add(name, trace);
            if (trace.Run is { } run) runs.Add(run);
        }
        runs.Sort(RunPlace.NewestFirst);
        return new AgentRuns(agentId, byName, [.. runs]);
    }

    /// <summary>False when the file is gone, or being replaced, since the directory was read: not there to be listed.</summary>
    private static bool TryLook(string path, string agentId, string name, out RunSummary? run)
    {
        run = null;
        try
        {
            run = RunTrace.Summarise(path, agentId, RunPath.Decode(name));
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    private static FileSystemEnumerable<T> Entries<T>(string directory, FileSystemEnumerable<T>.FindTransform transform) =>
        new(directory, transform, new EnumerationOptions { AttributesToSkip = 0, IgnoreInaccessible = false }) { ShouldIncludePredicate = IsTrace };

    private static bool IsTrace(ref FileSystemEntry entry) =>
        entry.FileName.EndsWith(RunPath.Extension, StringComparison.Ordinal) && !entry.IsDirectory && (entry.Attributes & FileAttributes.ReparsePoint) == 0;

    private static ReadOnlySpan<char> Stem(ref FileSystemEntry entry) => entry.FileName[..^RunPath.Extension.Length];
}

/// <summary>An id that nobody else starts a run of until this is disposed.</summary>
internal sealed class RunClaim(TraceFile? taken, bool indexIsComplete, IDisposable hold) : IDisposable
{
    /// <summary>The run that has it already.</summary>
    public TraceFile? Taken => taken;

    /// <summary>False: it took a search through all agents.</summary>
    public bool IndexIsComplete => indexIsComplete;

    public void Dispose() => hold.Dispose();
}

/// <summary>A trace and whose it is; both ids come from the path.</summary>
internal sealed record TraceFile(string Path, string AgentId, string RunId)
{
    /// <summary>See <see cref="RunTrace.Summarise"/>.</summary>
    public RunSummary? Summarise() => RunTrace.Summarise(Path, AgentId, RunId);
}

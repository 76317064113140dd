namespace CarServer.RunStore;

/// <summary>Which agent has a run id: <c>runs/.index/RUN</c>, a link whose text is <c>.agent/AGENT</c>. It only spares a search through all agents.</summary>
/// <remarks>
/// <para>What counts is the tree. An entry that leads to no trace is a leftover, of a start or a removal that did not come to its end or of
/// somebody's tidying, and whoever meets it searches. That an id has no entry means that no run has it, while the index is complete: an
/// entry is made before its trace, and removed after it. Who cannot make one removes <c>.complete</c>, and then all search.</para>
/// <para>Ids and agents are names as <see cref="RunPath"/> makes them. Any thread; several processes. Every member does blocking I/O.</para>
/// </remarks>
internal sealed class RunIndex(string root)
{
    /// <summary>No agent is called so: a leading '.' is encoded.</summary>
    public const string DirectoryName = ".index";

    /// <summary>Leads nowhere: who walks through the tree and follows links comes into no agent twice.</summary>
    private const string Prefix = ".agent/";
    private const int TooManyFilesInSystem = 23, TooManyFiles = 24;   // ENFILE, EMFILE: the same on Linux and macOS

    /// <summary>A leftover this old is no start that is just about to write its trace.</summary>
    private static readonly TimeSpan LeftoverAge = TimeSpan.FromHours(1);

    private readonly string _directory = Path.Combine(root, DirectoryName);
    private readonly string _complete = Path.Combine(root, DirectoryName, ".complete");
    private readonly string _holds = Path.Combine(root, DirectoryName, ".holds");
    private readonly string _building = Path.Combine(root, DirectoryName, ".building");

    /// <summary>This process has seen that the index agrees with the tree. Before it, power may have been lost, or an older version at work.</summary>
    private volatile bool _isSeen;

    public bool IsComplete => _isSeen && File.Exists(_complete);

    /// <param name="isComplete">For a root that has just been made: it can't hold a run without an entry.</param>
    public void Ensure(bool isComplete)
    {
        PrivateFiles.CreateDirectory(_directory);
        if (!isComplete) return;
        PrivateFiles.Open(_complete).Dispose();
        _isSeen = true;
    }

    /// <summary>The agent that an id leads to, whether or not the run is still there.</summary>
    public string? AgentOf(string run) =>
        new FileInfo(Path.Combine(_directory, run)).LinkTarget is { } target && Path.GetFileName(target) is [not '.', ..] and var agent && target == Prefix + agent ? agent : null;

    /// <summary>Makes the entry of a run that is about to be written, or that lies there without.</summary>
    /// <returns>False when the disk refuses: the index is no longer complete.</returns>
    public bool TryAdd(string run, string agent)
    {
        string path = Path.Combine(_directory, run);
        try
        {
            string? before = AgentOf(run);
            if (before == agent) return true;
            if (before is null)
            {
                File.CreateSymbolicLink(path, Prefix + agent);
                return true;
            }
            // Never a moment without an entry.
            string changed = Path.Combine(_directory, $".{run}.{Environment.ProcessId}");
            PrivateFiles.TryDelete(changed);
            File.CreateSymbolicLink(changed, Prefix + agent);
            File.Move(changed, path, overwrite: true);
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            if (AgentOf(run) == agent) return true;   // somebody who repairs was faster
            // In this order, or what is being built could become complete in between.
            PrivateFiles.TryDelete(_building);
            PrivateFiles.TryDelete(_complete);
            return false;
        }
    }

    /// <summary>Removes the entry of a run that is gone.</summary>
    public void Remove(string run, string agent)
    {
        if (AgentOf(run) == agent) PrivateFiles.TryDelete(Path.Combine(_directory, run));
    }

    /// <summary>Keeps everybody else from starting a run of this id, and from removing one, until it is disposed or the process dies.</summary>
    /// <returns>Null while somebody else does. Where the disk refuses, one that holds nothing: a full disk must keep no run from starting
    /// (protocol 13.3), and none from being removed.</returns>
    /// <exception cref="IOException">No file can be opened any more: that is this process's matter, and passes.</exception>
    public IDisposable? TryHold(string run)
    {
        try
        {
            Ensure(isComplete: false);
            if (TryLock(_holds, alone: !OperatingSystem.IsLinux()) is not { } file) return null;   // elsewhere one id at a time, whichever
            if (!OperatingSystem.IsLinux() || RangeLock.TryTake(file.SafeFileHandle, Number(run))) return file;
            file.Dispose();
            return null;
        }
        catch (Exception e) when (e is UnauthorizedAccessException or IOException { HResult: not (TooManyFilesInSystem or TooManyFiles) })
        {
            return Stream.Null;
        }
    }

    /// <summary>Makes the index agree with the tree: where there was none, and after somebody tidied by hand. Safe beside everything.</summary>
    /// <param name="agentDirectories">Asked when <c>.building</c> is there: what cannot be added from then on removes that.</param>
    public void Refresh(Func<string[]> agentDirectories, CancellationToken stopping)
    {
        Ensure(isComplete: false);
        using FileStream? building = TryLock(_building, alone: true);
        if (building is null) return;   // another daemon is at it
        bool isComplete = true;
        foreach (string directory in agentDirectories())
        {
            stopping.ThrowIfCancellationRequested();
            isComplete &= TryRepairAll(directory);
        }
        RemoveLeftovers(stopping);
        if (!isComplete || FileIdentity.Of(_building) != FileIdentity.Of(building.SafeFileHandle)) return;
        File.Move(_building, _complete, overwrite: true);
        _isSeen = true;
    }

    private bool TryRepairAll(string directory)
    {
        string agent = Path.GetFileName(directory);
        bool isComplete = true;
        try
        {
            foreach (string trace in Directory.EnumerateFiles(directory, "*" + RunPath.Extension))
            {
                string run = Path.GetFileNameWithoutExtension(trace);
                // A name that we would not have made is no id that anybody could ask for.
                if (RunPath.TryEncode(RunPath.Decode(run), out string name) && name == run) isComplete &= TryRepair(run, agent);
            }
        }
        catch (Exception e) when (e is DirectoryNotFoundException or UnauthorizedAccessException)
        {
            // Gone meanwhile, or not ours: no search would find a run there either.
        }
        return isComplete;
    }

    private bool TryRepair(string run, string agent)
    {
        if (AgentOf(run) is not { } known) return TryAdd(run, agent);
        if (known == agent || HasTrace(known, run)) return true;
        using IDisposable? hold = TryHold(run);
        return hold is not null && TryAdd(run, agent);
    }

    private void RemoveLeftovers(CancellationToken stopping)
    {
        foreach (FileSystemInfo entry in new DirectoryInfo(_directory).EnumerateFileSystemInfos())
        {
            stopping.ThrowIfCancellationRequested();
            string run = entry.Name;
            if (run.StartsWith('.') || DateTime.UtcNow - entry.LastWriteTimeUtc < LeftoverAge || AgentOf(run) is not { } agent || HasTrace(agent, run)) continue;
            using IDisposable? hold = TryHold(run);
            if (hold is not null && !HasTrace(agent, run)) Remove(run, agent);
        }
    }

    private static FileStream? TryLock(string path, bool alone)
    {
        const int LinuxWouldBlock = 11, MacWouldBlock = 35;
        try
        {
            return PrivateFiles.OpenLock(path, alone);
        }
        catch (IOException e) when (e.HResult is LinuxWouldBlock or MacWouldBlock)
        {
            return null;
        }
    }

    private bool HasTrace(string agent, string run) => File.Exists(Path.Combine(root, agent, run + RunPath.Extension));

    /// <summary>FNV-1a. Two ids of one number only wait for each other.</summary>
    private static ulong Number(string run)
    {
        ulong number = 14695981039346656037;
        foreach (char c in run) number = (number ^ c) * 1099511628211;
        return number;
    }
}

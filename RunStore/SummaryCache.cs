namespace CarServer.RunStore;

/// <summary>What the traces of the agents listed last come to, so that a list reads only what has changed. Any thread.</summary>
/// <remarks>A trace only grows: its summary is good for as long as the file has the size and the time of change that it had.</remarks>
internal sealed class SummaryCache
{
    /// <summary>Bytes of all summaries together, strings included: some 60,000 usual runs. An agent with more than that is read anew
    /// for each list; of the others those go first that nobody has listed for longest.</summary>
    public const int MaxBytes = 32 * 1024 * 1024;

    private readonly Lock _lock = new();
    private readonly Dictionary<string, LinkedListNode<AgentRuns>> _agents = [];
    private readonly LinkedList<AgentRuns> _recent = [];   // the one listed last first
    private long _bytes;

    public AgentRuns Get(string agentId)
    {
        lock (_lock)
        {
            if (!_agents.TryGetValue(agentId, out LinkedListNode<AgentRuns>? node)) return AgentRuns.None;
            _recent.Remove(node);
            _recent.AddFirst(node);
            return node.Value;
        }
    }

    public void Put(string agentId, AgentRuns runs)
    {
        lock (_lock)
        {
            if (_agents.TryGetValue(agentId, out LinkedListNode<AgentRuns>? node)) Remove(node);
            if (runs.Files.Count == 0 || runs.Bytes > MaxBytes) return;
            _agents[agentId] = _recent.AddFirst(runs);
            _bytes += runs.Bytes;
            while (_bytes > MaxBytes) Remove(_recent.Last!);
        }
    }

    private void Remove(LinkedListNode<AgentRuns> node)
    {
        _recent.Remove(node);
        _agents.Remove(node.Value.AgentId);
        _bytes -= node.Value.Bytes;
    }
}

/// <summary>An agent's runs as they were when its directory was last read. Never changed once made.</summary>
/// <param name="Files">By file name without its extension.</param>
internal sealed record AgentRuns(string AgentId, Dictionary<string, KnownTrace> Files, RunSummary[] NewestFirst)
{
    public static readonly AgentRuns None = new("", [], []);

    /// <summary>What a run costs beside its texts: three objects, an entry of the dictionary and one of the list.</summary>
    private const int BytesBesideTexts = 320;

    public long Bytes { get; } = Files.Sum(static file => BytesBesideTexts + 2L * (file.Key.Length + (file.Value.Run?.Intent.Length ?? 0)));
}

/// <param name="Run">Null when there was no whole line.</param>
internal readonly record struct KnownTrace(long Size, DateTime Changed, RunSummary? Run);

namespace CarServer.State.Events;

/// <summary>What all events of a session come to, counted as they are recorded. Nothing that leaves memory or journal takes anything back.</summary>
/// <remarks>Guarded by its log's lock.</remarks>
internal sealed class EventTotals
{
    /// <summary>Agents that are told apart. Further ones are counted together under <see cref="OtherAgents"/>.</summary>
    public const int MaxAgents = 1_024;

    public const string OtherAgents = "(others)";
    private const string NoAgent = "unknown";

    private readonly long[] _counts = new long[Enum.GetValues<EventKind>().Length];
    private Dictionary<string, AgentCost>? _agents;
    private double _latencyMs;

    public double CostUsd { get; private set; }
    public long TokensIn { get; private set; }
    public long TokensOut { get; private set; }
    public long GoalsMet { get; private set; }
    public long GoalsUngrounded { get; private set; }

    public long this[EventKind kind] => _counts[(int)kind];

    /// <summary>Of the actions that were dispatched, whether they succeeded or failed; 0 when there was none.</summary>
    public double AverageLatencyMs
    {
        get
        {
            long timed = this[EventKind.ActionSucceeded] + this[EventKind.ActionFailed];
            return timed == 0 ? 0 : _latencyMs / timed;
        }
    }

    /// <summary>The dearest first.</summary>
    public AgentCost[] Agents
    {
        get
        {
            AgentCost[] agents = _agents is null ? [] : [.. _agents.Values];
            Array.Sort(agents, static (a, b) => a.CostUsd == b.CostUsd ? string.CompareOrdinal(a.Agent, b.Agent) : b.CostUsd.CompareTo(a.CostUsd));
            return agents;
        }
    }

    public void Add(EventKind kind, ReadOnlySpan<EventField> data)
    {
        _counts[(int)kind]++;
        switch (kind)
        {
            case EventKind.ActionSucceeded or EventKind.ActionFailed:
                _latencyMs += Find(data, EventKeys.DurationMs).Number;
                break;
            case EventKind.InferenceMetered:
                AddCost(Find(data, EventKeys.Agent).Text ?? NoAgent, (long)Find(data, EventKeys.TokensIn).Number,
                    (long)Find(data, EventKeys.TokensOut).Number, Find(data, EventKeys.CostUsd).Number);
                break;
            case EventKind.GoalEvaluated:
                if (Find(data, EventKeys.Met).Number != 0) GoalsMet++;
                if (Find(data, EventKeys.Grounded).Number == 0) GoalsUngrounded++;
                break;
        }
    }

    private void AddCost(string agent, long tokensIn, long tokensOut, double costUsd)
    {
        CostUsd += costUsd;
        TokensIn += tokensIn;
        TokensOut += tokensOut;
        _agents ??= new Dictionary<string, AgentCost>(StringComparer.Ordinal);
        if (_agents.Count >= MaxAgents && !_agents.ContainsKey(agent)) agent = OtherAgents;
        AgentCost known = _agents.GetValueOrDefault(agent) ?? new AgentCost(agent, 0, 0, 0, 0);
        _agents[agent] = new AgentCost(agent, known.Calls + 1, known.TokensIn + tokensIn, known.TokensOut + tokensOut, known.CostUsd + costUsd);
    }

    private static EventField Find(ReadOnlySpan<EventField> data, string name)
    {
        foreach (EventField field in data)
            if (field.Name == name) return field;
        return default;
    }
}

/// <summary>The names in <c>data</c> that somebody counts by.</summary>
internal static class EventKeys
{
    /// <summary>From the first look at an action to its end, in milliseconds to the microsecond.</summary>
    public const string DurationMs = "duration_ms";

    // Of inference_metered.
    public const string Agent = "agent";
    public const string TokensIn = "tokens_in";
    public const string TokensOut = "tokens_out";
    public const string CostUsd = "cost_usd";

    // Of goal_evaluated.
    public const string Met = "met";
    public const string Grounded = "grounded";
}

/// <summary>What one agent's metered inference came to.</summary>
internal sealed record AgentCost(string Agent, long Calls, long TokensIn, long TokensOut, double CostUsd);

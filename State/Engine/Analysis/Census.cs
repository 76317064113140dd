using CarServer.State.Engine.Tools;

namespace CarServer.State.Engine.Analysis;

/// <summary>What there is in a plan for the checks to look at.</summary>
internal sealed class Census
{
    private int _actions;
    private int _preconditions;
    private int _stateDependencies;
    private int _assertions;

    /// <summary>Ids of other actions that actions name.</summary>
    public int Dependencies { get; private set; }

    public int ToolCalls { get; private set; }
    public int WithoutSchema { get; private set; }
    public int Irreversible { get; private set; }
    public int Unbounded { get; private set; }

    /// <summary>Whether there was anything for the check to look at.</summary>
    public bool Ran(Check check) =>
        check == Check.RepeatedCalls || check == Check.Tools ? ToolCalls > 0
        : check == Check.Parameters ? _actions > WithoutSchema
        : check == Check.Preconditions ? _preconditions > 0
        : check == Check.StateDependencies ? _stateDependencies > 0
        : check != Check.Assertions || _assertions > 0;

    /// <summary>
    /// Of each action: may it start? That is decided. Of a tool call also: do its parameters fit, which a schema decides, and will the
    /// tool do what is expected, which nothing decides.
    /// </summary>
    public double Confidence => _actions == 0 ? 1 : (double)(_actions + ToolCalls - WithoutSchema) / (_actions + 2 * ToolCalls);

    public void Add(AgentAction action, ToolRegistry tools)
    {
        _actions++;
        _preconditions += action.Preconditions.Count;
        _stateDependencies += action.StateDependencies.Count;
        Dependencies += action.Dependencies.Count;
        if (action.Type == ActionType.Assertion) _assertions++;
        if (action.Type != ActionType.ToolCall) return;
        ToolCalls++;
        if (action.Reversibility == Reversibility.Irreversible) Irreversible++;
        if (action.TimeoutMs is null) Unbounded++;
        if (action.Tool is not { } tool || tools.Find(tool) is not { ChecksParameters: true }) WithoutSchema++;
    }
}

using System.Text;
using CarServer.RunStore;

namespace CarServer.State.Engine.Analysis;

/// <summary>A condition on a key of the plan.</summary>
/// <param name="Number">Different for each condition of a plan.</param>
internal sealed record PlanCondition(int Number, int Key, Precondition Source);

/// <summary>A key that an action sets, and which of the key's values it gets.</summary>
internal readonly record struct PlanWrite(int Key, int Value);

/// <summary>An action with its keys as numbers.</summary>
/// <param name="Flaw">Why no session could run it, whatever its state and its tools; null otherwise.</param>
/// <param name="Assertion">What an assertion asserts.</param>
internal sealed record PlanAction(
    AgentAction Source, string? Flaw, PlanCondition[] Preconditions, int[] Dependencies, PlanCondition? Assertion, PlanWrite[] Writes);

/// <summary>A key that the plan speaks of, and every value it can have: what it holds at first, and what actions write.</summary>
internal sealed class PlanKey(string name)
{
    private readonly Dictionary<RawJson, int> _numbers = [];

    public string Name { get; } = name;
    public int Bytes { get; } = Encoding.UTF8.GetByteCount(name);
    public List<RawJson> Values { get; } = [];

    /// <summary>Before the first action; <see cref="PlanState.Absent"/> when the key is not there.</summary>
    public int Initial { get; init; } = PlanState.Absent;

    public int Number(RawJson value)
    {
        if (value.IsAbsent) value = RawJson.Null;
        if (_numbers.TryGetValue(value, out int number)) return number;
        Values.Add(value);
        return _numbers[value] = Values.Count - 1;
    }
}

/// <summary>A proposal made ready for walking through it, once or a hundred thousand times. Nothing in it changes while it is walked.</summary>
internal sealed class Plan
{
    private readonly Dictionary<string, int> _numbers = new(StringComparer.Ordinal);
    private readonly List<PlanKey> _keys = [];
    private readonly Effort _effort;
    private int _conditions;

    /// <param name="initial">What the state holds before the first action.</param>
    /// <exception cref="RefusedException">That is more than a session's state may hold.</exception>
    public Plan(ActionProposal proposal, IReadOnlyDictionary<string, RawJson> initial, Effort effort)
    {
        _effort = effort;
        Initial = initial;
        foreach ((string key, RawJson value) in initial) InitialBytes += Encoding.UTF8.GetByteCount(key) + value.Utf8.Length;
        if (initial.Count > StateStore.MaxKeys) throw new RefusedException($"an initial state may have at most {StateStore.MaxKeys} keys", Refusal.Invalid);
        if (InitialBytes > StateStore.MaxTotalBytes) throw new RefusedException($"an initial state may have at most {StateStore.MaxTotalBytes} bytes", Refusal.Invalid);

        effort.SpendBytes(InitialBytes);
        Graph = ActionGraph.Of(proposal.Actions);
        Actions = [.. proposal.Actions.Select(Prepare)];
        Order = [.. Graph.Levels.SelectMany(static level => level)];
    }

    public IReadOnlyDictionary<string, RawJson> Initial { get; }
    public long InitialBytes { get; }
    public ActionGraph Graph { get; }

    /// <summary>In the order of the proposal.</summary>
    public PlanAction[] Actions { get; }

    /// <summary>Indexes in the order in which the engine begins the actions.</summary>
    public int[] Order { get; }

    public IReadOnlyList<PlanKey> Keys => _keys;

    /// <summary>A condition of the caller's own, to be asked of a state of this plan. Only before the first state is made.</summary>
    public PlanCondition Condition(Precondition source) => new(_conditions++, Key(source.Key), source);

    private PlanAction Prepare(AgentAction action)
    {
        _effort.Spend(1 + action.Preconditions.Count + action.StateDependencies.Count + action.Dependencies.Count);
        string? flaw = action.Type == ActionType.ToolCall
            ? action.Tool is null ? ActionValidation.NoTool : null
            : ActionValidation.OperandProblem(action, tenant: null);
        return new PlanAction(action, flaw ?? ActionValidation.EffectProblem(action, tenant: null),
            [.. action.Preconditions.Select(Condition)],
            [.. action.StateDependencies.Select(Key)],
            action is { Type: ActionType.Assertion, Operands: { Key: { } key } operands }
                ? Condition(new Precondition { Key = key, Operator = operands.Operator, Value = operands.Value })
                : null,
            Writes(action));
    }

    /// <summary>As the engine applies them: an effect stands for the action's own write of the same key. Keys that nobody may write are left out.</summary>
    private PlanWrite[] Writes(AgentAction action)
    {
        var writes = new List<PlanWrite>();
        if (action.WrittenKey is { } own && !action.ExpectedEffects.ContainsKey(own)) Add(own, action.Operands.Value);
        foreach ((string key, RawJson value) in action.ExpectedEffects) Add(key, value);
        return [.. writes];

        void Add(string key, RawJson value)
        {
            if (StateStore.KeyProblem(tenant: null, key) is not null) return;
            _effort.SpendBytes(value.Utf8.Length);
            int number = Key(key);
            writes.Add(new PlanWrite(number, _keys[number].Number(value)));
        }
    }

    private int Key(string name)
    {
        if (_numbers.TryGetValue(name, out int number)) return number;
        bool isThere = Initial.TryGetValue(name, out RawJson value);
        var key = new PlanKey(name) { Initial = isThere ? 0 : PlanState.Absent };
        if (isThere) key.Number(value);
        _keys.Add(key);
        return _numbers[name] = _keys.Count - 1;
    }
}

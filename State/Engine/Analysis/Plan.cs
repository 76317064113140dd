using System.Text;
using CarServer.RunStore;

namespace CarServer.State.Engine.Analysis;

/// <summary>A condition on a key of the plan.</summary>
/// <param name="Number">Different for each condition of a plan.</param>
internal readonly record struct PlanCondition(int Number, int Key, string Operator, RawJson Value);

/// <summary>A key that an action sets, and which of the key's values it gets.</summary>
internal readonly record struct PlanWrite(int Key, int Value);

/// <summary>An action with its keys as numbers.</summary>
/// <param name="Flaw">Why no session could run it, whatever its state and its tools; null otherwise.</param>
/// <param name="Assertion">What an assertion asserts.</param>
internal sealed record PlanAction(
    AgentAction Source, string? Flaw, PlanCondition[] Preconditions, int[] Dependencies, PlanCondition? Assertion, PlanWrite[] Writes);

/// <summary>A key that the plan speaks of, and every value it can have: what it holds before the first action, when it is there then, and what actions write.</summary>
internal sealed class PlanKey(string name)
{
    /// <summary>Most keys have one value or two, which are found faster without it.</summary>
    private const int ValuesWithoutIndex = 8;

    private RawJson _first;             // with the list beside it: most keys get no other
    private List<RawJson>? _others;
    private Dictionary<RawJson, int>? _numbers;

    public string Name { get; } = name;
    public int Bytes { get; } = Encoding.UTF8.GetByteCount(name);
    public int Count => _first.IsAbsent ? 0 : 1 + (_others?.Count ?? 0);
    public RawJson this[int value] => value == 0 ? _first : _others![value - 1];

    public int Number(RawJson value)
    {
        if (value.IsAbsent) value = RawJson.Null;
        if (_first.IsAbsent)
        {
            _first = value;
            return 0;
        }
        if (_first.Equals(value)) return 0;
        _others ??= new List<RawJson>(1);
        if (_numbers is null)
        {
            int found = _others.IndexOf(value);
            if (found >= 0) return found + 1;
            if (Count == ValuesWithoutIndex)
            {
                _numbers = [];
                foreach (RawJson known in _others) _numbers.Add(known, _numbers.Count + 1);
            }
        }
        else if (_numbers.TryGetValue(value, out int number))
        {
            return number;
        }
        _others.Add(value);
        _numbers?.Add(value, _others.Count);
        return _others.Count;
    }
}

/// <summary>A proposal made ready for walking through it, once or a hundred thousand times. Nothing in it changes while it is walked.</summary>
internal sealed class Plan
{
    private readonly Dictionary<string, int> _numbers;
    private readonly List<PlanKey> _keys = [];
    private readonly Effort _effort;
    private readonly string? _tenant;
    private int _conditions;

    /// <param name="initial">What the state holds before the first action.</param>
    /// <exception cref="RefusedException">That is more than a session's state may hold.</exception>
    public Plan(ActionProposal proposal, IReadOnlyDictionary<string, RawJson> initial, Effort effort, string? tenant = null)
    {
        _effort = effort;
        _tenant = tenant;
        _numbers = new Dictionary<string, int>(proposal.Actions.Count, StringComparer.Ordinal);   // about a key an action
        Initial = initial;
        foreach ((string key, RawJson value) in initial) InitialBytes += Encoding.UTF8.GetByteCount(key) + value.Utf8.Length;
        if (initial.Count > StateStore.MaxKeys) throw new RefusedException($"an initial state may have at most {StateStore.MaxKeys} keys", Refusal.Invalid);
        if (InitialBytes > StateStore.MaxTotalBytes) throw new RefusedException($"an initial state may have at most {StateStore.MaxTotalBytes} bytes", Refusal.Invalid);

        effort.SpendBytes(InitialBytes);
        Graph = ActionGraph.Of(proposal.Actions);
        Actions = [.. proposal.Actions.Select(Prepare)];
        var order = new List<int>(proposal.Actions.Count);
        foreach (int[] level in Graph.Levels) order.AddRange(level);
        Order = [.. order];
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
    public PlanCondition Condition(Precondition source) => Condition(source.Key, source.Operator, source.Value);

    /// <summary>The key's number, or -1 when the plan never speaks of it.</summary>
    public int NumberOf(string key) => _numbers.GetValueOrDefault(key, -1);

    private PlanCondition Condition(string key, string op, RawJson value) => new(_conditions++, Key(key), op, value);

    private PlanAction Prepare(AgentAction action)
    {
        _effort.Spend(1 + action.Preconditions.Count + action.StateDependencies.Count + action.Dependencies.Count);
        string? flaw = action.Type == ActionType.ToolCall
            ? action.Tool is null ? ActionValidation.NoTool : null
            : ActionValidation.OperandProblem(action, _tenant);
        return new PlanAction(action, flaw ?? ActionValidation.EffectProblem(action, _tenant),
            Conditions(action.Preconditions),
            KeysOf(action.StateDependencies),
            action is { Type: ActionType.Assertion, Operands: { Key: { } key } operands } ? Condition(key, operands.Operator, operands.Value) : null,
            Writes(action));
    }

    // Loops, and nothing made for what is not there: of ten thousand actions, what each leaves behind is what the collector copies.

    private PlanCondition[] Conditions(List<Precondition> preconditions)
    {
        if (preconditions.Count == 0) return [];
        var conditions = new PlanCondition[preconditions.Count];
        for (int i = 0; i < conditions.Length; i++) conditions[i] = Condition(preconditions[i]);
        return conditions;
    }

    private int[] KeysOf(List<string> names)
    {
        if (names.Count == 0) return [];
        var keys = new int[names.Count];
        for (int i = 0; i < keys.Length; i++) keys[i] = Key(names[i]);
        return keys;
    }

    /// <summary>As the engine applies them: an effect stands for the action's own write of the same key. Keys that nobody may write are left out.</summary>
    private PlanWrite[] Writes(AgentAction action)
    {
        string? own = action.WrittenKey is { } written && !action.ExpectedEffects.ContainsKey(written) && MayWrite(written) ? written : null;
        int count = own is null ? 0 : 1;
        foreach ((string key, _) in action.ExpectedEffects)
            if (MayWrite(key)) count++;
        if (count == 0) return [];
        var writes = new PlanWrite[count];
        int at = 0;
        if (own is not null) writes[at++] = Write(own, action.Operands.Value);
        foreach ((string key, RawJson value) in action.ExpectedEffects)
            if (MayWrite(key)) writes[at++] = Write(key, value);
        return writes;
    }

    private bool MayWrite(string key) => StateStore.KeyProblem(_tenant, key) is null;

    private PlanWrite Write(string key, RawJson value)
    {
        _effort.SpendBytes(value.Utf8.Length);
        int number = Key(key);
        return new PlanWrite(number, _keys[number].Number(value));
    }

    private int Key(string name)
    {
        if (_numbers.TryGetValue(name, out int number)) return number;
        var key = new PlanKey(name);
        if (Initial.TryGetValue(name, out RawJson value)) key.Number(value);
        _keys.Add(key);
        return _numbers[name] = _keys.Count - 1;
    }
}

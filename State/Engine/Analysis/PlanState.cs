using CarServer.RunStore;

namespace CarServer.State.Engine.Analysis;

/// <summary>The state somewhere on a walk through a plan: what the declared effects so far have made of the initial one. One thread.</summary>
internal sealed class PlanState
{
    /// <summary>The value of a key that is not there.</summary>
    public const int Absent = -1;

    private readonly Plan _plan;
    private readonly Effort _effort;
    private readonly int[] _initial;
    private readonly int[] _values;
    private readonly Dictionary<(int Condition, int Value), bool> _outcomes = [];
    private int _keys;
    private long _bytes;

    public PlanState(Plan plan, Effort effort)
    {
        _plan = plan;
        _effort = effort;
        _initial = new int[plan.Keys.Count];
        Array.Fill(_initial, Absent);
        foreach (string key in plan.Initial.Keys)
            if (plan.NumberOf(key) is >= 0 and int number) _initial[number] = 0;
        _values = new int[_initial.Length];
        Reset();
    }

    /// <summary>Back to the initial state.</summary>
    public void Reset()
    {
        _initial.CopyTo(_values, 0);
        _keys = _plan.Initial.Count;
        _bytes = _plan.InitialBytes;
        _effort.Spend(_values.Length / 16);
    }

    public bool Has(int key) => _values[key] != Absent;

    /// <summary>The number of the key's value, or <see cref="Absent"/>.</summary>
    public int Value(int key) => _values[key];

    /// <summary>Why a condition does not hold now, in the engine's words; null when it does.</summary>
    public string? Problem(PlanCondition condition)
    {
        int value = _values[condition.Key];
        RawJson actual = value == Absent ? default : _plan.Keys[condition.Key][value];
        return Preconditions.Problem(condition.Operator, value != Absent, actual, condition.Value, _effort);
    }

    /// <summary>The same, remembered: a walk that is taken often meets few states of each key.</summary>
    public bool Holds(PlanCondition condition)
    {
        (int, int) question = (condition.Number, _values[condition.Key]);
        if (_outcomes.TryGetValue(question, out bool holds))
        {
            _effort.Spend();
            return holds;
        }
        holds = Problem(condition) is null;
        if (_outcomes.Count < AnalysisLimits.MaxRememberedOutcomes) _outcomes.Add(question, holds);
        return holds;
    }

    /// <summary>Whether an action may start now.</summary>
    /// <param name="key">The key that stands in its way.</param>
    public bool MayStart(PlanAction action, out int key)
    {
        foreach (int needed in action.Dependencies)
        {
            _effort.Spend();
            key = needed;
            if (!Has(needed)) return false;
        }
        foreach (PlanCondition condition in action.Preconditions)
        {
            key = condition.Key;
            if (!Holds(condition)) return false;
        }
        key = -1;
        return true;
    }

    /// <summary>Writes what an action writes, all or nothing.</summary>
    /// <returns>Why a session's state would refuse it, or null.</returns>
    public string? Apply(PlanAction action)
    {
        int keys = _keys;
        long bytes = _bytes;
        foreach (PlanWrite write in action.Writes)
        {
            PlanKey key = _plan.Keys[write.Key];
            int before = _values[write.Key];
            bytes += key[write.Value].Utf8.Length - (before == Absent ? -key.Bytes : key[before].Utf8.Length);
            if (before == Absent) keys++;
        }
        _effort.Spend(1 + action.Writes.Length);
        if (keys > StateStore.MaxKeys) return $"the state of a session may have at most {StateStore.MaxKeys} keys";
        if (bytes > StateStore.MaxTotalBytes) return $"the state of a session may have at most {StateStore.MaxTotalBytes} bytes";
        (_keys, _bytes) = (keys, bytes);
        foreach (PlanWrite write in action.Writes) _values[write.Key] = write.Value;
        return null;
    }

    /// <summary>The whole state, with the keys that the plan never speaks of.</summary>
    public Dictionary<string, RawJson> ToDictionary()
    {
        var state = new Dictionary<string, RawJson>(_plan.Initial, StringComparer.Ordinal);
        state.EnsureCapacity(_plan.Initial.Count + _values.Length);
        for (int i = 0; i < _values.Length; i++)
        {
            if (_values[i] != Absent) state[_plan.Keys[i].Name] = _plan.Keys[i][_values[i]];
        }
        return state;
    }
}

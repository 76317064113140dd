using CarServer.RunStore;
using CarServer.RunStore.Contracts;

namespace CarServer.State.Engine.Analysis;

/// <param name="UsedDefaultStates">True when the caller gave none.</param>
[ToJson]
internal sealed record EquivalenceResult(bool Equivalent, int StatesTested, bool UsedDefaultStates);

/// <summary><c>equivalent</c>: do two plans leave the same state behind, from each of some states (protocol 11.2)?</summary>
/// <remarks>Found by trying: true means no difference was seen. Which tools are called on the way is not compared.</remarks>
internal static class Equivalence
{
    private static readonly IReadOnlyDictionary<string, RawJson>[] DefaultStates =
    [
        new Dictionary<string, RawJson>(),
        new Dictionary<string, RawJson> { ["x"] = RawJson.Parse("1"), ["y"] = RawJson.Parse("2") },
    ];

    /// <exception cref="RefusedException">A proposal that is none, too many states, or too much to compare.</exception>
    public static EquivalenceResult Compare(ActionProposal first, ActionProposal second, IReadOnlyList<IReadOnlyDictionary<string, RawJson>>? states, Effort effort)
    {
        bool useDefaults = states is null || states.Count == 0;
        if (useDefaults) states = DefaultStates;
        if (states!.Count > AnalysisLimits.MaxTestStates)
            throw new RefusedException($"test_states may have at most {AnalysisLimits.MaxTestStates} states, got {states.Count}", Refusal.Invalid);
        int tested = 0;
        bool equivalent = true;
        foreach (IReadOnlyDictionary<string, RawJson>? state in states)
        {
            if (state is null) throw new RefusedException($"test_states[{tested}] is null", Refusal.Invalid);
            tested++;
            equivalent = Same(Simulator.Simulate(first, state, effort), Simulator.Simulate(second, state, effort), effort);
            if (!equivalent) break;
        }
        return new EquivalenceResult(equivalent, tested, useDefaults);
    }

    private static bool Same(Dictionary<string, RawJson> left, Dictionary<string, RawJson> right, Effort effort)
    {
        if (left.Count != right.Count) return false;
        foreach ((string key, RawJson value) in left)
        {
            if (!right.TryGetValue(key, out RawJson other)) return false;
            effort.SpendBytes(value.Utf8.Length + other.Utf8.Length);
            if (!JsonEquality.Equal(value, other)) return false;
        }
        return true;
    }
}

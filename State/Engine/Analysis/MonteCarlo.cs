using CarServer.RunStore;

namespace CarServer.State.Engine.Analysis;

/// <summary><c>verify.monte_carlo</c>: a plan walked many times, its tool calls failing by chance (protocol 11.2).</summary>
/// <remarks>
/// A trial is what <see cref="Simulator"/> does, but that a tool call succeeds with its tool's rate and an action that failed writes nothing.
/// Draws know nothing of each other, and <c>failure_behavior</c> is not modelled.
/// </remarks>
internal sealed class MonteCarlo
{
    private readonly Plan _plan;
    private readonly PlanState _state;
    private readonly Effort _effort;
    private readonly Goal? _goal;
    private readonly MonteCarloConfig _config;
    private readonly SplitMix64 _random;
    private readonly double[] _rates;   // of each action; 1 for what calls no tool
    private readonly Tally[] _tallies;
    private readonly int[] _writtenKeys;
    private readonly long[][] _finalValues;   // for each written key, how often it ended with each of its values
    private readonly int[] _missedBy;   // for each key that should have been written last and was not: the action that is the cause
    private readonly long[] _toolCalls;
    private readonly long[] _executed;
    private int _reached;
    private int _complete;

    private const int Nobody = -1;

    /// <param name="Own">Trials in which it did not land, and no other action was the cause.</param>
    /// <param name="Blast">Actions that could not start because of that, in all of them.</param>
    private record struct Tally(int Rejected, int Failed, int Landed, int Own, long Blast);

    private MonteCarlo(ActionProposal proposal, IReadOnlyDictionary<string, RawJson> initial, RawJson goal, MonteCarloConfig config, RateProvenance rates, Effort effort)
    {
        _config = config;
        _effort = effort;
        _plan = new Plan(proposal, initial, effort);
        _goal = goal.IsNull ? null : Goal.Read(goal, _plan);
        _state = new PlanState(_plan, effort);
        _random = new SplitMix64(config.Seed);
        var byTool = new Dictionary<string, double>();
        foreach (ToolRate rate in rates.Tools) byTool.Add(rate.Tool, rate.Rate);
        _rates = new double[proposal.Actions.Count];
        for (int i = 0; i < _rates.Length; i++) _rates[i] = proposal.Actions[i] is { Type: ActionType.ToolCall, Tool: { } tool } ? byTool[tool] : 1;
        _tallies = new Tally[_plan.Actions.Length];
        _writtenKeys = WrittenKeys(_plan);
        _finalValues = Array.ConvertAll(_writtenKeys, key => new long[_plan.Keys[key].Count]);
        _missedBy = new int[_plan.Keys.Count];
        _toolCalls = new long[config.Trials];
        _executed = new long[config.Trials];
    }

    /// <param name="goal">See <see cref="Goal.Read"/>; null for none.</param>
    /// <param name="rates">A rate for each tool of the plan.</param>
    /// <exception cref="RefusedException">A proposal, goal or number that is none, or more work than one analysis may take.</exception>
    public static TrialReport Run(ActionProposal proposal, IReadOnlyDictionary<string, RawJson> initial, RawJson goal, MonteCarloConfig config, RateProvenance rates, Effort effort)
    {
        config.Check();
        proposal.Check();
        var trials = new MonteCarlo(proposal, initial, goal, config, rates, effort);
        for (int trial = 0; trial < config.Trials; trial++) trials.RunTrial(trial);
        return trials.Report(rates);
    }

    private void RunTrial(int trial)
    {
        _state.Reset();
        Array.Fill(_missedBy, Nobody);
        bool complete = true;
        foreach (int i in _plan.Order)
        {
            PlanAction action = _plan.Actions[i];
            if (action.Flaw is not null) Miss(i, action, Nobody);
            else if (!_state.MayStart(action, out int key)) Miss(i, action, _missedBy[key]);
            else if (Run(i, action, trial)) continue;
            complete = false;
        }
        if (complete) _complete++;
        if (_goal?.IsReached(_state) == true) _reached++;
        _effort.Spend(_writtenKeys.Length);
        for (int i = 0; i < _writtenKeys.Length; i++)
        {
            int value = _state.Value(_writtenKeys[i]);
            if (value != PlanState.Absent) _finalValues[i][value]++;
        }
    }

    /// <summary>An action that has started. False when it failed.</summary>
    private bool Run(int i, PlanAction action, int trial)
    {
        _executed[trial]++;
        if (!Succeeds(i, action, trial) || _state.Apply(action) is not null)
        {
            _tallies[i].Failed++;
            Blame(i, action, i);
            return false;
        }
        _tallies[i].Landed++;
        foreach (PlanWrite write in action.Writes) _missedBy[write.Key] = Nobody;
        return true;
    }

    private bool Succeeds(int i, PlanAction action, int trial)
    {
        if (action.Assertion is { } assertion) return _state.Holds(assertion);
        if (action.Source.Type != ActionType.ToolCall) return true;
        for (int attempt = 0; attempt <= _config.RetryAttempts; attempt++)
        {
            _effort.Spend();
            _toolCalls[trial]++;
            if (_random.Chance(_rates[i])) return true;
        }
        return false;
    }

    /// <summary>An action that can't start.</summary>
    /// <param name="cause">The action without which it could have; nobody when it is its own.</param>
    private void Miss(int i, PlanAction action, int cause)
    {
        _tallies[i].Rejected++;
        if (cause != Nobody) _tallies[cause].Blast++;
        Blame(i, action, cause == Nobody ? i : cause);
    }

    /// <summary>Whoever misses what this action did not write goes back to the first cause, not to this action.</summary>
    private void Blame(int i, PlanAction action, int cause)
    {
        if (cause == i) _tallies[i].Own++;
        foreach (PlanWrite write in action.Writes) _missedBy[write.Key] = cause;
    }

    /// <summary>The keys that some action writes, by name.</summary>
    private static int[] WrittenKeys(Plan plan)
    {
        var written = new HashSet<int>();
        foreach (PlanAction action in plan.Actions)
            foreach (PlanWrite write in action.Writes) written.Add(write.Key);
        int[] keys = [.. written];
        Array.Sort(keys, (a, b) => string.CompareOrdinal(plan.Keys[a].Name, plan.Keys[b].Name));
        return keys;
    }

    private TrialReport Report(RateProvenance rates)
    {
        double trials = _config.Trials;
        var keys = new KeyDistribution[_writtenKeys.Length];
        for (int i = 0; i < keys.Length; i++)
            keys[i] = new KeyDistribution(_plan.Keys[_writtenKeys[i]].Name, _finalValues[i].Sum() / trials, Values(_writtenKeys[i], _finalValues[i]));
        var odds = new ActionOdds[_tallies.Length];
        for (int i = 0; i < odds.Length; i++)
        {
            Tally tally = _tallies[i];
            odds[i] = new ActionOdds(_plan.Actions[i].Source.Id, tally.Rejected / trials, tally.Failed / trials,
                tally.Landed / trials, tally.Own == 0 ? 0 : (double)tally.Blast / tally.Own);
        }
        return new TrialReport(
            _config.Trials, _config.Seed, _goal is null ? null : _reached / trials, _goal?.Underivable ?? [], _complete / trials,
            Distribution.Of(_toolCalls), Distribution.Of(_executed),
            keys, odds, rates);

        // Of values that are as probable, the one that was there first, or is written first, is first.
        List<ValueProbability> Values(int key, long[] counts)
        {
            var seen = new List<int>();
            for (int value = 0; value < counts.Length; value++)
                if (counts[value] > 0) seen.Add(value);
            seen.Sort((a, b) => counts[a] == counts[b] ? a.CompareTo(b) : counts[b].CompareTo(counts[a]));
            return seen.ConvertAll(value => new ValueProbability(_plan.Keys[key][value], counts[value] / trials));
        }
    }
}

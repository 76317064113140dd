using System.Runtime.InteropServices;
using CarServer.RunStore;

namespace CarServer.State.Engine.Analysis;

/// <summary><c>verify</c>: what is wrong with a plan, found without running any of it (protocol 11.1).</summary>
/// <remarks>Each check is one pass over the plan, or part of one: time grows with the plan.</remarks>
internal sealed class Verifier
{
    /// <summary>So many are gone through faster than looked up.</summary>
    private const int FewDependencies = 16;

    private readonly ActionProposal _proposal;
    private readonly ToolRegistry _tools;
    private readonly Effort _effort;
    private readonly string? _tenant;
    private readonly Plan _plan;
    private readonly PlanState _state;
    private readonly Findings _findings = new();
    private readonly List<string[]> _conflicts = [];

    private Verifier(ActionProposal proposal, IReadOnlyDictionary<string, RawJson> initial, ToolRegistry tools, Effort effort, string? tenant)
    {
        _proposal = proposal;
        _tools = tools;
        _effort = effort;
        _tenant = tenant;
        _plan = new Plan(proposal, initial, effort, tenant);
        _state = new PlanState(_plan, effort);
    }

    /// <param name="tools">What the plan may call.</param>
    /// <param name="tenant">Whose state it is to work on; who asks for <c>verify</c> cannot say.</param>
    /// <exception cref="RefusedException">It is no proposal, but for ids that repeat: those are an issue.</exception>
    public static Verification Verify(ActionProposal proposal, IReadOnlyDictionary<string, RawJson> initial, ToolRegistry tools, Effort effort, string? tenant = null)
    {
        proposal.Check(idsMayRepeat: true);
        return new Verifier(proposal, initial, tools, effort, tenant).Run();
    }

    private Verification Run()
    {
        CheckCount();
        CheckIdsAndOrder();
        CheckRepeatedCalls();
        foreach (int[] level in _plan.Graph.Levels) CheckConflicts(level);
        foreach (int i in _plan.Order) WalkOver(i);
        return new Verification(
            _findings.Of(Severity.Error) == 0,
            _findings.List(),
            _state.ToDictionary(),
            [.. _plan.Graph.Levels.Select(level => level.Select(Id).ToArray())],
            _conflicts,
            Evidence.Of(_proposal, _tools, _findings));
    }

    private string Id(int index) => _proposal.Actions[index].Id;

    private void Add(Check check, int index, Severity severity, string message) => _findings.Add(check, index, _proposal.Actions[index], severity, message);

    /// <summary>Said of the first action that is too many.</summary>
    private void CheckCount()
    {
        int count = _proposal.Actions.Count;
        if (count > AnalysisLimits.ExcessiveActions)
            Add(Check.ActionCount, AnalysisLimits.ExcessiveActions, Severity.Warning, $"excessive actions: {count}, more than {AnalysisLimits.ExcessiveActions}");
    }

    private void CheckIdsAndOrder()
    {
        var ids = new HashSet<string>(_proposal.Actions.Count, StringComparer.Ordinal);
        for (int i = 0; i < _proposal.Actions.Count; i++)
        {
            if (!ids.Add(Id(i))) Add(Check.ActionIds, i, Severity.Error, $"duplicate action id '{Id(i)}'");
        }
        for (int i = 0; i < _proposal.Actions.Count; i++)
        {
            foreach (string dependency in _proposal.Actions[i].Dependencies)
            {
                if (dependency == Id(i)) Add(Check.Ordering, i, Severity.Warning, "dependency on itself is ignored");
                else if (!ids.Contains(dependency)) Add(Check.Ordering, i, Severity.Warning, $"dependency on unknown action '{dependency}' is ignored");
            }
        }
        foreach (int i in _plan.Graph.Broken) Add(Check.Ordering, i, Severity.Error, "dependency cycle: this action would run before one that it depends on");
    }

    /// <summary>One issue for all calls that are alike, said of the one that shows it: the second is a duplicate, the third a likely loop.</summary>
    private void CheckRepeatedCalls()
    {
        var calls = new Dictionary<(string Tool, RawJson Parameters), Alike>();
        for (int i = 0; i < _proposal.Actions.Count; i++)
        {
            if (_proposal.Actions[i] is not { Type: ActionType.ToolCall, Tool: { } tool } action) continue;
            _effort.SpendBytes(action.Parameters.Utf8.Length);
            ref Alike alike = ref CollectionsMarshal.GetValueRefOrAddDefault(calls, (tool, action.Parameters), out _);
            alike = alike.And(i);
        }
        foreach (((string tool, _), Alike alike) in calls)
        {
            if (alike.Count == 2)
                Add(Check.RepeatedCalls, alike.Second, Severity.Warning, $"duplicate call: tool '{tool}' with the parameters of action '{Id(alike.First)}'");
            else if (alike.Count > 2)
                Add(Check.RepeatedCalls, alike.Third, Severity.Error, $"likely loop: tool '{tool}' is called {alike.Count} times with identical parameters, first by action '{Id(alike.First)}'");
        }
    }

    /// <summary>How many calls are alike, and the first three of them.</summary>
    private readonly record struct Alike(int Count, int First, int Second, int Third)
    {
        public Alike And(int action) => Count switch
        {
            0 => new Alike(1, action, 0, 0),
            1 => this with { Count = 2, Second = action },
            2 => this with { Count = 3, Third = action },
            _ => this with { Count = Count + 1 },
        };
    }

    /// <summary>
    /// Actions of one level have no order. A writer that depends on the key reads it first and means to change it. Of many writers each is
    /// paired with the next: all pairs would be the square of them.
    /// </summary>
    private void CheckConflicts(int[] level)
    {
        if (level.Length == 1) return;
        var lastWriter = new Dictionary<int, int>();
        foreach (int i in level)
        {
            PlanAction action = _plan.Actions[i];
            if (action.Writes.Length == 0) continue;
            // The plan's effort has paid for looking at each; most actions have a few.
            HashSet<int>? many = action.Dependencies.Length > FewDependencies ? [.. action.Dependencies] : null;
            foreach (PlanWrite write in action.Writes)
            {
                _effort.Spend();
                if (many?.Contains(write.Key) ?? action.Dependencies.AsSpan().Contains(write.Key)) continue;
                if (lastWriter.TryGetValue(write.Key, out int other))
                {
                    string key = _plan.Keys[write.Key].Name;
                    if (_conflicts.Count < AnalysisLimits.MaxConflicts) _conflicts.Add([Id(other), Id(i), key]);
                    Add(Check.Conflicts, i, Severity.Warning, $"write conflict: actions '{Id(other)}' and '{Id(i)}' both write '{key}' in no particular order");
                }
                lastWriter[write.Key] = i;
            }
        }
    }

    /// <summary>What the action finds when its turn comes. Its effects are applied whatever was found: one mistake is told once, not again by all who follow.</summary>
    private void WalkOver(int i)
    {
        PlanAction action = _plan.Actions[i];
        CheckCall(i, action);
        foreach (PlanCondition condition in action.Preconditions)
        {
            if (_state.Problem(condition) is not { } problem) continue;
            string described = condition.Source.Description.Length == 0 ? "" : $" ({condition.Source.Description})";
            Add(Check.Preconditions, i, Severity.Error, $"precondition will fail: state['{condition.Source.Key}'] {condition.Source.Operator}: {problem}{described}");
        }
        foreach (int key in action.Dependencies)
        {
            _effort.Spend();
            if (!_state.Has(key)) Add(Check.StateDependencies, i, Severity.Error, $"state dependency '{_plan.Keys[key].Name}' is not available at this point");
        }
        if (action.Assertion is { } assertion && _state.Problem(assertion) is { } wrong)
            Add(Check.Assertions, i, Severity.Error, $"assertion will fail: state['{assertion.Source.Key}'] {assertion.Source.Operator}: {wrong}");
        if (_state.Apply(action) is { } full) Add(Check.StateLimits, i, Severity.Error, full);
    }

    private void CheckCall(int i, PlanAction action)
    {
        _effort.SpendBytes(action.Source.Parameters.Utf8.Length);
        string? problem = action.Source.Type == ActionType.ToolCall ? ActionValidation.ToolProblem(action.Source, _tools, _effort) : action.Flaw;
        if (problem is not null)
        {
            bool aboutTheTool = action.Source.Type == ActionType.ToolCall && (action.Source.Tool is not { } tool || _tools.Find(tool) is null);
            Add(aboutTheTool ? Check.Tools : Check.Parameters, i, Severity.Error, problem);
        }
        if (ActionValidation.EffectProblem(action.Source, _tenant) is { } effect && effect != problem) Add(Check.Parameters, i, Severity.Error, effect);
    }
}

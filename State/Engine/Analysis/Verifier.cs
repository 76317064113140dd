using System.Runtime.InteropServices;
using CarServer.RunStore;
using CarServer.State.Engine.Tools;

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
    private readonly Census _seen = new();
    private readonly List<string[]> _conflicts = [];
    private readonly HashSet<string> _ids;
    private readonly (int Level, int Writer)[] _lastWriters;   // of each key; level 0 is nobody

    private Verifier(ActionProposal proposal, IReadOnlyDictionary<string, RawJson> initial, ToolRegistry tools, Effort effort, string? tenant)
    {
        _proposal = proposal;
        _tools = tools;
        _effort = effort;
        _tenant = tenant;
        _plan = new Plan(proposal, initial, effort, tenant);
        _state = new PlanState(_plan, effort);
        _ids = new HashSet<string>(proposal.Actions.Count, StringComparer.Ordinal);
        _lastWriters = new (int, int)[_plan.Keys.Count];
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
        CheckEach();
        CheckOrder();
        for (int level = 0; level < _plan.Graph.Levels.Count; level++) CheckConflicts(level + 1, _plan.Graph.Levels[level]);
        foreach (int i in _plan.Order) WalkOver(i);
        return new Verification(
            _findings.Of(Severity.Error) == 0,
            _findings.List(),
            _state.ToDictionary(),
            [.. _plan.Graph.Levels.Select(level => Array.ConvertAll(level, Id))],
            _conflicts,
            Evidence.Of(_seen, _findings));
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

    /// <summary>Ids and repeated calls in one pass: of ten thousand actions, each pass brings all of them into the cache again.</summary>
    private void CheckEach()
    {
        var first = new Dictionary<Call, int>();
        var repeated = new Dictionary<int, Repeated>();
        for (int i = 0; i < _proposal.Actions.Count; i++)
        {
            AgentAction action = _proposal.Actions[i];
            _seen.Add(action, _tools);
            if (!_ids.Add(action.Id)) Add(Check.ActionIds, i, Severity.Error, $"duplicate action id '{action.Id}'");
            if (action is not { Type: ActionType.ToolCall, Tool: { } tool }) continue;
            _effort.SpendBytes(action.Parameters.Utf8.Length);
            ref int before = ref CollectionsMarshal.GetValueRefOrAddDefault(first, new Call(tool, action.Parameters), out bool known);
            if (known) repeated[before] = repeated.GetValueOrDefault(before).And(i);
            else before = i;
        }
        AddRepeated(repeated);
    }

    private void CheckOrder()
    {
        for (int i = 0; _seen.Dependencies > 0 && i < _proposal.Actions.Count; i++)
        {
            foreach (string dependency in _proposal.Actions[i].Dependencies)
            {
                if (dependency == Id(i)) Add(Check.Ordering, i, Severity.Warning, "dependency on itself is ignored");
                else if (!_ids.Contains(dependency)) Add(Check.Ordering, i, Severity.Warning, $"dependency on unknown action '{dependency}' is ignored");
            }
        }
        foreach (int i in _plan.Graph.Broken) Add(Check.Ordering, i, Severity.Error, "dependency cycle: this action would run before one that it depends on");
    }

    /// <summary>One issue for all calls that are alike, said of the one that shows it: the second is a duplicate, the third a likely loop.</summary>
    private void AddRepeated(Dictionary<int, Repeated> repeated)
    {
        foreach ((int of, Repeated by) in repeated)
        {
            string tool = _proposal.Actions[of].Tool!;
            if (by.Count == 1)
                Add(Check.RepeatedCalls, by.Second, Severity.Warning, $"duplicate call: tool '{tool}' with the parameters of action '{Id(of)}'");
            else
                Add(Check.RepeatedCalls, by.Third, Severity.Error, $"likely loop: tool '{tool}' is called {by.Count + 1} times with identical parameters, first by action '{Id(of)}'");
        }
    }

    /// <summary>A tool and what it is given.</summary>
    private readonly record struct Call(string Tool, RawJson Parameters);

    /// <summary>How often a call came again, and the first two that repeat it.</summary>
    private readonly record struct Repeated(int Count, int Second, int Third)
    {
        public Repeated And(int action) => Count switch
        {
            0 => new Repeated(1, action, 0),
            1 => new Repeated(2, Second, action),
            _ => this with { Count = Count + 1 },
        };
    }

    /// <summary>
    /// Actions of one level have no order. A writer that depends on the key reads it first and means to change it. Of many writers each is
    /// paired with the next: all pairs would be the square of them.
    /// </summary>
    private void CheckConflicts(int level, int[] actions)
    {
        if (actions.Length == 1) return;
        foreach (int i in actions)
        {
            PlanAction action = _plan.Actions[i];
            if (action.Writes.Length == 0) continue;
            // The plan's effort has paid for looking at each; most actions have a few.
            HashSet<int>? many = action.Dependencies.Length > FewDependencies ? [.. action.Dependencies] : null;
            foreach (PlanWrite write in action.Writes)
            {
                _effort.Spend();
                if (many?.Contains(write.Key) ?? action.Dependencies.AsSpan().Contains(write.Key)) continue;
                (int writtenIn, int other) = _lastWriters[write.Key];
                if (writtenIn == level)
                {
                    string key = _plan.Keys[write.Key].Name;
                    if (_conflicts.Count < AnalysisLimits.MaxConflicts) _conflicts.Add([Id(other), Id(i), key]);
                    Add(Check.Conflicts, i, Severity.Warning, $"write conflict: actions '{Id(other)}' and '{Id(i)}' both write '{key}' in no particular order");
                }
                _lastWriters[write.Key] = (level, i);
            }
        }
    }

    /// <summary>What the action finds when its turn comes. Its effects are applied whatever was found: one mistake is told once, not again by all who follow.</summary>
    private void WalkOver(int i)
    {
        PlanAction action = _plan.Actions[i];
        CheckCall(i, action);
        for (int at = 0; at < action.Preconditions.Length; at++)
        {
            if (_state.Problem(action.Preconditions[at]) is not { } problem) continue;
            Precondition source = action.Source.Preconditions[at];
            string described = source.Description.Length == 0 ? "" : $" ({source.Description})";
            Add(Check.Preconditions, i, Severity.Error, $"precondition will fail: state['{source.Key}'] {source.Operator}: {problem}{described}");
        }
        foreach (int key in action.Dependencies)
        {
            _effort.Spend();
            if (!_state.Has(key)) Add(Check.StateDependencies, i, Severity.Error, $"state dependency '{_plan.Keys[key].Name}' is not available at this point");
        }
        if (action.Assertion is { } assertion && _state.Problem(assertion) is { } wrong)
            Add(Check.Assertions, i, Severity.Error, $"assertion will fail: state['{_plan.Keys[assertion.Key].Name}'] {assertion.Operator}: {wrong}");
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

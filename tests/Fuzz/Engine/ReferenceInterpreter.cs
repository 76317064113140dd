using System.Collections.Concurrent;
using System.Globalization;
using System.Text.Json;
using CarServer.Tests.Support;

namespace CarServer.Tests.Fuzz.Engine;

/// <summary>
/// The engine once more, from the words of protocol 8.3, 10.2 and 10.3 and with no thought for its speed: plain maps, all pairs, a
/// snapshot of everything, time as a number.
/// </summary>
/// <remarks>Everything it says is text, so that a difference can be read.</remarks>
internal sealed class ReferenceInterpreter(IReadOnlyList<Rule> rules)
{
    private readonly Dictionary<string, Dictionary<string, string>> _states = [];
    private readonly Dictionary<(string? Tenant, string? Tool, string Parameters), string> _successes = [];
    private readonly PriorityQueue<Action, (long At, long Turn)> _later = new();
    private long _now, _turns;

    // What follows belongs to the proposal that runs.
    private Plan _plan = null!;
    private Dictionary<string, string> _state = null!;
    private Result?[] _results = null!;
    private int _toolCalls, _retries;

    private sealed record Result(string Status, string Output, string Error, IReadOnlyDictionary<string, string> Changes, long Ticks)
    {
        public bool RolledBack { get; set; }
    }

    /// <summary>Kinds and action ids of the events that protocol 10.4 lists, in their order.</summary>
    public List<string> Events { get; } = [];

    /// <summary>Runs a proposal and says how it ended: a line for each action, and one for the cost.</summary>
    public string Run(Plan plan)
    {
        _plan = plan;
        _state = State(plan.Tenant);
        _results = new Result?[plan.Actions.Count];
        _toolCalls = _retries = 0;
        long started = _now;
        var before = new Dictionary<string, string>(_state);
        var remembered = _successes.Keys.ToHashSet();
        bool stopped = false, rollBack = false;
        Events.Add("proposal_received");

        foreach (int[] level in Levels(plan.Actions))
        {
            if (stopped) break;
            if (level.Length == 1 || level.Any(i => plan.Actions[i].Behavior == "abort"))
            {
                foreach (int i in level)
                {
                    if (stopped) break;
                    Begin(i);
                    Wait();
                    Judge(i);
                }
            }
            else
            {
                foreach (int i in level) Begin(i);
                Wait();
                foreach (int i in level) Judge(i);
            }
        }

        for (int i = 0; i < _results.Length; i++)
        {
            if (_results[i] is not null) continue;
            Events.Add($"action_skipped {plan.Actions[i].Id}");
            _results[i] = new Result("skipped", "null", "skipped", NoChanges, 0);
        }
        if (rollBack)
        {
            Events.AddRange(["state_snapshot", "state_rollback"]);
            _state.Clear();
            foreach ((string key, string value) in before) _state[key] = value;
            for (int i = 0; i < _results.Length; i++)
            {
                if (_results[i]!.Status == "succeeded") _results[i]!.RolledBack = true;
            }
            foreach (var call in _successes.Keys.Except(remembered).ToArray()) _successes.Remove(call);
        }
        int executed = _results.Count(one => one!.Status is "succeeded" or "failed");
        return string.Concat(_results.Select((one, i) =>
                Line(plan.Actions[i].Id, one!.Status, one.RolledBack, one.Output, one.Error, one.Changes, TimeSpan.FromTicks(one.Ticks).TotalMilliseconds)))
            + Cost(_toolCalls, executed, _results.Count(one => one!.Status == "skipped"), _results.Count(one => one!.Status == "rejected"), _retries, TimeSpan.FromTicks(_now - started).TotalMilliseconds);

        void Judge(int i)
        {
            if (_results[i]!.Status == "succeeded" || plan.Actions[i].Behavior == "skip") return;
            stopped = true;
            rollBack |= _results[i]!.Status == "failed" && plan.Actions[i].Behavior == "abort";
        }
    }

    private static readonly IReadOnlyDictionary<string, string> NoChanges = new Dictionary<string, string>();

    public static string Line(string id, string status, bool rolledBack, string output, string error, IReadOnlyDictionary<string, string> changes, double milliseconds) =>
        string.Create(CultureInfo.InvariantCulture, $"{id} {status}{(rolledBack ? "*" : "")} {output} [{error}] {Map(changes)} {milliseconds:R} ms\n");

    public static string Cost(int toolCalls, int executed, int skipped, int rejected, int retries, double milliseconds) =>
        string.Create(CultureInfo.InvariantCulture, $"{toolCalls} calls, {executed} executed, {skipped} skipped, {rejected} rejected, {retries} retries, {milliseconds:R} ms");

    public static string Map(IReadOnlyDictionary<string, string> map) =>
        "{" + string.Join(',', map.OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => $"{pair.Key}:{pair.Value}")) + "}";

    /// <summary>What a tenant's state holds now.</summary>
    public Dictionary<string, string> State(string? tenant)
    {
        if (!_states.TryGetValue(tenant ?? "", out Dictionary<string, string>? state)) _states[tenant ?? ""] = state = [];
        return state;
    }

    // ---------------------------------------------------------------- 10.2: levels

    private static IEnumerable<int[]> Levels(IReadOnlyList<PlannedAction> actions)
    {
        var left = new List<int>(Enumerable.Range(0, actions.Count));
        while (left.Count > 0)
        {
            int[] level = [.. left.Where(to => !left.Exists(from => MustPrecede(actions, from, to)))];
            if (level.Length == 0) level = [left[0]];
            left.RemoveAll(level.Contains);
            yield return level;
        }
    }

    private static bool MustPrecede(IReadOnlyList<PlannedAction> actions, int from, int to)
    {
        if (from != to && actions[to].Dependencies.Contains(actions[from].Id)) return true;
        if (from >= to) return false;
        if (actions[to].StateDependencies.Any(key => LastBefore(to, writer => writer.WrittenKey == key || writer.Effects.Any(effect => effect.Key == key)) == from)) return true;
        return actions[to].WrittenKey is { } written && LastBefore(to, writer => writer.WrittenKey == written) == from;

        int LastBefore(int index, Func<PlannedAction, bool> writes)
        {
            while (--index >= 0 && !writes(actions[index])) { }
            return index;
        }
    }

    // ---------------------------------------------------------------- 10.3: one action

    private void Begin(int i)
    {
        PlannedAction action = _plan.Actions[i];
        long started = _now;
        if (IsRemembered(action) && _successes.TryGetValue(CallOf(action), out string? known))
        {
            Succeed("action_deduplicated", known);
            return;
        }
        if (Problem(action) is { } problem)
        {
            Reject(problem);
            return;
        }
        string[] reasons = [.. rules.Select(rule => Violation(rule, action)).OfType<string>()];
        if (reasons.Length > 0)
        {
            foreach (string _ in reasons) Tell("policy_violation");
            Reject(string.Join("; ", reasons));
            return;
        }
        Tell("action_validated");
        Tell("action_executing");
        Try(1);

        void Try(int attempt)
        {
            switch (action.Type)
            {
                case "tool_call":
                    _toolCalls++;
                    Attempt scripted = action.Scripted(attempt);
                    bool late = action.TimeoutMs is { } ms && (ms == 0 || scripted.Ticks > ms * TimeSpan.TicksPerMillisecond);
                    long takes = late ? action.TimeoutMs!.Value * TimeSpan.TicksPerMillisecond : scripted.Ticks;
                    string? failure = late ? $"action timed out after {action.TimeoutMs}ms" : scripted.Succeeds ? null : ToolError(action.Id, attempt);
                    if (takes == 0) Tried(attempt, ToolOutput(_plan, action.Id, attempt), failure);
                    else After(takes, () => Tried(attempt, ToolOutput(_plan, action.Id, attempt), failure));
                    break;
                case "state_read":
                    Tried(attempt, _state.GetValueOrDefault(action.Operand!.Key, "null"), null);
                    break;
                case "assertion":
                    Tried(attempt, "null", Holds(action.Operand!) ? null : "assertion failed");
                    break;
                default:
                    Tried(attempt, "null", null);
                    break;
            }
        }

        void Tried(int attempt, string output, string? failure)
        {
            if (failure is null)
            {
                Succeed("action_succeeded", output);
            }
            else if (action.Behavior == "retry" && attempt <= action.MaxRetries)
            {
                _retries++;
                Tell("action_retrying");
                After(TimeSpan.TicksPerMillisecond * 100 * (1 << (attempt - 1)), () => Try(attempt + 1));
            }
            else
            {
                Tell("action_failed");
                End("failed", "null", failure, NoChanges);
            }
        }

        void Succeed(string kind, string output)
        {
            Tell(kind);
            var changes = new Dictionary<string, string>();
            if (action.WrittenKey is { } written) changes[written] = action.Operand!.Value;
            foreach ((string key, string value) in action.Effects) changes[key] = value;
            foreach ((string key, string value) in changes)
            {
                _state[key] = value;
                Tell("state_changed");
            }
            if (kind == "action_succeeded" && IsRemembered(action)) _successes[CallOf(action)] = output;
            End("succeeded", output, "", changes);
        }

        void Reject(string error)
        {
            Tell("action_rejected");
            End("rejected", "null", error, NoChanges);
        }

        void Tell(string kind) => Events.Add($"{kind} {action.Id}");
        void End(string status, string output, string error, IReadOnlyDictionary<string, string> changes) => _results[i] = new Result(status, output, error, changes, _now - started);
    }

    private string? Problem(PlannedAction action)
    {
        if (action.Type == "tool_call")
        {
            if (action.Tool is null) return "tool_call action has no tool specified";
            if (action.Tool == "ghost") return "tool 'ghost' is not registered";
            if (action.Tool == PlanGenerator.StrictTool)
            {
                if (!Json(action.ToolParameters).TryGetProperty("n", out JsonElement n)) return "missing required parameter 'n' for tool 'strict'";
                if (n.ValueKind != JsonValueKind.Number) return "tool 'strict' parameter validation";
            }
        }
        else
        {
            if (action.Operand is null) return $"{action.Type} action needs parameters.key";
            if (_plan.Tenant is null && action.WrittenKey?.StartsWith("tenant:", StringComparison.Ordinal) == true) return "state keys that start with 'tenant:'";
        }
        if (!action.Preconditions.All(Holds)) return "precondition failed";
        return action.StateDependencies.FirstOrDefault(key => !_state.ContainsKey(key)) is { } missing ? $"state dependency '{missing}' not found" : null;
    }

    private string? Violation(Rule rule, PlannedAction action)
    {
        switch (rule.Kind)
        {
            case "deny_tool":
                return action.Tool == rule.Target ? $"tool '{rule.Target}' denied" : null;
            case "deny_tool_param":
                if (action.Tool != rule.Target || !Json(action.ToolParameters).TryGetProperty(rule.Key!, out JsonElement value)) return null;
                string text = value.ValueKind == JsonValueKind.String ? value.GetString()! : value.GetRawText();
                return text.Contains(rule.Pattern!, StringComparison.Ordinal) ? $"param '{rule.Key}' matches '{rule.Pattern}'" : null;
            default:
                return Holds(new Condition(rule.Key!, "eq", rule.Value!)) ? null : $"state['{rule.Key}'] must be {rule.Value}";
        }
    }

    private bool Holds(Condition condition) =>
        ConditionOracle.Holds(condition.Operator ?? "eq", _state.TryGetValue(condition.Key, out string? value) ? Json(value) : null, Json(condition.Value));

    private static bool IsRemembered(PlannedAction action) => action is { Idempotent: true, Type: "tool_call", Tool: not null };
    private (string?, string?, string) CallOf(PlannedAction action) => (_plan.Tenant, action.Tool, action.ToolParameters);

    /// <summary>What the tools of these tests answer: no two attempts the same, so that a remembered answer shows where it comes from.</summary>
    public static string ToolOutput(Plan plan, string action, int attempt) => $"\"{plan.Id} {action} {attempt}\"";
    public static string ToolError(string action, int attempt) => $"{action} {attempt} broke";

    private static readonly ConcurrentDictionary<string, JsonElement> Parsed = [];

    private static JsonElement Json(string text) => Parsed.GetOrAdd(text, static text =>
    {
        using JsonDocument document = JsonDocument.Parse(text);
        return document.RootElement.Clone();
    });

    // ---------------------------------------------------------------- time

    private void After(long ticks, Action then) => _later.Enqueue(then, (_now + ticks, _turns++));

    private void Wait()
    {
        while (_later.TryDequeue(out Action? then, out (long At, long Turn) due))
        {
            _now = due.At;
            then();
        }
    }
}

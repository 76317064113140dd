using System.Text.Json;
using CarServer.RunStore;
using CarServer.State.Engine;
using CarServer.State.Engine.Policies;
using CarServer.State.Engine.Tools;
using CarServer.State.Events;
using CarServer.Tests.Support;
using CarServer.Tests.Unit.Engine;
using Microsoft.Extensions.Logging.Abstractions;

namespace CarServer.Tests.Fuzz.Engine;

/// <summary>A runtime whose tools do what a plan says, when it says so, beside the reference that was given the same plans.</summary>
internal sealed class ModelledSession : IToolExecutor
{
    /// <summary>The kinds that protocol 10.4 puts in an order; later ones may come between.</summary>
    public static readonly IReadOnlySet<string> Ordered = new HashSet<string>(StringComparer.Ordinal)
    {
        "proposal_received", "action_validated", "action_rejected", "action_executing", "action_retrying", "action_succeeded", "action_failed",
        "action_skipped", "action_deduplicated", "policy_violation", "state_changed", "state_snapshot", "state_rollback",
    };

    /// <summary>Texts that the document leaves open are compared by how they begin.</summary>
    private static readonly string[] OpenTexts =
    [
        "precondition failed", "assertion failed", "skipped", "tool 'strict' parameter validation", "state keys that start with 'tenant:'",
        "state_write action needs parameters.key", "state_read action needs parameters.key", "assertion action needs parameters.key",
    ];

    /// <summary>Takes nothing, since it has ended: what is looked at is in memory.</summary>
    private static readonly Appender NoJournal = Ended();

    private readonly ManualClock _clock = new();
    private readonly EventLog _events;
    private readonly Runtime _runtime;
    private readonly ReferenceInterpreter _reference;
    private Plan _plan = null!;

    private ModelledSession(IReadOnlyList<Rule> rules)
    {
        _events = new EventLog("/nowhere", NoJournal, _clock);
        _runtime = new Runtime(_events, this, _clock);
        _runtime.Tools.Register([.. PlanGenerator.FreeTools.Select(name => new ToolDefinition { Name = name }), new ToolDefinition { Name = PlanGenerator.StrictTool, Parameters = StrictSchema }]);
        _runtime.Policies.Register([.. rules.Select(rule => new PolicyDefinition(rule.Name, rule.Kind, rule.Target, rule.Key, rule.Pattern, rule.Value is null ? default : RawJson.Parse(rule.Value)))]);
        _reference = new ReferenceInterpreter(rules);
    }

    private static readonly RawJson StrictSchema = RawJson.Parse("""{"type":"object","properties":{"n":{"type":"number"}},"required":["n"]}""");

    /// <summary>Where engine and reference first disagree, or null.</summary>
    /// <param name="seen">Counts the events that both tell of.</param>
    public static async Task<string?> DifferenceAsync(SessionPlan session, Dictionary<string, int>? seen = null)
    {
        var modelled = new ModelledSession(session.Rules);
        foreach (Plan plan in session.Plans)
        {
            if (await modelled.RunAsync(plan) is { } difference) return difference;
            foreach (string told in modelled._reference.Events)
            {
                string kind = told.Split(' ')[0];
                if (seen is not null) seen[kind] = seen.GetValueOrDefault(kind) + 1;
            }
            modelled._reference.Events.Clear();
        }
        return null;
    }

    private async Task<string?> RunAsync(Plan plan)
    {
        _plan = plan;
        string expected = _reference.Run(plan);
        Task<ProposalResult> running = _runtime.SubmitAsync(TestEngine.Parse(plan.Json), plan.Tenant, default);
        // Whatever waits waits for the clock alone, and goes on inside Advance. Only what left this thread has to be awaited.
        for (int turn = 0; !running.IsCompleted && turn < 1_000_000; turn++)
        {
            _clock.Advance(TimeSpan.FromMinutes(1));
            if (!running.IsCompleted) await Task.Yield();
        }
        if (!running.IsCompleted) return "the proposal does not end";

        ProposalResult result = await running;
        CostSummary cost = result.Cost;
        string actual = string.Concat(result.Results.Select(one => ReferenceInterpreter.Line(one.ActionId, one.Status.ToString().ToLowerInvariant(), one.RolledBack, one.Output.ToString(),
                Known(one.Error ?? ""), one.StateChanges.ToDictionary(pair => pair.Key, pair => pair.Value.ToString()), one.DurationMs)))
            + ReferenceInterpreter.Cost(cost.ToolCalls, cost.ActionsExecuted, cost.ActionsSkipped, cost.ActionsRejected, cost.Retries, cost.TotalDurationMs);
        if (actual != expected) return $"results of {plan.Id}\n{actual}\ninstead of\n{expected}";

        foreach (string? tenant in (string?[])[null, "t1", "t2"])
        {
            string state = ReferenceInterpreter.Map(_runtime.State.Snapshot(tenant).ToDictionary(pair => pair.Key, pair => pair.Value.ToString()));
            string kept = ReferenceInterpreter.Map(_reference.State(tenant));
            if (state != kept) return $"state of tenant {tenant ?? "-"} after {plan.Id}\n{state}\ninstead of\n{kept}";
        }

        string events = string.Join('\n', _events.Latest().Select(Event).OfType<string>()), told = string.Join('\n', _reference.Events);
        _events.Truncate(0);
        return events == told ? null : $"events of {plan.Id}\n{events}\ninstead of\n{told}";
    }

    public Task<ToolOutcome> ExecuteAsync(ToolCall call, CancellationToken abandoned)
    {
        Attempt attempt = _plan.Actions.Single(action => action.Id == call.ActionId).Scripted((int)call.Attempt);
        ToolOutcome outcome = attempt.Succeeds
            ? ToolOutcome.Succeeded(RawJson.Parse(ReferenceInterpreter.ToolOutput(_plan, call.ActionId, (int)call.Attempt)))
            : ToolOutcome.Failed(ReferenceInterpreter.ToolError(call.ActionId, (int)call.Attempt));
        if (abandoned.IsCancellationRequested) return Task.FromResult(ToolOutcome.Abandoned(""));
        if (attempt.Ticks == 0) return Task.FromResult(outcome);
        var ended = new TaskCompletionSource<ToolOutcome>();
        ITimer timer = _clock.CreateTimer(_ => ended.TrySetResult(outcome), null, TimeSpan.FromTicks(attempt.Ticks), Timeout.InfiniteTimeSpan);
        abandoned.UnsafeRegister(_ =>
        {
            timer.Dispose();
            ended.TrySetResult(ToolOutcome.Abandoned(""));
        }, null);
        return ended.Task;
    }

    private static string Known(string error) => OpenTexts.FirstOrDefault(text => error.StartsWith(text, StringComparison.Ordinal)) ?? error;

    private static string? Event(ReadOnlyMemory<byte> line)
    {
        var reader = new Utf8JsonReader(line.Span);
        string kind = "", action = "";
        reader.Read();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            bool isKind = reader.ValueTextEquals("kind"u8), isAction = reader.ValueTextEquals("action_id"u8);
            reader.Read();
            if (isKind) kind = reader.GetString()!;
            else if (isAction) action = reader.GetString() ?? "";
            else reader.Skip();
        }
        return Ordered.Contains(kind) ? $"{kind} {action}".TrimEnd() : null;
    }

    private static Appender Ended()
    {
        var appender = new Appender(NullLogger.Instance);
        appender.DisposeAsync().AsTask().GetAwaiter().GetResult();
        return appender;
    }
}

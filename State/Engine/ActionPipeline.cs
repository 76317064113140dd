using System.Runtime.InteropServices;
using CarServer.RunStore;
using CarServer.State.Engine.Policies;
using CarServer.State.Engine.Tools;
using CarServer.State.Events;

namespace CarServer.State.Engine;

/// <summary>The way of one action from first look to result (protocol 10.3).</summary>
/// <remarks>One per proposal; its actions may run concurrently. An action that has nothing to wait for ends before the call returns, without a task.</remarks>
internal sealed class ActionPipeline(Runtime runtime, string proposalId, string? tenant, PolicyScope? session, StateUndo? undo, CancellationToken abandoned)
{
    private readonly ActionAttempts _attempts = new(runtime, proposalId, tenant, abandoned);

    /// <summary>Marks remembered successes as this proposal's. No part of it: they may outlive it for long.</summary>
    private readonly object? _own = undo is null ? null : new();

    public int ToolCalls => _attempts.ToolCalls;
    public int Retries => _attempts.Retries;

    public ValueTask<ActionResult> RunAsync(AgentAction action)
    {
        long started = runtime.Clock.GetTimestamp();

        // An idempotent call that has succeeded before is not looked at again.
        if (OutputCache.Key.OfSuccess(action, tenant) is { } known && runtime.Successes.TryGet(known, out RawJson remembered))
            return new(Succeed(action, remembered, EventKind.ActionDeduplicated, started));

        if (ActionValidation.Problem(action, tenant, runtime.State, runtime.Tools, _attempts.Conditions) is { } problem) return new(Reject(action, problem, started));
        if (Violations(action) is { } violations) return new(Deny(action, violations, started));
        Record(EventKind.ActionValidated, action);

        Record(EventKind.ActionExecuting, action);
        ValueTask<ToolOutcome> running = _attempts.RunAsync(action);
        return running.IsCompletedSuccessfully ? new(End(action, running.Result, started)) : EndAsync(action, running, started);
    }

    private async ValueTask<ActionResult> EndAsync(AgentAction action, ValueTask<ToolOutcome> running, long started) => End(action, await running, started);

    private ActionResult End(AgentAction action, ToolOutcome outcome, long started)
    {
        if (outcome.End != ToolEnd.Succeeded) return Fail(action, outcome.Error, started);

        ActionResult result = Succeed(action, outcome.Output, EventKind.ActionSucceeded, started);
        if (result.Status == ActionStatus.Succeeded && OutputCache.Key.OfSuccess(action, tenant) is { } key) runtime.Successes.Keep(key, outcome.Output, _own);
        return result;
    }

    /// <summary>What the proposal's own tool calls brought is not remembered any more; what it found remembered stays.</summary>
    public void ForgetSuccesses() => runtime.Successes.Forget(entry => entry.Source is { } source && source == _own);

    /// <summary>The result of an action that is not going to be looked at.</summary>
    public ActionResult Skip(AgentAction action, string reason)
    {
        Record(EventKind.ActionSkipped, action, reason);
        return new ActionResult
        {
            ActionId = action.Id, Status = ActionStatus.Skipped, Error = reason, Timestamp = Now, Output = RawJson.Null,
        };
    }

    /// <summary>The result of an action whose proposal was not admitted.</summary>
    public ActionResult Block(AgentAction action, string reason) => Reject(action, reason, runtime.Clock.GetTimestamp()) with { RejectedByPolicy = true };

    private DateTime Now => runtime.Clock.GetUtcNow().UtcDateTime;

    private ActionResult Reject(AgentAction action, string error, long started)
    {
        Record(EventKind.ActionRejected, action, error);
        return Ended(action, ActionStatus.Rejected, started, RawJson.Null, error);
    }

    /// <summary>Null when no policy says no, and at once when there is none.</summary>
    private List<Violation>? Violations(AgentAction action) => runtime.Policies.Count(session) == 0 ? null
        : runtime.Policies.Check(new PolicySubject(action, tenant, runtime.State, runtime.Clock), session);

    private ActionResult Deny(AgentAction action, List<Violation> violations, long started)
    {
        foreach (Violation violation in violations)
        {
            runtime.Events.Record(EventKind.PolicyViolation, action.Id, proposalId,
                new("tool", action.Tool), new("policy_name", violation.PolicyName), new("reason", violation.Reason));
        }
        return Reject(action, Violation.Join(violations), started) with { RejectedByPolicy = true };
    }

    private ActionResult Fail(AgentAction action, string? error, long started)
    {
        ActionResult result = Ended(action, ActionStatus.Failed, started, RawJson.Null, error);
        RecordEnd(EventKind.ActionFailed, action, result);
        return result;
    }

    /// <summary>Applies the action's effects, all or none; where the state refuses them, the action has failed after all.</summary>
    private ActionResult Succeed(AgentAction action, RawJson output, EventKind kind, long started)
    {
        int count = action.ExpectedEffects.Count + (WritesOwnKey(action) ? 1 : 0);
        if (count == 0)
        {
            ActionResult result = Ended(action, ActionStatus.Succeeded, started, output);
            RecordEnd(kind, action, result);
            return result;
        }

        StateTransition single = default;
        Span<StateTransition> written = count == 1 ? new Span<StateTransition>(ref single) : new StateTransition[count];
        try
        {
            Apply(action, written);
        }
        catch (RefusedException refused)
        {
            return Fail(action, refused.Message, started);
        }
        ActionResult ended = Ended(action, ActionStatus.Succeeded, started, output, changes: Changes(written));
        RecordEnd(kind, action, ended);
        foreach (StateTransition transition in written) runtime.RecordStateChange(tenant, transition, action.Id, proposalId);
        return ended;
    }

    private static IReadOnlyDictionary<string, RawJson> Changes(ReadOnlySpan<StateTransition> written)
    {
        if (written.Length == 1) return new OneChange(written[0].Key, written[0].NewValue);
        var changes = new Dictionary<string, RawJson>(written.Length, StringComparer.Ordinal);
        foreach (StateTransition transition in written) changes[transition.Key] = transition.NewValue;
        return changes;
    }

    /// <summary>A write whose key is an expected effect, too, would be overwritten at once: the effect stands for both.</summary>
    private static bool WritesOwnKey(AgentAction action) => action.WrittenKey is { } key && !action.ExpectedEffects.ContainsKey(key);

    private void Apply(AgentAction action, Span<StateTransition> transitions)
    {
        if (action.ExpectedEffects.Count == 0)
        {
            runtime.State.Apply(tenant, [new StateWrite(action.WrittenKey!, action.Operands.Value)], undo, transitions);
            return;
        }
        var writes = new List<StateWrite>(transitions.Length);
        if (WritesOwnKey(action)) writes.Add(new StateWrite(action.WrittenKey!, action.Operands.Value));
        foreach ((string key, RawJson value) in action.ExpectedEffects) writes.Add(new StateWrite(key, value));
        runtime.State.Apply(tenant, CollectionsMarshal.AsSpan(writes), undo, transitions);
    }

    private ActionResult Ended(AgentAction action, ActionStatus status, long started, RawJson output, string? error = null, IReadOnlyDictionary<string, RawJson>? changes = null) => new()
    {
        ActionId = action.Id,
        Status = status,
        Output = output,
        Error = error,
        StateChanges = changes ?? ActionResult.NoChanges,
        DurationMs = runtime.Clock.GetElapsedTime(started).TotalMilliseconds,
        Timestamp = Now,
    };

    /// <summary>Every event of a tool call carries its tool; other actions have none. What else the client sent stands in the first event.</summary>
    private void Record(EventKind kind, AgentAction action, string? error = null) =>
        runtime.Events.Record(kind, action.Id, proposalId, new("tool", action.Tool), new("error", error),
            new(UnknownFields.Name, kind == EventKind.ActionExecuting ? default : UnknownFields.ToRawJson(action.Unknown)));

    /// <summary>The end of an action that was dispatched, or did not need to be.</summary>
    private void RecordEnd(EventKind kind, AgentAction action, ActionResult result) =>
        runtime.Events.Record(kind, action.Id, proposalId, new("tool", action.Tool), new("error", result.Error),
            new(EventKeys.DurationMs, Math.Round(result.DurationMs, 3)),
            new(UnknownFields.Name, kind == EventKind.ActionDeduplicated ? UnknownFields.ToRawJson(action.Unknown) : default));
}

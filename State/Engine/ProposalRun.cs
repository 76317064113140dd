using System.Runtime.CompilerServices;
using CarServer.RunStore;
using CarServer.State.Engine.Policies;
using CarServer.State.Events;

namespace CarServer.State.Engine;

/// <summary>One execution of one proposal: its levels, what a bad action means for the rest, rollback, cost (protocol 10.2 to 10.4).</summary>
internal sealed class ProposalRun
{
    /// <summary>What the error of an action that was never looked at begins with.</summary>
    internal const string Skipped = "skipped: ";

    private readonly Runtime _runtime;
    private readonly ActionProposal _proposal;
    private readonly string? _tenant;
    private readonly PolicyScope? _session;
    private readonly CancellationToken _abandoned;
    private readonly string? _caller;
    private readonly bool _rejectionsAbort;
    private readonly StateUndo? _undo;
    private readonly ActionPipeline _pipeline;
    private readonly ActionResult?[] _results;

    /// <summary>Why the rest is skipped; null as long as it is not.</summary>
    private string? _stopped;
    private bool _rollBack;
    private bool _isBlocked;

    /// <summary>Something has waited, so a read loop may be what goes on here.</summary>
    private bool _waited;

    /// <param name="rejectionsAbort">See <see cref="ReplanConfig.ReplanOnRejected"/>.</param>
    public ProposalRun(Runtime runtime, ActionProposal proposal, string? tenant, PolicyScope? session, string? caller, bool rejectionsAbort, CancellationToken abandoned)
    {
        _runtime = runtime;
        _proposal = proposal;
        _tenant = tenant;
        _session = session;
        _rejectionsAbort = rejectionsAbort;
        _abandoned = abandoned;
        _caller = caller;
        // Without an action that may abort nothing has to be remembered.
        if (proposal.Actions.Exists(action => action.FailureBehavior == FailureBehavior.Abort || (rejectionsAbort && action.FailureBehavior == FailureBehavior.Retry)))
            _undo = new StateUndo(proposal.Actions.Count(static action => action.Type == ActionType.StateWrite));
        _pipeline = new ActionPipeline(runtime, proposal.Id, tenant, session, _undo, abandoned);
        _results = new ActionResult?[proposal.Actions.Count];
    }

    public async Task<ProposalResult> ExecuteAsync()
    {
        long started = _runtime.Clock.GetTimestamp();
        _runtime.Events.Record(EventKind.ProposalReceived, null, _proposal.Id, new("source", _proposal.Source),
            new("actions", _proposal.Actions.Count), new("tenant", _tenant), new("context", _proposal.Context),
            new(UnknownFields.Name, UnknownFields.ToRawJson(_proposal.Unknown)));
        try
        {
            if (_runtime.Admission is { IsNeeded: true } admission) Reject(await admission.AskAsync(new AdmissionRequest(_proposal, _tenant, _caller, _session?.SessionId), _abandoned));
            foreach (int[] level in ActionGraph.Of(_proposal.Actions).Levels)
            {
                if (_isBlocked || IsStopped) break;
                if (RunsOneByOne(level)) await RunOneByOneAsync(level);
                else await RunTogetherAsync(level);
                if (_waited && MustLeaveTheReadLoop) await Elsewhere;
            }
            SkipTheRest();
            if (_rollBack && _undo is { } undo) RollBack(undo);
            CostSummary cost = Cost(started);
            RecordCompletion(cost);
            return new ProposalResult(_proposal.Id, _results!, cost) { Aborted = _rollBack ? _stopped![Skipped.Length..] : null };
        }
        finally
        {
            _runtime.Events.Flush();
        }
    }

    /// <summary>No action runs, not even one that nobody minds.</summary>
    private void Reject(Blocked? blocked)
    {
        if (blocked is null) return;
        _isBlocked = true;
        for (int i = 0; i < _results.Length; i++) _results[i] = _pipeline.Block(_proposal.Actions[i], blocked.For(i));
    }

    /// <summary>One action that may abort is enough: its rollback must not meet peers that are still writing.</summary>
    private bool RunsOneByOne(int[] level) =>
        level.Length == 1 || Array.Exists(level, i => _proposal.Actions[i].FailureBehavior == FailureBehavior.Abort);

    private async Task RunOneByOneAsync(int[] level)
    {
        foreach (int i in level)
        {
            if (IsStopped) return;
            ValueTask<ActionResult> running = _pipeline.RunAsync(_proposal.Actions[i]);
            bool waited = !running.IsCompleted;
            _waited |= waited;
            ActionResult result = await running;
            _results[i] = result;
            Judge(_proposal.Actions[i], result);
            if (waited && MustLeaveTheReadLoop) await Elsewhere;
        }
    }

    private async Task RunTogetherAsync(int[] level)
    {
        List<Task>? waiting = null;
        foreach (int i in level)
        {
            if (_abandoned.IsCancellationRequested) break;
            ValueTask<ActionResult> running = _pipeline.RunAsync(_proposal.Actions[i]);
            if (running.IsCompletedSuccessfully) _results[i] = running.Result;
            else (waiting ??= []).Add(KeepAsync(i, running));
        }
        if (waiting is not null)
        {
            _waited = true;
            await Task.WhenAll(waiting);
        }
        foreach (int i in level)
        {
            if (_results[i] is { } result) Judge(_proposal.Actions[i], result);
        }
    }

    private async Task KeepAsync(int i, ValueTask<ActionResult> running)
    {
        _results[i] = await running;
        // A peer may go on for long; the journal should not keep this end back until then.
        _runtime.Events.Flush();
    }

    /// <summary>A tool's reply continues its proposal on the read loop that brought it. One that may not stay there goes elsewhere with what is left.</summary>
    private bool MustLeaveTheReadLoop => !_runtime.MayRunInline(_proposal, _session);

    /// <summary>The pool. Yielding alone would come back to the loop, whose context whoever began there has.</summary>
    private static ConfiguredTaskAwaitable Elsewhere => Task.CompletedTask.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);

    private bool IsStopped
    {
        get
        {
            if (_stopped is null && _abandoned.IsCancellationRequested) _stopped = Skipped + "the request was abandoned";
            return _stopped is not null;
        }
    }

    /// <summary>
    /// The table of protocol 10.3: a failure with <c>abort</c> rolls back, a rejection is never retried. It rolls back only where it is asked to,
    /// and a policy's counts with <c>retry</c> as with <c>abort</c>.
    /// </summary>
    private void Judge(AgentAction action, ActionResult result)
    {
        if (result.Status == ActionStatus.Succeeded || action.FailureBehavior == FailureBehavior.Skip) return;
        bool failed = result.Status == ActionStatus.Failed;
        _stopped ??= $"{Skipped}action '{Excerpt.Of(action.Id, EngineLimits.MaxRepeatedIdChars)}' {(failed ? "failed" : "was rejected")}";
        bool aborts = action.FailureBehavior == FailureBehavior.Abort || result.RejectedByPolicy;
        _rollBack |= aborts && (failed || _rejectionsAbort);
    }

    private void SkipTheRest()
    {
        for (int i = 0; i < _results.Length; i++)
        {
            if (_results[i] is null && IsStopped) _results[i] = _pipeline.Skip(_proposal.Actions[i], _stopped!);
        }
    }

    private void RollBack(StateUndo undo)
    {
        _runtime.Events.Record(EventKind.StateSnapshot, null, _proposal.Id,
            new("tenant", _tenant), new("keys", _runtime.State.Count(_tenant)), new("written", undo.Keys));
        List<StateTransition> restored = _runtime.State.Rollback(_tenant, undo);
        _runtime.Events.Record(EventKind.StateRollback, null, _proposal.Id,
            new("tenant", _tenant), new("restored", restored.Count), new("kept", undo.Keys - restored.Count));

        for (int i = 0; i < _results.Length; i++)
        {
            if (_results[i] is { Status: ActionStatus.Succeeded } success) _results[i] = success with { RolledBack = true };
        }
        _pipeline.ForgetSuccesses();
    }

    private void RecordCompletion(CostSummary cost) =>
        _runtime.Events.Record(EventKind.ProposalCompleted, null, _proposal.Id, new("tenant", _tenant), new("executed", cost.ActionsExecuted),
            new("skipped", cost.ActionsSkipped), new("rejected", cost.ActionsRejected), new("tool_calls", cost.ToolCalls), new("retries", cost.Retries),
            new("rolled_back", _rollBack), new(EventKeys.DurationMs, Math.Round(cost.TotalDurationMs, 3)));

    private CostSummary Cost(long started)
    {
        int executed = 0, skipped = 0, rejected = 0;
        foreach (ActionResult? result in _results)
        {
            switch (result!.Status)
            {
                case ActionStatus.Rejected: rejected++; break;
                case ActionStatus.Skipped: skipped++; break;
                default: executed++; break;
            }
        }
        return new CostSummary(_pipeline.ToolCalls, executed, skipped, rejected,
            _runtime.Clock.GetElapsedTime(started).TotalMilliseconds, _pipeline.Retries);
    }
}

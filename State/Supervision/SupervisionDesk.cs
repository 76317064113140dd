using CarServer.RunStore;
using CarServer.State.Engine;
using CarServer.State.Permissions;
using CarServer.State.Sessions;

namespace CarServer.State.Supervision;

/// <summary>What a supervisor answers; the first answer counts, whoever gives it. Who escalates refuses, too, and tells the submitter that somebody else has to decide.</summary>
internal sealed class SupervisionWord() : WireWord(Allow, Deny, Escalate)
{
    public const string Allow = "allow";
    public const string Deny = "deny";
    public const string Escalate = "escalate";
}

/// <summary>How it ended for a proposal that had to wait.</summary>
/// <param name="End">A <see cref="SupervisionWord"/>, or what came instead of one.</param>
/// <param name="Reason">For the submitter; null when it may run.</param>
/// <param name="Reviewer">Who decided, if anybody did.</param>
internal sealed record SupervisionOutcome(string End, string? Reason = null, string? Reviewer = null)
{
    public const string Timeout = "timeout";
    public const string TooMany = "too_many";
    public const string TooLong = "too_long";
    public const string Abandoned = "abandoned";
}

/// <summary>Where proposals wait for those who supervise this daemon (protocol 10.5). Any thread.</summary>
/// <remarks>Fails closed: what nobody decides on in time is refused. A supervisor who leaves takes nothing with him; what waits goes on waiting for others.</remarks>
internal sealed class SupervisionDesk(TimeProvider clock)
{
    private sealed record Supervisor(ClientSession Session, SupervisionFilter Filter);

    private sealed class Waiting(Intent intent)
    {
        public Intent Intent => intent;
        public TaskCompletionSource<SupervisionOutcome> Decided { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }

    private readonly Lock _gate = new();
    private readonly List<Waiting> _pending = [];   // oldest first
    private volatile Supervisor[] _supervisors = [];

    public bool HasSupervisors => _supervisors.Length > 0;

    /// <summary>From now on the session is asked; a second time its filter is replaced.</summary>
    /// <returns>How many supervise now.</returns>
    /// <exception cref="RefusedException">Too many do, or the connection has gone.</exception>
    public int Subscribe(ClientSession session, SupervisionFilter filter)
    {
        filter.Check();
        int count;
        lock (_gate)
        {
            Supervisor[] others = Array.FindAll(_supervisors, one => one.Session != session);
            if (others.Length >= SupervisionLimits.MaxSupervisors) throw new RefusedException($"{SupervisionLimits.MaxSupervisors} connections supervise already, which is the limit");
            _supervisors = [.. others, new Supervisor(session, filter)];
            count = _supervisors.Length;
        }
        // The farewell may have come before: whoever is here and cannot hear would have everything refused.
        if (!session.Closed.IsCancellationRequested) return count;
        Unsubscribe(session);
        throw new RefusedException("connection is closed");
    }

    /// <summary>False when it did not supervise.</summary>
    public bool Unsubscribe(ClientSession session)
    {
        if (!HasSupervisors) return false;
        lock (_gate)
        {
            Supervisor[] before = _supervisors;
            _supervisors = Array.FindAll(before, one => one.Session != session);
            return _supervisors.Length < before.Length;
        }
    }

    /// <summary>What waits, oldest first.</summary>
    public PendingIntents Pending()
    {
        lock (_gate) return new PendingIntents([.. _pending.Select(static waiting => waiting.Intent)]);
    }

    /// <exception cref="RefusedException">Nothing of this id waits: it never did, was decided, or nobody waits for it any more.</exception>
    public void Decide(string intentId, string kind, string? reason, string reviewer)
    {
        if (kind != SupervisionWord.Allow && string.IsNullOrWhiteSpace(reason)) throw new RefusedException("decision.reason is needed to deny or escalate", Refusal.Invalid);
        if (reason?.Length > PermissionLimits.MaxReasonChars) throw new RefusedException($"decision.reason may have at most {PermissionLimits.MaxReasonChars} characters", Refusal.Invalid);
        Waiting? waiting;
        lock (_gate)
        {
            waiting = _pending.Find(one => one.Intent.Id == intentId);
            if (waiting is null) throw new RefusedException("unknown intent_id: it was decided, has timed out, or never was");
            _pending.Remove(waiting);
        }
        waiting.Decided.SetResult(new SupervisionOutcome(kind, kind switch
        {
            SupervisionWord.Allow => null,
            SupervisionWord.Deny => $"denied: {reason}",
            _ => $"escalated: {reason}",
        }, reviewer));
    }

    /// <summary>Tells the supervisors whose filter it passes, and waits for the first of them to decide. Null when there is none.</summary>
    public async Task<SupervisionOutcome?> AskAsync(AdmissionRequest request, string clientId, CancellationToken abandoned)
    {
        Supervisor[] supervisors = _supervisors;
        if (supervisors.Length == 0 || request.Proposal.Actions.Count == 0) return null;
        var risks = new ActionRisk[request.Proposal.Actions.Count];
        for (int i = 0; i < risks.Length; i++) risks[i] = ActionRisk.Of(request.Proposal.Actions[i]);
        supervisors = Array.FindAll(supervisors, one => one.Filter.Matches(request, clientId, risks));
        if (supervisors.Length == 0) return null;

        if (Intent.Of(request, clientId, risks, clock.GetUtcNow().UtcDateTime) is not { } intent)
            return new SupervisionOutcome(SupervisionOutcome.TooLong, $"the proposal is too long to be shown to a supervisor (limit {SupervisionLimits.MaxIntentChars} characters)");
        var waiting = new Waiting(intent);
        lock (_gate)
        {
            if (_pending.Count(one => one.Intent.ClientId == clientId) >= SupervisionLimits.MaxPendingOfClient)
                return new SupervisionOutcome(SupervisionOutcome.TooMany, $"{SupervisionLimits.MaxPendingOfClient} proposals of this connection wait for a decision already, which is the limit");
            if (_pending.Count >= SupervisionLimits.MaxPending)
                return new SupervisionOutcome(SupervisionOutcome.TooMany, $"{SupervisionLimits.MaxPending} proposals wait for a decision already, which is the limit");
            _pending.Add(waiting);
        }
        foreach (Supervisor one in supervisors) one.Session.Channel.Notify("supervision.intent", intent, Json.Intent);
        return await DecisionAsync(waiting, abandoned);
    }

    private async Task<SupervisionOutcome> DecisionAsync(Waiting waiting, CancellationToken abandoned)
    {
        SupervisionOutcome end;
        try
        {
            return await waiting.Decided.Task.WaitAsync(SupervisionLimits.DecisionTimeout, clock, abandoned);
        }
        catch (TimeoutException)
        {
            end = new SupervisionOutcome(SupervisionOutcome.Timeout, $"nobody decided within {SupervisionLimits.DecisionTimeout.TotalSeconds:0} s");
        }
        catch (OperationCanceledException)
        {
            end = new SupervisionOutcome(SupervisionOutcome.Abandoned);
        }
        lock (_gate)
        {
            if (_pending.Remove(waiting)) return end;
        }
        return await waiting.Decided.Task;   // it was decided just then, and whoever did was told so
    }
}

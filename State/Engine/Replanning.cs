using CarServer.RunStore.Contracts;
using CarServer.State.Engine.Analysis;
using CarServer.State.Events;

namespace CarServer.State.Engine;

/// <summary>Whether an abort is answered with another plan (protocol 10.6).</summary>
/// <param name="MaxReplans">How often one request may ask for another plan; 0 is off.</param>
/// <param name="DelayMs">Between the rollback and the question.</param>
/// <param name="VerifyBeforeExecute">A plan with errors is not run, and counts as one.</param>
/// <param name="ReplanOnRejected">A rejected action that aborts does so like a failed one: the state is rolled back, and another plan asked for.</param>
[FromJson]
internal sealed record ReplanConfig(uint MaxReplans = 0, ulong DelayMs = 0, bool VerifyBeforeExecute = true, bool ReplanOnRejected = false)
{
    /// <exception cref="RefusedException">A number beyond its limit.</exception>
    public void Check()
    {
        if (MaxReplans > EngineLimits.MaxReplans) throw new RefusedException($"max_replans may be at most {EngineLimits.MaxReplans}, got {MaxReplans}", Refusal.Invalid);
        if (DelayMs > EngineLimits.MaxReplanDelayMs) throw new RefusedException($"delay_ms may be at most {EngineLimits.MaxReplanDelayMs}, got {DelayMs}", Refusal.Invalid);
    }
}

/// <summary>Who makes another plan: the session's client, or a fake in a test.</summary>
internal interface IPlanner
{
    /// <summary>Asks once. What goes wrong is an answer, not an exception.</summary>
    Task<PlannerAnswer> ProposeAsync(PlannerQuestion question, CancellationToken abandoned);
}

/// <param name="Proposal">The plan that was aborted.</param>
/// <param name="Results">How its actions ended.</param>
/// <param name="Attempt">Counted from 1.</param>
/// <param name="Reason">Why another plan is needed: what aborted this one, or what was wrong with the last answer.</param>
internal sealed record PlannerQuestion(ActionProposal Proposal, IReadOnlyList<ActionResult> Results, uint Attempt, string Reason);

/// <param name="Proposal">Null when there is none, and <paramref name="Problem"/> says why.</param>
/// <param name="IsLast">There is no point in asking again.</param>
internal readonly record struct PlannerAnswer(ActionProposal? Proposal, string? Problem = null, bool IsLast = false);

/// <summary>What follows an abort: another plan is asked for, looked at and run, until one is not aborted or there are no more.</summary>
/// <param name="run">Runs a plan as the first one was run.</param>
internal sealed class Replanning(Runtime runtime, ReplanConfig config, IPlanner planner, string? tenant,
    Func<ActionProposal, Task<ProposalResult>> run, CancellationToken abandoned)
{
    /// <summary>Errors of a verification that are named to the planner; the first ones are what the others follow from.</summary>
    private const int NamedErrors = 5;

    /// <param name="result">Of a plan that was aborted.</param>
    /// <returns>The result of the last plan that was run, with the cost of all of them.</returns>
    public async Task<ProposalResult> GoOnAsync(ActionProposal proposal, ProposalResult result)
    {
        long started = runtime.Clock.GetTimestamp();
        double before = result.Cost.TotalDurationMs;
        string reason = result.Aborted!;
        uint attempt = 0;
        while (attempt < config.MaxReplans && result.Aborted is not null)
        {
            if (!await WaitAsync()) return result;
            attempt++;
            runtime.Events.Log(EventKind.ReplanAttempted, null, proposal.Id, new("attempt", attempt), new("reason", reason));
            PlannerAnswer answer = await planner.ProposeAsync(new PlannerQuestion(proposal, result.Results, attempt, reason), abandoned);
            if (abandoned.IsCancellationRequested) return result;
            // What is no proposal leaves nothing of its own behind: its id may be as long as a message.
            if (answer.Proposal is { } read && Flaw(read) is { } flaw) answer = new PlannerAnswer(null, flaw);
            if (answer.Proposal is { } next)
            {
                runtime.Events.Record(EventKind.ReplanProposalReceived, null, next.Id, new("replaces", proposal.Id), new("attempt", attempt),
                    new("actions", next.Actions.Count));
                if (Problem(next) is not { } problem)
                {
                    ProposalResult last = await run(next);
                    result = last with { Cost = result.Cost.Plus(last.Cost, before + runtime.Clock.GetElapsedTime(started).TotalMilliseconds) };
                    if (result.Aborted is not null) (proposal, reason) = (next, result.Aborted);
                    continue;
                }
                answer = new PlannerAnswer(null, problem);
            }
            reason = answer.Problem!;
            if (answer.IsLast) break;
            runtime.Events.Log(EventKind.ReplanRejected, null, proposal.Id, new("attempt", attempt), new("reason", reason));
        }
        if (result.Aborted is not null)
            runtime.Events.Log(EventKind.ReplanExhausted, null, proposal.Id, new("attempts", attempt), new("reason", reason));
        return result;
    }

    /// <summary>False when nobody waits for the result any more.</summary>
    private async Task<bool> WaitAsync()
    {
        try
        {
            if (config.DelayMs > 0) await Task.Delay(TimeSpan.FromMilliseconds(config.DelayMs), runtime.Clock, abandoned);
        }
        catch (OperationCanceledException)
        {
        }
        return !abandoned.IsCancellationRequested;
    }

    /// <summary>Why an answer is no proposal that could be submitted, or null.</summary>
    private static string? Flaw(ActionProposal next)
    {
        try
        {
            next.Check();
            return null;
        }
        catch (RefusedException refused)
        {
            return refused.Message;
        }
    }

    /// <summary>Why a plan is not run, or null.</summary>
    private string? Problem(ActionProposal next)
    {
        if (!config.VerifyBeforeExecute) return null;
        try
        {
            Verification found = Verifier.Verify(next, runtime.State.Snapshot(tenant), runtime.Tools, new Effort(abandoned), tenant);
            if (found.Valid) return null;
            Issue[] errors = [.. found.Issues.Where(static issue => issue.Severity == Severity.Error)];
            return $"{errors.Length} errors: " + string.Join("; ", errors.Take(NamedErrors).Select(static issue => $"action '{issue.ActionId}': {issue.Message}"));
        }
        catch (RefusedException refused)
        {
            return refused.Message;
        }
        catch (OperationCanceledException)
        {
            return "the request was abandoned";
        }
    }
}

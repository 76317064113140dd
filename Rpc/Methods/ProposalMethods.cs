using System.Text.Json.Serialization;
using CarServer.Rpc.JsonRpc;
using CarServer.RunStore;
using CarServer.RunStore.Contracts;
using CarServer.State;
using CarServer.State.Engine;
using CarServer.State.Engine.Analysis;
using CarServer.State.Engine.Policies;
using CarServer.State.Engine.Tools;
using CarServer.State.Events;
using CarServer.State.Supervision;

namespace CarServer.Rpc.Methods;

/// <summary><c>proposal.submit</c>: runs a plan and tells how each action ended (protocol 10.4).</summary>
internal static class ProposalMethods
{
    /// <summary>On top of what the actions may take: time for everything around them (protocol 5).</summary>
    private const ulong DeadlineMarginMs = 15_000;

    public static readonly Method[] Rows =
    [
        Method.Waiting("proposal.submit", "{ proposal: { actions, id?, source?, timestamp?, context? }, session_id?, scope? }",
            "Runs a proposal. An action that goes wrong is a result, not an error.",
            Json.ProposalSubmitParams, Json.ProposalResult, SubmitAsync,
            deadline: static (session, p, standard) => Deadline(p.Proposal, session.Runtime.ReplanConfig, standard, p.IsAsked ? SupervisionLimits.DecisionTimeout : default)),
    ];

    internal static Task<ProposalResult> SubmitAsync(Call call, ProposalSubmitParams p)
    {
        // With a scope the session id is not looked at (protocol 10.4).
        PolicyScope? session = p.Scope is null && p.SessionId is { } id ? call.Session.Runtime.Policies.Scope(id) : null;
        // The turns belong to the run that was current when the proposal came, whatever starts or ends while it runs.
        string? runId = call.Session.CurrentRunId;
        // The gates may read decisions from disk, which the read loop never does.
        p.IsAsked = call.Session.Runtime.Admission is { IsNeeded: true };
        Task settled = call.Session.Runtime.Tools.Settled;
        if (!p.IsAsked && settled.IsCompleted && call.Session.Runtime.MayRunInline(p.Proposal, session)) return RunAsync(call, p, session, runId);
        return Task.Run(async () =>
        {
            await settled;   // tools that the client registered before are there
            return await RunAsync(call, p, session, runId);
        });
    }

    private static async Task<ProposalResult> RunAsync(Call call, ProposalSubmitParams p, PolicyScope? session, string? runId)
    {
        Runtime runtime = call.Session.Runtime;
        if (p.Scope is { } scope)
        {
            // A proposal that is going to be refused leaves no event behind.
            p.Proposal.Check();
            runtime.Events.Record(EventKind.SessionScope, null, p.Proposal.Id,
                new("caller", scope.CallerId), new("tenant", StateStore.Tenant(scope.TenantId)));
        }
        return await runtime.SubmitAsync(p.Proposal, p.Scope?.TenantId, call.Abandoned, session, p.Scope?.CallerId,
            ended: runId is null ? null : (proposal, result) => call.State.Runs.RecordProposalAsync(runId, proposal, result));
    }

    /// <summary>What all attempts of all actions, and the delays between them, may take one after another, and a margin; at least the daemon's default (protocol 5).</summary>
    /// <param name="decision">What somebody may take to decide on it, and on each plan that follows.</param>
    /// <remarks>For each further plan as much again, with the time until it is there: what it will ask for nobody knows yet.</remarks>
    internal static TimeSpan Deadline(ActionProposal proposal, ReplanConfig replan, TimeSpan standard, TimeSpan decision = default)
    {
        UInt128 ms = DeadlineMarginMs;
        foreach (AgentAction? action in proposal.Actions)
        {
            // A null action is refused by the handler; its deadline is asked for all the same.
            if (action is not null) ms += (UInt128)(action.TimeoutMs ?? ToolBudget.DefaultMs) * action.Attempts + EngineLimits.Backoffs(action.Attempts - 1);
        }
        ms = UInt128.Max(ms, (UInt128)standard.TotalMilliseconds) + (UInt128)decision.TotalMilliseconds;
        ms += replan.MaxReplans * (ms + replan.DelayMs + EngineLimits.PlannerMs);
        return EngineLimits.TimerSpan(ms > ulong.MaxValue ? ulong.MaxValue : (ulong)ms);
    }
}

/// <param name="SessionId">From <c>session.policy.open</c>.</param>
/// <param name="Scope">Wins over <paramref name="SessionId"/>.</param>
[FromJson]
internal sealed record ProposalSubmitParams(ActionProposal Proposal, string? SessionId = null, ProposalScope? Scope = null)
{
    /// <summary>Set when it came: the gates are asked first, and one of them may wait for somebody.</summary>
    [JsonIgnore]
    public bool IsAsked { get; set; }
}

/// <summary>For whom a proposal is run. The one object of the protocol that is spelled in camel case.</summary>
/// <param name="Claims">Carried by the protocol for later checks; nothing looks at it.</param>
internal sealed record ProposalScope(
    [property: JsonPropertyName("callerId")] string? CallerId = null,
    [property: JsonPropertyName("tenantId")] string? TenantId = null,
    [property: JsonPropertyName("claims")] RawJson Claims = default);

using System.Globalization;
using System.Text;
using CarServer.State.Engine;
using CarServer.State.Events;
using CarServer.State.Sessions;
using CarServer.State.Supervision;

namespace CarServer.State.Permissions;

/// <summary>The gates before a session's proposals, in their order: the permission tier, then whoever supervises (protocol 10.5).</summary>
internal sealed class ProposalAdmission(ClientSession session, PermissionGate permissions, bool enforcesTiers, SupervisionDesk supervision, EventLog events) : IAdmission
{
    private const string SupervisionGate = "supervision";

    public bool IsNeeded => enforcesTiers || supervision.HasSupervisors;

    public async Task<Blocked?> AskAsync(AdmissionRequest request, CancellationToken abandoned)
    {
        if (enforcesTiers)
        {
            Blocked? blocked = AskTiers(request);
            Record(request, PermissionDecision.Gate, blocked is null ? "allow" : "deny", blocked?.Reason, null);
            if (blocked is not null) return Reject(request, PermissionDecision.Gate, blocked);
        }
        if (supervision.HasSupervisors) events.Flush();   // the journal should not keep back until the decision that there is something to decide
        SupervisionOutcome? outcome = await supervision.AskAsync(request, session.ClientId, abandoned);
        if (outcome is { End: SupervisionOutcome.Abandoned }) return null;
        if (outcome is not null)
        {
            Record(request, SupervisionGate, outcome.End, outcome.Reason, outcome.Reviewer);
            if (outcome.End != SupervisionWord.Allow) return Reject(request, SupervisionGate, new Blocked($"blocked by supervision: {Excerpt.Of(outcome.Reason!, EngineLimits.MaxRepeatedChars)}"));
        }
        if (enforcesTiers || outcome is not null)
            events.Record(EventKind.GateAccepted, null, request.Proposal.Id, new("caller", request.Caller), new("tenant", request.Tenant), new("decision", "allow"));
        return null;
    }

    private Blocked? AskTiers(AdmissionRequest request)
    {
        try
        {
            List<AgentAction> actions = request.Proposal.Actions;
            PermissionDecision[] decisions = permissions.Evaluate(actions, session.GrantedTier);
            for (int i = 0; i < decisions.Length; i++) decisions[i].Record(events, actions[i], request.Proposal.Id, request.Caller, request.Tenant);
            return Refusal(decisions);
        }
        catch (RefusedException refused)
        {
            return new Blocked($"blocked by the permission tier: {refused.Message}");
        }
    }

    /// <summary>Null when all are allowed.</summary>
    private static Blocked? Refusal(PermissionDecision[] decisions)
    {
        const string Begin = "blocked by the permission tier: ";
        int offending = decisions.Count(static decision => !decision.IsAllowed);
        if (offending == 0) return null;

        var reason = new StringBuilder(Begin);
        Dictionary<int, string>? own = null;
        int listed = 0;
        for (int i = 0; i < decisions.Length; i++)
        {
            PermissionDecision decision = decisions[i];
            if (decision.IsAllowed) continue;
            string sentence = string.Create(CultureInfo.InvariantCulture,
                $"action '{Excerpt.Of(decision.ActionId, EngineLimits.MaxRepeatedIdChars)}' (fingerprint {decision.Fingerprint}, requires {decision.Required}, granted {decision.Granted}): {decision.Reason}");
            if (listed++ < PermissionLimits.MaxListedActions) reason.Append(listed == 1 ? "" : "; ").Append(sentence);
            else (own ??= [])[i] = $"{Begin}{sentence}; and {offending - 1} more";
        }
        if (own is not null) reason.Append(CultureInfo.InvariantCulture, $"; and {own.Count} more");
        return new Blocked(reason.ToString(), own);
    }

    private void Record(AdmissionRequest request, string gate, string decision, string? reason, string? reviewer) =>
        events.Record(EventKind.AdmissionGateDecision, null, request.Proposal.Id, new("caller", request.Caller), new("tenant", request.Tenant),
            new("gate", gate), new("decision", decision), new("reason", reason), new("reviewer", reviewer));

    private Blocked Reject(AdmissionRequest request, string gate, Blocked blocked)
    {
        events.Record(EventKind.GateRejected, null, request.Proposal.Id, new("caller", request.Caller), new("tenant", request.Tenant),
            new("gate", gate), new("decision", "deny"), new("reason", blocked.Reason));
        return blocked;
    }
}

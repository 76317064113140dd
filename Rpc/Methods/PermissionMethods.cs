using System.Text.Json;
using System.Text.Json.Serialization;
using CarServer.Rpc.JsonRpc;
using CarServer.RunStore;
using CarServer.RunStore.Contracts;
using CarServer.State;
using CarServer.State.Engine;
using CarServer.State.Events;
using CarServer.State.Permissions;

namespace CarServer.Rpc.Methods;

/// <summary><c>permission.*</c>: what an action needs, what the session may do, and what people decided (protocol 12.1).</summary>
/// <remarks>A plan may be as large as a message, and decisions lie on disk: all but the tier itself work on the pool.</remarks>
internal static class PermissionMethods
{
    public static readonly Method[] Rows =
    [
        Method.Row("permission.get_tier", "{}", "What this connection's actions may do without anybody being asked.",
            Json.NoParams, Json.GrantedTierResult, static (call, _) => new(TierWord.Of(call.Session.GrantedTier))),
        Method.Row("permission.set_tier", "{ tier }", "Sets that tier for this connection: `read_only`, `sandbox_edit` or `full_access`.",
            Json.SetTierParams, Json.GrantedTierResult, SetTier, Access.Host),
        Method.Waiting("permission.classify", "{ proposal }", "What each action needs, and whether it can be undone.",
            Json.PermissionProposalParams, Json.ClassifyResult, ClassifyAsync),
        Method.Waiting("permission.evaluate", "{ proposal, skill? }", "Whether each action is allowed, needs an approval or is denied, by tier and decisions.",
            Json.PermissionEvaluateParams, Json.EvaluateResult, EvaluateAsync),
        Method.Waiting("permission.pending", "{ proposal, skill? }", "The actions that need an approval.",
            Json.PermissionEvaluateParams, Json.PendingResult, PendingAsync),
        Method.Waiting("permission.approve", "{ fingerprint, required_tier, reason?, evidence? } or { action, reason?, evidence? }",
            "Approves one action, by whomever it is proposed, up to a tier. Outlives the daemon.",
            Json.PermissionDecideParams, Json.ApprovalRecord,
            static (call, p) => DecideAsync(call, p, ApprovalWord.Approved), Access.Host),
        Method.Waiting("permission.reject", "{ fingerprint, required_tier, reason?, evidence? } or { action, reason?, evidence? }",
            "Rejects one action, by whomever it is proposed. Outlives the daemon.",
            Json.PermissionDecideParams, Json.ApprovalRecord,
            static (call, p) => DecideAsync(call, p, ApprovalWord.Rejected), Access.Host),
    ];

    private static GrantedTierResult SetTier(Call call, SetTierParams p)
    {
        call.Session.GrantedTier = TierWord.Parse(p.Tier);
        return new GrantedTierResult(p.Tier);
    }

    private static Task<ClassifyResult> ClassifyAsync(Call call, PermissionProposalParams p) => Task.Run(() =>
    {
        p.Proposal.Check();
        List<AgentAction> actions = p.Proposal.Actions;
        var rows = new Classification[actions.Count];
        for (int i = 0; i < rows.Length; i++)
        {
            ActionRisk risk = ActionRisk.Of(actions[i]);
            rows[i] = new Classification(actions[i].Id, actions[i].Tool, TierWord.Of(risk.Required), risk.Reversibility,
                actions[i] is { Reversibility: Reversibility.Compensable, Compensation: null });
        }
        return new ClassifyResult(rows, ActionRisk.Declared(actions));
    });

    private static Task<EvaluateResult> EvaluateAsync(Call call, PermissionEvaluateParams p)
    {
        PermissionTier granted = call.Session.GrantedTier;
        EventLog events = call.Session.Runtime.Events;
        return Task.Run(() =>
        {
            PermissionDecision[] decisions = Evaluate(call, p, granted, out PermissionTier? ceiling);
            for (int i = 0; i < decisions.Length; i++) decisions[i].Record(events, p.Proposal.Actions[i], p.Proposal.Id);
            events.Flush();
            return new EvaluateResult(decisions, ceiling is { } tier ? TierWord.Of(tier) : null);
        });
    }

    private static Task<PendingResult> PendingAsync(Call call, PermissionEvaluateParams p)
    {
        PermissionTier granted = call.Session.GrantedTier;
        return Task.Run(() => new PendingResult(Array.FindAll(Evaluate(call, p, granted, out _), static decision => decision.Decision == VerdictWord.NeedsApproval)));
    }

    private static PermissionDecision[] Evaluate(Call call, PermissionEvaluateParams p, PermissionTier granted, out PermissionTier? ceiling)
    {
        p.Proposal.Check();
        ceiling = Ceiling(p.Skill);
        return call.State.Permissions.Evaluate(p.Proposal.Actions, ceiling < granted ? ceiling.Value : granted);
    }

    /// <summary>The tier that a skill was deployed with. This daemon keeps no skills, so the caller has to bring what it knows of it.</summary>
    private static PermissionTier? Ceiling(RawJson skill)
    {
        if (skill.IsNull) return null;
        try
        {
            if (skill.Utf8[0] == (byte)'{' && Json.SkillParams.Parse(skill.Utf8) is { } known) return TierWord.Parse(known.DeploymentTier);
        }
        catch (JsonException)
        {
            // Told below.
        }
        throw new RefusedException("skill must be an object with its deployment_tier: this daemon knows no skill by its name", Refusal.Invalid);
    }

    private static Task<ApprovalRecord> DecideAsync(Call call, PermissionDecideParams p, string decision)
    {
        string reviewer = Reviewer(call);
        EventLog events = call.Session.Runtime.Events;
        return Task.Run(async () =>
        {
            ApprovalRecord record = Record(p, decision, reviewer, call.State.Clock.GetUtcNow().UtcDateTime);
            await call.State.Approvals.DecideAsync(record);
            events.Log(EventKind.ApprovalRecorded, p.Action?.Id, null, new("tool", p.Action?.Tool), new("decision", decision),
                new("required", record.RequiredTier), new("fingerprint", record.Fingerprint), new("reviewer", reviewer));
            return record;
        });
    }

    private static ApprovalRecord Record(PermissionDecideParams p, string decision, string reviewer, DateTime now)
    {
        if (p.Reason?.Length > PermissionLimits.MaxReasonChars) throw Invalid($"reason may have at most {PermissionLimits.MaxReasonChars} characters, got {p.Reason.Length}");
        if (p.Evidence.Utf8.Length > PermissionLimits.MaxEvidenceBytes) throw Invalid($"evidence may have at most {PermissionLimits.MaxEvidenceBytes} bytes, got {p.Evidence.Utf8.Length}");
        string fingerprint;
        string tier;
        if (p.Action is { } action)
        {
            if (p.Fingerprint is not null || p.RequiredTier is not null) throw Invalid("give either the action, or its fingerprint and required_tier");
            if (action.Problem() is { } problem) throw Invalid($"action: {problem}");
            (fingerprint, tier) = (Fingerprint.Of(action), TierWord.Of(ActionRisk.Of(action).Required));
        }
        else
        {
            if (p.Fingerprint is not { } given || p.RequiredTier is not { } required) throw Invalid("give the action, or its fingerprint and required_tier");
            if (!Fingerprint.IsOne(given)) throw Invalid($"fingerprint must be {Fingerprint.Chars} lower-case hex digits");
            (fingerprint, tier) = (given, required);
        }
        return new ApprovalRecord(fingerprint, tier, decision, reviewer, p.Reason ?? "", p.Evidence, now);
    }

    /// <summary>Who decides, in the words of the protocol: never what a caller says of itself.</summary>
    internal static string Reviewer(Call call) => call.Session.AgentId is { } agent ? $"agent:{agent}" : $"conn:{call.Session.ClientId}";

    private static RefusedException Invalid(string message) => new(message, Refusal.Invalid);
}

[ToJson]
internal sealed record GrantedTierResult([property: JsonConverter(typeof(TierWord))] string GrantedTier);

[FromJson]
internal sealed record SetTierParams([property: JsonConverter(typeof(TierWord))] string Tier);

[FromJson]
internal sealed record PermissionProposalParams(ActionProposal Proposal);

/// <param name="Skill">What the actions come from: <c>{ deployment_tier }</c>, which they cannot go beyond.</param>
[FromJson]
internal sealed record PermissionEvaluateParams(ActionProposal Proposal, RawJson Skill = default);

[FromJson]
internal sealed record SkillParams([property: JsonConverter(typeof(TierWord))] string DeploymentTier);

/// <param name="Action">Instead of fingerprint and tier, which are then the action's own.</param>
/// <param name="Evidence">Any JSON; kept with the decision.</param>
[FromJson]
internal sealed record PermissionDecideParams(
    string? Fingerprint = null, [property: JsonConverter(typeof(TierWord))] string? RequiredTier = null, AgentAction? Action = null, string? Reason = null, RawJson Evidence = default);

/// <param name="MissingCompensation">It declares that something can make up for it, and not what.</param>
internal sealed record Classification(string ActionId, string? Tool, [property: JsonConverter(typeof(TierWord))] string RequiredTier, Reversibility Reversibility, bool MissingCompensation);

/// <param name="DeclaredRollbackContract">The worst that the actions declare of themselves.</param>
[ToJson]
internal sealed record ClassifyResult(IReadOnlyList<Classification> Classifications, Reversibility DeclaredRollbackContract);

[ToJson]
internal sealed record EvaluateResult(
    IReadOnlyList<PermissionDecision> Decisions, [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull), JsonConverter(typeof(TierWord))] string? SkillCeiling);

[ToJson]
internal sealed record PendingResult(IReadOnlyList<PermissionDecision> Pending);

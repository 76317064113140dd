using System.Text.Json.Serialization;
using CarServer.State.Engine;
using CarServer.State.Events;

namespace CarServer.State.Permissions;

/// <summary>What the gate thinks of one action (protocol 12.1).</summary>
/// <param name="Granted">What the session may do by itself, a skill's ceiling taken into account.</param>
/// <param name="Reason">Why it is not simply allowed. Shows nothing of what the action carries.</param>
internal sealed record PermissionDecision(
    string ActionId, string Fingerprint, [property: JsonConverter(typeof(VerdictWord))] string Decision, [property: JsonConverter(typeof(TierWord))] string Required,
    Reversibility Reversibility, [property: JsonConverter(typeof(TierWord))] string Granted,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Reason = null)
{
    /// <summary>What events call this gate.</summary>
    public const string Gate = "permission_tier";

    [JsonIgnore]
    public bool IsAllowed => Decision == VerdictWord.Allow;

    public void Record(EventLog events, AgentAction action, string? proposalId, string? caller = null, string? tenant = null) =>
        events.Record(EventKind.PermissionDecision, ActionId, proposalId, new("caller", caller), new("tenant", tenant), new("tool", action.Tool),
            new("gate", Gate), new("decision", Decision), new("required", Required), new("granted", Granted), new("fingerprint", Fingerprint));
}

/// <summary>Weighs what actions need against what a session was granted and what people decided.</summary>
internal sealed class PermissionGate(ApprovalLedger ledger)
{
    /// <exception cref="RefusedException">The ledger can't be read: nobody knows then what was rejected.</exception>
    public PermissionDecision[] Evaluate(IReadOnlyList<AgentAction> actions, PermissionTier granted)
    {
        ApprovalLedger.Decisions decisions = ledger.Current();
        var evaluated = new PermissionDecision[actions.Count];
        for (int i = 0; i < evaluated.Length; i++)
        {
            ActionRisk risk = ActionRisk.Of(actions[i]);
            string fingerprint = Fingerprint.Of(actions[i]);
            (string verdict, string? reason) = Judge(risk.Required, granted, decisions.Find(fingerprint));
            evaluated[i] = new PermissionDecision(actions[i].Id, fingerprint, verdict, TierWord.Of(risk.Required), risk.Reversibility, TierWord.Of(granted), reason);
        }
        return evaluated;
    }

    private static (string, string?) Judge(PermissionTier required, PermissionTier granted, ApprovalLine? decided) => decided switch
    {
        { Decision: ApprovalWord.Rejected } => (VerdictWord.Deny, "this action was rejected"),
        { } approved when TierWord.Parse(approved.RequiredTier) >= required => (VerdictWord.Allow, null),
        _ when required <= granted && required != PermissionTier.FullAccess => (VerdictWord.Allow, null),
        { } approved => (VerdictWord.NeedsApproval, $"needs {TierWord.Of(required)}; it is approved for {approved.RequiredTier} only"),
        _ when required == PermissionTier.FullAccess => (VerdictWord.NeedsApproval, "full_access always needs an approval"),
        _ => (VerdictWord.NeedsApproval, $"needs {TierWord.Of(required)}; the session is granted {TierWord.Of(granted)}"),
    };
}

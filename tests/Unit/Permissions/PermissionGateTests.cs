using CarServer.RunStore;
using CarServer.State.Engine;
using CarServer.State.Permissions;
using CarServer.Tests.Support;
using CarServer.Tests.Unit.Engine;
using Microsoft.Extensions.Logging.Abstractions;

namespace CarServer.Tests.Unit.Permissions;

/// <summary>Each tier against each grant and each decision.</summary>
internal sealed class PermissionGateTests
{
    private static readonly Dictionary<PermissionTier, string> Actions = new()
    {
        [PermissionTier.ReadOnly] = """{"type":"tool_call","tool":"get_x"}""",
        [PermissionTier.SandboxEdit] = """{"type":"tool_call","tool":"write_x"}""",
        [PermissionTier.FullAccess] = """{"type":"tool_call","tool":"delete_x"}""",
    };

    public static IEnumerable<(PermissionTier Required, PermissionTier Granted, PermissionTier? Approved, bool Rejected)> Cases()
    {
        PermissionTier[] tiers = Enum.GetValues<PermissionTier>();
        foreach (PermissionTier required in tiers)
            foreach (PermissionTier granted in tiers)
                foreach (PermissionTier? decided in (PermissionTier?[])[null, .. tiers])
                    foreach (bool rejected in (bool[])[false, true])
                        if (decided is not null || !rejected) yield return (required, granted, decided, rejected);
    }

    [Test]
    [MethodDataSource(nameof(Cases))]
    public async Task A_rejection_denies_an_approval_reaches_as_far_as_it_was_given_and_full_access_always_needs_one(
        PermissionTier required, PermissionTier granted, PermissionTier? decided, bool rejected)
    {
        using var home = new TempHome();
        await using var appender = new Appender(NullLogger.Instance);
        var ledger = new ApprovalLedger(home.In("a"), appender, true, NullLogger.Instance);
        AgentAction action = TestEngine.Parse($$"""{"actions":[{{Actions[required]}}]}""").Actions[0];
        if (decided is { } tier) await ledger.DecideAsync(new ApprovalRecord(Fingerprint.Of(action), TierWord.Of(tier), rejected ? "rejected" : "approved", "", "", default, default));

        PermissionDecision decision = new PermissionGate(ledger).Evaluate([action], granted).Single();

        string expected = rejected ? "deny"
            : decided >= required ? "allow"
            : required == PermissionTier.FullAccess || required > granted ? "needs_approval"
            : "allow";
        await Assert.That(decision.Decision).IsEqualTo(expected);
        await Assert.That(decision.Required).IsEqualTo(TierWord.Of(required));
        await Assert.That(decision.Reason is null).IsEqualTo(expected == "allow");
    }
}

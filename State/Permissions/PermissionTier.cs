using CarServer.RunStore;

namespace CarServer.State.Permissions;

/// <summary>How much authority an action asks for, the least first (protocol 12.1).</summary>
internal enum PermissionTier
{
    /// <summary>Looks, and changes nothing.</summary>
    ReadOnly,
    /// <summary>Changes what the session has to itself; what a session may do unless somebody says otherwise.</summary>
    SandboxEdit,
    /// <summary>Reaches others, destroys, or touches secrets: always asks a human.</summary>
    FullAccess,
}

/// <summary>The tiers as the wire spells them.</summary>
internal sealed class TierWord() : WireWord(Spelled)
{
    private static readonly string[] Spelled = ["read_only", "sandbox_edit", "full_access"];

    public static string Of(PermissionTier tier) => Spelled[(int)tier];

    /// <param name="word">One that the converter has taken.</param>
    public static PermissionTier Parse(string word) => (PermissionTier)Array.IndexOf(Spelled, word);
}

/// <summary>What the gate thinks of an action.</summary>
internal sealed class VerdictWord() : WireWord(Allow, NeedsApproval, Deny)
{
    public const string Allow = "allow";
    public const string NeedsApproval = "needs_approval";
    public const string Deny = "deny";
}

/// <summary>What somebody decided about an action.</summary>
internal sealed class ApprovalWord() : WireWord(Approved, Rejected)
{
    public const string Approved = "approved";
    public const string Rejected = "rejected";
}

/// <summary>What happens when an agent asks for a tier.</summary>
internal sealed class ModeWord() : WireWord(AlwaysAllow, RequireApproval, "deny")
{
    public const string AlwaysAllow = "always_allow";
    public const string RequireApproval = "require_approval";
}

/// <summary>Postures that have a name: ask for everything; allow looking; ask only for what reaches others, destroys, or touches secrets.</summary>
internal sealed class PresetWord() : WireWord(Cautious, Balanced, Trusting)
{
    public const string Cautious = "cautious";
    public const string Balanced = "balanced";
    public const string Trusting = "trusting";
}

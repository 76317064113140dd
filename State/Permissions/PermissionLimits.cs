namespace CarServer.State.Permissions;

/// <summary>Bounds of what is decided and remembered about permissions, each with its reason.</summary>
internal static class PermissionLimits
{
    /// <summary>Characters of a reason that somebody gives for a decision: some sentences, which results and events repeat.</summary>
    public const int MaxReasonChars = 2_048;

    /// <summary>UTF-8 bytes of the evidence of a decision: a page of JSON. What is larger belongs where it can be linked to.</summary>
    public const int MaxEvidenceBytes = 16 * 1024;

    /// <summary>Bytes of a line of the ledger: evidence and reason at their largest, every character of the reason escaped, and the rest. A longer line is not ours.</summary>
    public const int MaxLineBytes = 32 * 1024;

    /// <summary>Fingerprints that the ledger holds a decision on. Each was one person's answer, and takes some two hundred bytes of memory.</summary>
    public const int MaxDecisions = 65_536;

    /// <summary>Bytes of the ledger, which is a record for people too and is never rewritten: some hundred thousand decisions of the usual length.</summary>
    public const int MaxLedgerBytes = 64 * 1024 * 1024;

    /// <summary>Offending actions that a refusal lists; each that is not among them is named in its own result.</summary>
    public const int MaxListedActions = 4;

    /// <summary>Agents with a posture of their own: more than anybody runs on one machine.</summary>
    public const int MaxAgents = 1_024;

    /// <summary>Characters of such an agent's id.</summary>
    public const int MaxAgentIdChars = 256;

    /// <summary>Bytes of the file of postures: all of these agents, with the longest ids.</summary>
    public const int MaxAgentsFileBytes = 2 * 1024 * 1024;
}

using CarServer.RunStore;
using CarServer.RunStore.Contracts;

namespace CarServer.State.Engine.Analysis;

internal enum Severity { Error, Warning, Info }

/// <summary>What kind of check a finding comes from; says nothing about how bad it is.</summary>
internal enum EvidenceTier
{
    /// <summary>It decides what it reports, from what it was given.</summary>
    DecisionProcedure,
    /// <summary>What it counts is exact; what that means is a guess.</summary>
    Heuristic,
    Sampled,
}

/// <summary>Something about one action that is wrong, or may be.</summary>
internal sealed record Issue(string ActionId, Severity Severity, string Message, EvidenceTier Tier);

/// <summary>What one check was good for.</summary>
/// <param name="Ran">False when the plan gave it nothing to look at.</param>
/// <param name="Findings">Issues it found, also those beyond what is listed.</param>
internal sealed record CheckRecord(string Name, bool Ran, string Verifies, string CannotVerify, int Findings, EvidenceTier Tier);

/// <summary>How far the verdict reaches.</summary>
/// <param name="Confidence">The share of what decides the plan's outcome that could be looked at, 0 to 1.</param>
internal sealed record VerificationEvidence(
    IReadOnlyList<CheckRecord> Checks, IReadOnlyList<string> Assumptions, IReadOnlyList<string> UntestedRegions,
    IReadOnlyList<string> ResidualRisks, double Confidence);

/// <summary>What <c>verify</c> answers (protocol 11.1).</summary>
/// <param name="Valid">No issue is an error.</param>
/// <param name="Issues">In the order of the actions.</param>
/// <param name="ExecutionLevels">Action ids, as the engine would run them.</param>
/// <param name="Conflicts">Two actions and the key that both write in no particular order.</param>
[ToJson]
internal sealed record Verification(
    bool Valid, IReadOnlyList<Issue> Issues, Dictionary<string, RawJson> SimulatedState,
    IReadOnlyList<string[]> ExecutionLevels, IReadOnlyList<string[]> Conflicts, VerificationEvidence Evidence);

namespace CarServer.State.Engine.Analysis;

/// <summary>What a verdict of <c>verify</c> rests on, and what it says nothing about.</summary>
internal static class Evidence
{
    public static VerificationEvidence Of(Census seen, Findings findings) => new(
        [.. Check.All.Select(check => new CheckRecord(check.Name, seen.Ran(check), check.Verifies, check.CannotVerify, findings.Of(check), check.Tier))],
        Assumptions(seen), UntestedRegions(seen), ResidualRisks(seen, findings), seen.Confidence);

    private static List<string> Assumptions(Census seen)
    {
        List<string> all = ["nobody else writes to the state between this answer and the plan's end"];
        if (seen.ToolCalls > 0) all.Add("every tool call succeeds and changes of the state exactly what its expected_effects declare");
        return all;
    }

    private static List<string> UntestedRegions(Census seen)
    {
        List<string> all = ["policies and permissions, which are applied when the plan is submitted"];
        if (seen.ToolCalls > 0) all.Add("what tools do and return");
        if (seen.WithoutSchema > 0) all.Add($"parameters of {seen.WithoutSchema} of {seen.ToolCalls} tool calls, whose tools declare nothing about them");
        return all;
    }

    private static List<string> ResidualRisks(Census seen, Findings findings)
    {
        List<string> all = [];
        if (seen.ToolCalls > 0) all.Add($"{seen.ToolCalls} tool calls may fail");
        if (seen.Irreversible > 0) all.Add($"{seen.Irreversible} tool calls are irreversible: a rollback restores the state, not what they did");
        if (seen.Unbounded > 0) all.Add($"{seen.Unbounded} tool calls have no timeout_ms");
        if (findings.LeftOut > 0) all.Add($"{findings.LeftOut} further issues are not listed");
        if (findings.Of(Check.Conflicts) > AnalysisLimits.MaxConflicts) all.Add($"{findings.Of(Check.Conflicts) - AnalysisLimits.MaxConflicts} further conflicts are not listed");
        return all;
    }
}

namespace CarServer.State.Engine.Analysis;

/// <summary>What a verdict of <c>verify</c> rests on, and what it says nothing about.</summary>
internal static class Evidence
{
    public static VerificationEvidence Of(ActionProposal proposal, ToolRegistry tools, Findings findings)
    {
        var seen = Census.Of(proposal, tools);
        return new VerificationEvidence(
            [.. Check.All.Select(check => new CheckRecord(check.Name, seen.Ran(check), check.Verifies, check.CannotVerify, findings.Of(check), check.Tier))],
            Assumptions(seen), UntestedRegions(seen), ResidualRisks(seen, findings), seen.Confidence);
    }

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

    /// <summary>What there is in a plan for the checks to look at.</summary>
    private sealed class Census
    {
        private readonly HashSet<Check> _idle = [Check.RepeatedCalls, Check.Tools, Check.Parameters, Check.Preconditions, Check.Assertions, Check.StateDependencies];
        private int _questions;
        private int _decided;

        public int ToolCalls { get; private set; }
        public int WithoutSchema { get; private set; }
        public int Irreversible { get; private set; }
        public int Unbounded { get; private set; }

        public bool Ran(Check check) => !_idle.Contains(check);

        /// <summary>
        /// Of each action: may it start? That is decided. Of a tool call also: do its parameters fit, which a schema decides, and will the
        /// tool do what is expected, which nothing decides.
        /// </summary>
        public double Confidence => _questions == 0 ? 1 : (double)_decided / _questions;

        public static Census Of(ActionProposal proposal, ToolRegistry tools)
        {
            var census = new Census();
            foreach (AgentAction action in proposal.Actions) census.Add(action, tools);
            return census;
        }

        private void Add(AgentAction action, ToolRegistry tools)
        {
            _questions++;
            _decided++;
            if (action.Preconditions.Count > 0) _idle.Remove(Check.Preconditions);
            if (action.StateDependencies.Count > 0) _idle.Remove(Check.StateDependencies);
            if (action.Type == ActionType.Assertion) _idle.Remove(Check.Assertions);
            if (action.Type != ActionType.ToolCall)
            {
                _idle.Remove(Check.Parameters);
                return;
            }
            ToolCalls++;
            _questions += 2;
            _idle.Remove(Check.Tools);
            _idle.Remove(Check.RepeatedCalls);
            if (action.Reversibility == Reversibility.Irreversible) Irreversible++;
            if (action.TimeoutMs is null) Unbounded++;
            if (action.Tool is { } tool && tools.Find(tool) is { } registered && registered.ChecksParameters)
            {
                _decided++;
                _idle.Remove(Check.Parameters);
            }
            else
            {
                WithoutSchema++;
            }
        }
    }
}

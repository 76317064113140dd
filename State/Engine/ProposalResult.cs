using System.Text.Json.Serialization;
using CarServer.RunStore.Contracts;

namespace CarServer.State.Engine;

/// <summary>How a proposal ended: one result per action, in the order of the actions.</summary>
[ToJson]
internal sealed record ProposalResult(string ProposalId, IReadOnlyList<ActionResult> Results, CostSummary Cost)
{
    /// <summary>What aborted it, in words; null when nothing did. Not for the wire: the results tell.</summary>
    [JsonIgnore]
    public string? Aborted { get; init; }
}

/// <summary>What a proposal cost (protocol 10.1, later form).</summary>
/// <param name="ToolCalls">Attempts handed to a tool, retries included. What a cache answered is not counted.</param>
/// <param name="ActionsExecuted">Succeeded and failed ones.</param>
/// <param name="ActionsSkipped">Never attempted.</param>
/// <param name="ActionsRejected">Stopped before dispatch.</param>
/// <param name="TotalDurationMs">From submission to result, by the clock on the wall: concurrent actions are not added up.</param>
/// <param name="Retries">Attempts after the first, over all actions.</param>
internal sealed record CostSummary(int ToolCalls, int ActionsExecuted, int ActionsSkipped, int ActionsRejected, double TotalDurationMs, int Retries)
{
    /// <summary>The cost of two proposals, one of which took the other's place.</summary>
    public CostSummary Plus(CostSummary next, double totalDurationMs) => new(ToolCalls + next.ToolCalls, ActionsExecuted + next.ActionsExecuted,
        ActionsSkipped + next.ActionsSkipped, ActionsRejected + next.ActionsRejected, totalDurationMs, Retries + next.Retries);
}

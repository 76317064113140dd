namespace CarServer.State.Engine;

/// <summary>How a proposal ended: one result per action, in the order of the actions.</summary>
internal sealed record ProposalResult(string ProposalId, IReadOnlyList<ActionResult> Results, CostSummary Cost);

/// <summary>What a proposal cost (protocol 10.1, later form).</summary>
/// <param name="ToolCalls">Attempts handed to a tool, retries included. What a cache answered is not counted.</param>
/// <param name="ActionsExecuted">Succeeded and failed ones.</param>
/// <param name="ActionsSkipped">Never attempted.</param>
/// <param name="ActionsRejected">Stopped before dispatch.</param>
/// <param name="TotalDurationMs">From submission to result, by the clock on the wall: concurrent actions are not added up.</param>
/// <param name="Retries">Attempts after the first, over all actions.</param>
internal sealed record CostSummary(int ToolCalls, int ActionsExecuted, int ActionsSkipped, int ActionsRejected, double TotalDurationMs, int Retries);

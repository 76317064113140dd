using System.Globalization;
using System.Text.Json;
using CarServer.RunStore;
using CarServer.RunStore.Contracts;

namespace CarServer.State.Events;

/// <summary>What a session's events come to (protocol 12.3).</summary>
/// <param name="TotalEvents">In memory now.</param>
/// <param name="ActionsSucceeded">Those answered from what was remembered, too.</param>
/// <param name="ActionsRejected">In neither of the rates: they were not dispatched.</param>
/// <param name="SuccessRate">Of the actions that succeeded or failed; 0 when there was none.</param>
/// <param name="CostUsd">Of the events in memory now.</param>
/// <param name="CumulativeCostUsd">Of all there ever were in this session. So are all counts.</param>
/// <param name="AvgLatencyMs">Of the actions that were dispatched.</param>
[ToJson]
internal sealed record MetricsSummary(
    int TotalEvents, long ActionsSucceeded, long ActionsFailed, long ActionsRejected, double SuccessRate, double ErrorRate,
    double CostUsd, double CumulativeCostUsd, long TokensIn, long TokensOut, double AvgLatencyMs, long ApprovalsRecorded, long PermissionDecisions,
    long GateRejections, long PolicyViolations, long GoalEvaluations, long GoalsMet, long GoalsUngrounded, IReadOnlyList<AgentCost> CostByAgent)
{
    public static MetricsSummary Of(EventLog log)
    {
        LoggedEvent[] events = log.Events();
        double cost = 0;
        foreach (LoggedEvent logged in events)
            if (logged.Kind == EventKind.InferenceMetered) cost += CostOf(logged);
        return log.Read(totals => Of(totals, events.Length, cost));
    }

    private static MetricsSummary Of(EventTotals totals, int events, double cost)
    {
        long succeeded = totals[EventKind.ActionSucceeded] + totals[EventKind.ActionDeduplicated], failed = totals[EventKind.ActionFailed];
        return new MetricsSummary(events, succeeded, failed, totals[EventKind.ActionRejected], Share(succeeded, succeeded + failed), Share(failed, succeeded + failed),
            cost, totals.CostUsd, totals.TokensIn, totals.TokensOut, totals.AverageLatencyMs, totals[EventKind.ApprovalRecorded], totals[EventKind.PermissionDecision],
            totals[EventKind.GateRejected], totals[EventKind.PolicyViolation], totals[EventKind.GoalEvaluated], totals.GoalsMet, totals.GoalsUngrounded, totals.Agents);
    }

    private static double Share(long part, long whole) => whole == 0 ? 0 : (double)part / whole;

    private static double CostOf(LoggedEvent logged)
    {
        if (!EventLine.TryParse(logged.Line, out EventLine line)) return 0;
        var reader = new Utf8JsonReader(line.Data.Span);
        reader.Read();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            bool isCost = reader.ValueTextEquals(EventKeys.CostUsd);
            reader.Read();
            if (isCost) return reader.TryGetDouble(out double cost) ? cost : 0;
            reader.Skip();
        }
        return 0;
    }
}

/// <summary>What is too much (protocol 12.3). Null: nothing is.</summary>
/// <param name="MinActions">With fewer actions that succeeded or failed, no rate of errors is high.</param>
[FromJson]
internal sealed record AlertThresholds(
    double? MaxCostUsd = null, double? MaxErrorRate = null, double? MaxAvgLatencyMs = null, long? MaxGoalsUngrounded = null, long MinActions = AlertThresholds.DefaultMinActions)
{
    public const long DefaultMinActions = 5;

    /// <exception cref="RefusedException">A threshold below 0.</exception>
    public void Check()
    {
        foreach ((string name, double? value) in (ReadOnlySpan<(string, double?)>)[("max_cost_usd", MaxCostUsd), ("max_error_rate", MaxErrorRate),
            ("max_avg_latency_ms", MaxAvgLatencyMs), ("max_goals_ungrounded", MaxGoalsUngrounded), ("min_actions", MinActions)])
            if (value < 0) throw new RefusedException($"{name} must not be negative", Refusal.Invalid);
    }

    /// <summary>What is over its threshold. Cost is that of the whole session.</summary>
    public List<MetricsAlert> Of(MetricsSummary summary)
    {
        var alerts = new List<MetricsAlert>();
        Compare(alerts, AlertKind.CostOverage, "cumulative cost in USD", summary.CumulativeCostUsd, MaxCostUsd);
        if (summary.ActionsSucceeded + summary.ActionsFailed >= MinActions) Compare(alerts, AlertKind.ErrorRate, "error rate", summary.ErrorRate, MaxErrorRate);
        Compare(alerts, AlertKind.Latency, "average latency in ms", summary.AvgLatencyMs, MaxAvgLatencyMs);
        Compare(alerts, AlertKind.GoalUngrounded, "goals evaluated without grounds", summary.GoalsUngrounded, MaxGoalsUngrounded);
        return alerts;
    }

    private static void Compare(List<MetricsAlert> alerts, AlertKind kind, string what, double observed, double? threshold)
    {
        if (observed > threshold)
            alerts.Add(new MetricsAlert(kind, string.Create(CultureInfo.InvariantCulture, $"{what}: {observed} is over {threshold}"), observed, threshold.Value));
    }
}

internal sealed record MetricsAlert(AlertKind Kind, string Message, double Observed, double Threshold);

internal enum AlertKind { CostOverage, ErrorRate, Latency, GoalUngrounded }

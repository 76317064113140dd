using CarServer.Rpc.JsonRpc;
using CarServer.RunStore;
using CarServer.RunStore.Contracts;
using CarServer.State.Events;

namespace CarServer.Rpc.Methods;

/// <summary><c>metrics.*</c>: what this connection's events come to (protocol 12.3).</summary>
internal static class MetricsMethods
{
    public static readonly Method[] Rows =
    [
        Method.Waiting("metrics.summary", "{}", "Outcomes, cost and latency of this connection.",
            Json.NoParams, Json.MetricsSummary, SummaryAsync),
        Method.Waiting("metrics.alerts", "{ max_cost_usd?, max_error_rate?, max_avg_latency_ms?, max_goals_ungrounded?, min_actions? }",
            "The same summary, and which of its figures are over the thresholds given.",
            Json.AlertThresholds, Json.MetricsAlertsResult, AlertsAsync),
    ];

    internal static Task<MetricsSummary> SummaryAsync(Call call, NoParams _)
    {
        EventLog log = call.Session.Runtime.Events;
        return EventMethods.OffTheLoopIfLong(log, () => MetricsSummary.Of(log));
    }

    internal static async Task<MetricsAlertsResult> AlertsAsync(Call call, AlertThresholds p)
    {
        p.Check();
        MetricsSummary summary = await SummaryAsync(call, default);
        return new MetricsAlertsResult(summary, p.Of(summary));
    }
}

[ToJson]
internal sealed record MetricsAlertsResult(MetricsSummary Summary, IReadOnlyList<MetricsAlert> Alerts);

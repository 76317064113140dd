using CarServer.State.Events;
using CarServer.Tests.Unit.Engine;

namespace CarServer.Tests.Unit.Events;

/// <summary>Protocol 12.3.</summary>
public sealed class MetricsTests
{
    [Test]
    public async Task Counts_cost_and_latency_survive_a_clear_and_the_cost_in_memory_does_not()
    {
        await using var engine = new TestEngine();
        EventLog log = engine.Runtime.Events;
        log.Record(EventKind.ActionSucceeded, "a", "p", new EventField(EventKeys.DurationMs, 10.0));
        log.Record(EventKind.ActionSucceeded, "a", "p", new EventField(EventKeys.DurationMs, 20.0));
        log.Record(EventKind.ActionFailed, "a", "p", new("error", "no"), new(EventKeys.DurationMs, 60.0));
        log.Record(EventKind.ActionRejected, "a", "p");
        log.Record(EventKind.PolicyViolation, "a", "p");
        log.Record(EventKind.GoalEvaluated, null, null, new("met", true), new("grounded", true));
        log.Record(EventKind.GoalEvaluated, null, null, new("met", false), new("grounded", false));
        log.Record(EventKind.InferenceMetered, null, null, new("agent", "cheap"), new("tokens_in", 10), new("tokens_out", 1), new("cost_usd", 0.25));
        log.Record(EventKind.InferenceMetered, null, null, new("agent", "dear"), new("tokens_in", 20), new("tokens_out", 2), new("cost_usd", 1.5));
        log.Record(EventKind.InferenceMetered, null, null, new("tokens_in", 5), new("cost_usd", 0.0));

        MetricsSummary summary = MetricsSummary.Of(log);
        await Assert.That(summary with { CostByAgent = [] }).IsEquivalentTo(new MetricsSummary(10, 2, 1, 1, 2.0 / 3, 1.0 / 3, 1.75, 1.75, 35, 3, 30, 0, 0, 0, 1, 2, 1, 1, []));
        await Assert.That(summary.CostByAgent).IsEquivalentTo((AgentCost[])[new("dear", 1, 20, 2, 1.5), new("cheap", 1, 10, 1, 0.25), new("unknown", 1, 5, 0, 0)]);

        log.Truncate(2);
        await Assert.That(MetricsSummary.Of(log).CostUsd).IsEqualTo(1.5);
        log.Truncate(0);
        MetricsSummary cleared = MetricsSummary.Of(log);
        await Assert.That(cleared with { CostByAgent = [] }).IsEquivalentTo(summary with { CostByAgent = [], TotalEvents = 0, CostUsd = 0 });
        await Assert.That(cleared.CostByAgent.Count).IsEqualTo(3);
    }

    [Test]
    public async Task Agents_beyond_the_limit_are_counted_together()
    {
        var totals = new EventTotals();
        for (int i = 0; i < EventTotals.MaxAgents + 10; i++) totals.Add(EventKind.InferenceMetered, [new("agent", $"a{i}"), new("cost_usd", 1.0)]);
        await Assert.That(totals.Agents.Length).IsEqualTo(EventTotals.MaxAgents + 1);
        await Assert.That(totals.Agents[0]).IsEqualTo(new AgentCost(EventTotals.OtherAgents, 10, 0, 0, 10));
        await Assert.That(totals.CostUsd).IsEqualTo(EventTotals.MaxAgents + 10);
    }

    [Test]
    public async Task A_figure_over_its_threshold_is_an_alert_and_one_at_it_is_not()
    {
        var summary = new MetricsSummary(0, 3, 1, 0, 0.75, 0.25, 0, 2, 0, 0, 7, 0, 0, 0, 0, 3, 1, 2, []);
        await Assert.That(Kinds(new AlertThresholds())).IsEqualTo("");
        await Assert.That(Kinds(new AlertThresholds(2, 0.25, 7, 2, 0))).IsEqualTo("");
        await Assert.That(Kinds(new AlertThresholds(1.9, 0.2, 6.9, 1, 0))).IsEqualTo("CostOverage ErrorRate Latency GoalUngrounded");
        await Assert.That(Kinds(new AlertThresholds(MaxErrorRate: 0, MinActions: 4))).IsEqualTo("ErrorRate");
        await Assert.That(Kinds(new AlertThresholds(MaxErrorRate: 0))).IsEqualTo("");
        await Assert.That(new AlertThresholds(MaxCostUsd: 1.5).Of(summary)[0]).IsEqualTo(new MetricsAlert(AlertKind.CostOverage, "cumulative cost in USD: 2 is over 1.5", 2, 1.5));

        string Kinds(AlertThresholds thresholds) => string.Join(' ', thresholds.Of(summary).Select(alert => alert.Kind));
    }
}

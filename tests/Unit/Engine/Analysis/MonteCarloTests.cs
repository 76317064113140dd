using System.Text.Json;
using CarServer.Rpc.Methods;
using CarServer.RunStore.Contracts;
using CarServer.State;
using CarServer.State.Engine.Analysis;
using CarServer.Tests.Support;

namespace CarServer.Tests.Unit.Engine.Analysis;

/// <summary><c>verify.monte_carlo</c> (protocol 11.2).</summary>
public class MonteCarloTests
{
    private const string Chain = """
        {"id":"a","type":"tool_call","tool":"t","expected_effects":{"x":1}},
        {"id":"b","type":"tool_call","tool":"u","expected_effects":{"y":1},"state_dependencies":["x"]},
        {"id":"c","type":"state_write","parameters":{"key":"z","value":1},"state_dependencies":["y"]}
        """;

    /// <summary>The first numbers of the algorithm's reference implementation for this seed.</summary>
    [Test]
    public async Task The_generator_is_SplitMix64()
    {
        var random = new SplitMix64(1234567);
        ulong[] first = [random.Next(), random.Next(), random.Next(), random.Next(), random.Next()];
        await Assert.That(first).IsEquivalentTo(new ulong[] { 6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821 });
    }

    [Test]
    public async Task The_same_seed_gives_the_same_bytes_and_another_seed_others()
    {
        string Told(ulong seed) => Json.TrialReport.Text(Plans.Try(Chain, config: new MonteCarloConfig(Seed: seed)));
        await Assert.That(Told(1)).IsEqualTo(Told(1));
        await Assert.That(Told(1)).IsNotEqualTo(Told(2));
    }

    [Test]
    public async Task When_every_tool_succeeds_each_trial_is_the_simulation_and_when_none_does_nothing_of_theirs_lands()
    {
        var random = new Random(44);
        for (int round = 0; round < 300; round++)
        {
            string actions = Plans.Random(random), state = Plans.RandomState(random);
            TrialReport all = Plans.Try(actions, state, """{"t0":1,"t1":1,"t2":1}""", config: new MonteCarloConfig(Trials: 3));
            var simulated = Plans.State(Plans.Simulate(actions, state));
            foreach (KeyDistribution key in all.StateDistribution)
            {
                string told = key.PPresent == 0 ? "-" : $"{key.Values.Single().Value} {key.Values.Single().Probability}";
                await Assert.That(told).IsEqualTo(simulated.TryGetValue(key.Key, out var value) ? $"{value} 1" : "-").Because($"{key.Key} of {actions} from {state}");
            }
            TrialReport none = Plans.Try(actions, state, """{"t0":0,"t1":0,"t2":0}""", config: new MonteCarloConfig(Trials: 3));
            var parsed = Plans.Parse(actions);
            for (int i = 0; i < parsed.Actions.Count; i++)
            {
                ActionOdds odds = none.ActionOutcomes[i];
                if (parsed.Actions[i].Tool is not null) await Assert.That(odds.PEffectsLanded).IsEqualTo(0);
                await Assert.That(odds.PRejected + odds.PFailed + odds.PEffectsLanded).IsEqualTo(1);
            }
        }
    }

    [Test]
    public async Task Failures_cascade_and_are_counted_where_they_began()
    {
        TrialReport report = Plans.Try(Chain, rates: """{"t":0,"u":1}""", config: new MonteCarloConfig(Trials: 10, RetryAttempts: 2));
        await Assert.That(string.Join(" | ", report.ActionOutcomes.Select(one => $"{one.ActionId} {one.PRejected} {one.PFailed} {one.PEffectsLanded} {one.MeanBlastRadius}")))
            .IsEqualTo("a 0 1 0 2 | b 1 0 0 0 | c 1 0 0 0");
        await Assert.That(report.ToolCalls).IsEqualTo(new Distribution(3, 3, 3, 3, 3));
        await Assert.That(report.ActionsExecuted).IsEqualTo(new Distribution(1, 1, 1, 1, 1));
        await Assert.That(report.PAllEffectsLanded).IsEqualTo(0);
        await Assert.That(report.PGoalReached).IsNull();
    }

    [Test]
    public async Task Rates_show_in_what_comes_out()
    {
        TrialReport report = Plans.Try(Chain, rates: """{"t":0.8,"u":0.5}""", goal: """{"key":"z","operator":"exists"}""", config: new MonteCarloConfig(Trials: 20_000));
        await Assert.That(report.PGoalReached!.Value).IsBetween(0.385, 0.415);
        await Assert.That(report.PAllEffectsLanded).IsEqualTo(report.PGoalReached.Value);
        await Assert.That(report.ActionOutcomes[0].MeanBlastRadius).IsEqualTo(2);
        await Assert.That(report.ActionOutcomes[1].MeanBlastRadius).IsEqualTo(1);
        await Assert.That(report.StateDistribution.Single(key => key.Key == "x").PPresent).IsBetween(0.785, 0.815);
        TrialReport retried = Plans.Try(Chain, rates: """{"t":0.5,"u":1}""", config: new MonteCarloConfig(Trials: 20_000, RetryAttempts: 1));
        await Assert.That(retried.PAllEffectsLanded).IsBetween(0.735, 0.765);
    }

    [Test]
    [Arguments("""{"key":"z","value":1}""", 1.0, "")]
    [Arguments("""{"key":"z","value":2}""", 0.0, "")]
    [Arguments("""[{"key":"z","operator":"gte","value":1},{"key":"x","operator":"exists"},{"key":"q","operator":"not_exists"}]""", 1.0, "")]
    [Arguments("""[{"key":"z","operator":"exists"},{"type":"tool_receipt","tool":"t"},{"description":"looks good"},{"other":1}]""", 0.0, "tool_receipt, looks good, goal[3]")]
    [Arguments("""[{"key":"z","operator":"resembles","value":1}]""", 0.0, "z resembles")]
    public async Task A_goal_is_reached_when_all_of_it_holds_and_can_be_known(string goal, double probability, string underivable)
    {
        TrialReport report = Plans.Try(Chain, rates: """{"t":1,"u":1}""", goal: goal, config: new MonteCarloConfig(Trials: 5));
        await Assert.That(report.PGoalReached).IsEqualTo(probability);
        await Assert.That(string.Join(", ", report.GoalUnderivableConditions)).IsEqualTo(underivable);
    }

    [Test]
    [Arguments("[]")]
    [Arguments("7")]
    [Arguments("[7]")]
    public async Task What_is_no_goal_is_refused(string goal) => await Assert.That(() => Plans.Try(Chain, goal: goal)).Throws<RefusedException>();

    [Test]
    [Arguments(0, 0)]
    [Arguments(-1, 0)]
    [Arguments(1_000_000_000, 0)]
    [Arguments(AnalysisLimits.MaxTrials + 1, 0)]
    [Arguments(1, AnalysisLimits.MaxRetryAttempts + 1)]
    [Arguments(1, -1)]
    public async Task Numbers_out_of_range_are_refused(int trials, int retries) =>
        await Assert.That(() => Plans.Try(Chain, config: new MonteCarloConfig(Trials: trials, RetryAttempts: retries))).Throws<RefusedException>();

    [Test]
    public async Task The_most_trials_are_taken_and_too_much_work_is_refused()
    {
        await Assert.That(Plans.Try(Chain, config: new MonteCarloConfig(Trials: AnalysisLimits.MaxTrials)).Trials).IsEqualTo(AnalysisLimits.MaxTrials);
        string many = string.Join(',', Enumerable.Range(0, 1_000).Select(i => $$"""{"id":"a{{i}}","type":"tool_call","tool":"t","expected_effects":{"k{{i}}":1} }"""));
        RefusedException refused = (await Assert.That(() => Plans.Try(many, config: new MonteCarloConfig(Trials: AnalysisLimits.MaxTrials), steps: 1_000_000)).Throws<RefusedException>())!;
        await Assert.That(refused.Message).Contains("fewer trials");
    }

    [Test]
    public async Task Rates_come_from_the_caller_then_from_runs_then_from_the_default_and_are_clamped()
    {
        var recorded = new Trajectories(3, new Dictionary<string, ToolRecord> { ["t0"] = new(8, 8), ["t1"] = new(0, 8), ["other"] = new(1, 1) });
        RateProvenance rates = RateProvenance.Of(
            Plans.Parse("""{"id":"a","type":"tool_call","tool":"t2"},{"id":"b","type":"tool_call","tool":"t1"},{"id":"c","type":"tool_call","tool":"t0"},{"id":"d","type":"tool_call","tool":"t3"},{"id":"e","type":"tool_call"}"""),
            new Dictionary<string, double> { ["t0"] = 7, ["t3"] = -1, ["unused"] = 0.5 }, recorded, 30, 9);
        await Assert.That(string.Join(" | ", rates.Tools)).IsEqualTo(string.Join(" | ", new ToolRate[]
        {
            new("t0", 1, RateSource.Caller, null, null), new("t1", 0.1, RateSource.Trajectories, 0, 8),
            new("t2", 1, RateSource.Default, null, null), new("t3", 0, RateSource.Caller, null, null),
        }.Select(rate => rate.ToString())));
        await Assert.That(string.Join(',', rates.OverriddenByCaller)).IsEqualTo("t0");
        await Assert.That(rates.TrajectoriesAvailable).IsEqualTo(3);
    }

    [Test]
    [Arguments("5", "5 5 5 5 5")]
    [Arguments("1,2", "1.5 1 1 2 2")]
    [Arguments("3,1,2,4", "2.5 1 2 4 4")]
    public async Task A_distribution_is_made_of_numbers_that_occurred(string numbers, string expected)
    {
        Distribution all = Distribution.Of([.. numbers.Split(',').Select(long.Parse)]);
        await Assert.That(FormattableString.Invariant($"{all.Mean} {all.Min} {all.P50} {all.P95} {all.Max}")).IsEqualTo(expected);
    }
}

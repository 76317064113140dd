using CarServer.RunStore;
using CarServer.State;
using CarServer.State.Engine;
using CarServer.State.Engine.Analysis;
using CarServer.State.Engine.Tools;

namespace CarServer.Tests.Unit.Engine.Analysis;

/// <summary><c>simulate</c>, <c>equivalent</c> and <c>optimize</c> (protocol 11.2).</summary>
public class SimulationTests
{
    private const string A = """{"id":"a","type":"state_write","parameters":{"key":"k","value":1},"state_dependencies":["s"]}""";
    private const string B = """{"id":"b","type":"tool_call","tool":"t","expected_effects":{"m":2},"state_dependencies":["k"]}""";

    [Test]
    [Arguments(A, "{}", "{}")]
    [Arguments(A + "," + B, "{}", "{}")]
    [Arguments(A + "," + B, """{"s":0}""", """{"k":1,"m":2,"s":0}""")]
    [Arguments("""{"id":"a","type":"tool_call","expected_effects":{"m":2}}""", "{}", "{}")]
    [Arguments("""{"id":"a","type":"assertion","parameters":{"key":"s","value":2},"expected_effects":{"m":2}}""", """{"s":1}""", """{"s":1}""")]
    [Arguments("""{"id":"a","type":"state_write","parameters":{"key":"k","value":1},"expected_effects":{"k":2}}""", "{}", """{"k":2}""")]
    [Arguments("""{"id":"a","type":"state_write","parameters":{"key":"k"}}""", "{}", """{"k":null}""")]
    [Arguments("""{"id":"a","type":"state_write","parameters":{"key":"tenant:k"},"expected_effects":{"m":1}}""", "{}", "{}")]
    public async Task A_blocked_action_changes_nothing_and_who_needs_it_drops_out(string actions, string before, string after)
    {
        await Assert.That(Plans.Simulate(actions, before)).IsEqualTo(after);
    }

    /// <summary>The engine itself is the judge: every tool is there and succeeds, and no end of an action matters to the others.</summary>
    [Test]
    public async Task What_is_simulated_is_what_the_engine_leaves_behind()
    {
        var random = new Random(11);
        for (int round = 0; round < 500; round++)
        {
            string actions = Plans.Random(random, toolsAreKnown: true), state = Plans.RandomState(random);
            await using var engine = new TestEngine("t0", "t1", "t2");
            foreach ((string key, RawJson value) in Plans.State(state)) engine.Runtime.State.Set(null, key, value);
            await engine.SubmitAsync(actions);
            string ran = Plans.Text(engine.Runtime.State.Snapshot(null));
            if (Plans.Simulate(actions, state) != ran) Assert.Fail($"simulated {Plans.Simulate(actions, state)}, ran {ran}: {actions} from {state}");
        }
    }

    [Test]
    public async Task Two_plans_are_compared_by_what_they_leave_behind()
    {
        const string One = """{"id":"a","type":"state_write","parameters":{"key":"k","value":1}}""", Float = """{"id":"z","type":"tool_call","tool":"t","expected_effects":{"k":1.0}}""";
        const string Other = """{"id":"a","type":"state_write","parameters":{"key":"k","value":2}}""", NeedsX = """{"id":"a","type":"state_write","parameters":{"key":"k","value":1},"state_dependencies":["x"]}""";
        await Assert.That(Compare(One, Float)).IsEqualTo(new EquivalenceResult(true, 2, true));
        await Assert.That(Compare(One, Other)).IsEqualTo(new EquivalenceResult(false, 1, true));
        await Assert.That(Compare(One, NeedsX)).IsEqualTo(new EquivalenceResult(false, 1, true));
        await Assert.That(Compare(One, NeedsX, """{"x":0}""")).IsEqualTo(new EquivalenceResult(true, 1, false));
        await Assert.That(Compare("", NeedsX, "{}", """{"x":0}""", "{}")).IsEqualTo(new EquivalenceResult(false, 2, false));
        await Assert.That(() => Compare("", "", [.. Enumerable.Repeat("{}", AnalysisLimits.MaxTestStates + 1)])).Throws<RefusedException>();
        await Assert.That(Compare("", "", [.. Enumerable.Repeat("{}", AnalysisLimits.MaxTestStates)]).StatesTested).IsEqualTo(AnalysisLimits.MaxTestStates);
    }

    [Test]
    public async Task A_plan_is_equivalent_to_itself_and_order_of_asking_does_not_matter()
    {
        var random = new Random(22);
        int same = 0;
        for (int round = 0; round < 500; round++)
        {
            string first = Plans.Random(random), second = random.Next(2) == 0 ? Plans.Random(random) : first.Replace("\"t1\"", "\"t2\"").Replace("1.0", "1");
            await Assert.That(Compare(first, first).Equivalent).IsTrue();
            bool equivalent = Compare(first, second).Equivalent;
            await Assert.That(Compare(second, first).Equivalent).IsEqualTo(equivalent);
            if (equivalent) same++;
        }
        await Assert.That(same).IsBetween(50, 450);
    }

    [Test]
    [Arguments("""{"actions":[{"id":"a","type":"state_read","state_dependencies":["x"]}]}""", """{"actions":[{"id":"a","type":"state_read","state_dependencies":[]}]}""", "a:x")]
    [Arguments("""{"mine":[1.50],"actions":[{"state_dependencies":["x","k","x"],"more":{"state_dependencies":["x"]},"id":"a","type":"state_read"},{"id":"b","type":"state_write","parameters":{"key":"k"}}]}""",
        """{"mine":[1.50],"actions":[{"state_dependencies":["k"],"more":{"state_dependencies":["x"]},"id":"a","type":"state_read"},{"id":"b","type":"state_write","parameters":{"key":"k"}}]}""", "a:x")]
    [Arguments("""{"actions":[{"id":"a","type":"tool_call","tool":"t","expected_effects":{"x":1},"state_dependencies":["x"]}]}""", null, "")]
    [Arguments("""{"actions":[]}""", null, "")]
    public async Task Dependencies_on_what_nobody_writes_go_and_all_else_stays(string before, string? after, string pruned)
    {
        OptimizeResult result = Optimizer.Optimize(TestEngine.Parse(before), RawJson.Parse(before));
        await Assert.That(result.Proposal.ToString()).IsEqualTo(after ?? before);
        await Assert.That(string.Join(' ', result.Pruned.Select(one => $"{one.Key}:{string.Join(',', one.Value)}"))).IsEqualTo(pruned);
    }

    [Test]
    [Arguments("""{"actions":[{"type":"state_read","state_dependencies":["x"]},{"id":"b","type":"state_read"}]}""")]
    [Arguments("""{"actions":[{"type":"state_read","id":null,"state_dependencies":["x"]},{"id":"b","type":"state_read"}]}""")]
    public async Task A_pruned_action_without_an_id_gets_the_one_it_is_told_by(string before)
    {
        OptimizeResult result = Optimizer.Optimize(TestEngine.Parse(before), RawJson.Parse(before));
        ActionProposal after = TestEngine.Parse(result.Proposal.ToString());
        await Assert.That(after.Actions[0].Id).IsEqualTo(result.Pruned.Single().Key);
        await Assert.That(after.Actions[0].StateDependencies).IsEmpty();
        await Assert.That(after.Actions[1].Id).IsEqualTo("b");
    }

    /// <summary>From any state that has what the plan takes for granted.</summary>
    [Test]
    public async Task An_optimized_plan_does_the_same()
    {
        var random = new Random(33);
        int pruned = 0;
        for (int round = 0; round < 500; round++)
        {
            string text = $$"""{"id":"p","actions":[{{Plans.Random(random)}}]}""", state = """{"a":1,"b":"x","c":1.0,"d":1}""";
            OptimizeResult result = Optimizer.Optimize(TestEngine.Parse(text), RawJson.Parse(text));
            pruned += result.Pruned.Count;
            ActionProposal before = TestEngine.Parse(text), after = TestEngine.Parse(result.Proposal.ToString());
            ToolRegistry tools = Plans.Tools("t0", "t1");
            await Assert.That(Told(after)).IsEqualTo(Told(before)).Because(text);
            string again = result.Proposal.ToString();
            await Assert.That(Optimizer.Optimize(TestEngine.Parse(again), RawJson.Parse(again)).Pruned).IsEmpty();

            string Told(ActionProposal plan)
            {
                Verification verification = Verifier.Verify(plan, Plans.State(state), tools, Plans.Effort);
                return Plans.Text(Simulator.Simulate(plan, Plans.State(state), Plans.Effort)) + Plans.Text(verification.SimulatedState)
                    + string.Join('|', verification.ExecutionLevels.Select(level => string.Join(',', level)))
                    + string.Join('|', verification.Issues) + string.Join('|', verification.Conflicts.Select(conflict => string.Join(',', conflict)));
            }
        }
        await Assert.That(pruned).IsGreaterThan(50);
    }

    [Test]
    public async Task Ids_that_repeat_are_refused()
    {
        const string Twice = """{"id":"a","type":"state_read"},{"id":"a","type":"state_read"}""";
        await Assert.That(() => Plans.Simulate(Twice)).Throws<RefusedException>();
        await Assert.That(() => Compare("", Twice)).Throws<RefusedException>();
        await Assert.That(() => Optimizer.Optimize(Plans.Parse(Twice), RawJson.EmptyObject)).Throws<RefusedException>();
        await Assert.That(() => Plans.Try(Twice)).Throws<RefusedException>();
    }

    private static EquivalenceResult Compare(string first, string second, params string[] states) =>
        Equivalence.Compare(Plans.Parse(first), Plans.Parse(second), [.. states.Select(Plans.State)], Plans.Effort);
}

using System.Text;
using CarServer.Rpc.Methods;
using CarServer.RunStore;
using CarServer.RunStore.Contracts;
using CarServer.State.Engine;
using CarServer.State.Engine.Analysis;
using CarServer.State.Engine.Tools;

namespace CarServer.Tests.Bench;

/// <summary>What is asked about plans. Ten times the actions may take twelve times the time.</summary>
internal static class AnalysisCases
{
    public static IEnumerable<Case> All()
    {
        yield return new Case("verify of 10,000 actions", "ten times verify of 1,000", Shown.Milliseconds, Verify(10_000, 1), Verify(1_000, 10));
        yield return new Case("1,000 trials of 100 actions", "100,000 simulated actions", Shown.Milliseconds, Trials(), Simulations());
    }

    /// <summary>Writes, calls and reads that depend on each other.</summary>
    private static ActionProposal Plan(int actions)
    {
        string text = string.Join(',', Enumerable.Range(0, actions).Select(i => (i % 3) switch
        {
            0 => $$"""{"id":"a{{i}}","type":"state_write","parameters":{"key":"k{{i}}","value":{{i}} } }""",
            1 => $$"""{"id":"a{{i}}","type":"tool_call","tool":"t","parameters":{"n":{{i}} },"state_dependencies":["k{{i - 1}}"],"expected_effects":{"k{{i}}":1} }""",
            _ => $$"""{"id":"a{{i}}","type":"assertion","parameters":{"key":"k{{i - 2}}","value":{{i - 2}} },"state_dependencies":["k{{i - 1}}"],"preconditions":[{"key":"k{{i - 1}}","value":1}] }""",
        }));
        return Json.ActionProposal.Parse(Encoding.UTF8.GetBytes($$"""{"id":"p","actions":[{{text}}]}"""))!;
    }

    private static Measure Verify(int actions, int times)
    {
        ActionProposal plan = Plan(actions);
        var tools = new ToolRegistry();
        tools.Register([new ToolDefinition { Name = "t" }]);
        var empty = new Dictionary<string, RawJson>();
        return Timed.Loop(rounds =>
        {
            for (int i = 0; i < rounds * times; i++)
            {
                if (!Verifier.Verify(plan, empty, tools, new Effort(CancellationToken.None)).Valid) throw new InvalidOperationException("the plan should be valid");
            }
        });
    }

    private static Measure Trials()
    {
        ActionProposal plan = Plan(100);
        RateProvenance rates = RateProvenance.Of(plan, null, Trajectories.None, 0, 0.5);
        var empty = new Dictionary<string, RawJson>();
        return Timed.Loop(rounds =>
        {
            for (int i = 0; i < rounds; i++) MonteCarlo.Run(plan, empty, default, new MonteCarloConfig(), rates, new Effort(CancellationToken.None));
        });
    }

    private static Measure Simulations()
    {
        ActionProposal plan = Plan(10_000);
        var empty = new Dictionary<string, RawJson>();
        return Timed.Loop(rounds =>
        {
            for (int i = 0; i < rounds * 10; i++) Simulator.Simulate(plan, empty, new Effort(CancellationToken.None));
        });
    }
}

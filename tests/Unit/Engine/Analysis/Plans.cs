using System.Text.Json;
using CarServer.Rpc.Methods;
using CarServer.RunStore.Contracts;
using CarServer.RunStore;
using CarServer.State.Engine;
using CarServer.State.Engine.Analysis;
using CarServer.State.Engine.Tools;
using CarServer.Tests.Support;

namespace CarServer.Tests.Unit.Engine.Analysis;

/// <summary>Plans and what is asked about them, in few words.</summary>
internal static class Plans
{
    public static ActionProposal Parse(string actions) => TestEngine.Parse($$"""{"id":"p","actions":[{{actions}}]}""");

    public static Dictionary<string, RawJson> State(string json) => Json.MapOfRaw.Parse(json)!;

    public static string Text(Dictionary<string, RawJson> state) =>
        "{" + string.Join(',', state.OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => $"\"{pair.Key}\":{pair.Value}")) + "}";

    public static Effort Effort => Steps(AnalysisLimits.MaxSteps);

    public static Effort Steps(long steps) => new(CancellationToken.None, steps);

    public static ToolRegistry Tools(params string[] definitions)
    {
        var tools = new ToolRegistry();
        tools.Register([.. definitions.Select(definition => definition[0] == '{'
            ? Json.ToolDefinition.Parse(definition)!
            : new ToolDefinition { Name = definition })]);
        return tools;
    }

    public static Verification Verify(string actions, string state = "{}", params string[] tools) =>
        Verifier.Verify(Parse(actions), State(state), Tools(tools), Effort);

    public static string Simulate(string actions, string state = "{}") => Text(Simulator.Simulate(Parse(actions), State(state), Effort));

    public static TrialReport Try(string actions, string state = "{}", string rates = "{}", string goal = "null", MonteCarloConfig? config = null, long steps = AnalysisLimits.MaxSteps)
    {
        ActionProposal proposal = Parse(actions);
        config ??= new MonteCarloConfig();
        var given = Json.MapOfDouble.Parse(rates);
        return MonteCarlo.Run(proposal, State(state), RawJson.Parse(goal), config, RateProvenance.Of(proposal, given, Trajectories.None, 30, config.DefaultSuccessRate), Steps(steps));
    }

    /// <summary>A plan of any shape: state actions and tool calls, in every way ordered, gated and failing.</summary>
    public static string Random(Random random, bool toolsAreKnown = false)
    {
        int count = random.Next(1, 12);
        return string.Join(',', Enumerable.Range(0, count).Select(i =>
        {
            string key = Key(random), behavior = toolsAreKnown ? "skip" : random.Next(3) switch { 0 => "abort", 1 => "retry", _ => "skip" };
            string what = random.Next(4) switch
            {
                0 => $$"""{"id":"a{{i}}","type":"state_write","parameters":{"key":"{{key}}","value":{{Value(random)}} }""",
                1 => $$"""{"id":"a{{i}}","type":"state_read","parameters":{"key":"{{key}}"}""",
                2 => $$"""{"id":"a{{i}}","type":"assertion","parameters":{"key":"{{key}}","operator":"{{Operator(random)}}","value":{{Value(random)}} }""",
                _ => $$"""{"id":"a{{i}}","type":"tool_call","tool":"t{{random.Next(3)}}","parameters":{"n":{{i}} }""",
            };
            string more = "";
            if (random.Next(3) == 0) more += $$""","state_dependencies":["{{Key(random)}}"]""";
            if (random.Next(3) == 0) more += $$""","dependencies":["a{{random.Next(count)}}"]""";
            if (random.Next(3) == 0) more += $$""","preconditions":[{"key":"{{Key(random)}}","operator":"{{Operator(random)}}","value":{{Value(random)}} }]""";
            if (random.Next(2) == 0) more += $$""","expected_effects":{"{{Key(random)}}":{{Value(random)}} }""";
            return $"{what},\"failure_behavior\":\"{behavior}\"{more}}}";
        }));
    }

    public static string RandomState(Random random) =>
        "{" + string.Join(',', "abcd".Where(_ => random.Next(2) == 0).Select(key => $"\"{key}\":{Value(random)}")) + "}";

    private static string Key(Random random) => ((char)('a' + random.Next(4))).ToString();
    private static string Value(Random random) => random.Next(3) switch { 0 => "1", 1 => "1.0", _ => "\"x\"" };
    private static string Operator(Random random) => random.Next(5) switch { 0 => "eq", 1 => "neq", 2 => "gte", 3 => "exists", _ => "not_exists" };
}

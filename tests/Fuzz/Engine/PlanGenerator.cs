namespace CarServer.Tests.Fuzz.Engine;

/// <summary>Draws sessions in which much goes wrong: few keys, few tools, few values, so that actions meet.</summary>
internal sealed class PlanGenerator(Random random)
{
    /// <summary>Takes anything.</summary>
    public static readonly string[] FreeTools = ["t", "u"];

    /// <summary>Needs <c>n</c>, a number.</summary>
    public const string StrictTool = "strict";

    private static readonly string[] Tools = [.. FreeTools, StrictTool, "ghost"];
    private static readonly string[] Keys = ["a", "b", "c", "d"];
    private static readonly string[] Values = ["0", "1", "1.0", "2.5", "\"1\"", "\"abc\"", "\"b\"", "null", "true", "[1,\"b\"]", """{"x":1}"""];
    private static readonly string[] Parameters = ["{}", """{"x":1}""", """{"x":"a b"}""", """{"n":1}""", """{"n":"one"}""", """{"n":2,"x":"b"}"""];
    private static readonly string?[] Operators = ["eq", "neq", "gt", "lt", "gte", "lte", "exists", "not_exists", "contains", "about", null];
    private static readonly string[] Behaviors = ["abort", "retry", "skip"];
    private static readonly string?[] Tenants = [null, null, "t1", "t2"];

    public SessionPlan Session()
    {
        string? tenant = Any(Tenants);
        return new([.. random.Next(3) == 0 ? Several(3, Rule) : []],
            [.. Enumerable.Range(0, 1 + random.Next(4)).Select(i => Proposal($"p{i}", random.Next(3) == 0 ? Any(Tenants) : tenant))]);
    }

    private Rule Rule(int i) => random.Next(3) switch
    {
        0 => new Rule($"r{i}", "deny_tool", Target: Any(Tools)),
        1 => new Rule($"r{i}", "deny_tool_param", Target: Any(Tools), Key: "x", Pattern: Any(["b", "1", "zz"])),
        _ => new Rule($"r{i}", "require_state", Key: Any(Keys), Value: Any(Values)),
    };

    private Plan Proposal(string id, string? tenant)
    {
        int count = random.Next(10) == 0 ? random.Next(20) : random.Next(7);
        // A proposal with one mood shows long concurrent levels, and long sequential ones; a mixed one shows everything else.
        string? mood = random.Next(3) switch { 0 => "skip", 1 => Any(Behaviors), _ => null };
        return new Plan(id, tenant, [.. Enumerable.Range(0, count).Select(i => Action(i, count, mood))]);
    }

    private PlannedAction Action(int i, int count, string? mood)
    {
        string type = random.Next(10) switch { < 5 => "tool_call", < 7 => "state_write", < 8 => "state_read", _ => "assertion" };
        return new PlannedAction($"a{i}", type)
        {
            Tool = type == "tool_call" && random.Next(30) > 0 ? Any(random.Next(3) > 0 ? FreeTools : Tools) : null,
            ToolParameters = random.Next(2) == 0 ? "{}" : Any(Parameters),
            Operand = random.Next(30) > 0 ? Condition() : null,
            Preconditions = [.. random.Next(4) == 0 ? Several(2, _ => Condition()) : []],
            Effects = [.. (random.Next(3) == 0 ? Several(2, _ => (Any(Keys), Any(Values))) : []).DistinctBy(effect => effect.Item1)],
            StateDependencies = [.. random.Next(4) == 0 ? Several(2, _ => Any(Keys)) : []],
            Dependencies = [.. random.Next(3) == 0 ? Several(2, _ => $"a{(random.Next(12) == 0 ? random.Next(count + 1) : random.Next(i + 1))}") : []],
            Idempotent = random.Next(3) > 0,
            Behavior = mood is not null && random.Next(12) > 0 ? mood : Any(Behaviors),
            MaxRetries = random.Next(4),
            TimeoutMs = random.Next(4) == 0 ? random.Next(4) * 100 : null,
            Script = [.. Enumerable.Range(0, 1 + random.Next(3)).Select(_ => Attempt())],
        };
    }

    private Condition Condition() => new(random.Next(40) == 0 ? "tenant:t1:a" : Any(Keys), Any(Operators), Any(Values));

    /// <summary>Half of the attempts end at once. The others take what is no whole number of milliseconds: none ends together with a timer.</summary>
    private Attempt Attempt() => new(random.Next(2) == 0 ? 0 : 1 + 10 * random.Next(400_000), random.Next(3) > 0);

    private IEnumerable<T> Several<T>(int most, Func<int, T> draw) => Enumerable.Range(0, random.Next(most + 1)).Select(draw);

    private T Any<T>(IReadOnlyList<T> from) => from[random.Next(from.Count)];
}

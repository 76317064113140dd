using System.Text;
using CarServer.State;
using CarServer.State.Engine;
using CarServer.State.Engine.Analysis;

namespace CarServer.Tests.Unit.Engine.Analysis;

/// <summary>Each check of protocol 11.1, alone.</summary>
public class VerifierTests
{
    private const string Typed = """{"name":"typed","parameters":{"type":"object","properties":{"path":{"type":"string"}},"required":["path"]}}""";

    private static string Issues(Verification verification) => string.Join(" | ", verification.Issues.Select(issue =>
        $"{issue.ActionId} {issue.Severity.ToString().ToLowerInvariant()} {issue.Message}{(issue.Tier == EvidenceTier.Heuristic ? " *" : "")}"));

    private static string Call(string id, string tool, string more = "") => $$"""{"id":"{{id}}","type":"tool_call","tool":"{{tool}}"{{more}} }""";
    private static string Write(string id, string key, string more = "") => $$"""{"id":"{{id}}","type":"state_write","parameters":{"key":"{{key}}","value":1}{{more}} }""";

    public static IEnumerable<(string Actions, string State, string Issues)> Cases()
    {
        // nothing is wrong
        yield return ("", "{}", "");
        yield return (Write("a", "k") + "," + Write("b", "n", ""","state_dependencies":["k"]"""), "{}", "");
        yield return (Call("a", "plain"), "{}", "");
        yield return (Call("a", "typed", ""","parameters":{"path":"x","more":1}"""), "{}", "");
        // tools
        yield return (Call("a", "nope"), "{}", "a error tool 'nope' is not registered");
        yield return ("""{"id":"a","type":"tool_call"}""", "{}", "a error tool_call action has no tool specified");
        // parameters
        yield return (Call("a", "typed"), "{}", "a error missing required parameter 'path' for tool 'typed'");
        yield return (Call("a", "typed", ""","parameters":{"path":42}"""), "{}", "a error tool 'typed' parameter validation: value is not of type \"string\" (at /path)");
        yield return ("""{"id":"a","type":"state_write"}""", "{}", "a error state_write action needs parameters.key, a string");
        yield return ("""{"id":"a","type":"state_read","parameters":{"key":7}}""", "{}", "a error state_read action needs parameters.key, a string");
        yield return (Write("a", "tenant:t:k"), "{}", "a error state keys that start with 'tenant:' belong to tenants: give the tenant's id instead");
        yield return (Call("a", "plain", ""","expected_effects":{"tenant:x":1}"""), "{}", "a error state keys that start with 'tenant:' belong to tenants: give the tenant's id instead");
        // repeated calls
        yield return (Call("a", "plain") + "," + Call("b", "plain"), "{}", "b warning duplicate call: tool 'plain' with the parameters of action 'a' *");
        yield return (Call("a", "plain") + "," + Call("b", "plain") + "," + Call("c", "plain") + "," + Call("d", "plain"), "{}",
            "c error likely loop: tool 'plain' is called 4 times with identical parameters, first by action 'a' *");
        yield return (Call("a", "plain", ""","parameters":{"n":1}""") + "," + Call("b", "plain", ""","parameters":{"n":2}"""), "{}", "");
        // preconditions
        yield return (Write("a", "k", ""","preconditions":[{"key":"s","value":1,"description":"ready"}]"""), "{}", "a error precondition will fail: state['s'] eq: key not found (ready)");
        yield return (Write("a", "k", ""","preconditions":[{"key":"s","value":1}]"""), """{"s":1.0}""", "");
        yield return (Write("a", "k", ""","preconditions":[{"key":"s","value":1},{"key":"s","operator":"neq","value":1}]"""), """{"s":1}""", "a error precondition will fail: state['s'] neq: value is equal");
        yield return (Write("a", "k", ""","preconditions":[{"key":"s","operator":"like"}]"""), """{"s":1}""", "a error precondition will fail: state['s'] like: unknown operator 'like'");
        yield return (Write("a", "s") + "," + Write("b", "k", ""","state_dependencies":["s"],"preconditions":[{"key":"s","value":1}]"""), "{}", "");
        // assertions
        yield return ("""{"id":"a","type":"assertion","parameters":{"key":"s","operator":"gt","value":1}}""", """{"s":1}""", "a error assertion will fail: state['s'] gt: value is not gt");
        yield return (Write("w", "s") + """,{"id":"a","type":"assertion","parameters":{"key":"s","value":1}}""", "{}", "");
        // state dependencies
        yield return (Write("a", "k", ""","state_dependencies":["s"]"""), "{}", "a error state dependency 's' is not available at this point");
        yield return (Write("a", "k", ""","state_dependencies":["s"]"""), """{"s":null}""", "");
        yield return (Write("a", "k", ""","state_dependencies":["s"]""") + "," + Write("b", "s"), "{}", "a error state dependency 's' is not available at this point");
        yield return (Write("a", "k", ""","state_dependencies":["s"],"dependencies":["b"]""") + "," + Write("b", "s"), "{}", "");
        yield return (Write("a", "k", ""","state_dependencies":["k"]"""), "{}", "a error state dependency 'k' is not available at this point");
        // a blocked action's effects count: one mistake is told once
        yield return (Call("a", "nope", ""","expected_effects":{"s":1}""") + "," + Write("b", "k", ""","state_dependencies":["s"]"""), "{}", "a error tool 'nope' is not registered");
        // ids and dependencies
        yield return (Write("a", "k") + "," + Write("a", "n"), "{}", "a error duplicate action id 'a'");
        yield return (Write("a", "k", ""","dependencies":["a","x"]"""), "{}", "a warning dependency on itself is ignored | a warning dependency on unknown action 'x' is ignored");
        yield return (Write("a", "k", ""","dependencies":["b"]""") + "," + Write("b", "n", ""","dependencies":["a"]"""), "{}", "a error dependency cycle: this action would run before one that it depends on");
        // conflicts
        yield return (Call("a", "plain", ""","expected_effects":{"k":1}""") + "," + Write("b", "k"), "{}", "b warning write conflict: actions 'a' and 'b' both write 'k' in no particular order");
        yield return (Write("a", "k") + "," + Write("b", "k"), "{}", "");
        yield return (Call("a", "plain", ""","expected_effects":{"k":1}""") + "," + Write("b", "k", ""","dependencies":["a"]"""), "{}", "");
        yield return (Call("a", "plain", ""","expected_effects":{"k":1},"state_dependencies":["k"]""") + "," + Write("b", "k"), """{"k":0}""", "");
    }

    [Test]
    [MethodDataSource(nameof(Cases))]
    public async Task Each_check_finds_what_it_is_for((string Actions, string State, string Issues) one)
    {
        Verification verification = Plans.Verify(one.Actions, one.State, "plain", Typed);
        await Assert.That(Issues(verification)).IsEqualTo(one.Issues);
        await Assert.That(verification.Valid).IsEqualTo(!one.Issues.Contains(" error "));
        await Assert.That(verification.Evidence.Checks.Sum(check => check.Findings)).IsEqualTo(verification.Issues.Count);
        await Assert.That(verification.Conflicts.Count).IsEqualTo(verification.Issues.Count(issue => issue.Message.StartsWith("write conflict")));
    }

    [Test]
    [Arguments(100, "")]
    [Arguments(101, "a100 warning excessive actions: 101, more than 100")]
    public async Task Many_actions_are_a_warning(int count, string issues)
    {
        string actions = string.Join(',', Enumerable.Range(0, count).Select(i => Write($"a{i}", $"k{i}")));
        await Assert.That(Issues(Plans.Verify(actions))).IsEqualTo(issues);
    }

    [Test]
    public async Task The_answer_tells_levels_conflicts_and_the_state_that_is_left()
    {
        Verification verification = Plans.Verify(
            $$"""{{Call("A", "t", ""","expected_effects":{"built":1}""")}},{{Write("B", "k", ""","state_dependencies":["built"]""")}},{{Write("C", "built")}}""", """{"old":[1.50]}""", "t");
        await Assert.That(string.Join(" | ", verification.ExecutionLevels.Select(level => string.Join(',', level)))).IsEqualTo("A,C | B");
        await Assert.That(string.Join(' ', verification.Conflicts.Single())).IsEqualTo("A C built");
        await Assert.That(Plans.Text(verification.SimulatedState)).IsEqualTo("""{"built":1,"k":1,"old":[1.50]}""");
    }

    [Test]
    public async Task The_evidence_says_how_far_it_reaches()
    {
        VerificationEvidence evidence = Plans.Verify(Call("a", "plain") + "," + Call("b", "typed", ""","parameters":{"path":""}""") + "," + Write("c", "k"), "{}", "plain", Typed).Evidence;
        await Assert.That(evidence.Confidence).IsEqualTo(4 / 7.0);
        await Assert.That(string.Join(' ', evidence.Checks.Where(check => check.Ran).Select(check => check.Name)))
            .IsEqualTo("action_ids action_count repeated_calls tools parameters dependencies write_conflicts state_limits");
        await Assert.That(evidence.Checks.Single(check => check.Tier == EvidenceTier.Heuristic).Name).IsEqualTo("repeated_calls");
        await Assert.That(evidence.UntestedRegions.Any(region => region.StartsWith("parameters of 1 of 2 tool calls"))).IsTrue();
        await Assert.That(evidence.ResidualRisks.Contains("2 tool calls may fail")).IsTrue();
        await Assert.That(Plans.Verify("").Evidence.Confidence).IsEqualTo(1);
    }

    /// <summary>More is wrong than anybody reads: all is counted, some of it listed, and the verdict does not change.</summary>
    [Test]
    public async Task The_lists_are_bounded_and_the_counts_are_not()
    {
        string many = string.Join(',', Enumerable.Repeat("\"gone\"", AnalysisLimits.MaxIssues + 5));
        string writers = string.Join(',', Enumerable.Range(0, AnalysisLimits.MaxConflicts + 3).Select(i => Call($"w{i}", "plain", $$""","parameters":{"n":{{i}} },"expected_effects":{"k":1}""")));
        Verification verification = Plans.Verify($"{Write("a", "n", $",\"state_dependencies\":[{many}]")},{writers}", "{}", "plain");
        await Assert.That(verification.Issues.Count(issue => issue.Severity == Severity.Error)).IsEqualTo(AnalysisLimits.MaxIssues);
        await Assert.That(verification.Issues.Count(issue => issue.Severity == Severity.Warning)).IsEqualTo(AnalysisLimits.MaxIssues);
        await Assert.That(verification.Conflicts.Count).IsEqualTo(AnalysisLimits.MaxConflicts);
        await Assert.That(verification.Evidence.Checks.Single(check => check.Name == "state_dependencies").Findings).IsEqualTo(AnalysisLimits.MaxIssues + 5);
        await Assert.That(string.Join(", ", verification.Evidence.ResidualRisks)).Contains("8 further issues are not listed").And.Contains("2 further conflicts are not listed");
        string name = new('n', 100_000);
        await Assert.That(Plans.Verify(Write("a", "k", $",\"state_dependencies\":[\"{name}\"]")).Issues.Single().Message.Length).IsEqualTo(AnalysisLimits.MaxMessageChars);
    }

    [Test]
    public async Task What_is_no_proposal_is_refused()
    {
        string tooMany = string.Join(',', Enumerable.Repeat("""{"type":"state_read"}""", EngineLimits.MaxActions + 1));
        await Assert.That(() => Plans.Verify(tooMany)).Throws<RefusedException>();
        await Assert.That(() => Plans.Verify("null")).Throws<RefusedException>();
    }

    /// <summary>A few bytes of plan may ask for a look through a whole state, thousands of times.</summary>
    [Test]
    public async Task Comparing_without_end_is_refused()
    {
        string conditions = string.Join(',', Enumerable.Repeat("""{"key":"big","operator":"contains","value":"z"}""", 500));
        string state = $$"""{"big":"{{new string('x', 64 * 1024)}}"}""";
        ActionProposal plan = Plans.Parse(Write("a", "k", $",\"preconditions\":[{conditions}]"));
        RefusedException refused = (await Assert.That(() => Verifier.Verify(plan, Plans.State(state), Plans.Tools(), Plans.Steps(1_000_000))).Throws<RefusedException>())!;
        await Assert.That(refused.Message).Contains("more than 1000000 steps");
        await Assert.That(Verifier.Verify(plan, Plans.State(state), Plans.Tools(), Plans.Steps(3_000_000)).Valid).IsFalse();
    }

    [Test]
    public async Task An_abandoned_analysis_ends()
    {
        string actions = string.Join(',', Enumerable.Range(0, 10_000).Select(i => Write($"a{i}", $"k{i}")));
        await Assert.That(() => Verifier.Verify(Plans.Parse(actions), Plans.State("{}"), Plans.Tools(), new Effort(new CancellationToken(canceled: true)))).Throws<OperationCanceledException>();
    }

    /// <summary>Each check alone stays below its bound; of ten thousand a thread would not come back for half a minute.</summary>
    [Test]
    public async Task Checking_parameters_is_paid_for()
    {
        string doubling = string.Join(',', Enumerable.Range(1, 12).Select(i =>
            $$"""  "a{{i}}":{"allOf":[{{string.Join(',', Enumerable.Repeat($$"""{"$ref":"#/$defs/a{{i - 1}}"}""", 4))}}],"minProperties":0} """));
        string tool = $$$"""{"name":"bomb","parameters":{"$defs":{"a0":{},{{{doubling}}} },"$ref":"#/$defs/a12"} }""";
        ActionProposal proposal = Plans.Parse(string.Join(',', Enumerable.Range(0, 10).Select(i => Call($"c{i}", "bomb"))));
        await Assert.That(() => Verifier.Verify(proposal, Plans.State("{}"), Plans.Tools(tool), new Effort(CancellationToken.None, 400_000))).Throws<RefusedException>();
        await Assert.That(Verifier.Verify(proposal, Plans.State("{}"), Plans.Tools(tool), new Effort(CancellationToken.None, 1_000_000)).Valid).IsFalse();
    }

    [Test]
    public async Task A_state_that_no_session_could_hold_is_refused_or_told()
    {
        var many = new StringBuilder("{\"k0\":0");
        for (int i = 1; i < StateStore.MaxKeys; i++) many.Append($",\"k{i}\":0");
        await Assert.That(Issues(Plans.Verify(Write("a", "k1"), many + "}"))).IsEqualTo("");
        await Assert.That(Issues(Plans.Verify(Write("a", "new"), many + "}"))).IsEqualTo("a error the state of a session may have at most 65536 keys");
        await Assert.That(() => Plans.Verify("", many + ",\"one\":0}")).Throws<RefusedException>();
    }
}

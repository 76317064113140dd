using System.Text.Json;
using System.Text.RegularExpressions;
using CarServer.Rpc.Methods;
using CarServer.RunStore.Contracts;
using CarServer.RunStore;
using CarServer.State;
using CarServer.State.Engine;
using CarServer.State.Runs;
using CarServer.Tests.Support;

namespace CarServer.Tests.Unit.Engine;

public partial class ActionProposalTests
{
    [GeneratedRegex("^[0-9a-f]{12}$")]
    private static partial Regex TwelveHex { get; }

    /// <summary>What a later version may send must not vanish: the event that first tells of its owner has it, and so has the run's trace.</summary>
    [Test]
    [Arguments("state_write", "action_validated")]
    [Arguments("state_write\",\"preconditions\":[{\"key\":\"none\"}],\"x\":\"", "action_rejected")]
    public async Task Fields_that_are_not_known_are_shown_where_their_owner_is(string type, string kind)
    {
        await using var engine = new TestEngine();
        ActionProposal proposal = TestEngine.Parse(
            $$"""{"id":"p","priority": {"level" : 1.50},"actions":[{"type":"{{type}}","id":"a","parameters":{"key":"k"},"hint":[1,"\u00e9"],"deep":{{new string('[', 100)}}{{new string(']', 100)}} }]}""");
        ProposalResult result = await engine.Runtime.SubmitAsync(proposal, null, CancellationToken.None);

        string[] journal = await engine.JournalAsync();
        await Assert.That(journal[0]).Contains("""
            "extra":{"priority":{"level":1.50}}
            """.Trim());
        await Assert.That(journal.Count(line => line.Contains("\"hint\":[1,\"\\u00e9\"]"))).IsEqualTo(1);
        await Assert.That(journal.Single(line => line.Contains("\"hint\""))).Contains(kind);
        await Assert.That(System.Text.Encoding.UTF8.GetString(TurnRecorder.ToTurns(proposal, result)[0].ToLine())).Contains(""" "extra":{""".Trim()).And.Contains("\"hint\":[1,\"\\u00e9\"]");
    }

    [Test]
    [Arguments(""" "hint":"\ud800" """)]
    [Arguments(""" "":1 """)]
    [Arguments(""" "unknown":{"$ref":"#"},"Unknown":2,"$type":"x","$id":"1" """)]
    public async Task Odd_fields_are_carried_like_any_other(string field)
    {
        AgentAction action = TestEngine.Parse($$"""{"actions":[{"type":"state_read",{{field}} }]}""").Actions[0];
        string carried = UnknownFields.ToRawJson(action.Unknown).ToString();
        await Assert.That(carried).IsEqualTo("{" + field.Trim() + "}");
    }

    [Test]
    public async Task Everything_but_the_actions_has_a_default()
    {
        ActionProposal proposal = TestEngine.Parse("""{"actions":[{"type":"tool_call","somebody's":"field"}],"more":1}""");
        AgentAction action = proposal.Actions.Single();

        await Assert.That(TwelveHex.IsMatch(proposal.Id)).IsTrue();
        await Assert.That(proposal.Source).IsEqualTo("unknown");
        await Assert.That(TwelveHex.IsMatch(action.Id)).IsTrue();
        await Assert.That(action.Id).IsEqualTo(action.Id);
        await Assert.That(action.Parameters.ToString()).IsEqualTo("{}");
        await Assert.That(action.MaxRetries).IsEqualTo(3u);
        await Assert.That(action.FailureBehavior).IsEqualTo(FailureBehavior.Abort);
        await Assert.That(action.TimeoutMs).IsNull();
        await Assert.That(action.InvocationMode).IsEqualTo(InvocationMode.OneShot);
        await Assert.That(action.Reversibility).IsEqualTo(Reversibility.Irreversible);
        await Assert.That(action.Preconditions).IsEmpty();
        await Assert.That(action.ExpectedEffects).IsEmpty();
    }

    [Test]
    public async Task Every_field_is_read()
    {
        AgentAction action = TestEngine.Parse("""
            {"actions":[{"id":"a","type":"state_write","tool":"t","parameters":{"key":"k","value":[1]},
             "preconditions":[{"key":"x"},{"key":"y","operator":"gt","value":2,"description":"d"}],"expected_effects":{"e":null},
             "state_dependencies":["s"],"dependencies":["b"],"idempotent":true,"max_retries":4294967295,"failure_behavior":"retry",
             "timeout_ms":18446744073709551615,"metadata":{"m":1},"read_set":["r"],"write_set":["w"],
             "assumptions":[{"key":"k","expected_value":1,"read_version":2}],"invocation_mode":"long_running",
             "reversibility":"compensable","compensation":{"type":"action_ref","action_id":"u"}}]}
            """).Actions.Single();

        await Assert.That(action.Operands.Value.ToString()).IsEqualTo("[1]");
        await Assert.That(action.Preconditions[0].Operator).IsEqualTo("eq");
        await Assert.That(action.Preconditions[1].Value.ToString()).IsEqualTo("2");
        await Assert.That(action.ExpectedEffects["e"].IsNull).IsTrue();
        await Assert.That(action.Attempts).IsEqualTo(4_294_967_296ul);
        await Assert.That(action.TimeoutMs).IsEqualTo(ulong.MaxValue);
        await Assert.That(action.Compensation!.Type).IsEqualTo(CompensationType.ActionRef);
        await Assert.That(action.Assumptions.Single().ReadVersion).IsEqualTo(2ul);
    }

    [Test]
    [Arguments("""{}""")]
    [Arguments("""{"actions":null}""")]
    [Arguments("""{"actions":{}}""")]
    [Arguments("""{"actions":[{}]}""")]
    [Arguments("""{"actions":[{"type":"think"}]}""")]
    [Arguments("""{"actions":[{"type":0}]}""")]
    [Arguments("""{"actions":[{"type":"3"}]}""")]
    [Arguments("""{"actions":[{"type":"tool_call","failure_behavior":"panic"}]}""")]
    [Arguments("""{"actions":[{"type":"tool_call","max_retries":-1}]}""")]
    [Arguments("""{"actions":[{"type":"tool_call","max_retries":4294967296}]}""")]
    [Arguments("""{"actions":[{"type":"tool_call","max_retries":1.5}]}""")]
    [Arguments("""{"actions":[{"type":"tool_call","timeout_ms":18446744073709551616}]}""")]
    [Arguments("""{"actions":[{"type":"tool_call","expected_effects":[]}]}""")]
    [Arguments("""{"actions":[{"type":"tool_call","preconditions":[{"operator":"eq"}]}]}""")]
    public async Task What_is_no_proposal_does_not_parse(string json)
    {
        await Assert.That(() => TestEngine.Parse(json)).Throws<JsonException>();
    }

    [Test]
    [Arguments("""{"id":"a","type":"assertion"},{"id":"b","type":"assertion"},{"id":"a","type":"assertion"}""", "duplicate action id 'a'")]
    [Arguments("""null""", "actions[0] is null")]
    [Arguments("""{"id":"a","type":"tool_call","parameters":[1]}""", "actions[0]: parameters must be an object")]
    [Arguments("""{"id":"a","type":"tool_call","preconditions":[null]}""", "actions[0]: a precondition is null")]
    [Arguments("""{"id":"a","type":"tool_call","state_dependencies":[null]}""", "actions[0]: a state dependency is null")]
    [Arguments("""{"id":"a","type":"tool_call","dependencies":[null]}""", "actions[0]: a dependency is null")]
    [Arguments("""{"id":"a","type":"tool_call","read_set":["k",null]}""", "actions[0]: a key of read_set is null")]
    [Arguments("""{"type":"tool_call","write_set":[null]}""", "actions[0]: a key of write_set is null")]
    public async Task What_cannot_run_as_a_whole_is_refused(string actions, string text)
    {
        RefusedException refused = Assert.Throws<RefusedException>(() => TestEngine.Parse($$"""{"actions":[{{actions}}]}""").Check());
        await Assert.That(refused.Message).IsEqualTo(text);
        await Assert.That(refused.Refusal).IsEqualTo(Refusal.Invalid);
    }

    [Test]
    public async Task Ten_thousand_actions_are_taken_and_not_one_more()
    {
        var proposal = new ActionProposal { Actions = [] };
        for (int i = 0; i < EngineLimits.MaxActions; i++) proposal.Actions.Add(new AgentAction { Type = ActionType.Assertion });
        proposal.Check();
        proposal.Actions.Add(new AgentAction { Type = ActionType.Assertion });
        await Assert.That(proposal.Check).Throws<RefusedException>();
    }

    [Test]
    [Arguments(1_024, true)]
    [Arguments(1_025, false)]
    public async Task An_id_is_an_id_and_not_a_payload(int chars, bool taken)
    {
        var proposal = new ActionProposal { Actions = [new AgentAction { Id = new string('x', chars), Type = ActionType.Assertion }] };
        if (taken) proposal.Check();
        else await Assert.That(proposal.Check).Throws<RefusedException>();
    }

    [Test]
    [Arguments("""{"key":"k","value":1}""", "k", "1", "eq")]
    [Arguments("""{"value":{"key":"inner"},"operator":"gt","key":"k"}""", "k", """{"key":"inner"}""", "gt")]
    [Arguments("""{"key":"first","key":"last"}""", "last", "null", "eq")]
    [Arguments("""{"key":["k"],"value":1}""", null, "1", "eq")]
    [Arguments("""{"key":"\ud800"}""", null, "null", "eq")]
    [Arguments("""{"key":"k","operator":{}}""", "k", "null", "")]
    [Arguments("""{}""", null, "null", "eq")]
    public async Task Operands_are_found_in_the_parameters(string parameters, string? key, string value, string op)
    {
        StateOperands operands = StateOperands.Read(RawJson.Parse(parameters));
        await Assert.That(operands.Key).IsEqualTo(key);
        await Assert.That(operands.Value.ToString()).IsEqualTo(value);
        await Assert.That(operands.Operator).IsEqualTo(op);
    }

    [Test]
    public async Task A_result_has_the_fields_of_the_protocol()
    {
        var result = new ProposalResult("p",
        [
            new ActionResult { ActionId = "a", Status = ActionStatus.Succeeded, Output = RawJson.Parse("[1]"), DurationMs = 1.5,
                Timestamp = new DateTime(2026, 1, 2, 3, 4, 5, DateTimeKind.Utc), RolledBack = true, RejectedByPolicy = true },
            new ActionResult { ActionId = "b", Status = ActionStatus.Failed, Error = "e", Timestamp = new DateTime(2026, 1, 2, 3, 4, 5, 250, DateTimeKind.Utc) },
        ], new CostSummary(1, 2, 3, 4, 5.5, 6));
        const string Expected = """
            {"proposal_id":"p","results":[
            {"action_id":"a","status":"succeeded","output":[1],"error":null,"state_changes":{},"duration_ms":1.5,"timestamp":"2026-01-02T03:04:05Z","rolled_back":true},
            {"action_id":"b","status":"failed","output":null,"error":"e","state_changes":{},"duration_ms":0,"timestamp":"2026-01-02T03:04:05.25Z"}],
            "cost":{"tool_calls":1,"actions_executed":2,"actions_skipped":3,"actions_rejected":4,"total_duration_ms":5.5,"retries":6}}
            """;
        await Assert.That(Json.ProposalResult.Text(result)).IsEqualTo(Expected.ReplaceLineEndings(""));
    }
}

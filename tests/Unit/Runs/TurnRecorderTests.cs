using System.Text;
using CarServer.RunStore;
using CarServer.State.Engine;
using CarServer.State.Runs;
using TUnit.Core;

namespace CarServer.Tests.Unit.Runs;

public sealed class TurnRecorderTests
{
    internal static AgentAction Action(string id, string parameters, string? tool = "t") =>
        new() { Id = id, Type = ActionType.ToolCall, Tool = tool, Parameters = RawJson.Parse(parameters) };

    internal static ActionResult Succeeded(string id, string output) =>
        new() { ActionId = id, Status = ActionStatus.Succeeded, Output = RawJson.Parse(output), DurationMs = 12.5, Timestamp = DateTime.UnixEpoch };

    internal static (ActionProposal Proposal, ProposalResult Result) Proposal(params (AgentAction Action, ActionResult Result)[] steps) =>
        (new ActionProposal { Id = "p", Actions = [.. steps.Select(step => step.Action)] },
            new ProposalResult("p", [.. steps.Select(step => step.Result)], new CostSummary(0, 0, 0, 0, 0, 0)));

    private static string[] Record(params (AgentAction, ActionResult)[] steps)
    {
        (ActionProposal proposal, ProposalResult result) = Proposal(steps);
        return [.. TurnRecorder.ToTurns(proposal, result).Select(turn => Encoding.UTF8.GetString(turn.ToLine()).TrimEnd())];
    }

    [Test]
    public async Task Each_result_is_a_turn_in_result_order()
    {
        string[] turns = Record((Action("a", """{"x":1}"""), Succeeded("a", "null")), (Action("b", "{}", tool: null), Succeeded("b", "[2]")));
        await Assert.That(turns[0]).IsEqualTo("""{"record":"turn","index":0,"tool":"t","parameters":{"x":1},"output":null,"verifier_verdict":"not_run"}""");
        await Assert.That(turns[1]).IsEqualTo("""{"record":"turn","index":0,"parameters":{},"output":[2],"verifier_verdict":"not_run"}""");
    }

    [Test]
    public async Task What_went_wrong_is_the_output()
    {
        ActionResult failed = Succeeded("a", "1") with { Status = ActionStatus.Failed, Output = default, Error = "no \"luck\"" };
        ActionResult rejected = failed with { Status = ActionStatus.Rejected, Error = "policy", RejectedByPolicy = true };
        await Assert.That(Record((Action("a", "{}"), failed))[0]).Contains("""
            "output":{"error":"no \"luck\""},"verifier_verdict":"not_run"}
            """.Trim());
        await Assert.That(Record((Action("a", "{}"), rejected))[0]).EndsWith("""
            "output":{"error":"policy"},"verifier_verdict":"not_run","policy_rejected":true}
            """.Trim());
    }

    [Test]
    [Arguments("""{"a":{"prompt":"deep"},"prompt":"hi"}""", true)]
    [Arguments("""{"prompt":7}""", false)]
    [Arguments("""{"a":{"prompt":"deep"}}""", false)]
    [Arguments("[]", false)]
    [Arguments("""{"prompt":"\ud83d"}""", false)]
    [Arguments("""{"\ud83dx":1,"prompt":"hi"}""", true)]
    public async Task A_prompt_parameter_that_is_a_string_is_the_prompt(string parameters, bool isPrompt) =>
        await Assert.That(Record((Action("a", parameters), Succeeded("a", "1")))[0].Contains("\"prompt\":\"hi\",\"tool\"")).IsEqualTo(isPrompt);

    [Test]
    [Arguments("""{"stdout":"x","exit_code":0}""", """ "cli_outcome":{"kind":"succeeded","exit_code":0,"duration_ms":12.5},""")]
    [Arguments("""{"exit_code":-1}""", """ "cli_outcome":{"kind":"failed","exit_code":-1,"duration_ms":12.5},""")]
    [Arguments("""{"exit_code":"0"}""", null)]
    [Arguments("""{"exit_code":0.5}""", null)]
    [Arguments("0", null)]
    [Arguments("""{"\ud83d-------":1,"exit_code":0}""", """ "cli_outcome":{"kind":"succeeded","exit_code":0,"duration_ms":12.5},""")]
    public async Task An_output_with_an_exit_code_is_a_programs(string output, string? outcome)
    {
        string turn = Record((Action("a", "{}"), Succeeded("a", output)))[0];
        if (outcome is null) await Assert.That(turn).DoesNotContain("cli_outcome");
        else await Assert.That(turn).Contains(outcome.Trim());
    }
}

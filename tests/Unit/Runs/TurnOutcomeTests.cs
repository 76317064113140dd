using CarServer.RunStore;
using CarServer.State.Engine;
using CarServer.State.Engine.Tools;
using CarServer.State.Runs;

namespace CarServer.Tests.Unit.Runs;

/// <summary>Which turns say how a tool does: those in which it was called.</summary>
public sealed class TurnOutcomeTests
{
    [Test]
    [Arguments("broken", false)]
    [Arguments("tool 't' is not registered", null)]
    [Arguments("tool 't' was not called: the request was abandoned while it waited for the rate limit", null)]
    [Arguments("tool 't': 10000 calls wait for its rate limit already", null)]
    [Arguments("state keys that start with 'tenant:' belong to tenants: give the tenant's id instead", null)]
    [Arguments("a state key may have at most 4096 bytes", null)]
    [Arguments("tool 't' callback timed out (3s)", false)]
    public async Task An_error_of_ours_from_before_the_call_says_nothing(string error, bool? succeeded) =>
        await Assert.That(TurnOutcome.Of(new RunTurn(Tool: "t", Output: RawJson.Parse($"{{\"error\":{RawJson.FromString(error)}}}")))).IsEqualTo(succeeded);

    /// <summary>The words are the engine's own.</summary>
    [Test]
    public async Task What_the_engine_did_not_call_is_told_apart()
    {
        await using var engine = new Engine.TestEngine();
        engine.Runtime.Tools.Register([new ToolDefinition { Name = "t", RateLimit = new ToolRateLimit { MaxCalls = 1, IntervalSecs = 60 } }]);
        ActionProposal proposal = Engine.TestEngine.Parse("""
            {"actions":[{"id":"a","type":"tool_call","tool":"t","failure_behavior":"skip"},{"id":"b","type":"tool_call","tool":"t","failure_behavior":"skip"},
             {"id":"c","type":"tool_call","tool":"t","failure_behavior":"skip","expected_effects":{"tenant:x":1} }]}
            """);
        using var abandon = new CancellationTokenSource();
        Task<ProposalResult> running = engine.Runtime.SubmitAsync(proposal, null, abandon.Token);
        await engine.Clock.NextTimerAsync();
        abandon.Cancel();
        List<RunTurn> turns = TurnRecorder.ToTurns(proposal, await running);
        await Assert.That(string.Join(' ', turns.Select(turn => TurnOutcome.Of(turn)?.ToString() ?? "-"))).IsEqualTo("True - -");
    }
}

using System.Text.Json;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>Protocol 11: what a plan would do, through the socket. No tool is ever called.</summary>
public sealed class AnalysisTests
{
    private const string Plan = """
        {"id":"p","actions":[
          {"id":"a","type":"tool_call","tool":"fetch","parameters":{"url":"x"},"expected_effects":{"page":1}},
          {"id":"b","type":"state_write","parameters":{"key":"done","value":true},"state_dependencies":["page","who"]}]}
        """;

    [Test]
    public async Task Verify_answers_in_full()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        JsonElement answer = await peer.CallAsync("verify", $$"""{"proposal":{{Plan}},"initial_state":{} }""");
        await Assert.That(Without(answer, "evidence")).IsEqualTo(
            """{"valid":false,"issues":[{"action_id":"a","severity":"error","message":"tool 'fetch' is not registered","tier":"decision_procedure"},"""
            + """{"action_id":"b","severity":"error","message":"state dependency 'who' is not available at this point","tier":"decision_procedure"}]"""
            + ""","simulated_state":{"page":1,"done":true},"execution_levels":[["a"],["b"]],"conflicts":[]}""");
        JsonElement evidence = answer.GetProperty("evidence");
        await Assert.That(evidence.GetProperty("checks")[3].GetRawText()).IsEqualTo(
            """{"name":"tools","ran":true,"verifies":"every tool call names a tool that is registered now","cannot_verify":"that the tool will still be registered, and answer, when the plan runs","findings":1,"tier":"decision_procedure"}""");
        await Assert.That(Without(evidence, "checks")).IsEqualTo(
            """{"assumptions":["nobody else writes to the state between this answer and the plan's end","every tool call succeeds and changes of the state exactly what its expected_effects declare"]"""
            + ""","untested_regions":["policies and permissions, which are applied when the plan is submitted","what tools do and return","parameters of 1 of 1 tool calls, whose tools declare nothing about them"]"""
            + ""","residual_risks":["1 tool calls may fail","1 tool calls are irreversible: a rollback restores the state, not what they did","1 tool calls have no timeout_ms"],"confidence":0.5}""");

        await peer.RegisterToolsAsync("fetch");
        await peer.CallAsync("state.set", """{"key":"who","value":"me"}""");
        await Assert.That((await peer.CallAsync("verify", $$"""{"proposal":{{Plan}} }""")).GetProperty("valid").GetBoolean()).IsTrue();
        await Assert.That(peer.ToolCalls).IsEmpty();
        await Assert.That((await peer.CallAsync("state.keys")).GetRawText()).IsEqualTo("""["who"]""");
    }

    [Test]
    public async Task Simulate_equivalent_and_optimize_answer_in_full()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await Assert.That((await peer.CallAsync("simulate", $$"""{"proposal":{{Plan}} }""")).GetRawText()).IsEqualTo("""{"page":1}""");
        await Assert.That((await peer.CallAsync("simulate", $$"""{"proposal":{{Plan}},"initial_state":{"who":null} }""")).GetRawText()).IsEqualTo("""{"who":null,"page":1,"done":true}""");
        await Assert.That((await peer.CallAsync("equivalent", $$"""{"proposal_a":{{Plan}},"proposal_b":{"actions":[]} }""")).GetRawText())
            .IsEqualTo("""{"equivalent":false,"states_tested":1,"used_default_states":true}""");
        await Assert.That((await peer.CallAsync("equivalent", $$"""{"p1":{{Plan}},"p2":{{Plan}},"test_states":[{},{"who":1}]}""")).GetRawText())
            .IsEqualTo("""{"equivalent":true,"states_tested":2,"used_default_states":false}""");
        await Assert.That((await peer.CallAsync("optimize", $$"""{"proposal":{{Plan}} }""")).GetRawText()).IsEqualTo(
            """{"proposal":{"id":"p","actions":[{"id":"a","type":"tool_call","tool":"fetch","parameters":{"url":"x"},"expected_effects":{"page":1}},"""
            + """{"id":"b","type":"state_write","parameters":{"key":"done","value":true},"state_dependencies":["page"]}]},"pruned":{"b":["who"]}}""");
    }

    [Test]
    public async Task Monte_carlo_answers_in_full_and_alike_each_time()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        string question = $$"""{"proposal":{{Plan}},"initial_state":{"who":1},"tool_success_rates":{"fetch":2},"goal":{"key":"done"},"config":{"trials":4,"seed":7} }""";
        string answer = (await peer.CallAsync("verify.monte_carlo", question)).GetRawText();
        await Assert.That(answer).IsEqualTo(
            """{"trials":4,"seed":7,"p_goal_reached":0,"goal_underivable_conditions":[],"p_all_effects_landed":1,"tool_calls":{"mean":1,"min":1,"p50":1,"p95":1,"max":1},"actions_executed":{"mean":2,"min":2,"p50":2,"p95":2,"max":2}"""
            + ""","state_distribution":[{"key":"done","p_present":1,"values":[{"value":true,"probability":1}]},{"key":"page","p_present":1,"values":[{"value":1,"probability":1}]}]"""
            + ""","action_outcomes":[{"action_id":"a","p_rejected":0,"p_failed":0,"p_effects_landed":1,"mean_blast_radius":0},{"action_id":"b","p_rejected":0,"p_failed":0,"p_effects_landed":1,"mean_blast_radius":0}]"""
            + ""","rate_provenance":{"window_days":30,"trajectories_available":0,"overridden_by_caller":[],"tools":[{"tool":"fetch","rate":1,"source":"caller","succeeded":null,"dispatched":null}]}}""");
        await Assert.That((await peer.CallAsync("verify.monte_carlo", question)).GetRawText()).IsEqualTo(answer);
        JsonElement plain = await peer.CallAsync("verify.monte_carlo", $$"""{"proposal":{{Plan}} }""");
        await Assert.That($"{plain.GetProperty("trials")} {plain.GetProperty("p_goal_reached").ValueKind} {plain.GetProperty("rate_provenance").GetProperty("tools")[0].GetProperty("source")}").IsEqualTo("1000 Null default");
    }

    /// <summary>A host reads all runs, an unbound client none (13.10).</summary>
    [Test]
    public async Task Rates_come_from_recorded_runs_that_the_caller_may_read()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.RegisterToolsAsync("fetch");
        int calls = 0;
        peer.Tools = _ => ++calls <= 3 ? Task.FromResult("1") : throw new InvalidOperationException("down");
        string run = (await peer.CallAsync("runs.start", """{"intent":"try","agent_id":"a"}""")).GetProperty("run_id").GetString()!;
        string actions = string.Join(',', Enumerable.Range(0, 4).Select(i => $$"""{"id":"c{{i}}","type":"tool_call","tool":"fetch"}"""));
        // Three succeed, one fails, and neither the skipped call nor the unknown tool was ever dispatched.
        await peer.CallAsync("proposal.submit", $$"""{"proposal":{"actions":[{"id":"u","type":"tool_call","tool":"unknown","failure_behavior":"skip"},{{actions}},{"id":"s","type":"tool_call","tool":"fetch"}]} }""");

        await using RpcPeer host = await daemon.ConnectHostAsync();
        await Assert.That(await ToolsAsync(host, "")).IsEqualTo("""1 [{"tool":"fetch","rate":0.6666666666666666,"source":"trajectories","succeeded":3,"dispatched":4}]""");
        await Assert.That(await ToolsAsync(host, ",\"rate_window_days\":0")).IsEqualTo("""0 [{"tool":"fetch","rate":0.5,"source":"default","succeeded":null,"dispatched":null}]""");
        await Assert.That(await ToolsAsync(peer, "")).StartsWith("0 ");
        await Assert.That(run).IsNotEmpty();

        static async Task<string> ToolsAsync(RpcPeer who, string more)
        {
            JsonElement rates = (await who.CallAsync("verify.monte_carlo", $$"""{"proposal":{{Plan}}{{more}} }""")).GetProperty("rate_provenance");
            return $"{rates.GetProperty("trajectories_available")} {rates.GetProperty("tools").GetRawText()}";
        }
    }

    [Test]
    [Arguments("verify", "{}", "requires { proposal, initial_state? }")]
    [Arguments("simulate", """{"proposal":{"actions":[]},"initial_state":[]}""", "params.initial_state")]
    [Arguments("equivalent", """{"proposal_a":{"actions":[]} }""", "proposal_a and proposal_b")]
    [Arguments("optimize", """{"proposal":null}""", "requires { proposal }")]
    [Arguments("verify.monte_carlo", """{"proposal":{"actions":[]},"config":{"trials":1000000000} }""", "between 1 and 100000")]
    [Arguments("verify.monte_carlo", """{"proposal":{"actions":[]},"config":{"seed":-1} }""", "params.config.seed")]
    [Arguments("verify.monte_carlo", """{"proposal":{"actions":[]},"rate_window_days":-1}""", "rate_window_days")]
    [Arguments("verify.monte_carlo", """{"proposal":{"actions":[]},"goal":7}""", "goal must be")]
    public async Task What_is_no_question_is_refused(string method, string parameters, string text)
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        RpcFailure failure = await peer.CallFailsAsync(method, parameters);
        await Assert.That(failure.Code).IsEqualTo(-32602);
        await Assert.That(failure.Text).Contains(text);
    }

    [Test]
    public async Task The_largest_plan_is_answered_and_keeps_nobody_waiting()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        string actions = string.Join(',', Enumerable.Range(0, 10_000).Select(i => $$"""{"id":"a{{i}}","type":"tool_call","tool":"t","expected_effects":{"k":{{i}} } }"""));
        Task<JsonElement> verified = peer.SendAsync("verify", $$"""{"proposal":{"actions":[{{actions}}]} }""");
        await peer.CallAsync("ping");
        await Assert.That((await verified).GetProperty("result").GetProperty("execution_levels")[0].GetArrayLength()).IsEqualTo(10_000);
        string large = new('x', 1024 * 1024);
        await Assert.That((await peer.CallAsync("simulate", $$"""{"proposal":{"actions":[{"type":"state_write","parameters":{"key":"k","value":"{{large}}"} }]} }""")).GetProperty("k").GetString()!.Length).IsEqualTo(large.Length);
    }

    private static string Without(JsonElement json, string member) =>
        "{" + string.Join(',', json.EnumerateObject().Where(one => one.Name != member).Select(one => $"\"{one.Name}\":{one.Value.GetRawText()}")) + "}";
}

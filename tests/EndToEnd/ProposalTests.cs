using System.Text.Json;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>Protocol 10.1 to 10.4, and checks 13 and 14 of section 24.</summary>
public sealed class ProposalTests
{
    private const string Write1 = """{"id":"w","type":"state_write","parameters":{"key":"k","value":1} }""";
    private const string FailingAssertion = """{"id":"no","type":"assertion","parameters":{"key":"k","operator":"eq","value":"never"} }""";

    [Test]
    public async Task State_actions_write_read_and_assert()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();

        JsonElement result = await SubmitAsync(peer, Write1,
            """{"id":"r","type":"state_read","parameters":{"key":"k"},"state_dependencies":["k"]}""",
            """{"id":"a","type":"assertion","parameters":{"key":"k","operator":"eq","value":1.0},"state_dependencies":["k"]}""");

        await Assert.That(Statuses(result)).IsEqualTo("w succeeded, r succeeded, a succeeded");
        await Assert.That(Result(result, "r").GetProperty("output").GetRawText()).IsEqualTo("1");
        await Assert.That((await peer.CallAsync("state.get", """{"key":"k"}""")).GetRawText()).IsEqualTo("1");
        JsonElement cost = result.GetProperty("cost");
        await Assert.That(cost.GetProperty("tool_calls").GetInt32()).IsEqualTo(0);
        await Assert.That(cost.GetProperty("actions_executed").GetInt32()).IsEqualTo(3);
        await Assert.That(cost.GetProperty("actions_skipped").GetInt32()).IsEqualTo(0);
        await Assert.That(cost.GetProperty("retries").GetInt32()).IsEqualTo(0);
        await Assert.That(result.GetProperty("proposal_id").GetString()!).Matches("^[0-9a-f]{12}$");
    }

    /// <summary>Each reply continues its proposal where it comes in; that must not grow a stack, nor keep others waiting.</summary>
    [Test]
    public async Task Ten_thousand_tool_calls_one_after_another_and_all_at_once()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.RegisterToolsAsync("t");
        peer.Tools = _ => Task.FromResult("1");
        foreach (string behavior in (string[])["abort", "skip"])
        {
            JsonElement result = await SubmitAsync(peer, [.. Enumerable.Range(0, 10_000).Select(i => $$"""{"id":"a{{i}}","type":"tool_call","tool":"t","failure_behavior":"{{behavior}}"}""")]);
            await Assert.That(result.GetProperty("results").EnumerateArray().All(one => one.GetProperty("status").GetString() == "succeeded")).IsTrue();
            await Assert.That(result.GetProperty("cost").GetProperty("tool_calls").GetInt32()).IsEqualTo(10_000);
        }
    }

    [Test]
    public async Task A_proposal_without_actions_has_no_results()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();

        JsonElement result = await SubmitAsync(peer);

        await Assert.That(result.GetProperty("results").GetRawText()).IsEqualTo("[]");
    }

    [Test]
    [Arguments("{}")]
    [Arguments("""{"proposal":{} }""")]
    [Arguments("""{"proposal":{"actions":{} } }""")]
    [Arguments("""{"proposal":{"actions":[{"type":"dance"}]} }""")]
    [Arguments("""{"proposal":{"actions":[{"id":"x"}]} }""")]
    [Arguments("""{"proposal":{"actions":[{"id":"twice","type":"state_read"},{"id":"twice","type":"state_read"}]} }""")]
    public async Task What_is_no_proposal_is_refused_before_anything_runs(string parameters)
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();

        RpcFailure failure = await peer.CallFailsAsync("proposal.submit", parameters);

        await Assert.That(failure.Code).IsEqualTo(-32602);
        if (parameters.Contains("twice")) await Assert.That(failure.Text).Contains("twice");
    }

    [Test]
    public async Task Results_keep_the_order_of_the_proposal_whatever_ran_first()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();

        JsonElement result = await SubmitAsync(peer,
            """{"id":"last","type":"state_read","parameters":{"key":"k"},"dependencies":["first"]}""",
            """{"id":"first","type":"state_write","parameters":{"key":"k","value":7} }""");

        await Assert.That(Statuses(result)).IsEqualTo("last succeeded, first succeeded");
        await Assert.That(Result(result, "last").GetProperty("output").GetRawText()).IsEqualTo("7");
    }

    [Test]
    public async Task A_reader_waits_for_the_writer_before_it()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.RegisterToolsAsync("build", "use", "other");
        peer.Tools = _ => Task.FromResult("true");

        JsonElement result = await SubmitAsync(peer,
            """{"id":"A","type":"tool_call","tool":"build","expected_effects":{"built":1},"failure_behavior":"skip"}""",
            """{"id":"B","type":"tool_call","tool":"use","state_dependencies":["built"],"failure_behavior":"skip"}""",
            """{"id":"C","type":"tool_call","tool":"other","failure_behavior":"skip"}""");

        string[] order = [.. peer.ToolCalls.Select(c => c.ActionId)];
        await Assert.That(Statuses(result)).IsEqualTo("A succeeded, B succeeded, C succeeded");
        await Assert.That(order[^1]).IsEqualTo("B");
        await Assert.That((await peer.CallAsync("state.get", """{"key":"built"}""")).GetRawText()).IsEqualTo("1");
    }

    [Test]
    public async Task Default_actions_of_one_level_run_one_at_a_time()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.RegisterToolsAsync("t");

        Task<JsonElement> submitted = SubmitAsync(peer, """{"id":"a","type":"tool_call","tool":"t"}""", """{"id":"b","type":"tool_call","tool":"t"}""");
        ToolRequest first = await peer.NextToolCallAsync();
        for (int round = 0; round < 20; round++) await peer.CallAsync("ping");   // whatever was sent together with the first has arrived by now
        await Assert.That(peer.ToolCalls.Count).IsEqualTo(1);
        await peer.ReplyAsync(first, "1");
        await peer.ReplyAsync(await peer.NextToolCallAsync(), "2");

        await Assert.That(Statuses(await submitted)).IsEqualTo("a succeeded, b succeeded");
    }

    [Test]
    public async Task Skippable_actions_of_one_level_overlap()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.RegisterToolsAsync("t");

        Task<JsonElement> submitted = SubmitAsync(peer,
            """{"id":"a","type":"tool_call","tool":"t","failure_behavior":"skip"}""", """{"id":"b","type":"tool_call","tool":"t","failure_behavior":"skip"}""");
        ToolRequest first = await peer.NextToolCallAsync(), second = await peer.NextToolCallAsync();   // both are here before either is answered
        await peer.ReplyAsync(second, "2");
        await peer.ReplyAsync(first, "1");

        await Assert.That(Statuses(await submitted)).IsEqualTo("a succeeded, b succeeded");
    }

    [Test]
    public async Task A_failure_aborts_what_follows_and_restores_the_state()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.CallAsync("state.set", """{"key":"k","value":"before"}""");

        JsonElement result = await SubmitAsync(peer, Write1,
            """{"id":"new","type":"state_write","parameters":{"key":"fresh","value":1} }""", FailingAssertion,
            """{"id":"after","type":"state_write","parameters":{"key":"late","value":1} }""");

        await Assert.That(Statuses(result)).IsEqualTo("w succeeded, new succeeded, no failed, after skipped");
        await Assert.That((await peer.CallAsync("state.snapshot")).GetRawText()).IsEqualTo("""{"k":"before"}""");
        await Assert.That(result.GetProperty("cost").GetProperty("actions_skipped").GetInt32()).IsEqualTo(1);
    }

    [Test]
    public async Task An_idempotent_success_that_was_rolled_back_runs_again()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.RegisterToolsAsync("t");
        peer.Tools = _ => Task.FromResult("1");
        const string tool = """{"id":"t","type":"tool_call","tool":"t","parameters":{"x":1},"idempotent":true}""";

        await SubmitAsync(peer, tool, FailingAssertion);
        JsonElement again = await SubmitAsync(peer, tool);

        await Assert.That(Statuses(again)).IsEqualTo("t succeeded");
        await Assert.That(peer.ToolCalls.Count).IsEqualTo(2);
    }

    [Test]
    public async Task A_failure_that_may_be_skipped_keeps_the_state_and_goes_on()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();

        JsonElement result = await SubmitAsync(peer, Write1, FailingAssertion.Replace("\"type\"", "\"failure_behavior\":\"skip\",\"type\""),
            """{"id":"after","type":"state_write","parameters":{"key":"late","value":1} }""");

        await Assert.That(Statuses(result)).IsEqualTo("w succeeded, no failed, after succeeded");
        await Assert.That((await peer.CallAsync("state.snapshot")).GetRawText()).IsEqualTo("""{"k":1,"late":1}""");
    }

    [Test]
    public async Task Retries_used_up_skip_the_rest_without_a_rollback()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.RegisterToolsAsync("broken");
        peer.Tools = _ => throw new ToolFailed("broken");

        JsonElement result = await SubmitAsync(peer, Write1,
            """{"id":"t","type":"tool_call","tool":"broken","failure_behavior":"retry","max_retries":2,"dependencies":["w"]}""",
            """{"id":"after","type":"state_write","parameters":{"key":"late","value":1},"dependencies":["t"]}""");

        await Assert.That(Statuses(result)).IsEqualTo("w succeeded, t failed, after skipped");
        await Assert.That(peer.ToolCalls.Count).IsEqualTo(3);
        await Assert.That(result.GetProperty("cost").GetProperty("retries").GetInt32()).IsEqualTo(2);
        await Assert.That(result.GetProperty("cost").GetProperty("tool_calls").GetInt32()).IsEqualTo(3);
        await Assert.That((await peer.CallAsync("state.snapshot")).GetRawText()).IsEqualTo("""{"k":1}""");
    }

    [Test]
    [Arguments("""{"type":"tool_call","tool":"nobody"}""", "tool 'nobody' is not registered")]
    [Arguments("""{"type":"tool_call"}""", "tool_call action has no tool specified")]
    [Arguments("""{"type":"tool_call","tool":"strict"}""", "missing required parameter 'n' for tool 'strict'")]
    [Arguments("""{"type":"state_read","parameters":{"key":"x"},"state_dependencies":["x"]}""", "state dependency 'x' not found")]
    public async Task What_cannot_run_is_rejected_with_its_reason_and_no_rollback(string action, string error)
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.CallAsync("tools.register", """[{"name":"strict","parameters":{"type":"object","properties":{"n":{"type":"number"} },"required":["n"]} }]""");

        JsonElement result = await SubmitAsync(peer, Write1, action.Insert(1, "\"id\":\"x\","), """{"id":"after","type":"state_read","parameters":{"key":"k"} }""");

        await Assert.That(Statuses(result)).IsEqualTo("w succeeded, x rejected, after skipped");
        await Assert.That(Result(result, "x").GetProperty("error").GetString()).IsEqualTo(error);
        await Assert.That((await peer.CallAsync("state.snapshot")).GetRawText()).IsEqualTo("""{"k":1}""");
        await Assert.That(peer.ToolCalls).IsEmpty();
    }

    [Test]
    public async Task A_parameter_of_the_wrong_type_is_rejected_with_its_place()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.CallAsync("tools.register", """[{"name":"strict","parameters":{"type":"object","properties":{"n":{"type":"number"} } } }]""");

        JsonElement result = await SubmitAsync(peer, """{"id":"x","type":"tool_call","tool":"strict","parameters":{"n":"one"} }""");

        await Assert.That(Statuses(result)).IsEqualTo("x rejected");
        await Assert.That(Result(result, "x").GetProperty("error").GetString()!).Matches(@"^tool 'strict' parameter validation: .+ \(at .+\)$");
    }

    [Test]
    [Arguments("""{"key":"n","operator":"gt","value":2}""", true)]
    [Arguments("""{"key":"n","operator":"gte","value":3}""", true)]
    [Arguments("""{"key":"n","operator":"lt","value":3}""", false)]
    [Arguments("""{"key":"n","operator":"lte","value":3.0}""", true)]
    [Arguments("""{"key":"n","operator":"gt","value":"2"}""", false)]
    [Arguments("""{"key":"n","value":3.0}""", true)]
    [Arguments("""{"key":"n","operator":"neq","value":3}""", false)]
    [Arguments("""{"key":"missing","operator":"neq","value":3}""", false)]
    [Arguments("""{"key":"missing","operator":"eq","value":null}""", false)]
    [Arguments("""{"key":"missing","operator":"not_exists"}""", true)]
    [Arguments("""{"key":"n","operator":"exists"}""", true)]
    [Arguments("""{"key":"list","operator":"contains","value":2}""", true)]
    [Arguments("""{"key":"list","operator":"contains","value":"2"}""", false)]
    [Arguments("""{"key":"text","operator":"contains","value":"b"}""", true)]
    [Arguments("""{"key":"n","operator":"about","value":3}""", false)]
    public async Task A_precondition_decides_whether_an_action_runs(string precondition, bool holds)
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.CallAsync("state.set", """{"key":"n","value":3}""");
        await peer.CallAsync("state.set", """{"key":"list","value":[1,2]}""");
        await peer.CallAsync("state.set", """{"key":"text","value":"abc"}""");

        JsonElement result = await SubmitAsync(peer, $$"""{"id":"a","type":"state_write","parameters":{"key":"done","value":true},"preconditions":[{{precondition}}]}""");

        await Assert.That(Statuses(result)).IsEqualTo(holds ? "a succeeded" : "a rejected");
        await Assert.That((await peer.CallAsync("state.exists", """{"key":"done"}""")).GetBoolean()).IsEqualTo(holds);
    }

    [Test]
    public async Task A_false_assertion_fails_and_a_write_reports_its_change()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();

        JsonElement result = await SubmitAsync(peer, Write1, FailingAssertion);

        await Assert.That(Statuses(result)).IsEqualTo("w succeeded, no failed");
        await Assert.That(Result(result, "no").GetProperty("error").GetString()).IsNotEmpty();
        await Assert.That(Result(result, "w").GetProperty("state_changes").GetRawText()).Contains("\"k\"");
    }

    [Test]
    public async Task A_tenants_proposal_works_on_the_tenants_state()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();

        await peer.CallAsync("proposal.submit", $$"""{"proposal":{"actions":[{{Write1}}]},"scope":{"tenantId":"t"} }""");

        await Assert.That((await peer.CallAsync("state.keys")).GetRawText()).IsEqualTo("[]");
        await Assert.That((await peer.CallAsync("state.get", """{"key":"k","tenant_id":"t"}""")).GetRawText()).IsEqualTo("1");
    }

    [Test]
    public async Task A_rollback_leaves_alone_what_another_proposal_wrote_meanwhile()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.RegisterToolsAsync("t");
        await peer.CallAsync("state.set", """{"key":"k","value":"before"}""");
        await peer.CallAsync("state.set", """{"key":"mine","value":"before"}""");

        Task<JsonElement> submitted = SubmitAsync(peer, """{"id":"m","type":"state_write","parameters":{"key":"mine","value":1} }""", Write1,
            """{"id":"t","type":"tool_call","tool":"t"}""");
        ToolRequest call = await peer.NextToolCallAsync();
        await SubmitAsync(peer, """{"id":"o","type":"state_write","parameters":{"key":"k","value":"of the other"} }""");
        await peer.RefuseAsync(call, "no");

        await Assert.That(Statuses(await submitted)).IsEqualTo("m succeeded, w succeeded, t failed");
        await Assert.That((await peer.CallAsync("state.get", """{"key":"k"}""")).GetString()).IsEqualTo("of the other");
        await Assert.That((await peer.CallAsync("state.get", """{"key":"mine"}""")).GetString()).IsEqualTo("before");
    }

    private static Task<JsonElement> SubmitAsync(RpcPeer peer, params string[] actions) =>
        peer.CallAsync("proposal.submit", $$"""{"proposal":{"actions":[{{string.Join(',', actions)}}]} }""");

    private static string Statuses(JsonElement result) =>
        string.Join(", ", result.GetProperty("results").EnumerateArray().Select(r => $"{r.GetProperty("action_id").GetString()} {r.GetProperty("status").GetString()}"));

    private static JsonElement Result(JsonElement result, string actionId) =>
        result.GetProperty("results").EnumerateArray().Single(r => r.GetProperty("action_id").GetString() == actionId);
}

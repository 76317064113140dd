using CarServer.State.Engine;

namespace CarServer.Tests.Unit.Engine;

/// <summary>What one action's end means for the others (protocol 10.3), and how levels run (10.2).</summary>
public class RuntimeTests
{
    private static string Call(string id, string tool, string behavior, string more = "") =>
        $$"""{"id":"{{id}}","type":"tool_call","tool":"{{tool}}","failure_behavior":"{{behavior}}","max_retries":0{{more}} }""";

    private static string Write(string id, string key, string value, string more = "") =>
        $$"""{"id":"{{id}}","type":"state_write","parameters":{"key":"{{key}}","value":{{value}} }{{more}} }""";

    [Test]
    //         behaviour  tool       statuses: write, action, write  state afterwards
    [Arguments("abort", "good",    "succeeded succeeded succeeded", "1 2")]
    [Arguments("skip",  "good",    "succeeded succeeded succeeded", "1 2")]
    [Arguments("retry", "good",    "succeeded succeeded succeeded", "1 2")]
    [Arguments("abort", "bad",     "succeeded* failed skipped",     "0 -")]
    [Arguments("skip",  "bad",     "succeeded failed succeeded",    "1 2")]
    [Arguments("retry", "bad",     "succeeded failed skipped",      "1 -")]
    [Arguments("abort", "unknown", "succeeded rejected skipped",    "1 -")]
    [Arguments("skip",  "unknown", "succeeded rejected succeeded",  "1 2")]
    [Arguments("retry", "unknown", "succeeded rejected skipped",    "1 -")]
    public async Task A_bad_action_stops_the_rest_or_not(string behavior, string tool, string statuses, string state)
    {
        await using var engine = new TestEngine("good", "bad");
        engine.Set("before", "0");
        ProposalResult result = await engine.SubmitAsync(
            $"{Write("w1", "before", "1")},{Call("a", tool, behavior)},{Write("w2", "after", "2")}");

        await Assert.That(TestEngine.Statuses(result)).IsEqualTo(statuses);
        await Assert.That($"{engine.Value("before")} {engine.Value("after")}").IsEqualTo(state);
        await Assert.That(string.Join(' ', result.Results.Select(one => one.ActionId))).IsEqualTo("w1 a w2");
    }

    /// <summary>Plans that make no sense end all the same, and what they could not do has left nothing behind.</summary>
    [Test]
    [Arguments("""{"id":"a","type":"state_write","parameters":{"key":"k","value":1},"dependencies":["a"]}""", "succeeded", "1")]
    [Arguments("""{"id":"a","type":"state_write","parameters":{"key":"k","value":1},"state_dependencies":["k"]}""", "rejected", "-")]
    [Arguments("""{"id":"a","type":"state_write","parameters":{"key":"k","value":1},"dependencies":["b"]},{"id":"b","type":"state_write","parameters":{"key":"k","value":2},"dependencies":["a"]}""", "succeeded succeeded", "2")]
    [Arguments("""{"id":"a","type":"state_write","parameters":{"key":"k","value":1},"preconditions":[{"key":"k","operator":"exists"},{"key":"k","operator":"not_exists"}]}""", "rejected", "-")]
    [Arguments("""{"id":"a","type":"state_write","parameters":{"key":"k","value":1},"preconditions":[{"key":"x","operator":"gt","value":1e999}]}""", "rejected", "-")]
    [Arguments("""{"id":"a","type":"state_write","parameters":{"key":"k","value":1e400}},{"id":"b","type":"assertion","parameters":{"key":"k","value":10e399}}""", "succeeded succeeded", "1e400")]
    [Arguments("""{"id":"a","type":"state_write","parameters":{"key":"k","value":-0}},{"id":"b","type":"assertion","parameters":{"key":"k","operator":"neq","value":0}}""", "succeeded* failed", "-")]
    public async Task What_makes_no_sense_has_a_result(string actions, string statuses, string state)
    {
        await using var engine = new TestEngine();
        await Assert.That(TestEngine.Statuses(await engine.SubmitAsync(actions))).IsEqualTo(statuses);
        await Assert.That(engine.Value("k")).IsEqualTo(state);
    }

    /// <summary>All conditions of a proposal have one effort; when it is used up the rest is told so, and soon.</summary>
    [Test]
    public async Task Conditions_that_compare_too_much_are_refused_in_words()
    {
        await using var engine = new TestEngine();
        engine.Set("k", "\"" + new string('x', 4_000_000) + "\"");
        string condition = """{"key":"k","operator":"contains","value":"y"}""";
        string actions = string.Join(',', Enumerable.Range(0, 1_000).Select(i =>
            $$"""{"id":"a{{i}}","type":"state_write","parameters":{"key":"n"},"failure_behavior":"skip","preconditions":[{{condition}}]}"""));
        ProposalResult result = await engine.SubmitAsync(actions);
        await Assert.That(result.Results[0].Error).IsEqualTo("precondition failed: state['k'] contains: value is not contained");
        await Assert.That(result.Results[^1].Error).StartsWith("precondition failed: state['k'] contains: checking the conditions of this proposal would take more than 50000000 steps");
        await Assert.That(engine.Value("n")).IsEqualTo("-");
    }

    [Test]
    public async Task Ten_thousand_actions_and_parameters_of_a_mebibyte_are_run()
    {
        await using var engine = new TestEngine("good");
        string large = new('x', 1024 * 1024);
        ProposalResult one = await engine.SubmitAsync(Call("a", "good", "abort", $$""","parameters":{"x":"{{large}}"}"""));
        await Assert.That(engine.Tools.Calls[0].Parameters.Utf8.Length).IsEqualTo(large.Length + 8);
        ProposalResult many = await engine.SubmitAsync(string.Join(',', Enumerable.Range(0, 10_000).Select(i => Write($"w{i}", $"k{i}", "1"))));
        await Assert.That(one.Cost.ActionsExecuted + many.Cost.ActionsExecuted).IsEqualTo(10_001);
    }

    [Test]
    public async Task Default_actions_in_one_level_run_one_at_a_time()
    {
        await using var engine = new TestEngine("slow");
        Task<ProposalResult> running = engine.SubmitAsync($"{Call("a", "slow", "abort")},{Call("b", "slow", "abort")}");
        SlowCall first = await engine.Tools.NextAsync();
        await Assert.That(engine.Tools.Calls.Length).IsEqualTo(1);
        first.Succeed();
        (await engine.Tools.NextAsync()).Succeed();
        await Assert.That(TestEngine.Statuses(await running)).IsEqualTo("succeeded succeeded");
    }

    [Test]
    public async Task One_action_that_may_abort_makes_its_level_run_one_at_a_time()
    {
        await using var engine = new TestEngine("slow");
        Task<ProposalResult> running = engine.SubmitAsync($"{Call("a", "slow", "skip")},{Call("b", "slow", "skip")},{Call("c", "slow", "abort")}");
        foreach (int calls in new[] { 1, 2, 3 })
        {
            SlowCall call = await engine.Tools.NextAsync();
            await Assert.That(engine.Tools.Calls.Length).IsEqualTo(calls);
            call.Succeed();
        }
        await running;
    }

    [Test]
    [Arguments("skip")]
    [Arguments("retry")]
    public async Task With_skip_or_retry_they_overlap(string behavior)
    {
        await using var engine = new TestEngine("slow");
        Task<ProposalResult> running = engine.SubmitAsync($"{Call("a", "slow", behavior)},{Call("b", "slow", "skip")}");
        SlowCall a = await engine.Tools.NextAsync();
        SlowCall b = await engine.Tools.NextAsync();
        b.Succeed();
        a.Succeed();
        await Assert.That(TestEngine.Statuses(await running)).IsEqualTo("succeeded succeeded");
    }

    [Test]
    public async Task In_a_concurrent_level_the_peers_of_a_used_up_retry_finish_and_later_levels_are_skipped()
    {
        await using var engine = new TestEngine("slow", "bad");
        Task<ProposalResult> running = engine.SubmitAsync(
            $"{Call("a", "bad", "retry")},{Call("b", "slow", "skip", ""","expected_effects":{"k":1}""")},{Call("c", "slow", "skip", ""","state_dependencies":["k"]""")}");
        (await engine.Tools.NextAsync()).Succeed();
        ProposalResult result = await running;
        await Assert.That(TestEngine.Statuses(result)).IsEqualTo("failed succeeded skipped");
        await Assert.That(result.Results[2].Error).IsEqualTo("skipped: action 'a' failed");
        await Assert.That(engine.Value("k")).IsEqualTo("1");
    }

    [Test]
    public async Task Results_and_levels_keep_the_order_of_the_actions()
    {
        await using var engine = new TestEngine("good");
        ProposalResult result = await engine.SubmitAsync(
            $"{Call("b", "good", "abort", ""","dependencies":["c"]""")},{Call("c", "good", "abort")}");
        await Assert.That(string.Join(' ', result.Results.Select(one => one.ActionId))).IsEqualTo("b c");
        await Assert.That(string.Join(' ', engine.Tools.Calls.Select(call => call.ActionId))).IsEqualTo("c b");
    }

    [Test]
    public async Task State_actions_read_write_and_assert()
    {
        await using var engine = new TestEngine();
        ProposalResult result = await engine.SubmitAsync(Write("w", "k", """{"n":1}""", ""","expected_effects":{"done":true}""") + """
            ,{"id":"r","type":"state_read","parameters":{"key":"k"}},
            {"id":"none","type":"state_read","parameters":{"key":"nothing"}},
            {"id":"ok","type":"assertion","parameters":{"key":"done","value":true}},
            {"id":"no","type":"assertion","parameters":{"key":"k","operator":"gt","value":1},"failure_behavior":"skip"}
            """);
        await Assert.That(TestEngine.Statuses(result)).IsEqualTo("succeeded succeeded succeeded succeeded failed");
        await Assert.That(string.Join(' ', result.Results[0].StateChanges.Select(change => $"{change.Key}={change.Value}"))).IsEqualTo("""k={"n":1} done=true""");
        await Assert.That(result.Results[1].Output.ToString()).IsEqualTo("""{"n":1}""");
        await Assert.That(result.Results[2].Output.ToString()).IsEqualTo("null");
        await Assert.That(result.Results[4].Error).IsEqualTo("assertion failed: state['k'] gt: cannot compare: both sides must be numbers");
    }

    [Test]
    public async Task An_effect_on_the_key_that_a_write_sets_stands_for_both()
    {
        await using var engine = new TestEngine();
        ProposalResult result = await engine.SubmitAsync(Write("w", "k", "1", ""","expected_effects":{"k":2}"""));
        await Assert.That(engine.Value("k")).IsEqualTo("2");
        await Assert.That(result.Results[0].StateChanges.Single().Value.ToString()).IsEqualTo("2");
    }

    [Test]
    [Arguments("""{"id":"a","type":"tool_call"}""", "tool_call action has no tool specified")]
    [Arguments("""{"id":"a","type":"tool_call","tool":"x"}""", "tool 'x' is not registered")]
    [Arguments("""{"id":"a","type":"tool_call","tool":"good","state_dependencies":["d"]}""", "state dependency 'd' not found")]
    [Arguments("""{"id":"a","type":"tool_call","tool":"good","preconditions":[{"key":"k","operator":"exists","description":"first log in"}]}""",
        "precondition failed: state['k'] exists: key not found (first log in)")]
    [Arguments("""{"id":"a","type":"state_write"}""", "state_write action needs parameters.key, a string")]
    [Arguments("""{"id":"a","type":"state_read","parameters":{"key":1}}""", "state_read action needs parameters.key, a string")]
    [Arguments("""{"id":"a","type":"assertion"}""", "assertion action needs parameters.key, a string")]
    [Arguments("""{"id":"a","type":"state_write","parameters":{"key":"tenant:x:y"}}""",
        "state keys that start with 'tenant:' belong to tenants: give the tenant's id instead")]
    [Arguments("""{"id":"a","type":"tool_call","tool":"good","expected_effects":{"tenant:x":1}}""",
        "state keys that start with 'tenant:' belong to tenants: give the tenant's id instead")]
    public async Task What_may_not_run_is_rejected_before_anything_happens(string action, string error)
    {
        await using var engine = new TestEngine("good");
        ProposalResult result = await engine.SubmitAsync(action);
        await Assert.That(TestEngine.Statuses(result)).IsEqualTo("rejected");
        await Assert.That(result.Results[0].Error).IsEqualTo(error);
        await Assert.That(engine.Tools.Calls).IsEmpty();
        await Assert.That(result.Cost.ActionsRejected).IsEqualTo(1);
    }

    [Test]
    public async Task A_tenants_proposal_works_on_the_tenants_state()
    {
        await using var engine = new TestEngine();
        await engine.SubmitAsync(Write("w", "k", "1"), tenant: "t");
        await Assert.That(engine.Value("k", "t")).IsEqualTo("1");
        await Assert.That(engine.Value("k")).IsEqualTo("-");
    }

    [Test]
    public async Task A_state_that_is_full_fails_the_write_and_not_the_daemon()
    {
        await using var engine = new TestEngine();
        for (int i = 0; i < StateStore.MaxKeys; i++) engine.Set($"k{i}", "0");
        ProposalResult result = await engine.SubmitAsync($"{Write("a", "k0", "1")},{Write("b", "more", "1")}");
        await Assert.That(TestEngine.Statuses(result)).IsEqualTo("succeeded* failed");
        await Assert.That(result.Results[1].Error).IsEqualTo($"the state of a session may have at most {StateStore.MaxKeys} keys");
        await Assert.That(engine.Value("k0")).IsEqualTo("0");
    }

    [Test]
    public async Task No_actions_no_results()
    {
        await using var engine = new TestEngine();
        ProposalResult result = await engine.SubmitAsync("");
        await Assert.That(result.Results).IsEmpty();
        await Assert.That(result.ProposalId).IsEqualTo("p");
    }

    [Test]
    public async Task Ten_thousand_writes_end_before_the_call_returns()
    {
        await using var engine = new TestEngine();
        string actions = string.Join(',', Enumerable.Range(0, EngineLimits.MaxActions).Select(i => Write($"a{i}", $"k{i % 10}", $"{i}")));
        Task<ProposalResult> running = engine.SubmitAsync(actions);
        await Assert.That(running.IsCompletedSuccessfully).IsTrue();
        await Assert.That((await running).Cost.ActionsExecuted).IsEqualTo(EngineLimits.MaxActions);
        await Assert.That(engine.Value("k9")).IsEqualTo("9999");
    }

    [Test]
    public async Task A_large_proposal_does_not_keep_the_thread_that_brings_a_reply()
    {
        await using var engine = new TestEngine("slow");
        string writes = string.Join(',', Enumerable.Range(0, EngineLimits.MaxInlineActions).Select(i => Write($"a{i}", "k", $"{i}", ""","dependencies":["t"]""")));
        Task<ProposalResult> running = engine.SubmitAsync($"{Call("t", "slow", "abort")},{writes}");
        SlowCall call = await engine.Tools.NextAsync();
        int replying = Environment.CurrentManagedThreadId;
        var finishedOn = running.ContinueWith(_ => Environment.CurrentManagedThreadId, TaskContinuationOptions.ExecuteSynchronously);
        call.Succeed();
        bool doneByTheReply = running.IsCompleted && await finishedOn == replying;
        await Assert.That(doneByTheReply).IsFalse();
        await Assert.That((await running).Cost.ActionsExecuted).IsEqualTo(EngineLimits.MaxInlineActions + 1);
    }

    [Test]
    public async Task Cost_counts_attempts_and_ends()
    {
        await using var engine = new TestEngine("good", "bad");
        ProposalResult result = await engine.SubmitAsync(
            $"{Call("a", "good", "skip")},{Call("b", "bad", "skip")},{Call("c", "unknown", "skip")},{Call("d", "bad", "retry", ""","dependencies":["c"]""")},{Write("e", "k", "1", ""","dependencies":["d"]""")}");
        await Assert.That(TestEngine.Statuses(result)).IsEqualTo("succeeded failed rejected failed skipped");
        await Assert.That(result.Cost).IsEqualTo(new CostSummary(ToolCalls: 3, ActionsExecuted: 3, ActionsSkipped: 1, ActionsRejected: 1, TotalDurationMs: 0, Retries: 0));
    }
}

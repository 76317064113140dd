using CarServer.RunStore;
using CarServer.State.Engine;
using CarServer.State.Engine.Tools;
using CarServer.Tests.Support;

namespace CarServer.Tests.Unit.Engine;

/// <summary>Retries, timers, abandonment, and proposals that overlap.</summary>
public class RuntimeWaitingTests
{
    private static readonly TimeSpan Millisecond = TimeSpan.FromMilliseconds(1);

    private static string Call(string id, string tool, string more) => $$"""{"id":"{{id}}","type":"tool_call","tool":"{{tool}}",{{more}} }""";

    /// <summary>The read loop, which others wait for, is left to proposals that are soon done.</summary>
    [Test]
    [Arguments(255, 0, 0, true)]
    [Arguments(256, 0, 0, false)]
    [Arguments(1, 254, 0, true)]
    [Arguments(1, 255, 0, false)]
    [Arguments(1, 1, 32_000, true)]
    [Arguments(1, 1, 33_000, false)]
    [Arguments(1, 1, 0, false, "\"state_dependencies\":[{0}]")]
    [Arguments(1, 1, 0, false, "\"dependencies\":[{0}]")]
    public async Task Only_what_is_soon_done_runs_on_the_read_loop(int actions, int preconditions, int valueBytes, bool inline, string? many = null)
    {
        await using var engine = new TestEngine();
        string value = "\"" + new string('x', valueBytes) + "\"";
        engine.Set("k", value);   // once in the state, and once about to be written
        string conditions = string.Join(',', Enumerable.Repeat("""{"key":"k","operator":"not_exists"}""", preconditions));
        string more = many is null ? "" : "," + many.Replace("{0}", string.Join(',', Enumerable.Repeat("\"k\"", EngineLimits.MaxInlineActions)));
        string first = $$"""{"type":"state_read","expected_effects":{"e":{{value}}},"preconditions":[{{conditions}}]{{more}} }""";
        ActionProposal proposal = TestEngine.Parse($$"""{"actions":[{{string.Join(',', Enumerable.Repeat("""{"type":"state_read"}""", actions - 1).Prepend(first))}}]}""");
        await Assert.That(engine.Runtime.MayRunInline(proposal)).IsEqualTo(inline);
    }

    /// <summary>A few bytes of schema and of parameters can ask for some milliseconds each time.</summary>
    [Test]
    [Arguments("""{"type":"object","required":["p"],"properties":{"p":{"type":"string","maxLength":9},"q":{"type":"array","items":{"enum":[1,2]}}}}""", true)]
    [Arguments("""{"properties":{"p":{"pattern":"^(a|b)*$"}}}""", false)]
    [Arguments("""{"patternProperties":{"^x":{"type":"string"}}}""", false)]
    [Arguments("""{"properties":{"p":{"uniqueItems":true}}}""", false)]
    [Arguments("""{"properties":{"p":{"anyOf":[{"type":"string"},{"type":"null"}]}}}""", false)]
    [Arguments("""{"properties":{"p":{"$ref":"#"}}}""", false)]
    public async Task A_schema_that_may_take_long_is_not_asked_on_the_read_loop(string schema, bool inline)
    {
        await using var engine = new TestEngine();
        ActionProposal proposal = TestEngine.Parse("""{"actions":[{"type":"tool_call","tool":"t","parameters":{"p":"a"}}]}""");
        engine.Runtime.Tools.Register([new ToolDefinition { Name = "t", Parameters = RawJson.Parse(schema) }]);
        await Assert.That(engine.Runtime.MayRunInline(proposal)).IsEqualTo(inline);
        // What the tool will answer is checked elsewhere by then.
        engine.Runtime.Tools.Register([new ToolDefinition { Name = "t", Returns = RawJson.Parse(schema) }]);
        await Assert.That(engine.Runtime.MayRunInline(proposal)).IsTrue();
    }

    /// <summary>A read loop has a context that brings back what waited there; what has grown too large meanwhile goes elsewhere for good.</summary>
    [Test]
    [Arguments(1_000, true)]
    [Arguments(100_000, false)]
    public async Task What_became_too_large_while_it_waited_leaves_the_read_loop(int stateBytes, bool stays)
    {
        await using var engine = new TestEngine();
        using var loop = new OneThread();
        var tools = new Recorder();
        var runtime = new Runtime(engine.Runtime.Events, tools, engine.Clock);
        runtime.Tools.Register([new ToolDefinition { Name = "t" }]);
        Task<ProposalResult> running = await loop.RunAsync(() => runtime.SubmitAsync(
            TestEngine.Parse($$"""{"actions":[{{Call("a", "t", "\"max_retries\":1")}},{{Call("b", "t", "\"dependencies\":[\"a\"]")}},{{Call("c", "t", "\"dependencies\":[\"b\"]")}}]}"""),
            null, CancellationToken.None));
        runtime.State.Set(null, "k", RawJson.FromString(new string('x', stateBytes)));
        tools.First.SetResult(ToolOutcome.Succeeded(RawJson.Null));
        await Assert.That(TestEngine.Statuses(await running)).IsEqualTo("succeeded succeeded succeeded");
        await Assert.That(string.Join(' ', tools.WereOnLoop)).IsEqualTo(stays ? "True True True" : "True False False");
    }

    /// <summary>Notes where it is called; the first call waits.</summary>
    private sealed class Recorder : IToolExecutor
    {
        public TaskCompletionSource<ToolOutcome> First { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
        public List<bool> WereOnLoop { get; } = [];

        public Task<ToolOutcome> ExecuteAsync(ToolCall call, CancellationToken abandoned)
        {
            WereOnLoop.Add(SynchronizationContext.Current is OneThread);
            return WereOnLoop.Count == 1 ? First.Task : Task.FromResult(ToolOutcome.Succeeded(RawJson.Null));
        }
    }

    /// <summary>A thread that does what is posted to it.</summary>
    private sealed class OneThread : SynchronizationContext, IDisposable
    {
        private readonly System.Collections.Concurrent.BlockingCollection<Action> _work = [];

        public OneThread() => new Thread(() =>
        {
            SetSynchronizationContext(this);
            foreach (Action work in _work.GetConsumingEnumerable()) work();
        }) { IsBackground = true }.Start();

        public override void Post(SendOrPostCallback work, object? state) => _work.Add(() => work(state));

        public Task<T> RunAsync<T>(Func<T> work)
        {
            var done = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
            _work.Add(() => done.SetResult(work()));
            return done.Task;
        }

        public void Dispose() => _work.CompleteAdding();
    }

    [Test]
    public async Task A_failure_is_tried_again_after_delays_that_double()
    {
        await using var engine = new TestEngine("slow");
        Task<ProposalResult> running = engine.SubmitAsync(Call("a", "slow", """ "failure_behavior":"retry" """));
        foreach (int delay in new[] { 100, 200, 400 })
        {
            (await engine.Tools.NextAsync()).Fail();
            await Assert.That((await engine.Clock.NextTimerAsync()).TotalMilliseconds).IsEqualTo(delay);
            engine.Clock.Advance(TimeSpan.FromMilliseconds(delay) - Millisecond);
            await Assert.That(engine.Clock.TimersSet).IsEqualTo(1);
            engine.Clock.Advance(Millisecond);
        }
        (await engine.Tools.NextAsync()).Succeed();

        ProposalResult result = await running;
        await Assert.That(TestEngine.Statuses(result)).IsEqualTo("succeeded");
        await Assert.That(string.Join(' ', engine.Tools.Calls.Select(call => call.Attempt))).IsEqualTo("1 2 3 4");
        await Assert.That(result.Results[0].DurationMs).IsEqualTo(700);
        await Assert.That(result.Cost.ToolCalls).IsEqualTo(4);
        await Assert.That(result.Cost.Retries).IsEqualTo(3);
    }

    [Test]
    [Arguments(0u, 1)]
    [Arguments(1u, 2)]
    [Arguments(3u, 4)]
    public async Task After_the_retries_it_has_failed(uint retries, int calls)
    {
        await using var engine = new TestEngine("bad");
        Task<ProposalResult> running = engine.SubmitAsync(Call("a", "bad", $""" "failure_behavior":"retry","max_retries":{retries} """));
        for (uint retry = 0; retry < retries; retry++) engine.Clock.Advance(await engine.Clock.NextTimerAsync());
        await Assert.That(TestEngine.Statuses(await running)).IsEqualTo("failed");
        await Assert.That(engine.Tools.Calls.Length).IsEqualTo(calls);
    }

    [Test]
    [Arguments("abort")]
    [Arguments("skip")]
    public async Task Without_retry_there_is_one_attempt(string behavior)
    {
        await using var engine = new TestEngine("bad");
        await engine.SubmitAsync(Call("a", "bad", $""" "failure_behavior":"{behavior}","max_retries":9 """));
        await Assert.That(engine.Tools.Calls.Length).IsEqualTo(1);
    }

    [Test]
    public async Task A_false_assertion_is_tried_again()
    {
        await using var engine = new TestEngine();
        Task<ProposalResult> running = engine.SubmitAsync(
            """{"id":"a","type":"assertion","parameters":{"key":"ready","value":true},"failure_behavior":"retry"}""");
        TimeSpan delay = await engine.Clock.NextTimerAsync();
        engine.Set("ready", "true");
        engine.Clock.Advance(delay);
        ProposalResult result = await running;
        await Assert.That(TestEngine.Statuses(result)).IsEqualTo("succeeded");
        await Assert.That(result.Cost.Retries).IsEqualTo(1);
        await Assert.That(result.Cost.ToolCalls).IsEqualTo(0);
    }

    [Test]
    public async Task Each_attempt_has_the_whole_timeout()
    {
        await using var engine = new TestEngine("slow");
        Task<ProposalResult> running = engine.SubmitAsync(Call("a", "slow", """ "timeout_ms":50,"failure_behavior":"retry","max_retries":1 """));
        SlowCall first = await engine.Tools.NextAsync();
        await Assert.That((await engine.Clock.NextTimerAsync()).TotalMilliseconds).IsEqualTo(50);
        engine.Clock.Advance(TimeSpan.FromMilliseconds(50));
        await Assert.That((await first.Outcome).Error).IsEqualTo("abandoned: action timed out after 50ms");

        engine.Clock.Advance(await engine.Clock.NextTimerAsync());
        await engine.Tools.NextAsync();
        await Assert.That((await engine.Clock.NextTimerAsync()).TotalMilliseconds).IsEqualTo(50);
        engine.Clock.Advance(TimeSpan.FromMilliseconds(50));

        ProposalResult result = await running;
        await Assert.That(result.Results[0].Error).IsEqualTo("action timed out after 50ms");
        await Assert.That(result.Cost.ToolCalls).IsEqualTo(2);
    }

    [Test]
    public async Task The_client_is_told_once_for_each_attempt_that_ran_out_of_time()
    {
        await using var engine = new TestEngine();
        var channel = new FakeChannel();
        var runtime = new Runtime(engine.Runtime.Events, new ClientToolExecutor(channel, () => null), engine.Clock);
        runtime.Tools.Register([new ToolDefinition { Name = "t" }]);
        Task<ProposalResult> running = runtime.SubmitAsync(TestEngine.Parse(
            """{"actions":[{"id":"a","type":"tool_call","tool":"t","timeout_ms":50,"failure_behavior":"retry","max_retries":1}]}"""), null, CancellationToken.None);
        for (int timer = 0; timer < 3; timer++) engine.Clock.Advance(await engine.Clock.NextTimerAsync());   // attempt, delay, attempt

        await Assert.That((await running).Results[0].Error).IsEqualTo("action timed out after 50ms");
        await Assert.That(string.Join('|', channel.Notified)).IsEqualTo(
            """tools.cancel {"request_id":"cb-1","action_id":"a","reason":"action timed out after 50ms"}|"""
            + """tools.cancel {"request_id":"cb-2","action_id":"a","reason":"action timed out after 50ms"}""");
    }

    [Test]
    public async Task A_timeout_beyond_every_timer_waits_as_long_as_one_can_and_says_what_was_asked()
    {
        await using var engine = new TestEngine("slow");
        Task<ProposalResult> running = engine.SubmitAsync(Call("a", "slow", """ "timeout_ms":18446744073709551615 """));
        TimeSpan timer = await engine.Clock.NextTimerAsync();
        await Assert.That(timer.TotalMilliseconds).IsEqualTo(int.MaxValue);
        engine.Clock.Advance(timer);
        await Assert.That((await running).Results[0].Error).IsEqualTo("action timed out after 18446744073709551615ms");
    }

    [Test]
    public async Task A_timeout_of_zero_is_over_at_once()
    {
        await using var engine = new TestEngine("slow");
        Task<ProposalResult> running = engine.SubmitAsync(Call("a", "slow", """ "timeout_ms":0 """));
        engine.Clock.Advance(TimeSpan.Zero);
        await Assert.That((await running).Results[0].Error).IsEqualTo("action timed out after 0ms");
    }

    [Test]
    public async Task A_finished_attempt_leaves_no_timer_behind()
    {
        await using var engine = new TestEngine("slow");
        Task<ProposalResult> running = engine.SubmitAsync(Call("a", "slow", """ "timeout_ms":50 """));
        (await engine.Tools.NextAsync()).Succeed();
        await running;
        await Assert.That(engine.Clock.TimersSet).IsEqualTo(0);
    }

    [Test]
    public async Task When_nobody_waits_any_more_the_running_action_fails_and_the_rest_is_skipped()
    {
        await using var engine = new TestEngine("slow");
        using var abandon = new CancellationTokenSource();
        Task<ProposalResult> running = engine.SubmitAsync(
            $"{Call("a", "slow", """ "failure_behavior":"retry","timeout_ms":50 """)},{Call("b", "slow", """ "dependencies":["a"] """)}", abandoned: abandon.Token);
        await engine.Tools.NextAsync();
        abandon.Cancel();
        ProposalResult result = await running;
        await Assert.That(TestEngine.Statuses(result)).IsEqualTo("failed skipped");
        await Assert.That(result.Results[0].Error).IsEqualTo("abandoned: the request was abandoned");
        await Assert.That(result.Cost.Retries).IsEqualTo(0);
    }

    [Test]
    public async Task A_delay_before_a_retry_ends_with_the_request()
    {
        await using var engine = new TestEngine("bad");
        using var abandon = new CancellationTokenSource();
        Task<ProposalResult> running = engine.SubmitAsync(Call("a", "bad", """ "failure_behavior":"retry" """), abandoned: abandon.Token);
        await engine.Clock.NextTimerAsync();
        abandon.Cancel();
        await Assert.That((await running).Results[0].Error).IsEqualTo("broken");
        await Assert.That(engine.Tools.Calls.Length).IsEqualTo(1);
    }

    [Test]
    [Arguments("abort")]
    [Arguments("skip")]
    public async Task An_abandoned_proposal_begins_nothing(string behavior)
    {
        await using var engine = new TestEngine("good");
        ProposalResult result = await engine.SubmitAsync(
            $"{Call("a", "good", $""" "failure_behavior":"{behavior}" """)},{Call("b", "good", $""" "failure_behavior":"{behavior}" """)}",
            abandoned: new CancellationToken(canceled: true));
        await Assert.That(TestEngine.Statuses(result)).IsEqualTo("skipped skipped");
        await Assert.That(result.Results[0].Error).IsEqualTo("skipped: the request was abandoned");
        await Assert.That(engine.Tools.Calls).IsEmpty();
    }

    [Test]
    public async Task A_rollback_does_not_touch_what_another_proposal_wrote_meanwhile()
    {
        await using var engine = new TestEngine("slow");
        engine.Set("shared", "0");
        Task<ProposalResult> aborting = engine.SubmitAsync(
            """{"id":"w","type":"state_write","parameters":{"key":"shared","value":1},"expected_effects":{"mine":1}},"""
            + Call("a", "slow", """ "dependencies":["w"] """));
        SlowCall call = await engine.Tools.NextAsync();
        await engine.SubmitAsync("""{"id":"x","type":"state_write","parameters":{"key":"shared","value":2}}""");
        call.Fail();
        await Assert.That(TestEngine.Statuses(await aborting)).IsEqualTo("succeeded* failed");
        await Assert.That($"{engine.Value("shared")} {engine.Value("mine")}").IsEqualTo("2 -");
    }

    [Test]
    public async Task An_idempotent_success_stands_for_the_next_call_and_its_effects_still_happen()
    {
        await using var engine = new TestEngine("good");
        await engine.SubmitAsync(Call("a", "good", """ "idempotent":true,"parameters":{"x":1} """));
        ProposalResult again = await engine.SubmitAsync(Call("b", "good", """ "idempotent":true,"parameters":{ "x" : 1 },"expected_effects":{"k":1} """));

        await Assert.That(again.Results[0].Output.ToString()).IsEqualTo("\"good 1\"");
        await Assert.That(again.Cost.ToolCalls).IsEqualTo(0);
        await Assert.That(again.Cost.ActionsExecuted).IsEqualTo(1);
        await Assert.That(engine.Value("k")).IsEqualTo("1");
        await Assert.That(engine.Events()).Contains("action_deduplicated b");
    }

    [Test]
    //         first call                                second call                               tenant  calls
    [Arguments(""" "idempotent":false """,               """ "idempotent":true """,                null, 2)]
    [Arguments(""" "idempotent":true """,                """ "idempotent":false """,               null, 2)]
    [Arguments(""" "idempotent":true """,                """ "idempotent":true,"parameters":{"x":1} """, null, 2)]
    [Arguments(""" "idempotent":true """,                """ "idempotent":true """,                "t",  2)]
    [Arguments(""" "idempotent":true """,                """ "idempotent":true """,                null, 1)]
    public async Task Only_the_same_call_of_the_same_tenant_is_remembered(string first, string second, string? tenant, int calls)
    {
        await using var engine = new TestEngine("good");
        await engine.SubmitAsync(Call("a", "good", first));
        await engine.SubmitAsync(Call("b", "good", second), tenant);
        await Assert.That(engine.Tools.Calls.Length).IsEqualTo(calls);
    }

    [Test]
    public async Task An_idempotent_failure_is_not_remembered()
    {
        await using var engine = new TestEngine("bad");
        await engine.SubmitAsync(Call("a", "bad", """ "idempotent":true """));
        await engine.SubmitAsync(Call("b", "bad", """ "idempotent":true """));
        await Assert.That(engine.Tools.Calls.Length).IsEqualTo(2);
    }

    [Test]
    public async Task An_abort_restores_the_state_and_forgets_its_successes()
    {
        await using var engine = new TestEngine("good", "bad");
        engine.Set("k", "0");
        ProposalResult aborted = await engine.SubmitAsync(
            $"{Call("a", "good", """ "idempotent":true,"expected_effects":{"k":1} """)},{Call("b", "bad", """ "dependencies":["a"] """)}");
        await Assert.That(TestEngine.Statuses(aborted)).IsEqualTo("succeeded* failed");
        await Assert.That(engine.Value("k")).IsEqualTo("0");

        await engine.SubmitAsync(Call("a", "good", """ "idempotent":true """));
        await Assert.That(engine.Tools.Calls.Count(call => call.Tool == "good")).IsEqualTo(2);
    }

    [Test]
    public async Task What_an_earlier_proposal_did_is_remembered_though_a_later_one_that_found_it_aborts()
    {
        await using var engine = new TestEngine("good", "bad");
        await engine.SubmitAsync(Call("a", "good", """ "idempotent":true """));
        ProposalResult aborted = await engine.SubmitAsync(
            $"{Call("b", "good", """ "idempotent":true """)},{Call("own", "good", """ "idempotent":true,"parameters":{"x":1} """)},{Call("c", "bad", """ "dependencies":["b","own"] """)}");
        await Assert.That(TestEngine.Statuses(aborted)).IsEqualTo("succeeded* succeeded* failed");

        await Assert.That((await engine.SubmitAsync(Call("d", "good", """ "idempotent":true """))).Cost.ToolCalls).IsEqualTo(0);
        await Assert.That((await engine.SubmitAsync(Call("e", "good", """ "idempotent":true,"parameters":{"x":1} """))).Cost.ToolCalls).IsEqualTo(1);
    }

    [Test]
    public async Task A_success_that_another_proposal_had_meanwhile_is_not_the_aborted_ones_to_forget()
    {
        await using var engine = new TestEngine("slow", "good");
        Task<ProposalResult> aborts = engine.SubmitAsync($"{Call("a", "good", """ "idempotent":true,"parameters":{"x":1} """)},{Call("b", "slow", """ "dependencies":["a"] """)}");
        SlowCall last = await engine.Tools.NextAsync();
        engine.Runtime.Successes.Keep(new OutputCache.Key("good", null, RawJson.Parse("""{"x":1}""")), RawJson.Null, source: new object());
        last.Fail("no");
        await Assert.That(TestEngine.Statuses(await aborts)).IsEqualTo("succeeded* failed");
        await Assert.That((await engine.SubmitAsync(Call("c", "good", """ "idempotent":true,"parameters":{"x":1} """))).Cost.ToolCalls).IsEqualTo(0);
    }

    [Test]
    public async Task The_cache_forgets_the_oldest()
    {
        var cache = new OutputCache(TimeProvider.System);
        OutputCache.Key Key(int i) => new($"t{i}", null, RawJson.EmptyObject);
        for (int i = 0; i <= OutputCache.MaxEntries; i++) cache.Keep(Key(i), RawJson.Null);
        await Assert.That(cache.TryGet(Key(0), out _)).IsFalse();
        await Assert.That(cache.TryGet(Key(1), out _)).IsTrue();

        RawJson large = RawJson.FromString(new string('x', OutputCache.MaxBytes - 4));
        cache.Keep(Key(-1), large);
        await Assert.That(cache.TryGet(Key(-1), out _)).IsTrue();
        await Assert.That(cache.TryGet(Key(1), out _)).IsFalse();
        cache.Keep(Key(-2), RawJson.FromString(new string('x', OutputCache.MaxBytes)));
        await Assert.That(cache.TryGet(Key(-2), out _)).IsFalse();
        await Assert.That(cache.TryGet(Key(-1), out _)).IsTrue();
    }
}

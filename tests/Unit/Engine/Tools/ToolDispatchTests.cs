using System.Text;
using CarServer.RunStore;
using CarServer.State.Engine;
using CarServer.State.Engine.Basics;
using CarServer.State.Engine.Tools;

namespace CarServer.Tests.Unit.Engine.Tools;

/// <summary>What comes between a validated call and whoever runs the tool: kept results, the rate limit, the check of the output, the basics.</summary>
public class ToolDispatchTests
{
    private static string Call(string id, string tool, string parameters = "{}", string more = "") =>
        $$"""{"id":"{{id}}","type":"tool_call","tool":"{{tool}}","parameters":{{parameters}}{{more}} }""";

    private static ToolDefinition Cached(string name, ulong seconds) => new() { Name = name, CacheTtlSecs = seconds };

    [Test]
    public async Task A_kept_result_is_answered_without_a_call_and_costs_none()
    {
        await using var engine = new TestEngine();
        engine.Runtime.Tools.Register([Cached("t", 10)]);
        ProposalResult first = await engine.SubmitAsync(Call("a", "t", """{"x":1,"y":{"b":2,"a":1}}"""));
        ProposalResult second = await engine.SubmitAsync(Call("a", "t", """{"y":{"a":1,"b":2},"x":1}"""));
        ProposalResult other = await engine.SubmitAsync(Call("a", "t", """{"x":2}"""));
        await Assert.That($"{first.Cost.ToolCalls} {second.Cost.ToolCalls} {other.Cost.ToolCalls}").IsEqualTo("1 0 1");
        await Assert.That(second.Results[0].Output.ToString()).IsEqualTo("\"t 1\"");
        await Assert.That(engine.Tools.Calls.Length).IsEqualTo(2);
    }

    [Test]
    public async Task It_is_kept_for_its_time_by_a_clock_that_nobody_sets()
    {
        await using var engine = new TestEngine();
        engine.Runtime.Tools.Register([Cached("t", 10)]);
        foreach ((int seconds, int calls) in ((int, int)[])[(0, 1), (9, 1), (1, 2), (9, 2), (3_600, 3)])
        {
            engine.Clock.Advance(TimeSpan.FromSeconds(seconds));
            await engine.SubmitAsync(Call("a", "t"));
            await Assert.That(engine.Tools.Calls.Length).IsEqualTo(calls);
        }
    }

    /// <summary>Wall time that jumps, over a timestamp that does not.</summary>
    private sealed class JumpingClock : TimeProvider
    {
        public DateTimeOffset Wall = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);
        public long Ticks;
        public override DateTimeOffset GetUtcNow() => Wall;
        public override long TimestampFrequency => TimeSpan.TicksPerSecond;
        public override long GetTimestamp() => Ticks;
    }

    [Test]
    [Arguments(-400)]
    [Arguments(400)]
    public async Task Setting_the_wall_clock_changes_nothing(int days)
    {
        var clock = new JumpingClock();
        var cache = new OutputCache(clock);
        var tools = new ToolRegistry(clock);
        tools.Register([Cached("t", 10), new ToolDefinition { Name = "paced", RateLimit = new ToolRateLimit { MaxCalls = 1, IntervalSecs = 10 } }]);
        OutputCache.Key key = OutputCache.Key.OfResult(TestEngine.Parse($$"""{"actions":[{{Call("a", "t")}}]}""").Actions[0], null, tools.Find("t"))!.Value;
        cache.Keep(key, RawJson.Null);
        TokenBucket bucket = tools.Find("paced")!.Limit!;
        await bucket.TakeAsync(CancellationToken.None);
        clock.Wall += TimeSpan.FromDays(days);
        await Assert.That(cache.TryGet(key, out _)).IsTrue();
        using var leaving = new CancellationTokenSource();
        Task<bool> waiting = bucket.TakeAsync(leaving.Token).AsTask();
        await Assert.That(waiting.IsCompleted).IsFalse();
        leaving.Cancel();
        clock.Ticks += TimeSpan.TicksPerSecond * 10;
        await Assert.That(cache.TryGet(key, out _)).IsFalse();
    }

    [Test]
    public async Task Tenants_and_registrations_each_have_their_own()
    {
        await using var engine = new TestEngine();
        engine.Runtime.Tools.Register([Cached("t", 10)]);
        await engine.SubmitAsync(Call("a", "t"), tenant: "one");
        await engine.SubmitAsync(Call("a", "t"), tenant: "two");
        await Assert.That(engine.Tools.Calls.Length).IsEqualTo(2);
        engine.Runtime.Tools.Register([Cached("t", 10)]);
        await engine.SubmitAsync(Call("a", "t"), tenant: "one");
        await Assert.That(engine.Tools.Calls.Length).IsEqualTo(3);
    }

    [Test]
    public async Task A_failure_is_not_kept()
    {
        await using var engine = new TestEngine();
        engine.Runtime.Tools.Register([Cached("bad", 10)]);
        for (int i = 0; i < 2; i++) await engine.SubmitAsync(Call("a", "bad"));
        await Assert.That(engine.Tools.Calls.Length).IsEqualTo(2);
    }

    [Test]
    public async Task Entries_and_bytes_are_bounded()
    {
        await using var engine = new TestEngine();
        engine.Runtime.Tools.Register([Cached("t", 1_000)]);
        await engine.SubmitAsync(string.Join(',', Enumerable.Range(0, OutputCache.MaxEntries + 1).Select(i => Call($"a{i}", "t", $$"""{"x":{{i}}}"""))));
        await engine.SubmitAsync(Call("a", "t", """{"x":1}"""));
        await Assert.That(engine.Tools.Calls.Length).IsEqualTo(OutputCache.MaxEntries + 1);
        await engine.SubmitAsync(Call("a", "t", """{"x":0}"""));
        await Assert.That(engine.Tools.Calls.Length).IsEqualTo(OutputCache.MaxEntries + 2);

        string large = new('x', OutputCache.MaxBytes);
        for (int i = 0; i < 2; i++) await engine.SubmitAsync(Call("a", "t", $$"""{"x":"{{large}}"}"""));
        await Assert.That(engine.Tools.Calls.Length).IsEqualTo(OutputCache.MaxEntries + 4);
    }

    [Test]
    public async Task A_call_waits_for_its_token_and_its_own_time_begins_then()
    {
        await using var engine = new TestEngine();
        engine.Runtime.Tools.Register([new ToolDefinition { Name = "slow", RateLimit = new ToolRateLimit { MaxCalls = 1, IntervalSecs = 60 } }]);
        Task<ProposalResult> running = engine.SubmitAsync($"{Call("a", "slow")},{Call("b", "slow", more: ""","timeout_ms":50""")}");
        (await engine.Tools.NextAsync()).Succeed();
        await Assert.That((await engine.Clock.NextTimerAsync()).TotalSeconds).IsEqualTo(60);
        engine.Clock.Advance(TimeSpan.FromSeconds(60));
        SlowCall second = await engine.Tools.NextAsync();
        await Assert.That((await engine.Clock.NextTimerAsync()).TotalMilliseconds).IsEqualTo(50);
        second.Succeed();
        ProposalResult result = await running;
        await Assert.That(TestEngine.Statuses(result)).IsEqualTo("succeeded succeeded");
        await Assert.That(result.Cost.ToolCalls).IsEqualTo(2);
    }

    [Test]
    public async Task Who_waits_for_a_token_ends_with_the_request_and_was_no_call()
    {
        await using var engine = new TestEngine();
        engine.Runtime.Tools.Register([new ToolDefinition { Name = "t", RateLimit = new ToolRateLimit { MaxCalls = 1, IntervalSecs = 60 } }]);
        using var abandon = new CancellationTokenSource();
        Task<ProposalResult> running = engine.SubmitAsync($"{Call("a", "t")},{Call("b", "t")}", abandoned: abandon.Token);
        await engine.Clock.NextTimerAsync();
        abandon.Cancel();
        ProposalResult result = await running;
        await Assert.That(result.Results[1].Error).IsEqualTo("tool 't' was not called: the request was abandoned while it waited for the rate limit");
        await Assert.That(result.Cost.ToolCalls).IsEqualTo(1);
        await Assert.That(engine.Clock.TimersSet).IsEqualTo(0);
    }

    [Test]
    public async Task An_output_that_is_not_what_the_tool_promises_fails_the_action()
    {
        await using var engine = new TestEngine();
        engine.Runtime.Tools.Register(
        [
            new ToolDefinition { Name = "t", Returns = RawJson.Parse("""{"type":"object"}"""), CacheTtlSecs = 10 },
            new ToolDefinition { Name = "u", Returns = RawJson.Parse("""{"type":"string"}""") },
        ]);
        ProposalResult result = await engine.SubmitAsync($"{Call("u", "u")},{Call("t", "t", more: ""","expected_effects":{"k":1}""")}");
        await Assert.That(TestEngine.Statuses(result)).IsEqualTo("succeeded* failed");
        await Assert.That(result.Results[1].Error).IsEqualTo("tool 't' output validation: value is not of type \"object\" (at /)");
        await Assert.That(engine.Value("k")).IsEqualTo("-");
        await engine.SubmitAsync(Call("t", "t"));
        await Assert.That(engine.Tools.Calls.Length).IsEqualTo(3);   // nothing was kept
    }

    /// <summary>A reader that began before a writer ended may have seen either.</summary>
    private sealed class Files : IToolExecutor
    {
        public TaskCompletionSource<ToolOutcome> FirstRead { get; } = new();
        public int Reads { get; private set; }

        public Task<ToolOutcome> ExecuteAsync(ToolCall call, CancellationToken abandoned) =>
            call.Tool == "read_file" && Reads++ == 0 ? FirstRead.Task : Task.FromResult(ToolOutcome.Succeeded(RawJson.FromString("new")));
    }

    [Test]
    public async Task What_was_read_while_a_file_changed_is_not_kept()
    {
        await using var engine = new TestEngine();
        var files = new Files();
        var runtime = new Runtime(engine.Runtime.Events, files, engine.Clock);
        runtime.Tools.Register(BasicTools.Definitions);
        string read = Call("r", "read_file", """{"path":"f"}""", ""","failure_behavior":"skip" """);
        string write = Call("w", "write_file", """{"path":"f","content":"new"}""", ""","failure_behavior":"skip" """);
        Task<ProposalResult> both = runtime.SubmitAsync(TestEngine.Parse($$"""{"actions":[{{read}},{{write}}]}"""), null, CancellationToken.None);
        files.FirstRead.SetResult(ToolOutcome.Succeeded(RawJson.FromString("old")));
        await both;
        ProposalResult after = await runtime.SubmitAsync(TestEngine.Parse($$"""{"actions":[{{read}}]}"""), null, CancellationToken.None);
        await Assert.That(after.Results[0].Output.ToString()).IsEqualTo("\"new\"");
        await runtime.SubmitAsync(TestEngine.Parse($$"""{"actions":[{{read}}]}"""), null, CancellationToken.None);
        await Assert.That(files.Reads).IsEqualTo(2);   // what was read in peace is kept
    }

    /// <summary>Half a character in an error is no text; nothing that shows the error may stumble over it.</summary>
    [Test]
    [Arguments("calculate", """{"expression":"1+\ud83d\ude00"}""")]
    [Arguments("calculate", """{"expression":"\ud83d"}""")]
    [Arguments("read_file", """{"path":"\ud83d"}""")]
    [Arguments("find_files", """{"pattern":"\ud83d\ude00","path":"\u0000"}""")]
    public async Task A_basics_error_is_always_text(string tool, string parameters)
    {
        using var turns = new SemaphoreSlim(1);
        var executor = new BasicsExecutor(new Refusing("unknown tool"), new Workspace("/nowhere"), turns, TimeProvider.System);
        ToolOutcome outcome = await executor.ExecuteAsync(new ToolCall { ActionId = "a", Tool = tool, Parameters = RawJson.Parse(parameters) }, CancellationToken.None);
        await Assert.That(outcome.Error!.EnumerateRunes()).DoesNotContain(Rune.ReplacementChar);
    }

    private sealed class Refusing(string error) : IToolExecutor
    {
        public Task<ToolOutcome> ExecuteAsync(ToolCall call, CancellationToken abandoned) => Task.FromResult(ToolOutcome.Failed(error));
    }

    [Test]
    [Arguments("unknown tool", "calculate", """{"result":4}""")]
    [Arguments("unknown tool 'calculate'", "calculate", """{"result":4}""")]
    [Arguments("unknown tool: other", "other", "no handler for tool 'other'")]
    [Arguments("Unknown tool", "calculate", "Unknown tool")]
    [Arguments(" unknown tool", "calculate", " unknown tool")]
    [Arguments("broken", "calculate", "broken")]
    public async Task Only_what_begins_with_unknown_tool_falls_through(string error, string tool, string told)
    {
        using var turns = new SemaphoreSlim(1);
        var executor = new BasicsExecutor(new Refusing(error), new Workspace(null), turns, TimeProvider.System);
        ToolOutcome outcome = await executor.ExecuteAsync(new ToolCall { ActionId = "a", Tool = tool, Parameters = RawJson.Parse("""{"expression":"2+2"}""") }, CancellationToken.None);
        await Assert.That(outcome.Error ?? outcome.Output.ToString()).IsEqualTo(told);
    }
}

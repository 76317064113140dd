using CarServer.RunStore;
using CarServer.State.Engine;
using CarServer.State.Engine.Tools;
using CarServer.State.Sessions;
using CarServer.Tests.Support;

namespace CarServer.Tests.Unit.Engine.Tools;

public class ClientToolExecutorTests
{
    private readonly FakeChannel _channel = new();

    private Task<ToolOutcome> ExecuteAsync(ToolCall call, string? variable = null, CancellationToken abandoned = default) =>
        new ClientToolExecutor(_channel, () => variable).ExecuteAsync(call, abandoned);

    private static ToolCall Search(ulong? timeoutMs = null) =>
        new() { ActionId = "a0", Tool = "search", Parameters = RawJson.Parse("""{ "q" : "ä" }"""), TimeoutMs = timeoutMs };

    [Test]
    public async Task The_request_carries_the_callback_id_twice_and_the_parameters_as_they_came()
    {
        _channel.Reply = new CallbackReply(CallbackEnd.Replied, RawJson.Parse("[1]"));
        ToolOutcome outcome = await ExecuteAsync(Search(180_000) with { Attempt = 2 });

        await Assert.That(outcome.Output.ToString()).IsEqualTo("[1]");
        await Assert.That(_channel.Sent.Single()).IsEqualTo(
            """cb-1 tools.execute {"action_id":"a0","tool":"search","parameters":{"q":"ä"},"timeout_ms":180000,"attempt":2,"request_id":"cb-1"}""");
        await Assert.That(_channel.LastBudget).IsEqualTo(TimeSpan.FromSeconds(185));
    }

    [Test]
    public async Task Without_a_timeout_the_field_is_left_out_and_the_variable_is_asked()
    {
        _channel.Reply = new CallbackReply(CallbackEnd.Replied);
        ToolOutcome outcome = await ExecuteAsync(Search(), "20");

        await Assert.That(outcome.End).IsEqualTo(ToolEnd.Succeeded);
        await Assert.That(outcome.Output.ToString()).IsEqualTo("null");
        await Assert.That(_channel.Sent.Single()).DoesNotContain("timeout_ms");
        await Assert.That(_channel.LastBudget).IsEqualTo(TimeSpan.FromSeconds(20));
    }

    [Test]
    public async Task The_variable_is_not_asked_when_the_action_has_a_timeout()
    {
        _channel.Reply = new CallbackReply(CallbackEnd.Replied);
        var executor = new ClientToolExecutor(_channel, () => throw new InvalidOperationException("asked"));
        await Assert.That((await executor.ExecuteAsync(Search(1), CancellationToken.None)).End).IsEqualTo(ToolEnd.Succeeded);
    }

    [Test]
    [Arguments(nameof(CallbackEnd.Refused), "no such file", "no such file")]
    [Arguments(nameof(CallbackEnd.NotSent), "outbox full", "failed to send tool callback: outbox full")]
    [Arguments(nameof(CallbackEnd.Closed), null, "tool 'search' callback channel closed")]
    [Arguments(nameof(CallbackEnd.TimedOut), null, "tool 'search' callback timed out (20s)")]
    public async Task A_failure_has_its_exact_text(string end, string? error, string text)
    {
        _channel.Reply = new CallbackReply(Enum.Parse<CallbackEnd>(end), Error: error);
        ToolOutcome outcome = await ExecuteAsync(Search(), "20");
        await Assert.That(outcome.Error).IsEqualTo(text);
        await Assert.That(_channel.Notified.Count).IsEqualTo(end == nameof(CallbackEnd.TimedOut) ? 1 : 0);
    }

    [Test]
    [Arguments(1_999ul, "6s")]
    [Arguments(ulong.MaxValue, "18446744073709551s")]
    public async Task The_seconds_of_the_text_are_those_of_the_budget_cut_not_rounded(ulong timeout, string seconds)
    {
        _channel.Reply = new CallbackReply(CallbackEnd.TimedOut);
        await Assert.That((await ExecuteAsync(Search(timeout))).Error).IsEqualTo($"tool 'search' callback timed out ({seconds})");
    }

    [Test]
    public async Task A_wait_that_timed_out_is_cancelled_once()
    {
        _channel.Reply = new CallbackReply(CallbackEnd.TimedOut);
        await ExecuteAsync(Search(180_000));
        await Assert.That(_channel.Notified.Single()).IsEqualTo(
            """tools.cancel {"request_id":"cb-1","action_id":"a0","reason":"tool \u0027search\u0027 callback timed out (185s)"}""");
    }

    [Test]
    public async Task An_abandoned_call_is_cancelled_once_with_its_reason()
    {
        using var abandon = new CancellationTokenSource();
        Task<ToolOutcome> running = ExecuteAsync(Search() with { AbandonReason = () => "action timed out after 5ms" }, abandoned: abandon.Token);
        await Assert.That(_channel.Notified).IsEmpty();
        abandon.Cancel();

        await Assert.That((await running).End).IsEqualTo(ToolEnd.Abandoned);
        await Assert.That(_channel.Notified.Single()).IsEqualTo(
            """tools.cancel {"request_id":"cb-1","action_id":"a0","reason":"action timed out after 5ms"}""");
    }

    [Test]
    public async Task A_call_that_is_abandoned_because_the_client_left_has_the_channel_text()
    {
        using var abandon = new CancellationTokenSource();
        Task<ToolOutcome> running = ExecuteAsync(Search(), abandoned: abandon.Token);
        _channel.IsClosed = true;
        abandon.Cancel();
        await Assert.That((await running).Error).IsEqualTo("tool 'search' callback channel closed");
        await Assert.That(_channel.Notified).IsEmpty();
    }

    [Test]
    public async Task A_call_abandoned_before_it_began_is_not_sent()
    {
        await ExecuteAsync(Search(), abandoned: new CancellationToken(canceled: true));
        await Assert.That(_channel.Sent).IsEmpty();
        await Assert.That(_channel.Notified).IsEmpty();
    }

    [Test]
    public async Task Detached_invocations_are_not_for_clients()
    {
        ToolOutcome outcome = await ExecuteAsync(Search() with { Mode = InvocationMode.LongRunning });
        await Assert.That(outcome.Error!).Contains("does not support streaming/long-running invocation");
        await Assert.That(_channel.Sent).IsEmpty();
    }
}

using System.Text.Json;
using CarServer.Rpc.JsonRpc;
using CarServer.Rpc.Methods;
using CarServer.Rpc.Transport;
using CarServer.RunStore.Contracts;
using CarServer.RunStore;
using CarServer.State;
using CarServer.Tests.Support;

namespace CarServer.Tests.Unit.JsonRpc;

/// <summary>What the dispatcher does with handlers that no method of the daemon is: through a real socket, with a clock that the test moves.</summary>
public sealed class DispatchTests
{
    [Test]
    public async Task A_handler_past_its_deadline_is_abandoned_and_answered_with_minus_32004()
    {
        var abandoned = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var wire = new WireHarness([Waiting("test.never", async call =>
        {
            call.Abandoned.Register(abandoned.SetResult);
            await new TaskCompletionSource().Task;
            return RawJson.Null;
        }), Ping]);
        await using RpcPeer peer = await wire.ConnectAsync();

        Task<JsonElement> answer = peer.SendAsync("test.never");
        await Assert.That(await wire.Clock.NextTimerAsync()).IsEqualTo(WireHarness.HandlerTimeout);
        wire.Clock.Advance(WireHarness.HandlerTimeout);

        await Assert.That((await answer.Soon("the answer")).GetProperty("error").GetRawText())
            .IsEqualTo("""{"code":-32004,"message":"handler 'test.never' exceeded its 7s response deadline"}""");
        await abandoned.Task.Soon("the handler to be told");
        await Assert.That((await peer.CallAsync("ping")).GetString()).IsEqualTo("pong");
    }

    [Test]
    public async Task A_method_may_ask_for_a_deadline_of_its_own()
    {
        await using var wire = new WireHarness([Waiting("test.never", async _ => { await new TaskCompletionSource().Task; return RawJson.Null; },
            static (_, standard) => standard * 3)]);
        await using RpcPeer peer = await wire.ConnectAsync();

        Task<JsonElement> answer = peer.SendAsync("test.never");
        await Assert.That(await wire.Clock.NextTimerAsync()).IsEqualTo(WireHarness.HandlerTimeout * 3);
        wire.Clock.Advance(WireHarness.HandlerTimeout * 3);

        await Assert.That((await answer.Soon("the answer")).GetProperty("error").GetProperty("message").GetString()).Contains("21s");
    }

    [Test]
    [Arguments("test.throws")]
    [Arguments("test.throws_later")]
    public async Task An_unforeseen_failure_is_logged_whole_and_told_as_nothing_but_that(string method)
    {
        var log = new LogLines();
        await using var wire = new WireHarness(
        [
            Sync("test.throws", static _ => throw new InvalidOperationException("the password is hunter2")),
            Waiting("test.throws_later", static async _ => { await Task.Yield(); throw new InvalidOperationException("the password is hunter2"); }),
            Ping,
        ], log);
        await using RpcPeer peer = await wire.ConnectAsync();

        RpcFailure failure = await peer.CallFailsAsync(method);

        await Assert.That(failure.Code).IsEqualTo(-32603);
        await Assert.That(failure.Text).IsEqualTo("internal error; the daemon's log has the details");
        await Assert.That(log.All.Single()).Contains(method);
        await Assert.That((await peer.CallAsync("ping")).GetString()).IsEqualTo("pong");
    }

    [Test]
    [Arguments(nameof(Refusal.Failed), -32603)]
    [Arguments(nameof(Refusal.Invalid), -32602)]
    public async Task A_refusal_is_told_word_for_word(string refusal, int code)
    {
        await using var wire = new WireHarness([Sync("test.refuses", _ => throw new RefusedException("not today", Enum.Parse<Refusal>(refusal)))]);
        await using RpcPeer peer = await wire.ConnectAsync();

        RpcFailure failure = await peer.CallFailsAsync("test.refuses");

        await Assert.That((failure.Code, failure.Text)).IsEqualTo((code, "not today"));
    }

    [Test]
    public async Task The_request_past_the_limit_in_flight_is_refused_and_replies_to_callbacks_still_come_through()
    {
        var release = new TaskCompletionSource();
        await using var wire = new WireHarness(
        [
            Waiting("test.waits", async _ => { await release.Task; return RawJson.Null; }),
            Waiting("test.asks", static async call =>
            {
                string id = call.Session.Channel.NextCallbackId();
                var reply = await call.Session.Channel.CallAsync(id, "tools.execute", RawJson.Parse("""{"tool":"t","action_id":"","parameters":{}}"""),
                    Scalar.Raw, TimeSpan.FromHours(1), call.Abandoned);
                return reply.Result;
            }),
            Ping,
        ]);
        await using RpcPeer peer = await wire.ConnectAsync();

        Task<JsonElement> asking = peer.SendAsync("test.asks");
        Task<JsonElement>[] waiting = [.. Enumerable.Range(1, Limits.MaxInFlight - 1).Select(_ => peer.SendAsync("test.waits"))];
        RpcFailure refused = await peer.CallFailsAsync("ping");
        await Assert.That((refused.Code, refused.Text)).IsEqualTo((-32008, "too many requests in flight (limit 1024)"));

        ToolRequest callback = await peer.NextToolCallAsync();
        await peer.ReplyAsync(callback, "7");
        await Assert.That((await asking.Soon("the answer")).GetProperty("result").GetInt32()).IsEqualTo(7);
        await Assert.That((await peer.CallAsync("ping")).GetString()).IsEqualTo("pong");

        release.SetResult();
        await Task.WhenAll(waiting).Soon("all answers");
    }

    [Test]
    public async Task A_method_that_needs_the_handshake_is_refused_before_it()
    {
        await using var wire = new WireHarness(
        [
            Method.Row("test.careful", "{}", "Needs server.handshake.", Json.NoParams, Scalar.Text,
                static (_, _) => "done", needsHandshake: true),
            .. ServerMethods.Rows,
        ]);
        await using RpcPeer peer = await wire.ConnectAsync();

        await Assert.That((await peer.CallFailsAsync("test.careful")).Code).IsEqualTo(-32005);
        await Assert.That((await peer.CallFailsAsync("server.handshake", """{"protocol_version":1}""")).Code).IsEqualTo(-32006);
        await Assert.That((await peer.CallFailsAsync("test.careful")).Code).IsEqualTo(-32005);
        await peer.CallAsync("server.handshake", """{"protocol_version":2}""");
        await Assert.That((await peer.CallAsync("test.careful")).GetString()).IsEqualTo("done");
    }

    [Test]
    public async Task A_waiting_member_of_a_batch_holds_the_array_back_and_nothing_else()
    {
        var release = new TaskCompletionSource();
        await using var wire = new WireHarness([Waiting("test.waits", async _ => { await release.Task; return RawJson.Parse("1"); }), Ping]);
        await using RpcPeer peer = await wire.ConnectAsync();

        await peer.SendTextAsync("""[{"jsonrpc":"2.0","method":"test.waits","id":"w"},{"jsonrpc":"2.0","method":"ping","id":"p"},{"jsonrpc":"2.0","method":"ping"}]""");
        await Assert.That((await peer.CallAsync("ping")).GetString()).IsEqualTo("pong");
        release.SetResult();

        string array = (await peer.NextBatchAsync()).GetRawText();
        await Assert.That(array).IsEqualTo("""[{"jsonrpc":"2.0","id":"p","result":"pong"},{"jsonrpc":"2.0","id":"w","result":1}]""");
    }

    private static Method Ping => ServerMethods.Rows.Single(row => row.Name == "ping");

    private static Method Sync(string name, Func<Call, RawJson> handler) =>
        Method.Row(name, "{}", "For a test.", Json.NoParams, Scalar.Raw, (call, _) => handler(call));

    private static Method Waiting(string name, Func<Call, Task<RawJson>> handler, Func<NoParams, TimeSpan, TimeSpan>? deadline = null) =>
        Method.Waiting(name, "{}", "For a test.", Json.NoParams, Scalar.Raw, (call, _) => handler(call), deadline: deadline is null ? null : (_, p, standard) => deadline(p, standard));
}

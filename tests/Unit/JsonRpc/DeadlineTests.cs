using System.Text.Json;
using CarServer.Rpc.JsonRpc;
using CarServer.Rpc.Methods;
using CarServer.RunStore.Contracts;
using CarServer.RunStore;
using CarServer.Tests.Support;

namespace CarServer.Tests.Unit.JsonRpc;

public sealed class DeadlineTests
{
    /// <summary>The deadline is noticed by a timer and answered on the loop, and the loop may be busy in between.</summary>
    [Test]
    public async Task A_handler_that_ends_between_its_deadline_and_the_answer_is_told_of_the_deadline()
    {
        var result = new TaskCompletionSource<RawJson>(TaskCreationOptions.RunContinuationsAsynchronously);
        using var loopIsBusy = new ManualResetEventSlim();
        using var goOn = new ManualResetEventSlim();
        var log = new LogLines();
        await using var wire = new WireHarness(
        [
            Method.Waiting("test.slow", "{}", "", Json.NoParams, Scalar.Raw, (Call _, NoParams _) => result.Task),
            Method.Row("test.busy", "{}", "", Json.NoParams, Scalar.Raw, (Call _, NoParams _) =>
            {
                loopIsBusy.Set();
                goOn.Wait(Eventually.Deadline);
                return RawJson.Null;
            }),
        ], log);
        await using RpcPeer peer = await wire.ConnectAsync();

        Task<JsonElement> answer = peer.SendAsync("test.slow");
        await wire.Clock.NextTimerAsync();
        Task<JsonElement> busy = peer.SendAsync("test.busy");
        await Task.Run(() => loopIsBusy.Wait(Eventually.Deadline));
        wire.Clock.Advance(WireHarness.HandlerTimeout);
        result.SetResult(RawJson.Null);
        goOn.Set();

        await Assert.That((await answer.Soon("the answer")).GetProperty("error").GetRawText())
            .IsEqualTo("""{"code":-32004,"message":"handler 'test.slow' exceeded its 7s response deadline"}""");
        await Assert.That(log.All).IsEmpty();
        await busy;
    }
}

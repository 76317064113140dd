using System.Runtime.CompilerServices;
using CarServer.Rpc.JsonRpc;
using CarServer.Rpc.Methods;
using CarServer.RunStore.Contracts;
using CarServer.State.Sessions;
using CarServer.State;
using CarServer.Tests.Support;
using CarServer.Tests.Unit.Engine;

namespace CarServer.Tests.Unit.JsonRpc;

public sealed class MethodTests
{
    [Test]
    public async Task A_handler_that_refuses_before_it_waits_leaves_nothing_behind_on_its_session()
    {
        using var home = new TempHome();
        await using var state = ServerState.Standalone(home.Journals);
        ClientSession session = state.Sessions.Open(new FakeChannel());

        WeakReference kept = await RefuseAsync(state, session);
        GC.Collect();

        await Assert.That(kept.IsAlive).IsFalse();
        GC.KeepAlive(session);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static async Task<WeakReference> RefuseAsync(ServerState state, ClientSession session)
    {
        WeakReference? kept = null;
        Method method = Method.Waiting("test", "{}", "", Json.NoParams, Scalar.Text, (call, _) =>
        {
            object mine = new();
            kept = new WeakReference(mine);
            call.Abandoned.UnsafeRegister(static _ => { }, mine);
            throw new RefusedException("no");
        });
        await Assert.That(async () => { await MethodCall.ResultAsync(method, state, session, "{}"); }).Throws<RefusedException>();
        return kept!;
    }
}

using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>What becomes of one connection is never seen on another.</summary>
public sealed class NeighbourTests
{
    [Test]
    public async Task What_a_client_is_owed_when_it_is_gone_reaches_nobody_else()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        // Enough of them that each of the daemon's loops serves some.
        var neighbours = new List<RawPeer>();
        for (int i = 0; i < 8; i++) neighbours.Add(await daemon.ConnectRawAsync(daemon.Unix));
        RawPeer gone = await daemon.ConnectRawAsync(daemon.Unix);
        await gone.SendTextAsync("""{"jsonrpc":"2.0","id":"t","method":"tools.register","params":[{"name":"slow"}]}""");
        await gone.ReadTextAsync();
        await gone.SendTextAsync("""{"jsonrpc":"2.0","id":"owed","method":"proposal.submit","params":{"proposal":{"actions":[{"type":"tool_call","tool":"slow"}]} } }""");
        await Assert.That(await gone.ReadTextAsync()).Contains("tools.execute");

        // The daemon finds a request to answer and nobody to answer to, while the proposal still waits for its tool.
        daemon.Signal(CarProcess.SigStop);
        await gone.SendTextAsync("""{"jsonrpc":"2.0","id":"last","method":"ping"}""");
        await gone.DisposeAsync();
        daemon.Signal(CarProcess.SigContinue);

        await using RpcPeer watcher = await daemon.ConnectAsync(daemon.Unix);
        await Eventually.TrueAsync("the daemon has noticed", async () => (await watcher.CallAsync("server.info")).GetProperty("connections").GetInt32() == neighbours.Count + 1);
        foreach (RawPeer neighbour in neighbours)
        {
            await neighbour.SendTextAsync("""{"jsonrpc":"2.0","id":"mine","method":"ping"}""");
            await Assert.That(await neighbour.ReadTextAsync()).IsEqualTo("""{"jsonrpc":"2.0","id":"mine","result":"pong"}""");
            await neighbour.DisposeAsync();
        }
    }
}

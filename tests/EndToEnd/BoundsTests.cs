using System.Diagnostics;
using System.Net.Sockets;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>What one client may cost, and that nothing outside holds the daemon up.</summary>
public sealed class BoundsTests
{
    [Test]
    public async Task A_batch_whose_answers_are_too_large_together_is_answered_with_one_error()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RawPeer peer = await daemon.ConnectRawAsync();
        string value = new('v', 12 * 1024 * 1024);
        await peer.SendTextAsync($$"""{"jsonrpc":"2.0","id":1,"method":"state.set","params":{"key":"k","value":"{{value}}"} }""");
        await peer.ReadTextAsync();
        string get = """{"jsonrpc":"2.0","id":2,"method":"state.get","params":{"key":"k"} }""";

        await peer.SendTextAsync($"[{string.Join(',', Enumerable.Repeat(get, 5))}]");
        await Assert.That((await peer.ReadTextAsync()).Length).IsGreaterThan(5 * value.Length);

        await peer.SendTextAsync($"[{string.Join(',', Enumerable.Repeat(get, 256))}]");
        await Assert.That(await peer.ReadTextAsync()).StartsWith("""{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"the answers of this batch are over""");

        await peer.SendTextAsync("""{"jsonrpc":"2.0","id":3,"method":"ping"}""");
        await Assert.That(await peer.ReadTextAsync()).IsEqualTo("""{"jsonrpc":"2.0","id":3,"result":"pong"}""");
        await Assert.That(daemon.ResidentBytes).IsLessThan(512L * 1024 * 1024);
    }

    [Test]
    public async Task Where_the_system_allows_few_descriptors_the_rest_is_told_503_and_files_can_still_be_opened()
    {
        using var home = new TempHome();
        var start = new ProcessStartInfo("bash", ["-c", $"ulimit -n 120; exec \"$0\" serve --bind unix:{home.Socket} --no-auth", Repository.Binary]) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["CAR_HOME"] = home.Path;
        using Process daemon = Process.Start(start)!;
        var peers = new List<RawPeer>();
        try
        {
            while (await daemon.StandardOutput.ReadLineAsync().Soon("the daemon's 'ready'") is { } line && line != "ready") { }
            for (int i = 0; i < 120; i++)
            {
                RawPeer peer = await RawPeer.ConnectAsync(new UnixDomainSocketEndPoint(home.Socket));
                peers.Add(peer);
                await peer.SendAsync(RawPeer.UpgradeRequest("localhost"));
                HttpAnswer answer = await peer.ReadHttpAsync();
                if (answer.Status == 503) break;
                await Assert.That(answer.Status).IsEqualTo(101);
            }

            await Assert.That(peers.Count).IsLessThan(120);
            await peers[0].SendTextAsync("""{"jsonrpc":"2.0","id":1,"method":"runs.start","params":{"intent":"test","agent_id":"a","idempotency_key":"r"} }""");
            await peers[0].ReadTextAsync();
            await Assert.That(File.Exists(home.Trace("a", "r"))).IsTrue();
        }
        finally
        {
            foreach (RawPeer peer in peers) await peer.DisposeAsync();
            daemon.Kill();
            await daemon.WaitForExitAsync();
        }
    }

    [Test]
    public async Task A_log_that_nobody_reads_holds_nobody_up()
    {
        using var home = new TempHome();
        using Process daemon = CarProcess.Start(home.Path, ["serve", "--bind", "unix:" + home.Socket, "--no-auth", "--log-level", "debug"],
            environment: null, redirectInput: false);   // its stderr is a pipe that fills up
        try
        {
            while (await daemon.StandardOutput.ReadLineAsync().Soon("the daemon's 'ready'") is { } line && line != "ready") { }

            // More lines than the pipe and any queue before it hold.
            for (int i = 0; i < 8_000; i++)
            {
                await using RawPeer peer = await RawPeer.ConnectAsync(new UnixDomainSocketEndPoint(home.Socket));
                await peer.SendAsync("NONSENSE\r\n\r\n");
                await peer.ReadHttpAsync();
            }
        }
        finally
        {
            daemon.Kill();
            await daemon.WaitForExitAsync();
        }
    }
}

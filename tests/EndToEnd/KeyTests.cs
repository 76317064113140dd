using System.Net.Sockets;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>One key is one run (protocol 13.3): of two daemons on one root, and whenever they are killed.</summary>
public sealed class KeyTests
{
    private const int Keys = 30;

    [Test]
    public async Task Two_daemons_that_are_killed_while_all_want_the_same_keys_leave_one_run_a_key()
    {
        using var home = new TempHome();
        var owners = new Dictionary<string, string>();
        int unheard = 0;
        var random = new Random(13);
        for (int round = 0; round < 6; round++)
        {
            await using (TestDaemon primary = await TestDaemon.StartAsync(new DaemonStart { Home = home, Arguments = ["--no-auth"] }))
            await using (TestDaemon secondary = await TestDaemon.StartAsync(new DaemonStart { Home = home, Arguments = ["--no-auth"] }))
            {
                // The moment is what this test is about: in the middle of what follows so many acknowledgements.
                var moment = new Countdown(1 + random.Next(2 * Keys));
                var asked = (from daemon in (TestDaemon[])[primary, secondary] from agent in (string[])["a", "b"] select AskAsync(daemon, agent, round, moment)).ToArray();
                await moment.Passed;
                await Task.WhenAll(primary.KillAsync(), secondary.KillAsync());
                foreach ((string key, string agent) in (await Task.WhenAll(asked)).SelectMany(static acknowledged => acknowledged))
                {
                    owners.TryAdd(key, agent);
                    await Assert.That(owners[key]).IsEqualTo(agent).Because($"{key} was acknowledged to both");
                }
            }
            await using TestDaemon after = await TestDaemon.StartAsync(new DaemonStart { Home = home, Arguments = ["--no-auth"] });
            await using RpcPeer peer = await after.ConnectAsync();
            foreach (string key in Enumerable.Range(0, Keys).Select(key => $"k{round}-{key}"))
            {
                bool known = owners.TryGetValue(key, out string? owner);
                if (!known) unheard++;
                string[] given = [.. new[] { await StartAsync(peer, "b", key), await StartAsync(peer, "a", key) }.OfType<string>()];
                await Assert.That(given.Length).IsEqualTo(1).Because(key);
                if (known) await Assert.That(given[0]).IsEqualTo(owner);
                await Assert.That(home.Files().Count(file => file.EndsWith($"/{key}.jsonl", StringComparison.Ordinal))).IsEqualTo(1).Because(key);
            }
        }
        await Assert.That(owners.Count).IsGreaterThan(0);   // or nothing was tested
        await Assert.That(unheard).IsGreaterThan(0);
    }

    /// <summary>Starts a run of each key until the daemon is gone; what was acknowledged, and to whom.</summary>
    private static async Task<List<(string Key, string Agent)>> AskAsync(TestDaemon daemon, string agent, int round, Countdown moment)
    {
        var acknowledged = new List<(string, string)>();
        try
        {
            await using RpcPeer peer = await daemon.ConnectAsync();
            for (int key = 0; key < Keys; key++)
            {
                if (await StartAsync(peer, agent, $"k{round}-{key}") is { } owner) acknowledged.Add(($"k{round}-{key}", owner));
                moment.Signal();
            }
        }
        catch (Exception e) when (e is PeerClosedException or SocketException or ObjectDisposedException or IOException)
        {
            // Killed.
        }
        return acknowledged;
    }

    private sealed class Countdown(int left)
    {
        private readonly TaskCompletionSource _passed = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private int _left = left;

        public Task Passed => _passed.Task;

        public void Signal()
        {
            if (Interlocked.Decrement(ref _left) == 0) _passed.SetResult();
        }
    }

    /// <returns>Null when the key is another agent's.</returns>
    private static async Task<string?> StartAsync(RpcPeer peer, string agent, string key)
    {
        try
        {
            return (await peer.CallAsync("runs.start", $$"""{"intent":"","agent_id":"{{agent}}","idempotency_key":"{{key}}"}""")).GetProperty("agent_id").GetString();
        }
        catch (RpcFailure e) when (e.Message.Contains("belongs to a run of another agent", StringComparison.Ordinal))
        {
            return null;
        }
    }
}

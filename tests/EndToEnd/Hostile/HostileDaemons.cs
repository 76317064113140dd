using System.Collections.Concurrent;
using CarServer.Tests.Support;
using TUnit.Core.Interfaces;

namespace CarServer.Tests.EndToEnd.Hostile;

/// <summary>The three daemons that all hostile cases are played against, and what they looked like before.</summary>
public sealed class HostileDaemons : IAsyncInitializer, IAsyncDisposable
{
    private readonly ConcurrentDictionary<At, (TestDaemon Daemon, long ResidentBefore)> _daemons = new();

    public async Task InitializeAsync()
    {
        await StartAsync(At.Open, "--no-auth", "--max-connections", "2000");
        await StartAsync(At.Small, "--no-auth", "--max-message-bytes", $"{HostileCase.SmallLimit}");
        await StartAsync(At.Guarded);
    }

    internal TestDaemon this[At at] => _daemons[at].Daemon;

    internal IEnumerable<(TestDaemon Daemon, long ResidentBefore)> All => _daemons.Values;

    public async ValueTask DisposeAsync()
    {
        foreach ((TestDaemon daemon, _) in _daemons.Values) await daemon.DisposeAsync();
    }

    /// <summary>A daemon that has served one client: what only the first one costs is not counted later.</summary>
    private async Task StartAsync(At at, params string[] arguments)
    {
        TestDaemon daemon = await TestDaemon.StartAsync(new DaemonStart
        {
            Arguments = arguments,
            Environment = at == At.Guarded ? new Dictionary<string, string> { ["CAR_AUTH_TOKEN"] = HostileCase.Token } : [],
        });
        await using (RpcPeer peer = await daemon.ConnectAsync()) await peer.CallAsync("ping");
        _daemons[at] = (daemon, daemon.ResidentBytes);
    }
}

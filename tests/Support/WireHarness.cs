using System.Net.Sockets;
using CarServer.Rpc.Http;
using CarServer.Rpc.JsonRpc;
using CarServer.Rpc.Transport;
using CarServer.State;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace CarServer.Tests.Support;

/// <summary>The daemon's wire inside the test's process, on a Unix socket of its own, with methods that the test makes.</summary>
/// <remarks>For what no method of the real table does: never end, fail in a way it did not foresee. All else is the real thing.</remarks>
internal sealed class WireHarness : IAsyncDisposable
{
    public static readonly TimeSpan HandlerTimeout = TimeSpan.FromSeconds(7);

    private readonly TempHome _home = new();
    private readonly Listener _listener;
    private readonly Server _server;

    public WireHarness(IReadOnlyList<Method> methods, ILogger? log = null)
    {
        State = ServerState.With(new ServerStateConfig { JournalDirectory = _home.Journals, Clock = Clock });
        var dispatcher = new Dispatcher(State, new MethodTable(methods), log ?? NullLogger.Instance)
        {
            MaxMessageBytes = Limits.DefaultMaxMessageBytes,
            HandlerTimeout = HandlerTimeout,
            RequireHandshake = true,
        };
        var upgrade = new Upgrade(messages => RpcConnection.Begin(dispatcher, messages), NullLogger.Instance);
        _listener = Listener.Unix(_home.In("wire.sock"));
        _server = new Server(Limits.DefaultMaxConnections, NullLogger.Instance);
        _server.Add(_listener, unix => new HeadProtocol(upgrade, new Admission([]), unix, unknownIsForeign: true, NullLogger.Instance), []);
        _server.Start();
    }

    public ManualClock Clock { get; } = new();
    public ServerState State { get; }
    public TempHome Home => _home;

    public async Task<RpcPeer> ConnectAsync() => new(await ConnectRawAsync());

    public async Task<RawPeer> ConnectRawAsync()
    {
        RawPeer raw = await RawPeer.ConnectAsync(new UnixDomainSocketEndPoint(_listener.Path!));
        await raw.UpgradeAsync();
        return raw;
    }

    public async ValueTask DisposeAsync()
    {
        await _server.StopAcceptingAsync();
        _server.Dispose();
        await State.DisposeAsync();
        _home.Dispose();
    }
}

using System.Net;
using System.Net.Sockets;
using System.Text;
using CarServer.Rpc.Http;
using CarServer.Rpc.JsonRpc;
using CarServer.Rpc.Methods;
using CarServer.Rpc.Transport;
using CarServer.Rpc.Transport.Native;
using CarServer.Rpc.WebSocket;
using CarServer.RunStore;
using CarServer.State;
using CarServer.State.Sessions;
using Microsoft.Extensions.Logging;

namespace CarServer.Rpc;

/// <summary>Starts and stops everything, each in its order (protocol 21).</summary>
internal sealed class Daemon : IAsyncDisposable
{
    /// <summary>Ports tried when the kernel chooses one, until the next higher one is free too.</summary>
    private const int PortAttempts = 32;

    private readonly DaemonOptions _options;
    private readonly ILoggerProvider _logs;
    private readonly ILogger _log;
    private readonly FileStream? _lock;
    private readonly ServerState _state;
    private readonly Dispatcher _dispatcher;
    private readonly Server _server;
    private readonly SidePort _sidePort;
    private readonly Upgrade _upgrade;
    private readonly List<Listener> _listeners = [];
    private readonly List<(string Path, string Token)> _secrets = [];
    private Listener? _side;
    private bool _released;

    private Daemon(DaemonOptions options, ILoggerProvider logs)
    {
        _options = options;
        _logs = logs;
        _log = logs.CreateLogger("daemon");

        OwnDirectory(options.Root);
        OwnDirectory(Path.Combine(options.Root, "run"));
        _lock = TakeLock(Path.Combine(options.Root, "run", "daemon.lock"));
        bool primary = _lock is not null && (options.SocketPath is null || options.SocketIsExplicit || !Listener.Answers(options.SocketPath));

        _state = ServerState.With(new ServerStateConfig
        {
            JournalDirectory = options.JournalDirectory,
            Root = options.Root,
            EnforceTiers = options.EnforceTiers,
            PolicyDirectory = Path.Combine(options.Root, "policies"),
            Workspace = CheckedWorkspace(),
            Durability = options.Durability,
            Logs = logs,
            IsPrimary = primary,
        });
        string? token = InstallTokens();
        _dispatcher = new Dispatcher(_state, AllMethods.Table, logs.CreateLogger("rpc"))
        {
            MaxMessageBytes = options.MaxMessageBytes,
            HandlerTimeout = options.HandlerTimeout,
            RequireHandshake = options.RequireHandshake,
        };
        _server = new Server(options.MaxConnections, logs.CreateLogger("wire"));
        _sidePort = new SidePort(_state, token);
        _upgrade = new Upgrade(messages => RpcConnection.Begin(_dispatcher, messages), logs.CreateLogger("wire"));
    }

    /// <summary>Runs until asked to stop, by <paramref name="stopping"/> or by <c>server.shutdown</c>; then stops in order.</summary>
    /// <exception cref="DaemonStartException">It could not start; nothing is left behind.</exception>
    /// <param name="announce">Told once where it listens, a line each, when it does.</param>
    public static async Task<int> RunAsync(DaemonOptions options, IReadOnlyList<string> notices, Action<string> announce, CancellationToken stopping)
    {
        using ILoggerProvider logs = Logging.Create(options.LogLevel, options.LogFormat);
        await using var daemon = new Daemon(options, logs);
        foreach (string notice in notices) daemon._log.LogWarning("{Notice}", notice);
        if (daemon._state.Info.IsPrimary)
        {
            await daemon._state.Housekeeping.RecoverAsync();
            daemon._state.Housekeeping.Start();
        }
        daemon.WriteTokens();
        daemon.Listen();

        var stop = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        ClientSession? asker = null;
        daemon._state.Info.RequestShutdown = session =>
        {
            Interlocked.CompareExchange(ref asker, session, null);
            stop.TrySetResult();
        };
        using CancellationTokenRegistration registration = stopping.Register(() => stop.TrySetResult());
        daemon.Serve(announce);
        await stop.Task;
        await daemon.StopAsync(asker);
        return 0;
    }

    /// <summary>Releases what a start took; after a start that failed, this is all there is to do.</summary>
    public async ValueTask DisposeAsync()
    {
        foreach (Listener listener in _listeners) listener.Dispose();
        await ReleaseAsync();
        _server.Dispose();
    }

    /// <summary>Flushes, and gives up what the next daemon of this root needs: files, then the lock.</summary>
    private async Task ReleaseAsync()
    {
        if (_released) return;
        _released = true;
        await _state.DisposeAsync();
        foreach ((string path, _) in _secrets)
            if (!PrivateFiles.TryDelete(path)) _log.LogWarning("{Path} could not be removed", path);
        _lock?.Dispose();
    }

    private void Listen()
    {
        Admission admission = new(_options.AllowedOrigins);
        ILogger wire = _logs.CreateLogger("wire");
        byte[] full = HttpResponse.Refuse(new HttpRefusal(503, $"over {_server.MaxConnections} connections; try again later"));
        foreach (IPEndPoint bind in _options.Binds)
        {
            (Listener listener, Listener? side) = BindTcp(bind, wantsSide: _side is null && _listeners.Count == 0);
            _listeners.Add(listener);
            _server.Add(listener, unix => new HeadProtocol(_upgrade, admission, unix, unknownIsForeign: _options.NoAuth, wire), full);
            if (side is null) continue;
            _side = side;
            _listeners.Add(side);
            _server.Add(side, unix => new HeadProtocol(_sidePort, admission, unix, unknownIsForeign: true, wire), full);
        }
        if (_options.SocketPath is { } path)
        {
            if (!_state.Info.IsPrimary && !_options.SocketIsExplicit)
                path = Path.Combine(Path.GetDirectoryName(path)!, $"car-server-{_listeners.FirstOrDefault()?.EndPoint?.Port ?? Environment.ProcessId}.sock");
            Listener listener = Listener.Unix(path);
            _listeners.Add(listener);
            _server.Add(listener, unix => new HeadProtocol(_upgrade, admission, unix, unknownIsForeign: true, wire), full);
            if (!_state.Info.IsPrimary) _log.LogWarning("another daemon is primary for this state root: no token file is written socket={Socket}", path);
        }
        else if (!_state.Info.IsPrimary)
        {
            _log.LogWarning("another daemon is primary for this state root: no token file is written");
        }
    }

    private void Serve(Action<string> announce)
    {
        _state.Info.Listeners = [.. _listeners.Where(l => l != _side).Select(l => l.Url)];
        _server.Start();
        _sidePort.Ready = true;
        string[] side = _side is null ? [] : [$"health on http://{_side.EndPoint}/health"];
        announce(string.Concat(((string[])[.. _state.Info.Listeners.Select(url => $"listening on {url}"), .. side, "ready"]).Select(line => line + "\n")));
    }

    /// <summary>Nobody new; everybody told; what runs may end; what is open is marked; everything flushed; files removed.</summary>
    /// <param name="asker">Who called <c>server.shutdown</c>, if anybody did: told last, when a new daemon could start in our place.</param>
    private async Task StopAsync(ClientSession? asker)
    {
        _log.LogInformation("stopping");
        _sidePort.Ready = false;
        _upgrade.Stopping = true;
        long end = Environment.TickCount64 + (long)Limits.ShutdownGrace.TotalMilliseconds;
        try
        {
            await _server.StopAcceptingAsync().WaitAsync(Limits.ShutdownGrace);   // and every handshake that had begun before is through
            _listeners.Clear();
        }
        catch (TimeoutException)
        {
            _log.LogWarning("a handler holds up the wire; the stop goes on without it");
        }
        foreach (ClientSession session in _state.Sessions.All)
            if (session != asker) SayGoodbye(session);
        while ((_state.Sessions.All.Any(session => session != asker) || _dispatcher.InFlight > 0) && Environment.TickCount64 < end) await Task.Delay(5);
        await _state.Runs.MarkAllOpenAsync();
        await ReleaseAsync();
        if (asker is not null)
        {
            SayGoodbye(asker);
            end = Environment.TickCount64 + (long)Limits.CloseTimeout.TotalMilliseconds;
            while (_state.Sessions.Count > 0 && Environment.TickCount64 < end) await Task.Delay(5);
        }
        _log.LogInformation("stopped");

        static void SayGoodbye(ClientSession session) => (session.Channel as RpcConnection)?.Messages.Close(CloseCode.GoingAway, "the daemon is stopping");
    }

    private (Listener Main, Listener? Side) BindTcp(IPEndPoint bind, bool wantsSide)
    {
        for (int attempt = 1; ; attempt++)
        {
            Listener main = Listener.Tcp(bind);
            if (!wantsSide) return (main, null);
            int port = main.EndPoint!.Port + 1;
            try
            {
                if (port <= IPEndPoint.MaxPort) return (main, Listener.Tcp(new IPEndPoint(SideAddress(bind), port)));
            }
            catch (DaemonStartException) when (bind.Port == 0 && attempt < PortAttempts)
            {
                main.Dispose();
                continue;
            }
            catch (DaemonStartException e)
            {
                _log.LogWarning("no GET /auth-token and /health: {Reason}", e.Message);
            }
            return (main, null);
        }
    }

    private static IPAddress SideAddress(IPEndPoint main) => main.AddressFamily == AddressFamily.InterNetworkV6 ? IPAddress.IPv6Loopback : IPAddress.Loopback;

    /// <returns>The auth token; null when auth is off.</returns>
    private string? InstallTokens()
    {
        if (_options.NoAuth) return null;
        string auth = _options.AuthToken ?? Entropy.Token();
        string host = Entropy.Token();
        _state.Auth.InstallAuthToken(auth);
        _state.Auth.InstallHostToken(host);
        if (_state.Info.IsPrimary)
        {
            _secrets.Add((Path.Combine(_options.TokenDirectory, "auth-token"), auth));
            _secrets.Add((Path.Combine(_options.TokenDirectory, "host-token"), host));
        }
        return auth;
    }

    /// <summary>The workspace, once it is certain that nothing of the daemon's own lies in it; null for none.</summary>
    private string? CheckedWorkspace()
    {
        if (_options.Workspace is not { } workspace) return null;
        string? problem = !Directory.Exists(workspace) ? "there is no such directory"
            : Array.Exists([_options.Root, _options.TokenDirectory, _options.JournalDirectory, RunCatalog.ForJournalDirectory(_options.JournalDirectory).Root],
                path => WorkspaceRule.Holds(workspace, path) || WorkspaceRule.Holds(path, workspace)) ? "the daemon's own files lie in it or around it"
            : null;
        if (problem is null) return workspace;
        if (_options.WorkspaceIsExplicit) throw new DaemonStartException($"cannot use the workspace {workspace}: {problem}");
        _log.LogInformation("no workspace for file tools: {Path} {Problem}", workspace, problem);
        return null;
    }

    /// <summary>Before anything listens: whoever can connect can also read the token that belongs to this launch.</summary>
    private void WriteTokens()
    {
        if (_secrets.Count == 0) return;
        OwnDirectory(_options.TokenDirectory);
        foreach ((string path, string token) in _secrets) OrCannotStart($"cannot write {path}",
            // Not made durable: the token is of this launch, and what a loss of power leaves is written anew by the next one.
            () => PrivateFiles.Replace(path, Encoding.UTF8.GetBytes(token), durable: false));
    }

    private static void OwnDirectory(string path) => OrCannotStart($"cannot use the directory {path}", () =>
    {
        PrivateFiles.CreateDirectory(path);
        PrivateFiles.Tighten(path);
    });

    private static void OrCannotStart(string what, Action work)
    {
        try
        {
            work();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new DaemonStartException($"{what}: {PrivateFiles.Reason(e)}");
        }
    }

    /// <summary>Null when another daemon holds it, and only then. The file stays; only the lock counts.</summary>
    private static FileStream? TakeLock(string path)
    {
        try
        {
            return PrivateFiles.OpenLock(path, alone: true);
        }
        catch (IOException e) when (e.HResult == Posix.EAGAIN)   // EWOULDBLOCK of flock
        {
            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new DaemonStartException($"cannot open {path}: {PrivateFiles.Reason(e)}");
        }
    }
}

using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace CarServer.Tests.Support;

/// <summary>How a <see cref="TestDaemon"/> is started.</summary>
internal sealed record DaemonStart
{
    /// <summary>Arguments after <c>serve --bind 127.0.0.1:0</c>.</summary>
    public IReadOnlyList<string> Arguments { get; init; } = [];

    public IReadOnlyDictionary<string, string> Environment { get; init; } = new Dictionary<string, string>();

    /// <summary>A home to share; the daemon then leaves it to its owner. Null: a fresh one, deleted with the daemon.</summary>
    public TempHome? Home { get; init; }

    /// <summary>What a shell does first: <c>umask 0</c>, <c>ulimit</c>.</summary>
    public string? Before { get; init; }

    /// <summary>The TCP address; null for the Unix socket alone.</summary>
    public string? Bind { get; init; } = "127.0.0.1:0";

    /// <summary>The executable; null for the one under test.</summary>
    public string? Binary { get; init; }
}

/// <summary>The published executable, running with a home and a port of its own. Killed when disposed.</summary>
internal sealed class TestDaemon : IAsyncDisposable
{
    private readonly DaemonStart _start;
    private readonly bool _ownsHome;
    private readonly ConcurrentQueue<string> _output = new();
    private readonly ConcurrentQueue<string> _errors = new();
    private Process _process;
    private Task _outputEnd = Task.CompletedTask;
    private Task _errorsEnd = Task.CompletedTask;

    private TestDaemon(DaemonStart start)
    {
        _start = start;
        _ownsHome = start.Home is null;
        Home = start.Home ?? new TempHome();
        _process = null!;   // set by LaunchAsync before anybody sees this object
    }

    public static Task<TestDaemon> StartAsync(params string[] arguments) => StartAsync(new DaemonStart { Arguments = arguments });

    /// <summary>Starts and waits until the daemon says that it is ready.</summary>
    public static async Task<TestDaemon> StartAsync(DaemonStart start)
    {
        var daemon = new TestDaemon(start);
        try
        {
            await daemon.LaunchAsync();
            return daemon;
        }
        catch
        {
            await daemon.DisposeAsync();
            throw;
        }
    }

    public TempHome Home { get; }

    /// <summary>The TCP port the kernel chose; 0 without a TCP listener.</summary>
    public int Port { get; private set; }

    /// <summary>The Unix socket it announced; null with <c>--no-socket</c>.</summary>
    public string? Socket { get; private set; }

    public int ProcessId => _process.Id;
    public bool HasExited => _process.HasExited;
    public IPEndPoint Tcp => new(IPAddress.Loopback, Port);
    public UnixDomainSocketEndPoint Unix => new(Socket ?? throw new InvalidOperationException("the daemon has no Unix socket"));

    /// <summary>Where <c>/health</c> and <c>/auth-token</c> are served (protocol 1.1).</summary>
    public IPEndPoint Dashboard => new(IPAddress.Loopback, Port + 1);

    public string Url => $"ws://127.0.0.1:{Port}/";
    public string AuthToken => File.ReadAllText(Home.AuthTokenFile);
    public string HostToken => File.ReadAllText(Home.HostTokenFile);

    public IReadOnlyList<string> Output => [.. _output];

    /// <summary>Everything logged so far, this start and earlier ones.</summary>
    public string Errors => string.Join('\n', _errors);

    public long ResidentBytes => CarProcess.ResidentBytes(_process);

    /// <summary>What its descriptors lead to: files by their paths, sockets as <c>socket:[...]</c>. Empty where the system does not tell.</summary>
    public IReadOnlyList<string> OpenFiles
    {
        get
        {
            string descriptors = $"/proc/{ProcessId}/fd";
            if (!Directory.Exists(descriptors)) return [];
            var open = new List<string>();
            foreach (string descriptor in Directory.GetFiles(descriptors))
            {
                try { open.Add(new FileInfo(descriptor).LinkTarget ?? ""); }
                catch (IOException) { }   // closed since they were listed
            }
            return open;
        }
    }

    /// <summary>A bare TCP connection: nothing sent yet.</summary>
    public Task<RawPeer> OpenAsync() => RawPeer.ConnectAsync(Tcp);

    /// <summary>A WebSocket connection over TCP, nothing more.</summary>
    public async Task<RawPeer> ConnectRawAsync(EndPoint? address = null)
    {
        RawPeer peer = await RawPeer.ConnectAsync(address ?? Tcp);
        try
        {
            await peer.UpgradeAsync();
            return peer;
        }
        catch
        {
            await peer.DisposeAsync();
            throw;
        }
    }

    /// <summary>A JSON-RPC connection over TCP, authenticated when the daemon has a token file.</summary>
    public async Task<RpcPeer> ConnectAsync(EndPoint? address = null)
    {
        RpcPeer peer = await ConnectUnauthenticatedAsync(address);
        if (File.Exists(Home.AuthTokenFile)) await peer.AuthenticateAsync(AuthToken);
        return peer;
    }

    /// <summary>A JSON-RPC connection with the host role.</summary>
    public async Task<RpcPeer> ConnectHostAsync()
    {
        RpcPeer peer = await ConnectUnauthenticatedAsync();
        await peer.CallAsync("session.auth", $$"""{"host_token":"{{HostToken}}"}""");
        return peer;
    }

    public async Task<RpcPeer> ConnectUnauthenticatedAsync(EndPoint? address = null) => new(await ConnectRawAsync(address));

    /// <summary>Runs a command of the same executable against this daemon's home.</summary>
    public Task<CommandOutcome> CommandAsync(params string[] arguments) => CarProcess.RunAsync(Home.Path, arguments);

    /// <summary>kill -9.</summary>
    public async Task KillAsync()
    {
        _process.Kill();
        await ExitedAsync();
    }

    /// <summary>Asks it to stop and returns its exit code.</summary>
    public async Task<int> TerminateAsync(int signal = CarProcess.SigTerm)
    {
        CarProcess.Signal(_process, signal);
        return await ExitedAsync();
    }

    /// <summary>Sends a signal and waits for nothing.</summary>
    public void Signal(int signal) => CarProcess.Signal(_process, signal);

    /// <summary>Waits until it ends by itself and returns its exit code.</summary>
    public async Task<int> ExitedAsync()
    {
        await _process.WaitForExitAsync().Soon("the end of the daemon");
        await Task.WhenAll(_outputEnd, _errorsEnd).Soon("the end of the daemon's outputs");
        return _process.ExitCode;
    }

    /// <summary>Starts again on the same home, with the same arguments. The port is a new one.</summary>
    public async Task RestartAsync()
    {
        if (!_process.HasExited) throw new InvalidOperationException("the daemon still runs");
        _process.Dispose();
        _output.Clear();
        await LaunchAsync();
    }

    public async ValueTask DisposeAsync()
    {
        if (_process is not null)
        {
            if (!_process.HasExited) _process.Kill();
            await ExitedAsync();
            _process.Dispose();
        }
        if (_ownsHome) Home.Dispose();
    }

    private async Task LaunchAsync()
    {
        (Port, Socket) = (0, null);
        string[] bind = _start.Bind is null ? [] : ["--bind", _start.Bind];
        _process = CarProcess.Start(Home.Path, ["serve", .. bind, .. _start.Arguments], _start.Environment, redirectInput: false, _start.Before, _start.Binary);
        var ready = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _outputEnd = ReadOutputAsync(_process.StandardOutput, ready);
        _errorsEnd = ReadErrorsAsync(_process.StandardError);
        try
        {
            await ready.Task.Soon("the daemon's 'ready'");
        }
        catch (Exception e) when (e is EndOfStreamException or TimeoutException)
        {
            if (e is EndOfStreamException) await ExitedAsync();
            throw new InvalidOperationException(
                $"the daemon did not start ({(_process.HasExited ? $"exit {_process.ExitCode}" : "still running")}): {string.Join('\n', _output)}\n{Errors}", e);
        }
    }

    private async Task ReadOutputAsync(StreamReader output, TaskCompletionSource ready)
    {
        while (await output.ReadLineAsync() is { } line)
        {
            _output.Enqueue(line);
            if (After(line, "listening on ws://127.0.0.1:") is { } port && Port == 0) Port = int.Parse(port.TrimEnd('/'), CultureInfo.InvariantCulture);
            else if (After(line, "listening on unix:") is { } path) Socket = path;
            else if (line == "ready") ready.TrySetResult();
        }
        ready.TrySetException(new EndOfStreamException("it closed its output before it was ready"));
    }

    private async Task ReadErrorsAsync(StreamReader errors)
    {
        while (await errors.ReadLineAsync() is { } line) _errors.Enqueue(line);
    }

    private static string? After(string line, string prefix) => line.StartsWith(prefix, StringComparison.Ordinal) ? line[prefix.Length..] : null;
}

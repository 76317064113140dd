using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using CarServer.Tests.Support;

namespace CarServer.Tests.Bench;

/// <summary>The published executable through its real sockets, against a thread that echoes the same frames.</summary>
internal sealed class DaemonCases : IAsyncDisposable
{
    private readonly List<IDisposable> _open = [];
    private readonly TestDaemon _daemon;

    private DaemonCases(TestDaemon daemon) => _daemon = daemon;

    public static async Task<DaemonCases> StartAsync() => new(await TestDaemon.StartAsync("--no-auth"));

    public IEnumerable<Case> All()
    {
        foreach (Case one in Over("TCP", _daemon.Tcp, new IPEndPoint(IPAddress.Loopback, 0))) yield return one;
        foreach (Case one in Over("Unix", _daemon.Unix, new UnixDomainSocketEndPoint(_daemon.Home.In("echo.sock")))) yield return one;
        foreach (Case one in CallbackCases.Over(_daemon.Tcp)) yield return one;
        yield return Start();
    }

    public async ValueTask DisposeAsync()
    {
        foreach (IDisposable one in _open) one.Dispose();
        await _daemon.DisposeAsync();
    }

    private IEnumerable<Case> Over(string name, EndPoint address, EndPoint echoAddress)
    {
        WireClient ours = Keep(WireClient.ToDaemon(address));
        EchoServer echo = Keep(new EchoServer(echoAddress));
        WireClient raw = Keep(WireClient.ToEcho(echo.Address));
        yield return new Case($"{name}: ping-pong, p50", "an echo of the same bytes", Shown.Microseconds, ours.PingPong, raw.PingPong);
        yield return new Case($"{name}: 64 pings under way", "an echo of the same bytes", Shown.PerSecond, ours.Pipelined, raw.Pipelined);
    }

    /// <summary>From the start of the process to its first answer, WebSocket handshake included.</summary>
    private static Case Start() => new("start to first answer, p50", "start and end of a process that does nothing", Shown.Milliseconds,
        window => Median(window, StartAndAsk),
        window => Median(window, static () =>
        {
            long started = Stopwatch.GetTimestamp();
            using Process process = Process.Start("true");
            process.WaitForExit();
            return Stopwatch.GetElapsedTime(started);
        }));

    public static double Median(TimeSpan window, Func<TimeSpan> once)
    {
        var times = new List<double>();
        for (long started = Stopwatch.GetTimestamp(); times.Count == 0 || Stopwatch.GetElapsedTime(started) < window;) times.Add(once().TotalSeconds);
        times.Sort();
        return times[times.Count / 2];
    }

    private static TimeSpan StartAndAsk()
    {
        using var home = new TempHome();
        return StartAndAsk(home).Took;
    }

    public static (TimeSpan Took, long Resident) StartAndAsk(TempHome home, string? binary = null)
    {
        var address = new UnixDomainSocketEndPoint(home.Socket);
        long started = Stopwatch.GetTimestamp();
        using Process process = CarProcess.Start(home.Path, ["serve", "--no-auth", "--bind", "unix:" + home.Socket], null, redirectInput: false, binary: binary);
        try
        {
            while (true)
            {
                try
                {
                    using WireClient client = WireClient.ToDaemon(address);
                    return (Stopwatch.GetElapsedTime(started), CarProcess.ResidentBytes(process));
                }
                catch (SocketException) when (Stopwatch.GetElapsedTime(started) < Eventually.Deadline && !process.HasExited)
                {
                    Thread.Sleep(TimeSpan.FromMicroseconds(100));   // it does not listen yet
                }
            }
        }
        finally
        {
            process.Kill();
            process.WaitForExit();
        }
    }

    /// <summary>Memory has no limit to be held against, only targets.</summary>
    public async Task PrintMemoryAsync()
    {
        const int Connections = 1_000;
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        var clients = new List<WireClient> { WireClient.ToDaemon(daemon.Tcp) };
        long one = daemon.ResidentBytes;
        while (clients.Count < 1 + Connections) clients.Add(WireClient.ToDaemon(daemon.Tcp));
        long many = daemon.ResidentBytes;
        foreach (WireClient client in clients) client.Dispose();

        Console.WriteLine();
        Console.WriteLine($"executable                                   {new FileInfo(Repository.Binary).Length / 1024.0 / 1024:0.00} MiB");
        Console.WriteLine($"resident, one connection that has asked      {one / 1024.0 / 1024:0.0} MiB");
        Console.WriteLine($"each of {Connections:#,0} more, asked once and idle     {(many - one) / (double)Connections:0} bytes");
    }

    private T Keep<T>(T one) where T : IDisposable
    {
        _open.Add(one);
        return one;
    }
}

using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;
using CarServer.Tests.Support;

namespace CarServer.Tests.Bench;

/// <summary>One thing that two executables are asked to do.</summary>
/// <param name="Prepare">Takes the executable and a daemon that runs from it; the rig's values are costs.</param>
internal sealed record CompareCase(Figure[] Figures, Func<string, TestDaemon, Rig> Prepare);

/// <summary>What shows a regression: start, throughput, latency, runs, size.</summary>
internal static class CompareCases
{
    public static IEnumerable<CompareCase> All()
    {
        yield return new([new("start to first answer", Shown.Milliseconds), new("resident after it", Shown.Mebibytes)], (binary, _) => new Rig(window => Start(binary, window)));
        yield return Throughput("ping 1 x 64", daemon => Together(daemon, 1, 64, _ => Requests.Ping, "\"pong\""u8));
        yield return Throughput("ping 32 x 8", daemon => Together(daemon, 32, 8, _ => Requests.Ping, "\"pong\""u8));
        yield return Throughput("state.set 32 x 8", daemon => Together(daemon, 32, 8, Set, "\"ok\""u8));
        yield return Throughput("state.get 32 x 8", daemon => Together(daemon, 32, 8, Get, "\"speed\":42"u8, before: Set));
        yield return new([new("ping-pong, p50", Shown.Microseconds)], (_, daemon) =>
        {
            WireClient client = WireClient.ToDaemon(daemon.Tcp);
            return new Rig(window => [client.PingPong(window)], client);
        });
        yield return new([new("proposal with one callback, p50", Shown.Microseconds)], (_, daemon) =>
        {
            ToolClient client = ToolClient.ToDaemon(daemon.Tcp, tools: 1);
            return new Rig(window => [client.ExchangeP50(window)], client);
        });
        yield return Throughput("record_turns, 16 of 1 KiB, 8 under way", daemon =>
        {
            var traces = new TraceCases(daemon);
            return (window => traces.Record(window, connections: 1, underWay: 8), []);
        });
        yield return new([new("executable", Shown.Mebibytes)], (binary, _) => new Rig(_ => [new FileInfo(binary).Length]));
    }

    private static byte[] Set(int i) => Encoding.UTF8.GetBytes($$$$"""{"jsonrpc":"2.0","id":10000000,"method":"state.set","params":{"key":"k{{{{i}}}}","value":{"speed":42,"gear":"D","on":true}}}""");
    private static byte[] Get(int i) => Encoding.UTF8.GetBytes($$$"""{"jsonrpc":"2.0","id":10000000,"method":"state.get","params":{"key":"k{{{i}}}"}}""");

    /// <summary>By the clock, and by the server's own processor time, which others on the machine disturb less.</summary>
    private static CompareCase Throughput(string name, Func<TestDaemon, (Measure Go, IReadOnlyList<IDisposable> Clients)> connect) =>
        new([new(name, Shown.PerSecond), new(name + ", of its processor time", Shown.PerSecond)], (_, daemon) =>
        {
            (Measure go, IReadOnlyList<IDisposable> clients) = connect(daemon);
            return new Rig(window =>
            {
                double before = ProcessorTime.Of(daemon.ProcessId);
                long started = Stopwatch.GetTimestamp();
                double each = go(window);
                double spent = Stopwatch.GetElapsedTime(started).TotalSeconds;
                return [each, (ProcessorTime.Of(daemon.ProcessId) - before) * each / spent];
            }, clients);
        });

    /// <summary>In whole batches: with a sliding window both ends may settle on smaller ones, and then that is what is measured.</summary>
    private static (Measure, IReadOnlyList<IDisposable>) Together(TestDaemon daemon, int connections, int depth, Func<int, byte[]> request, ReadOnlySpan<byte> part, Func<int, byte[]>? before = null)
    {
        var clients = new List<WireClient>();
        for (int i = 0; i < connections; i++) clients.Add(WireClient.ToDaemon(daemon.Tcp, request(i), part, before?.Invoke(i)));
        return (window => WireClient.Together(clients, depth, window), clients);
    }

    private static double[] Start(string binary, TimeSpan window)
    {
        var took = new List<double>();
        var resident = new List<double>();
        for (long started = Stopwatch.GetTimestamp(); took.Count == 0 || Stopwatch.GetElapsedTime(started) < window;)
        {
            using var home = new TempHome();
            (TimeSpan time, long bytes) = DaemonCases.StartAndAsk(home, binary);
            took.Add(time.TotalSeconds);
            resident.Add(bytes);
        }
        return [Table.Median(took), Table.Median(resident)];
    }
}

/// <summary>The kernel's clock of another process: all its threads, and not rounded to the hundredths of <c>/proc/PID/stat</c>.</summary>
internal static class ProcessorTime
{
    public static bool IsAvailable => OperatingSystem.IsLinux();

    /// <summary>Seconds so far; not a number where the system has no such clock.</summary>
    public static double Of(int process)
    {
        if (!IsAvailable) return double.NaN;
        const int AllThreads = 2;
        return clock_gettime((~process << 3) | AllThreads, out Timespec time) == 0
            ? time.Seconds + time.Nanoseconds / 1e9
            : throw new InvalidOperationException($"process {process} has no clock; it may have ended");
    }

    private struct Timespec
    {
        public nint Seconds, Nanoseconds;
    }

    [DllImport("libc")]
    private static extern int clock_gettime(int clock, out Timespec time);
}

using System.Diagnostics;
using System.IO.Enumeration;
using CarServer.RunStore;
using CarServer.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Win32.SafeHandles;

namespace CarServer.Tests.Bench;

/// <summary>A store of ten thousand runs, and a disk that is waited for.</summary>
internal static class RunStoreCases
{
    private const int Runs = 10_000;
    private const int DurableFiles = 64;

    private static readonly DateTime Started = new(2026, 1, 2, 3, 4, 5, DateTimeKind.Utc);

    /// <summary>Inside: appends that are done when the disk has them.</summary>
    public static IEnumerable<Case> Durable()
    {
        foreach ((int turns, int inFlight) in ((int, int)[])[(16, 1), (1, 1), (1, 16)])
            yield return new Case($"fsync: {DurableFiles} runs, {inFlight} in flight in each, {turns} KiB", "write(2) and fdatasync(2) of each", Shown.PerSecond,
                window => GroupCommit(window, turns, inFlight), window => OneByOne(window, turns));
    }

    /// <summary>Outside: the published executable with a full store. The limit of a list is the directory with the size and time of every file.</summary>
    public static IEnumerable<Case> Daemon()
    {
        using var oneAgent = new TempHome();
        for (int i = 0; i < Runs; i++) Write(oneAgent, "agent", i);
        File.WriteAllText(oneAgent.In("config.toml"), "[runs]\nmax_per_agent = 0\nmax_age_days = 0\n");
        var start = new DaemonStart { Home = oneAgent, Arguments = ["--no-auth"] };
        using (var warm = new Lister(start))
        {
            warm.List();
            yield return new Case($"runs.list of {Runs:#,0} runs, p50", "the directory, with a stat of each file", Shown.Milliseconds,
                window => DaemonCases.Median(window, warm.List), window => DaemonCases.Median(window, () => Stat(oneAgent)));
        }
        yield return new Case("the same, the first after a start", "open, read and close of each file", Shown.Milliseconds,
            window => DaemonCases.Median(window, () =>
            {
                using var cold = new Lister(start);
                return cold.List();
            }),
            window => DaemonCases.Median(window, () => ReadAll(oneAgent)));

        using var manyAgents = new TempHome();
        for (int i = 0; i < Runs; i++) Write(manyAgents, $"agent-{i}", i);
        File.Copy(oneAgent.In("config.toml"), manyAgents.In("config.toml"));
        yield return new Case($"start to first answer, {Runs:#,0} agents with a run each", "the same with an empty home", Shown.Milliseconds,
            window => DaemonCases.Median(window, () => DaemonCases.StartAndAsk(manyAgents).Took),
            window => DaemonCases.Median(window, () =>
            {
                using var empty = new TempHome();
                return DaemonCases.StartAndAsk(empty).Took;
            }));
    }

    /// <summary>Each run has <paramref name="inFlight"/> writers; what gathers while the disk is waited for goes out together.</summary>
    private static double GroupCommit(TimeSpan window, int turns, int inFlight)
    {
        using var home = new TempHome();
        var appender = new Appender(NullLogger.Instance, Durability.Fsync);
        AppendFile[] files = [.. Enumerable.Range(0, DurableFiles).Select(i => appender.File(home.In($"{i}.jsonl")))];
        byte[] batch = Batch(turns);
        long done = 0;
        long began = Stopwatch.GetTimestamp();
        Task.WhenAll(Enumerable.Range(0, DurableFiles * inFlight).Select(async writer =>
        {
            while (Stopwatch.GetElapsedTime(began) < window)
            {
                await appender.AppendAsync(files[writer % DurableFiles], batch);
                Interlocked.Increment(ref done);
            }
        })).GetAwaiter().GetResult();
        double spent = Stopwatch.GetElapsedTime(began).TotalSeconds;
        appender.DisposeAsync().AsTask().GetAwaiter().GetResult();
        return spent / done;
    }

    private static double OneByOne(TimeSpan window, int turns)
    {
        using var home = new TempHome();
        SafeFileHandle[] files = [.. Enumerable.Range(0, DurableFiles).Select(i => File.OpenHandle(home.In($"{i}.jsonl"), FileMode.Create, FileAccess.ReadWrite))];
        byte[] batch = Batch(turns);
        long at = 0;
        double each = Timed.Loop(times =>
        {
            for (int i = 0; i < times; i++, at++)
            {
                SafeFileHandle file = files[at % files.Length];
                RandomAccess.Write(file, batch, at / files.Length * batch.Length);
                StableStorage.Sync(file);
            }
        })(window);
        foreach (SafeFileHandle file in files) file.Dispose();
        return each;
    }

    private static byte[] Batch(int turns)
    {
        byte[] batch = new byte[turns * 1024];
        batch.AsSpan().Fill((byte)'x');
        batch[^1] = (byte)'\n';
        return batch;
    }

    /// <summary>A finished run of three turns.</summary>
    private static void Write(TempHome home, string agentId, int number)
    {
        string runId = $"00000000-0000-0000-0000-{number:000000000000}";
        DateTime at = Started.AddSeconds(number);
        var trace = new MemoryStream();
        trace.Write(new RunStarted(runId, agentId, "bring the notes into order and say what is missing", null, at).ToLine());
        byte[] body = TurnLine.TryEncodeBody(new RunTurn(Tool: "read_file", Parameters: RawJson.Parse("""{"path":"notes.txt"}"""), Output: RawJson.FromString(new string('x', 300))))!;
        byte[] line = new byte[TurnLine.LargestFrame + body.Length];
        for (int i = 0; i < 3; i++) trace.Write(line.AsSpan(0, TurnLine.Write(line, i, body)));
        trace.Write(new RunEnded(runId, agentId, new RunOutcome(new AgentOutcome(OutcomeStatus.Success).WithDefaults(at)), at).ToLine());
        Directory.CreateDirectory(home.In("runs", agentId));
        File.WriteAllBytes(home.Trace(agentId, runId), trace.ToArray());
    }

    private static TimeSpan Stat(TempHome home)
    {
        long started = Stopwatch.GetTimestamp();
        long sum = 0;
        foreach (long one in new FileSystemEnumerable<long>(home.In("runs", "agent"), static (ref FileSystemEntry entry) => entry.Length + entry.LastWriteTimeUtc.Ticks)) sum += one;
        return sum == 0 ? throw new InvalidOperationException("there is nothing") : Stopwatch.GetElapsedTime(started);
    }

    private static TimeSpan ReadAll(TempHome home)
    {
        long started = Stopwatch.GetTimestamp();
        byte[] buffer = new byte[16 * 1024];
        foreach (string path in Directory.EnumerateFiles(home.In("runs", "agent")))
        {
            using SafeFileHandle file = File.OpenHandle(path);
            if (RandomAccess.Read(file, buffer, 0) == 0) throw new InvalidOperationException("there is nothing");
        }
        return Stopwatch.GetElapsedTime(started);
    }

    /// <summary>A daemon and a client that asks it for the list.</summary>
    private sealed class Lister : IDisposable
    {
        private readonly TestDaemon _daemon;
        private readonly RawPeer _peer;

        public Lister(DaemonStart start)
        {
            _daemon = TestDaemon.StartAsync(start).GetAwaiter().GetResult();
            _peer = _daemon.ConnectRawAsync().GetAwaiter().GetResult();
        }

        public TimeSpan List()
        {
            long started = Stopwatch.GetTimestamp();
            _peer.SendTextAsync("""{"jsonrpc":"2.0","id":1,"method":"runs.list","params":{"agent_id":"agent"} }""").GetAwaiter().GetResult();
            string answer = _peer.ReadTextAsync().GetAwaiter().GetResult();
            TimeSpan took = Stopwatch.GetElapsedTime(started);
            return answer.Length > Runs * 100 ? took : throw new InvalidOperationException($"no list of {Runs} runs: {answer[..Math.Min(answer.Length, 200)]}");
        }

        public void Dispose()
        {
            _peer.DisposeAsync().AsTask().GetAwaiter().GetResult();
            _daemon.DisposeAsync().AsTask().GetAwaiter().GetResult();
        }
    }
}

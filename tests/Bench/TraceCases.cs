using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using CarServer.RunStore;
using CarServer.State.Runs;
using CarServer.Tests.Support;
using Microsoft.Win32.SafeHandles;

namespace CarServer.Tests.Bench;

/// <summary>Run traces through the published executable's sockets: recording, following, reading.</summary>
internal sealed class TraceCases : IAsyncDisposable
{
    private const int TurnsInBatch = 16;
    private const int BatchesInRun = RunLimits.MaxTurns / TurnsInBatch;
    private const int Subscribers = 100;

    private readonly TestDaemon _daemon;
    private static int s_runs;

    public TraceCases(TestDaemon daemon) => _daemon = daemon;

    public static async Task<TraceCases> StartAsync() => new(await TestDaemon.StartAsync("--no-auth"));

    public ValueTask DisposeAsync() => _daemon.DisposeAsync();

    public IEnumerable<Case> All()
    {
        byte[] line = Line(1_000);
        byte[] block = [.. Enumerable.Repeat(line, TurnsInBatch).SelectMany(bytes => bytes)];
        yield return new Case("record_turns of 1 KiB, 16 a batch, 8 under way", "write(2) of each line", Shown.Throughput(block.Length),
            window => Record(window, connections: 1, underWay: 8), window => Write(window, line, TurnsInBatch));
        yield return new Case("the same, held against larger writes", "write(2) of each batch", Shown.Throughput(block.Length),
            window => Record(window, connections: 1, underWay: 8), window => Write(window, block, 1));
        yield return new Case("the same from 4 connections", "write(2) of each line", Shown.Throughput(block.Length),
            window => Record(window, connections: 4, underWay: 8), window => Write(window, line, TurnsInBatch));
        yield return new Case($"a turn to {Subscribers} subscribers, an event", "send(2) of the same bytes to each", Shown.PerSecond,
            window => FanOut(window, wedged: 0), SendToAll);
        yield return new Case("with one more that does not read", "the same without it", Shown.PerSecond,
            window => FanOut(window, wedged: 1), window => FanOut(window, wedged: 0));
        yield return new Case("get_trace of 2,000 turns of 64 KiB", "read(2) and send(2) of the file", Shown.Throughput(TraceBytes),
            ReadTrace, CopyTrace);
    }

    /// <summary>Memory has no limit to be held against, only a target.</summary>
    public async Task PrintMemoryAsync()
    {
        const int Runs = 10_000;
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        using var client = new TraceClient(daemon.Tcp);
        RunOnce("the first", 100);
        long before = await QuietAsync();
        RunOnce("measured", Runs);
        long after = await QuietAsync();
        Console.WriteLine();
        Console.WriteLine($"each of {Runs:#,0} ended runs, once it is quiet    {(after - before) / (double)Runs:0} bytes");

        void RunOnce(string name, int runs)
        {
            for (int i = 0; i < runs; i++)
            {
                client.Call("runs.start", $$"""{"intent":"measure","agent_id":"bench","idempotency_key":"{{name}} {{i}}"}""");
                client.Call("runs.complete", $$"""{"run_id":"{{name}} {{i}}","outcome":{"status":"done"} }""");
            }
        }

        // The daemon gives memory back half a second to a second after the last traffic.
        async Task<long> QuietAsync()
        {
            await Task.Delay(TimeSpan.FromSeconds(2));
            return daemon.ResidentBytes;
        }
    }

    // ---------------------------------------------------------------- recording

    private static string Turn => $$"""{"tool":"read_file","parameters":{"path":"notes.txt"},"output":"{{new string('x', 925)}}"}""";

    private static byte[] Line(int index)
    {
        byte[] body = TurnLine.TryEncodeBody(new RunTurn(Tool: "read_file", Parameters: RawJson.Parse("""{"path":"notes.txt"}"""), Output: RawJson.FromString(new string('x', 925))))!;
        byte[] line = new byte[TurnLine.LargestFrame + body.Length];
        return line[..TurnLine.Write(line, index, body)];
    }

    public double Record(TimeSpan window, int connections, int underWay)
    {
        long batches = 0;
        Exception? failure = null;
        long started = Stopwatch.GetTimestamp();
        Thread[] threads = [.. Enumerable.Range(0, connections).Select(_ => new Thread(() =>
        {
            try
            {
                using var client = new TraceClient(_daemon.Tcp);
                while (Stopwatch.GetElapsedTime(started) < window)
                {
                    RecordRun(client, underWay, TurnsInBatch, Turn);
                    Interlocked.Add(ref batches, BatchesInRun);
                }
            }
            catch (Exception e) { failure = e; }
        }))];
        foreach (Thread thread in threads) thread.Start();
        foreach (Thread thread in threads) thread.Join();
        if (failure is not null) throw new InvalidOperationException($"recording came to grief: {failure.Message}", failure);
        return Stopwatch.GetElapsedTime(started).TotalSeconds / batches;
    }

    private string RecordRun(TraceClient client, int underWay, int turnsInBatch, string turn)
    {
        string run = StartRun(client);
        byte[] request = TraceClient.Frame($$"""{"jsonrpc":"2.0","id":1,"method":"runs.record_turns","params":{"run_id":"{{run}}","turns":[{{string.Join(',', Enumerable.Repeat(turn, turnsInBatch))}}] } }""");
        int batches = RunLimits.MaxTurns / turnsInBatch;
        int sent = 0;
        for (; sent < Math.Min(underWay, batches); sent++) client.Send(request);
        for (int answered = 0; answered < batches; answered++)
        {
            if (client.ReadFrame().IndexOf("\"ok\":true"u8) < 0) throw new InvalidOperationException("turns were not recorded");
            if (sent++ < batches) client.Send(request);
        }
        client.Call("runs.complete", $$"""{"run_id":"{{run}}","outcome":{"status":"done"} }""");
        return run;
    }

    private string StartRun(TraceClient client)
    {
        string run = string.Create(CultureInfo.InvariantCulture, $"run-{Interlocked.Increment(ref s_runs)}");
        client.Call("runs.start", $$"""{"intent":"measure","agent_id":"bench","idempotency_key":"{{run}}"}""");
        return run;
    }

    /// <summary>A file for each run, removed as soon as it is written: so the loop has memory at hand that the system need not find first.</summary>
    private static double Write(TimeSpan window, byte[] bytes, int times)
    {
        using var home = new TempHome();
        return Timed.Loop(runs =>
        {
            for (int run = 0; run < runs; run++)
            {
                using SafeFileHandle file = File.OpenHandle(home.In("r.jsonl"), FileMode.Create, FileAccess.Write, options: FileOptions.DeleteOnClose);
                long end = 0;
                for (int i = 0; i < BatchesInRun * times; i++, end += bytes.Length) RandomAccess.Write(file, bytes, end);
            }
        })(window) / BatchesInRun;
    }

    // ---------------------------------------------------------------- following

    /// <summary>One agent records as fast as it may with two batches under way; a hundred clients follow, and every event is waited for.</summary>
    private double FanOut(TimeSpan window, int wedged)
    {
        using var agent = new TraceClient(_daemon.Tcp);
        TraceClient[] followers = [.. Enumerable.Range(0, Subscribers).Select(_ => new TraceClient(_daemon.Tcp))];
        TraceClient[] stuck = [.. Enumerable.Range(0, wedged).Select(_ => new TraceClient(_daemon.Tcp))];
        double seconds = 0;
        long events = 0;
        while (seconds < window.TotalSeconds)
        {
            string run = StartRun(agent);
            foreach (TraceClient follower in followers.Concat(stuck)) follower.Call("runs.subscribe", $$"""{"run_id":"{{run}}"}""");
            byte[] request = TraceClient.Frame($$"""{"jsonrpc":"2.0","id":1,"method":"runs.record_turns","params":{"run_id":"{{run}}","turns":[{{string.Join(',', Enumerable.Repeat("""{"tool":"t","parameters":{"n":1},"output":"some words of output"}""", TurnsInBatch))}}] } }""");
            long started = Stopwatch.GetTimestamp();
            using var reading = new Readers(followers, RunLimits.MaxTurns);
            for (int batch = 0; batch < 2; batch++) agent.Send(request);
            for (int batch = 2; batch < BatchesInRun + 2; batch++)
            {
                agent.ReadFrame();
                if (batch < BatchesInRun) agent.Send(request);
            }
            reading.Wait();
            seconds += Stopwatch.GetElapsedTime(started).TotalSeconds;
            events += (long)Subscribers * RunLimits.MaxTurns;
            foreach (TraceClient follower in followers) follower.Call("runs.unsubscribe", $$"""{"run_id":"{{run}}"}""");
            agent.Call("runs.complete", $$"""{"run_id":"{{run}}","outcome":{"status":"done"} }""");
        }
        foreach (TraceClient client in followers.Concat(stuck)) client.Dispose();
        return seconds / events;
    }

    /// <summary>The same bytes in the same batches from one thread that does nothing else.</summary>
    private static double SendToAll(TimeSpan window)
    {
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen(Subscribers);
        var ends = new List<(Socket Near, RawFollower Far)>();
        for (int i = 0; i < Subscribers; i++)
        {
            Socket far = WireClient.Connect(listener.LocalEndPoint!);
            Socket near = listener.Accept();
            near.NoDelay = true;
            ends.Add((near, new RawFollower(far)));
        }
        byte[] one = TraceClient.Frame("""{"jsonrpc":"2.0","method":"runs.trace.event","params":{"run_id":"run-1","agent_id":"bench","record":{"record":"turn","index":1000,"tool":"t","parameters":{"n":1},"output":"some words of output","verifier_verdict":"not_run"},"cursor":1001,"status":"in_progress"}}""");
        byte[] batch = [.. Enumerable.Repeat(one, TurnsInBatch).SelectMany(bytes => bytes)];
        double seconds = 0;
        long events = 0;
        while (seconds < window.TotalSeconds)
        {
            long started = Stopwatch.GetTimestamp();
            using var reading = new Readers([.. ends.Select(end => end.Far)], (long)batch.Length * BatchesInRun);
            for (int i = 0; i < BatchesInRun; i++)
                foreach ((Socket near, _) in ends)
                    for (ReadOnlySpan<byte> left = batch; !left.IsEmpty;) left = left[near.Send(left)..];
            reading.Wait();
            seconds += Stopwatch.GetElapsedTime(started).TotalSeconds;
            events += (long)Subscribers * BatchesInRun * TurnsInBatch;
        }
        foreach ((Socket near, RawFollower far) in ends)
        {
            near.Dispose();
            far.Socket.Dispose();
        }
        return seconds / events;
    }

    private interface IFollower
    {
        Socket Socket { get; }
        long Read();
    }

    private sealed class RawFollower(Socket socket) : IFollower
    {
        private static readonly byte[] s_nobodyLooks = new byte[1024 * 1024];
        public Socket Socket => socket;
        public long Read() => socket.Receive(s_nobodyLooks);
    }

    private sealed class FrameFollower(TraceClient client) : IFollower
    {
        public Socket Socket => client.Socket;
        public long Read() => client.CountFrames();
    }

    /// <summary>One thread that reads from all followers until each has had so many frames, or bytes.</summary>
    private sealed class Readers : IDisposable
    {
        private readonly Thread _thread;
        private Exception? _failure;

        public Readers(IReadOnlyList<TraceClient> followers, long frames) : this([.. followers.Select(client => new FrameFollower(client))], frames) { }

        public Readers(IReadOnlyList<IFollower> followers, long wanted)
        {
            Dictionary<Socket, (IFollower Follower, long Had)> open = followers.ToDictionary(follower => follower.Socket, follower => (follower, 0L));
            _thread = new Thread(() =>
            {
                try
                {
                    while (open.Count > 0)
                    {
                        List<Socket> ready = [.. open.Keys];
                        Socket.Select(ready, null, null, TimeSpan.FromSeconds(10));
                        if (ready.Count == 0) throw new TimeoutException($"{open.Count} followers wait for more; the first had {open.Values.First().Had} of {wanted}");
                        foreach (Socket socket in ready)
                        {
                            (IFollower follower, long had) = open[socket];
                            had += follower.Read();
                            if (had >= wanted) open.Remove(socket);
                            else open[socket] = (follower, had);
                        }
                    }
                }
                catch (Exception e)
                {
                    _failure = e;
                }
            }) { IsBackground = true };
            _thread.Start();
        }

        public void Wait()
        {
            _thread.Join();
            if (_failure is not null) throw new InvalidOperationException("a follower came to grief", _failure);
        }

        public void Dispose() => _thread.Join();
    }

    // ---------------------------------------------------------------- reading

    private const int LargeTurns = RunLimits.MaxTurns;
    private static readonly string s_largeTurn = $$"""{"tool":"t","output":["{{new string('a', 16_000)}}","{{new string('b', 16_000)}}","{{new string('c', 16_000)}}","{{new string('d', 16_000)}}"]}""";
    private static long TraceBytes => LargeTurns * 64_100L;
    private string? _large;

    private string LargeRun(TraceClient client) => _large ??= RecordRun(client, 2, 50, s_largeTurn);

    private double ReadTrace(TimeSpan window)
    {
        using var client = new TraceClient(_daemon.Tcp);
        string run = LargeRun(client);
        return Timed.Loop(times =>
        {
            for (int i = 0; i < times; i++)
            {
                client.Send(TraceClient.Frame($$"""{"jsonrpc":"2.0","id":1,"method":"runs.get_trace","params":{"run_id":"{{run}}"} }"""));
                int length = client.ReadFrame().Length;
                if (length < TraceBytes / 2) throw new InvalidOperationException($"a trace of {length} bytes");
            }
        })(window);
    }

    private double CopyTrace(TimeSpan window)
    {
        using (var client = new TraceClient(_daemon.Tcp)) LargeRun(client);
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen();
        using Socket far = WireClient.Connect(listener.LocalEndPoint!);
        using Socket near = listener.Accept();
        using SafeFileHandle file = File.OpenHandle(_daemon.Home.Trace("bench", _large!));
        byte[] sent = new byte[64 * 1024], received = new byte[1024 * 1024];
        return Timed.Loop(times =>
        {
            for (int i = 0; i < times; i++)
            {
                long length = RandomAccess.GetLength(file);
                var sender = new Thread(() =>
                {
                    for (long at = 0; at < length;)
                    {
                        int n = RandomAccess.Read(file, sent, at);
                        at += n;
                        for (ReadOnlySpan<byte> left = sent.AsSpan(0, n); !left.IsEmpty;) left = left[near.Send(left)..];
                    }
                });
                sender.Start();
                for (long had = 0; had < length;) had += far.Receive(received);
                sender.Join();
            }
        })(window);
    }
}

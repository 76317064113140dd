using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using CarServer.Tests.Support;

namespace CarServer.Tests.Bench;

/// <summary>Ten thousand connections to one daemon: what each costs, and what the well-behaved ones notice of the others.</summary>
/// <remarks>The daemon has the first processor and this process the second, or on a larger machine all others.</remarks>
internal sealed class Crowd : IDisposable
{
    private const int Members = 10_000, Misbehaving = 1_000, Active = 64, Pairs = 7;
    private static readonly TimeSpan s_window = TimeSpan.FromSeconds(2), s_fates = TimeSpan.FromSeconds(45);

    private readonly TestDaemon _daemon;
    private readonly List<CrowdMember> _members = [];

    private Crowd(TestDaemon daemon) => _daemon = daemon;

    public static async Task<int> RunAsync()
    {
        if (!ProcessFigures.Available)
        {
            Console.Error.WriteLine("bench crowd: this system does not tell about other processes in /proc");
            return 1;
        }
        Console.WriteLine();
        await using (TestDaemon daemon = await TestDaemon.StartAsync("--no-auth")) PrintIdle(daemon);

        Processors.LeaveTheFirst();
        await using (TestDaemon daemon = await TestDaemon.StartAsync(new DaemonStart { Arguments = ["--no-auth"], Before = $"ulimit -n $(ulimit -Hn); {Processors.DaemonHasTheFirst}" }))
        using (var crowd = new Crowd(daemon))
        {
            crowd.Gather();
            crowd.Compare();
            crowd.Fates();
            string[] complaints = [.. daemon.Errors.Split('\n').Where(line => line.Contains(" error ", StringComparison.Ordinal))];
            Console.WriteLine($"{"errors in the daemon's log",-52} {complaints.Length}");
            foreach (string line in complaints.Take(10)) Console.WriteLine(line);
        }
        return 0;
    }

    public void Dispose()
    {
        foreach (CrowdMember member in _members) member.Reset();
    }

    // ---------------------------------------------------------------- what they cost

    private static void PrintIdle(TestDaemon daemon)
    {
        const int Idle = 1_000;
        var members = new List<CrowdMember>();
        while (members.Count < Idle)
        {
            members.Add(new CrowdMember(daemon.Tcp));
            members[^1].Ping();
        }
        Thread.Sleep(TimeSpan.FromSeconds(3));   // memory is given back once it is quiet: that is no idling
        ProcessFigures before = ProcessFigures.Of(daemon.ProcessId);
        Thread.Sleep(TimeSpan.FromSeconds(10));
        ProcessFigures after = ProcessFigures.Of(daemon.ProcessId);
        Print($"{Idle:#,0} idle connections, 10 s", $"{(after.Processor - before.Processor) * 1000:0.00} ms of a processor ({(after.Processor - before.Processor) * 10:0.000} %), {after.Switches - before.Switches} context switches");
        foreach (CrowdMember member in members) member.Reset();
    }

    private void Gather()
    {
        _members.Add(new CrowdMember(_daemon.Tcp));
        _members[0].Ping();
        long one = _daemon.ResidentBytes;
        long started = Stopwatch.GetTimestamp();
        while (_members.Count < Members) _members.Add(new CrowdMember(_daemon.Tcp));
        Print($"{Members:#,0} connections made", $"{Stopwatch.GetElapsedTime(started).TotalSeconds:0.00} s");
        started = Stopwatch.GetTimestamp();
        foreach (CrowdMember member in _members) member.Ping();
        Print("one ping answered on each, one after another", $"{Stopwatch.GetElapsedTime(started).TotalSeconds:0.00} s");
        Print("resident with one", $"{one / 1024.0 / 1024:0.0} MiB");
        Print("each further one", $"{(_daemon.ResidentBytes - one) / (Members - 1.0):0} bytes");
    }

    // ---------------------------------------------------------------- what they notice

    /// <summary>Calm and not calm take turns, and who comes first takes turns too.</summary>
    private void Compare()
    {
        foreach (CrowdMember member in _members.TakeLast(Misbehaving)) member.Reset();
        _members.RemoveRange(Members - Misbehaving, Misbehaving);
        Measured();   // thrown away
        var pairs = new List<(Latencies Calm, Latencies Crowded)>();
        while (pairs.Count < Pairs)
        {
            Latencies? calm = null;
            if (pairs.Count % 2 == 0) calm = Measured();
            Latencies crowded;
            using (var bad = new Misbehaviour(_daemon, Misbehaving)) crowded = Measured();
            Thread.Sleep(TimeSpan.FromMilliseconds(500));   // a thousand ends are work too
            pairs.Add((calm ?? Measured(), crowded));
        }
        Console.WriteLine($"{Members - Misbehaving:#,0} connections, with and without {Misbehaving:#,0} that misbehave; {Pairs} pairs of {s_window.TotalSeconds:0} s, µs");
        Row("one ping-pong, p50", one => one.One.P50);
        Row("one ping-pong, p99", one => one.One.P99);
        Row($"{Active} with a ping under way each, p50", one => one.Many.P50);
        Row($"{Active} with a ping under way each, p99", one => one.Many.P99);
        foreach (CrowdMember member in _members) member.Ping();
        Print("well-behaved connections that still answer", $"{_members.Count:#,0}");

        void Row(string name, Func<Latencies, double> figure)
        {
            List<double> ratios = [.. pairs.Select(pair => figure(pair.Crowded) / figure(pair.Calm)).Order()];
            Print(name, $"{Middle(pairs.Select(pair => figure(pair.Calm))),8:0.0} calm {Middle(pairs.Select(pair => figure(pair.Crowded))),8:0.0} crowded, ratio {ratios[Pairs / 2]:0.00} ({ratios[0]:0.00}–{ratios[^1]:0.00})");
        }

        static double Middle(IEnumerable<double> values) => values.Order().ElementAt(Pairs / 2);
    }

    private Latencies Measured() => new(PingPong(_members[0]), UnderWay(_members.Take(Active)));

    private static (double P50, double P99) PingPong(CrowdMember member)
    {
        var times = new List<double>();
        for (long started = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(started) < s_window;)
        {
            long sent = Stopwatch.GetTimestamp();
            member.Ping();
            times.Add(Stopwatch.GetElapsedTime(sent).TotalMicroseconds);
        }
        return Percentiles(times);
    }

    private static (double P50, double P99) UnderWay(IEnumerable<CrowdMember> members)
    {
        Dictionary<Socket, CrowdMember> all = members.ToDictionary(member => member.Socket);
        var sent = new Dictionary<Socket, long>();
        var times = new List<double>();
        long started = Stopwatch.GetTimestamp();
        foreach ((Socket socket, CrowdMember member) in all)
        {
            sent[socket] = Stopwatch.GetTimestamp();
            member.Ask();
        }
        while (sent.Count > 0)
        {
            var ready = new List<Socket>(sent.Keys);
            Socket.Select(ready, null, null, TimeSpan.FromSeconds(10));
            if (ready.Count == 0) throw new TimeoutException("no answer within ten seconds");
            foreach (Socket socket in ready)
            {
                all[socket].Hear();
                times.Add(Stopwatch.GetElapsedTime(sent[socket]).TotalMicroseconds);
                sent.Remove(socket);
                if (Stopwatch.GetElapsedTime(started) >= s_window) continue;
                sent[socket] = Stopwatch.GetTimestamp();
                all[socket].Ask();
            }
        }
        return Percentiles(times);
    }

    private static (double P50, double P99) Percentiles(List<double> times)
    {
        times.Sort();
        return (times[times.Count / 2], times[times.Count * 99 / 100]);
    }

    private void Fates()
    {
        long before = _daemon.ResidentBytes;
        using var bad = new Misbehaviour(_daemon, Misbehaving);
        Thread.Sleep(s_fates / 4);
        Print("resident without and with those that misbehave", $"{before / 1024.0 / 1024:0.0} and {_daemon.ResidentBytes / 1024.0 / 1024:0.0} MiB");
        Thread.Sleep(s_fates * 3 / 4);
        Print($"after {s_fates.TotalSeconds:0} s of it", $"{_daemon.ResidentBytes / 1024.0 / 1024:0.0} MiB");
        foreach ((string who, string fate, int count) in bad.Fates()) Print(who, $"{count} {fate}");
    }

    private static void Print(string name, string figure) => Console.WriteLine($"{name,-52} {figure}");

    private sealed record Latencies((double P50, double P99) One, (double P50, double P99) Many);
}

/// <summary>A connection as small as it can be here too: one socket. Only one thread may ask at a time.</summary>
internal sealed class CrowdMember
{
    private static readonly byte[] s_request = TraceClient.Frame("""{"jsonrpc":"2.0","id":1,"method":"ping"}"""), s_heard = new byte[4096];
    private static byte[]? s_answer;

    public CrowdMember(EndPoint address)
    {
        Socket = WireClient.Connect(address);
        Socket.Send("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"u8);
        int had = 0;
        while (!s_heard.AsSpan(0, had).EndsWith("\r\n\r\n"u8)) had += Some(Socket.Receive(s_heard.AsSpan(had)));
        if (!s_heard.AsSpan(0, had).StartsWith("HTTP/1.1 101 "u8)) throw new InvalidOperationException(System.Text.Encoding.ASCII.GetString(s_heard, 0, had));
    }

    public static ReadOnlySpan<byte> Request => s_request;

    public Socket Socket { get; }

    public void Ping()
    {
        Ask();
        Hear();
    }

    public void Ask() => Socket.Send(s_request);

    /// <summary>The answer, which is the same for all; it is small enough to come in one piece.</summary>
    public void Hear()
    {
        int had = Some(Socket.Receive(s_heard));
        s_answer ??= s_heard.AsSpan(0, had).IndexOf("\"pong\""u8) > 0 ? s_heard[..had] : throw new InvalidOperationException("the daemon did not answer the ping");
        if (!s_heard.AsSpan(0, had).SequenceEqual(s_answer)) throw new InvalidOperationException("an answer differs from the first one");
    }

    /// <summary>Leaves no trace in the system's tables either.</summary>
    public void Reset()
    {
        if (Socket.AddressFamily == AddressFamily.InterNetwork) Socket.LingerState = new LingerOption(true, 0);
        Socket.Dispose();
    }

    private static int Some(int received) => received > 0 ? received : throw new EndOfStreamException("the daemon closed the connection");
}

/// <summary>A third sends half a frame and nothing more, a third asks for much and reads nothing, a third sends pings without a pause and reads nothing.</summary>
internal sealed partial class Misbehaviour : IDisposable
{
    /// <summary>Pings of one flooder in a second. All of them together take the daemon some hundredths of a processor, which is theirs by right.</summary>
    private const int PingsPerSecond = 500;

    private const int PingsAtOnce = 50, LargeAnswers = 8, LargeBytes = 64 * 1024;

    private static readonly byte[] s_pings = [.. Enumerable.Repeat(CrowdMember.Request.ToArray(), PingsAtOnce).SelectMany(frame => frame)];

    private readonly List<CrowdMember> _silent = [], _slow = [], _flooding = [];
    private readonly ManualResetEventSlim _end = new();
    private readonly Thread _flood;

    public Misbehaviour(TestDaemon daemon, int count)
    {
        byte[] set = TraceClient.Frame($$"""{"jsonrpc":"2.0","id":1,"method":"state.set","params":{"key":"k","value":"{{new string('x', LargeBytes)}}"} }""");
        byte[] get = TraceClient.Frame("""{"jsonrpc":"2.0","id":1,"method":"state.get","params":{"key":"k"} }""");
        for (int i = 0; i < count; i++)
        {
            // Between the ends of a TCP connection the system itself holds megabytes before the daemon notices that nobody reads.
            var member = new CrowdMember(i % 3 == 0 ? daemon.Tcp : daemon.Unix);
            switch (i % 3)
            {
                case 0:
                    _silent.Add(member);
                    member.Socket.Send([0x81, 0xfe, 0x40]);
                    break;
                case 1:
                    _slow.Add(member);
                    member.Socket.Send(set);
                    for (int answer = 0; answer < LargeAnswers; answer++) member.Socket.Send(get);
                    break;
                default:
                    _flooding.Add(member);
                    member.Socket.Blocking = false;
                    break;
            }
        }
        _flood = new Thread(Flood) { IsBackground = true, Name = "flood" };
        _flood.Start();
        Thread.Sleep(TimeSpan.FromMilliseconds(500));   // until all are at it
    }

    /// <summary>What has become of them: still there, closed with a code, or cut off.</summary>
    public IEnumerable<(string Who, string Fate, int Count)> Fates()
    {
        foreach ((string who, List<CrowdMember> members) in new[] { ("silent in a frame", _silent), ("slow readers", _slow), ("flooding", _flooding) })
            foreach (IGrouping<string, CrowdMember> group in members.GroupBy(member => Fate(member.Socket)))
                yield return (who, group.Key, group.Count());
    }

    public void Dispose()
    {
        _end.Set();
        _flood.Join();
        foreach (CrowdMember member in _silent.Concat(_slow).Concat(_flooding)) member.Reset();
    }

    /// <summary>A few sends in each millisecond, so that nobody is held up by many at once; behind everybody else in the queue for the processor.</summary>
    private void Flood()
    {
        _ = setpriority(0, 0, 19);   // on Linux the calling thread alone
        var unsent = new int[_flooding.Count];   // of the pings that the system took in part
        long started = Stopwatch.GetTimestamp();
        for (long sends = 0; !_end.Wait(1);)
            for (long due = (long)(Stopwatch.GetElapsedTime(started).TotalSeconds * _flooding.Count * PingsPerSecond / PingsAtOnce); sends < due; sends++)
            {
                int i = (int)(sends % _flooding.Count);
                int sent = _flooding[i].Socket.Send(s_pings.AsSpan(s_pings.Length - (unsent[i] == 0 ? s_pings.Length : unsent[i])), SocketFlags.None, out SocketError error);
                if (error == SocketError.Success) unsent[i] = ((unsent[i] == 0 ? s_pings.Length : unsent[i]) - sent) % s_pings.Length;
            }
    }

    private static string Fate(Socket socket)
    {
        socket.Blocking = false;
        byte[] buffer = new byte[64 * 1024], last = new byte[4];
        int had = 0;
        while (true)
        {
            int n = socket.Receive(buffer, SocketFlags.None, out SocketError error);
            if (error == SocketError.WouldBlock) return had >= 4 && last[0] == 0x88 ? $"told to go with {last[2] << 8 | last[3]}" : "still open";
            if (error != SocketError.Success) return $"cut off ({error})";
            if (n == 0) return had >= 4 && last[0] == 0x88 ? $"closed with {last[2] << 8 | last[3]}" : "closed without a code";
            if (had == 0 && n >= 4) buffer.AsSpan(0, 4).CopyTo(last);
            had += n;
        }
    }

    [LibraryImport("libc")] private static partial int setpriority(int which, uint who, int priority);
}

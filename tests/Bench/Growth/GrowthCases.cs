using System.Diagnostics;
using System.Text;
using CarServer.RunStore;
using CarServer.State.Permissions;
using CarServer.State.Runs;
using CarServer.State.Engine.Tools;
using CarServer.Tests.Support;
using Microsoft.Win32.SafeHandles;

namespace CarServer.Tests.Bench;

/// <summary>Each through the real socket, with a daemon of its own for each size.</summary>
internal static class GrowthCases
{
    /// <summary>Requests under way, whatever there are many of: a larger number must not be a larger batch.</summary>
    private const int UnderWay = 64;

    /// <summary>Of a call that takes longer than the window allows; and the one before them is not counted, since it finds memory given back in the pause.</summary>
    private const int LeastCalls = 7;

    public static IEnumerable<GrowthCase> All()
    {
        yield return new([Row("connections: ping on each in turn", Shown.Microseconds, 100)], Pings) { Bare = new("the same with an echo", BarePings) };
        yield return new([Row("connections: opened, and a first ping", Shown.Microseconds, 100)], (_, connections) => Openings(connections))
            { Bare = new("the same with an echo", (_, connections) => BareOpenings(connections)) };
        yield return new([Row("connections: resident memory", Bytes, 1_000)], (_, connections) => Memory(connections))
            { Least = 1_000, Limit = "a page of memory is more than what fewer take" };
        yield return new([Row("runs: start, record_turns, complete", Shown.Microseconds, 100)], (_, runs) => RunGrowth.Runs(i => "agent", runs))
            { Bare = new("files of three lines, and a link for each", (_, runs) => RunGrowth.BareRuns(i => "agent", runs), Beside: true) };
        yield return new([Row("runs: runs.list, a run", Shown.Microseconds, 100)], RunGrowth.RunsOfOne) { Bare = new("a walk over the same files, and as many bytes", RunGrowth.Walk, Beside: true) };
        yield return new([Row("agents: a run of each", Shown.Microseconds, 100)], (_, agents) => RunGrowth.Runs(i => $"agent-{i:00000}", agents))
            { Most = PermissionLimits.MaxAgents, Limit = TooManyAgents, Bare = new("the same in directories", (_, agents) => RunGrowth.BareRuns(i => $"agent-{i:00000}", agents), Beside: true) };
        yield return new([Row("agents: runs.list of one, a call", Shown.Microseconds, 100)], RunGrowth.RunsOfMany) { Most = PermissionLimits.MaxAgents, Limit = TooManyAgents };
        yield return new([Row("subscribers of a run: a notification", Shown.Nanoseconds, 100)], RunGrowth.Subscribers) { Bare = new("a send of as many bytes to each", RunGrowth.Broadcast) };
        yield return new([Row("keys of a session: state.set", Shown.Nanoseconds, 100), Row("keys of a session: state.get", Shown.Nanoseconds, 1)], Keys);
        yield return new([Row("tools: tools.register, a tool", Shown.Microseconds, 100), Row("tools: tools.list, a tool", Shown.Microseconds, 100),
            Row("tools: a proposal that calls one of them", Shown.Microseconds, 1)], Tools)
            { Most = ToolRegistry.MaxTools, Limit = $"the daemon takes {ToolRegistry.MaxTools:#,0}" };
        yield return new([Row("actions of a proposal", Shown.Microseconds, 100)], Actions);
        yield return new([Row("events in memory: events.query, an event", Shown.Nanoseconds, 100), Row("events in memory: events.count, a call", Shown.Microseconds, 1)], Events);
        yield return new([Row("postures of agents: evaluate, a call", Shown.Microseconds, 1)], SettledPostures) { Most = PermissionLimits.MaxAgents, Limit = TooManyPostures };
        yield return new([Row("postures of agents: set, an agent answered", Shown.Microseconds, 100),
            Row("postures: evaluate, just after that", Shown.Microseconds, 1) with { OnPurpose = "within a tenth of a second of a change the file is read again, since another change may have the same time" }], ChangingPostures)
            { Most = PermissionLimits.MaxAgents, Limit = TooManyPostures, Bare = new("a file of as many bytes, synced and renamed", BareFile, Beside: true) };
    }

    private const string TooManyAgents = "nobody runs so many on one machine";
    private static readonly string TooManyPostures = $"the daemon takes {PermissionLimits.MaxAgents:#,0}";

    private static GrowthFigure Row(string name, Func<double, string> show, int from) => new(new Figure(name, show), from);

    private static string Bytes(double bytes) => $"{bytes:#,0} B";

    // ---------------------------------------------------------------- connections

    private static readonly byte[] s_ping = FrameCases.Frame(Requests.Ping);

    private static Rig Pings(TestDaemon daemon, int count)
    {
        Peers peers = Open(daemon, count);
        peers.Send(0, s_ping);
        return Pings(peers, peers.Hear(0));
    }

    private static Rig BarePings(TestDaemon daemon, int count)
    {
        var echo = new EchoProcess();
        return Pings(OpenBare(echo, count), s_ping, echo);
    }

    private static Rig Pings(Peers peers, byte[] answer, params IDisposable[] server)
    {
        int count = peers.Count, pass = Math.Max(count, UnderWay);
        Measure each = Timed.Loop(passes =>
        {
            for (int i = 0; i < passes * pass + UnderWay; i++)
            {
                if (i >= UnderWay) peers.Expect((i - UnderWay) % count, answer);
                if (i < passes * pass) peers.Send(i % count, s_ping);
            }
        });
        return new Rig(window => [each(window) / pass], [peers, .. server]);
    }

    /// <summary>A fresh daemon each time, which has had a connection: what the first one costs is no part of it.</summary>
    private static Rig Openings(int count) => new(_ =>
    {
        using var fresh = new Fresh();
        using WireClient first = WireClient.ToDaemon(fresh.Daemon.Tcp);
        return [Opened(() => Open(fresh.Daemon, count))];
    });

    private static Rig BareOpenings(int count) => new(_ =>
    {
        using var echo = new EchoProcess();
        using Peers first = OpenBare(echo, 1);
        return [Opened(() => OpenBare(echo, count))];
    });

    private static double Opened(Func<Peers> open)
    {
        long started = Stopwatch.GetTimestamp();
        using Peers peers = open();
        return Stopwatch.GetElapsedTime(started).TotalSeconds / peers.Count;
    }

    private static Rig Memory(int count) => new(_ =>
    {
        using var fresh = new Fresh();
        using WireClient first = WireClient.ToDaemon(fresh.Daemon.Tcp);
        long before = Quiet();
        using Peers peers = Open(fresh.Daemon, count);
        return [(Quiet() - before) / (double)count];

        // The daemon gives memory back half a second to a second after the last traffic.
        long Quiet()
        {
            Thread.Sleep(TimeSpan.FromSeconds(1.5));
            return fresh.Daemon.ResidentBytes;
        }
    });

    private static Peers Open(TestDaemon daemon, int count)
    {
        var peers = new Peers(daemon.Tcp, count);
        peers.AskAll(s_ping, "\"pong\""u8);
        return peers;
    }

    private static Peers OpenBare(EchoProcess echo, int count)
    {
        var peers = new Peers(echo.Address, count, isEcho: true);
        for (int peer = 0; peer < count; peer++) peers.Send(peer, s_ping);
        for (int peer = 0; peer < count; peer++) peers.Expect(peer, s_ping);
        return peers;
    }

    // ---------------------------------------------------------------- what a session holds

    private static Rig Keys(TestDaemon daemon, int count)
    {
        var peers = new Peers(daemon.Tcp, 1);
        byte[][][] sets = [Pass("state.set", ""","value":{"speed":41}"""), Pass("state.set", ""","value":{"speed":42}""")];
        byte[][] gets = Pass("state.get", "");
        int turn = 0;
        Measure set = Go(() => sets[turn++ % 2], "\"ok\""u8.ToArray());   // each time another value
        Measure get = Go(() => gets, "{\"speed\":"u8.ToArray());
        return new Rig(window => [set(window / 2), get(window / 2)], peers);

        // Every key, in whole batches of as many as are under way.
        byte[][] Pass(string method, string more)
        {
            byte[] Request(int key) => FrameCases.Frame(Encoding.UTF8.GetBytes($$"""{"jsonrpc":"2.0","id":1,"method":"{{method}}","params":{"key":"key-{{key:00000}}"{{more}} } }"""));
            int batches = (count + UnderWay - 1) / UnderWay;
            return [.. Enumerable.Range(0, batches).Select(batch => (byte[])[.. Enumerable.Range(batch * UnderWay, UnderWay).SelectMany(i => Request(i % count))])];
        }

        Measure Go(Func<byte[][]> pass, byte[] part) => window =>
        {
            int requests = gets.Length * UnderWay;
            byte[] expected = [];
            return Timed.Loop(passes =>
            {
                for (int i = 0; i < passes; i++)
                    foreach (byte[] batch in pass())
                    {
                        peers.Send(0, batch);
                        if (expected.Length == 0) expected = First();
                        else peers.Expect(0, expected);
                    }
            })(window) / requests;

            byte[] First()
            {
                byte[][] answers = [.. Enumerable.Range(0, UnderWay).Select(_ => peers.Hear(0))];
                if (answers[0].AsSpan().IndexOf(part) < 0) throw new InvalidOperationException(Encoding.UTF8.GetString(answers[0]));
                return [.. answers.SelectMany(answer => answer)];
            }
        };
    }

    private static Rig Tools(TestDaemon daemon, int count)
    {
        byte[] register = TraceClient.Request("tools.register", ToolClient.Tools(Enumerable.Range(0, count).Select(i => $"tool-{i:0000}")));
        byte[] list = TraceClient.Request("tools.list", "{}");
        ToolClient caller = ToolClient.ToDaemon(daemon.Tcp, tools: 1, others: count - 1);
        return new Rig(window =>
        {
            var registered = new List<double>();
            double listed = 0;
            for (long started = Stopwatch.GetTimestamp(); registered.Count == 0 || Stopwatch.GetElapsedTime(started) < window / 3;)
            {
                using var client = new TraceClient(daemon.Tcp);   // tools go with their connection
                registered.Add(Ask(client, register, answer => answer.IndexOf("\"result\":"u8) >= 0).TotalSeconds);
                if (listed == 0) listed = AskP50(client, list, window / 3, answer => answer.Count("\"name\":\"tool-"u8) == count);
            }
            return [Table.Median(registered) / count, listed / count, caller.ExchangeP50(window / 3)];
        }, caller);
    }

    private static Rig Actions(TestDaemon daemon, int count)
    {
        var client = new TraceClient(daemon.Tcp);
        byte[] submit = Writes(count);
        return new Rig(window => [AskP50(client, submit, window, answer => answer.Count("\"status\":\"succeeded\""u8) == count) / count], client);
    }

    private static byte[] Writes(int actions) => TraceClient.Request("proposal.submit",
        $$"""{"proposal":{"id":"p","actions":[{{string.Join(',', Enumerable.Range(0, actions).Select(i =>
            $$"""{"id":"a{{i:00000}}","type":"state_write","parameters":{"key":"key-{{i:00000}}","value":{{i}} } }"""))}}] } }""");

    private static Rig Events(TestDaemon daemon, int count)
    {
        var client = new TraceClient(daemon.Tcp);
        client.Send(Writes(count / 4 + 1));   // four events each, and two of the proposal
        client.ReadFrame();
        client.Call("events.truncate", $$"""{"maxEvents":{{count}}}""");
        byte[] number = Encoding.UTF8.GetBytes($"\"result\":{count}}}"), whole = Encoding.UTF8.GetBytes($"{{\"count\":{count},");
        string counted = client.Call("events.count", "{}");
        if (!counted.EndsWith(Encoding.UTF8.GetString(number), StringComparison.Ordinal)) throw new InvalidOperationException($"the daemon kept another number of events: {counted}");
        byte[] query = TraceClient.Request("events.query", """{"limit":0}"""), ask = TraceClient.Request("events.count", "{}");
        return new Rig(window =>
            [AskP50(client, query, window / 2, answer => answer.IndexOf(whole) >= 0) / count, AskP50(client, ask, window / 2, answer => answer.EndsWith(number))], client);
    }

    /// <summary>Nobody has changed one for some time, as it nearly always is.</summary>
    private static Rig SettledPostures(TestDaemon daemon, int count)
    {
        TraceClient client = WithPostures(daemon, count);
        Thread.Sleep(TimeSpan.FromSeconds(0.5));   // AgentPermissions.SettledAge, and some
        return new Rig(window => [AskP50(client, Evaluate(count), window, HasOverride)], client);
    }

    private static TraceClient WithPostures(TestDaemon daemon, int count)
    {
        var client = new TraceClient(daemon.Tcp);
        for (int i = 0; i < count; i++) client.Call("agent_permissions.set", $$"""{"agent_id":"agent-{{i:0000}}","mode":"deny"}""");
        return client;
    }

    private static byte[] Evaluate(int count) => TraceClient.Request("agent_permissions.evaluate", $$"""{"agent_id":"agent-{{count / 2:0000}}","tier":"read_only"}""");

    private static bool HasOverride(ReadOnlySpan<byte> answer) => answer.IndexOf("\"has_override\":true"u8) >= 0;

    private static Rig ChangingPostures(TestDaemon daemon, int count)
    {
        TraceClient client = WithPostures(daemon, count);
        byte[][] sets = [.. new[] { "deny", "always_allow" }.Select(mode => TraceClient.Request("agent_permissions.set", $$"""{"agent_id":"agent-{{count / 2:0000}}","mode":"{{mode}}"}"""))];
        int turn = 0;
        return new Rig(window =>
            [DaemonCases.Median(window / 2, () => Ask(client, sets[turn++ % 2], answer => answer.Count("{\"read_only\":"u8) == count + 1)) / count,
             AskP50(client, Evaluate(count), window / 2, HasOverride)], client);
    }

    private static Rig BareFile(TestDaemon daemon, int count)
    {
        string path = daemon.Home.In("bare.json"), temporary = path + ".new";
        byte[] content = File.ReadAllBytes(daemon.Home.In("agent-permissions.json"));
        return new Rig(window => [DaemonCases.Median(window / 2, () =>
        {
            long started = Stopwatch.GetTimestamp();
            using (SafeFileHandle file = File.OpenHandle(temporary, FileMode.Create, FileAccess.Write, FileShare.None))
            {
                RandomAccess.Write(file, content, 0);
                StableStorage.Sync(file);
            }
            File.Move(temporary, path, overwrite: true);
            return Stopwatch.GetElapsedTime(started);
        }) / count]);
    }

    // ---------------------------------------------------------------- asking

    internal delegate bool IsRight(ReadOnlySpan<byte> answer);

    internal static double AskP50(TraceClient client, byte[] request, TimeSpan window, IsRight isRight)
    {
        Ask(client, request, isRight);
        var times = new List<double>();
        for (long started = Stopwatch.GetTimestamp(); times.Count < LeastCalls || Stopwatch.GetElapsedTime(started) < window;) times.Add(Ask(client, request, isRight).TotalSeconds);
        return Table.Median(times);
    }

    private static TimeSpan Ask(TraceClient client, byte[] request, IsRight isRight)
    {
        long started = Stopwatch.GetTimestamp();
        client.Send(request);
        ReadOnlySpan<byte> answer = client.ReadFrame();
        TimeSpan took = Stopwatch.GetElapsedTime(started);
        return isRight(answer) ? took : throw new InvalidOperationException(Encoding.UTF8.GetString(answer[..Math.Min(answer.Length, 200)]));
    }

    /// <summary>A daemon for one measurement, in a rig that measures without waiting for tasks.</summary>
    internal sealed class Fresh : IDisposable
    {
        public TestDaemon Daemon { get; } = TestDaemon.StartAsync(new DaemonStart { Home = Homes.New(), Arguments = ["--no-auth"], Before = Processors.DaemonHasTheFirst }).GetAwaiter().GetResult();
        public void Dispose() => Daemon.DisposeAsync().AsTask().GetAwaiter().GetResult();
    }
}

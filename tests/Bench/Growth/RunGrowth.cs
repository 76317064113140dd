using System.Diagnostics;
using System.IO.Enumeration;
using CarServer.Rpc.Transport.Native;
using CarServer.State.Runs;
using CarServer.Tests.Support;
using Microsoft.Win32.SafeHandles;

namespace CarServer.Tests.Bench;

/// <summary>Runs by the thousand: made, listed, followed.</summary>
internal static class RunGrowth
{
    /// <summary>A fresh daemon each time: the runs that a round has made would be too many in the next.</summary>
    public static Rig Runs(Func<int, string> agent, int count) => new(window =>
    {
        const int First = 20;   // what is made once, on first use, is no part of it
        using var fresh = new GrowthCases.Fresh();
        using var client = new TraceClient(fresh.Daemon.Tcp);
        for (int i = 0; i < First; i++) MakeRun(client, "the first", $"first-{i}");
        long started = Stopwatch.GetTimestamp();
        for (int i = 0; i < count; i++) MakeRun(client, agent(i), $"run-{i:00000}");
        return [Stopwatch.GetElapsedTime(started).TotalSeconds / count];
    });

    public static Rig RunsOfOne(TestDaemon daemon, int count) => Listed(daemon, i => "agent", count, listed: count);

    public static Rig RunsOfMany(TestDaemon daemon, int count) => Listed(daemon, i => $"agent-{i:00000}", count, listed: 1);

    private static Rig Listed(TestDaemon daemon, Func<int, string> agent, int count, int listed)
    {
        var client = new TraceClient(daemon.Tcp);
        for (int i = 0; i < count; i++) MakeRun(client, agent(i), $"run-{i:00000}");
        byte[] list = TraceClient.Request("runs.list", $$"""{"agent_id":"{{agent(0)}}"}""");
        return new Rig(window => [GrowthCases.AskP50(client, list, window, answer => answer.Count("\"run_id\":"u8) == listed) / listed], client);
    }

    /// <summary>Names, sizes and times of change: what a list cannot know without asking the system. And a socket that takes it, in one process.</summary>
    public static Rig Walk(TestDaemon daemon, int count)
    {
        string directory = daemon.Home.In("runs", "agent");
        byte[] answer = new byte[AnswerBytes(daemon)], taken = new byte[64 * 1024];
        var socket = new SocketPair();
        Measure walk = Timed.Loop(passes =>
        {
            for (int i = 0; i < passes; i++)
            {
                if (new FileSystemEnumerable<(long, DateTimeOffset)>(directory, static (ref FileSystemEntry entry) => (entry.Length, entry.LastWriteTimeUtc)).Count() != count)
                    throw new InvalidOperationException("there is another number of files");
                answer.AsSpan().Fill((byte)i);
                for (int at = 0; at < answer.Length;)
                {
                    int sent = Posix.Send(socket.Descriptor, answer.AsSpan(at, Math.Min(taken.Length, answer.Length - at)));
                    if (sent <= 0) throw new InvalidOperationException($"errno {-sent}");
                    at += sent;
                    while (sent > 0) sent -= socket.Peer.Receive(taken.AsSpan(0, sent));
                }
            }
        });
        return new Rig(window => [walk(window) / count], socket, new Descriptor(socket.Descriptor));
    }

    private sealed class Descriptor(int number) : IDisposable
    {
        public void Dispose() => Posix.Close(number);
    }

    private static int AnswerBytes(TestDaemon daemon)
    {
        using var client = new TraceClient(daemon.Tcp);
        return client.Call("runs.list", """{"agent_id":"agent"}""").Length;
    }

    /// <summary>What a run leaves on the disk, without a daemon.</summary>
    public static Rig BareRuns(Func<int, string> agent, int count) => new(_ =>
    {
        TempHome home = Homes.New();
        Directory.CreateDirectory(home.In(".index"));
        byte[] line = [.. Enumerable.Repeat((byte)'x', 199), (byte)'\n'];
        long started = Stopwatch.GetTimestamp();
        for (int i = 0; i < count; i++)
        {
            string run = $"run-{i:00000}", of = agent(i);
            Directory.CreateDirectory(home.In(of));
            File.CreateSymbolicLink(home.In(".index", run), ".agent/" + of);
            using SafeFileHandle file = File.OpenHandle(home.In(of, run + ".jsonl"), FileMode.CreateNew, FileAccess.Write);
            for (int written = 0; written < 3; written++) RandomAccess.Write(file, line, written * line.Length);
        }
        return [Stopwatch.GetElapsedTime(started).TotalSeconds / count];
    });

    private static void MakeRun(TraceClient client, string agent, string run)
    {
        client.Call("runs.start", $$"""{"intent":"measure","agent_id":"{{agent}}","idempotency_key":"{{run}}"}""");
        client.Call("runs.record_turns", $$"""{"run_id":"{{run}}","turns":[{"tool":"t","parameters":{"n":1},"output":"some words of output"}] }""");
        client.Call("runs.complete", $$"""{"run_id":"{{run}}","outcome":{"status":"done"} }""");
    }

    public static Rig Subscribers(TestDaemon daemon, int count)
    {
        var peers = new Peers(daemon.Tcp, count);
        var followed = new FollowedRun(new TraceClient(daemon.Tcp), peers);
        return new Rig(window =>
        {
            double seconds = 0;
            long notifications = 0;
            while (seconds < window.TotalSeconds)
            {
                followed.MakeRoom();
                long started = Stopwatch.GetTimestamp();
                followed.Record();
                seconds += Stopwatch.GetElapsedTime(started).TotalSeconds;
                notifications += (long)count * FollowedRun.Turns;
            }
            return [seconds / notifications];
        }, peers, followed);
    }

    public static Rig Broadcast(TestDaemon daemon, int count)
    {
        byte[] events;
        using (var one = new Peers(daemon.Tcp, 1))
        using (var followed = new FollowedRun(new TraceClient(daemon.Tcp), one, "sample"))
        {
            followed.MakeRoom();
            events = followed.Record();
        }
        var server = new EchoProcess(toAll: true);
        var peers = new Peers(server.Address, count, isEcho: true);
        Measure send = Timed.Loop(times =>
        {
            for (int i = 0; i < times; i++)
            {
                peers.Send(0, events);
                for (int peer = 0; peer < count; peer++) peers.Expect(peer, events);
            }
        });
        return new Rig(window => [send(window) / count / FollowedRun.Turns], peers, server);
    }

    /// <summary>A run that every peer follows; one that is full is followed by the next.</summary>
    private sealed class FollowedRun(TraceClient agent, Peers peers, string name = "run") : IDisposable
    {
        /// <summary>Turns of a batch.</summary>
        public const int Turns = 16;

        private static readonly string s_turns = string.Join(',', Enumerable.Repeat("""{"tool":"t","parameters":{"n":1},"output":"some words of output"}""", Turns));
        private int _runs;
        private int _turns = RunLimits.MaxTurns;
        private byte[] _batch = [];

        public void MakeRoom()
        {
            if (_turns + Turns <= RunLimits.MaxTurns) return;
            if (_runs > 0)
            {
                peers.AskAll(TraceClient.Request("runs.unsubscribe", $$"""{"run_id":"{{name}}-{{_runs}}"}"""), "\"result\":"u8);
                agent.Call("runs.complete", $$"""{"run_id":"{{name}}-{{_runs}}","outcome":{"status":"done"} }""");
            }
            _runs++;
            _turns = 0;
            agent.Call("runs.start", $$"""{"intent":"measure","agent_id":"agent","idempotency_key":"{{name}}-{{_runs}}"}""");
            peers.AskAll(TraceClient.Request("runs.subscribe", $$"""{"run_id":"{{name}}-{{_runs}}"}"""), "\"result\":"u8);
            _batch = TraceClient.Request("runs.record_turns", $$"""{"run_id":"{{name}}-{{_runs}}","turns":[{{s_turns}}] }""");
        }

        /// <summary>Records a batch and waits until every peer has had, byte for byte, what the first one has had.</summary>
        /// <returns>What each of them has had.</returns>
        public byte[] Record()
        {
            agent.Send(_batch);
            if (agent.ReadFrame().IndexOf("\"ok\":true"u8) < 0) throw new InvalidOperationException("turns were not recorded");
            var events = new List<byte>();
            for (int turn = 0; turn < Turns; turn++) events.AddRange(peers.Hear(0));
            byte[] expected = [.. events];
            for (int peer = 1; peer < peers.Count; peer++) peers.Expect(peer, expected);
            _turns += Turns;
            return expected;
        }

        public void Dispose() => agent.Dispose();
    }
}

using System.Security.Cryptography;
using System.Text;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>Answers of any size: sent as the client reads them, never held, and in nobody's way.</summary>
public sealed class StreamedAnswerTests
{
    private const string GetTrace = """{"jsonrpc":"2.0","id":"trace","method":"runs.get_trace","params":{"run_id":"r"}}""";
    private const string Ping = """{"jsonrpc":"2.0","id":"ping","method":"ping"}""";
    private const string Pong = """{"jsonrpc":"2.0","id":"ping","result":"pong"}""";
    private const string Before = """{"jsonrpc":"2.0","id":"trace","result":{"run_id":"r","agent_id":"a","records":[""";
    private const string Behind = """],"cursor":0}}""";

    /// <summary>The largest trace that there can be within reason: 2,000 turns of 64 KiB.</summary>
    private const int MostTurns = 2_000;

    /// <summary>More than the kernel and the outbox take before the client reads.</summary>
    private const int SomeTurns = 200;

    [Test]
    public async Task A_trace_of_128_MiB_arrives_whole_and_is_never_in_memory()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        string path = Store(daemon, MostTurns);
        await using RawPeer peer = await daemon.ConnectRawAsync(daemon.Unix);
        await peer.SendTextAsync(Ping);
        await peer.ReadTextAsync();
        long trace = new FileInfo(path).Length, before = daemon.ResidentBytes, most = 0;

        await peer.SendTextAsync(GetTrace);
        byte[] came = await HashAsync(peer, await peer.ReadTextHeaderAsync(), read =>
        {
            if (read % (8 << 20) < 64 << 10) most = Math.Max(most, daemon.ResidentBytes);
        });

        await Assert.That(came.SequenceEqual(Expected(path))).IsTrue();
        await Assert.That(most).IsGreaterThan(0);
        await Assert.That(most - before).IsLessThan(trace / 3);
    }

    [Test]
    public async Task What_is_asked_and_what_happens_meanwhile_comes_behind_it_in_order()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        string path = Store(daemon, SomeTurns);
        await using RpcPeer agent = await daemon.ConnectAsync();
        await using RawPeer peer = await daemon.ConnectRawAsync(daemon.Unix);
        await agent.CallAsync("runs.start", """{"intent":"test","agent_id":"b","idempotency_key":"live"}""");
        await peer.SendTextAsync("""{"jsonrpc":"2.0","id":"live","method":"runs.subscribe","params":{"run_id":"live"}}""");
        await peer.ReadTextAsync();

        await peer.SendTextAsync(GetTrace);
        int length = await peer.ReadTextHeaderAsync();
        for (int i = 0; i < 5; i++)
        {
            await peer.SendFrameAsync(Op.Ping, Encoding.UTF8.GetBytes($"{i}"));
            await peer.SendTextAsync(Ping.Replace("\"ping\",\"method\"", $"{i},\"method\""));
            await agent.CallAsync("runs.record_turns", """{"run_id":"live","turns":[{"tool":"t"}]}""");
        }
        byte[] came = await HashAsync(peer, length);

        await Assert.That(came.SequenceEqual(Expected(path))).IsTrue();
        int pongs = 0, answers = 0, events = 0;
        while (pongs + answers + events < 15)
        {
            ServerFrame frame = await peer.ReadFrameAsync();
            if (frame.Opcode == Op.Pong) await Assert.That(frame.Text).IsEqualTo($"{pongs++}");
            else if (frame.Text.Contains("runs.trace.event", StringComparison.Ordinal)) await Assert.That(frame.Text).Contains($"\"cursor\":{++events},");
            else await Assert.That(frame.Text).IsEqualTo($$"""{"jsonrpc":"2.0","id":{{answers++}},"result":"pong"}""");
        }
        await Assert.That((pongs, answers, events)).IsEqualTo((5, 5, 5));
    }

    [Test]
    public async Task Several_on_one_connection_come_one_after_another_and_those_that_wait_hold_no_file()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        string path = Store(daemon, SomeTurns);
        await using RawPeer peer = await daemon.ConnectRawAsync(daemon.Unix);

        for (int i = 0; i < 10; i++) await peer.SendTextAsync(GetTrace);
        int length = await peer.ReadTextHeaderAsync();
        await peer.SendTextAsync(Ping);   // it is read: those that wait do not stand in its way
        if (OperatingSystem.IsLinux()) await Assert.That(daemon.OpenFiles.Count(file => file == path)).IsEqualTo(1);

        byte[] expected = Expected(path);
        await Assert.That((await HashAsync(peer, length)).SequenceEqual(expected)).IsTrue();
        int pings = 0;
        for (int i = 1; i < 10; i++)
        {
            while ((length = await peer.ReadTextHeaderAsync()) == Pong.Length)
            {
                await peer.ReadSomeAsync(length);
                pings++;
            }
            await Assert.That((await HashAsync(peer, length)).SequenceEqual(expected)).IsTrue();
        }
        await Assert.That(pings).IsEqualTo(1);
        await Eventually.TrueAsync("the file is closed", () => !daemon.OpenFiles.Contains(path));
    }

    [Test]
    [Arguments(false)]
    [Arguments(true)]
    public async Task A_client_that_leaves_in_the_middle_leaves_nothing_behind(bool reset)
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        string path = Store(daemon, SomeTurns);
        await using RpcPeer watcher = await daemon.ConnectAsync();
        int before = daemon.OpenFiles.Count;
        await using (RawPeer peer = await daemon.ConnectRawAsync(reset ? daemon.Tcp : daemon.Unix))
        {
            for (int i = 0; i < 3; i++) await peer.SendTextAsync(GetTrace);
            await peer.ReadTextHeaderAsync();
            await peer.ReadSomeAsync(100_000);
            if (reset) peer.Reset();
        }

        await Eventually.TrueAsync("its descriptors are closed", () => !daemon.OpenFiles.Contains(path) && daemon.OpenFiles.Count <= before);
        await Eventually.TrueAsync("it is forgotten", async () => (await watcher.CallAsync("server.info")).GetProperty("connections").GetInt32() == 1);
        await Assert.That(daemon.Errors).DoesNotContain("rror");
    }

    /// <summary>Takes half a minute, which is the limit's own length.</summary>
    [Test]
    public async Task A_client_that_stops_reading_in_the_middle_is_let_go_in_the_end_and_costs_nobody_anything()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        string path = Store(daemon, SomeTurns);
        await using RawPeer stuck = await daemon.ConnectRawAsync(daemon.Unix);
        await using RawPeer neighbour = await daemon.ConnectRawAsync(daemon.Unix);
        await using RpcPeer watcher = await daemon.ConnectAsync();
        await stuck.SendTextAsync(GetTrace);
        await stuck.SendTextAsync(GetTrace);
        await stuck.ReadTextHeaderAsync();

        await neighbour.SendTextAsync(GetTrace);
        await Assert.That((await HashAsync(neighbour, await neighbour.ReadTextHeaderAsync())).SequenceEqual(Expected(path))).IsTrue();
        await Assert.That((await watcher.CallAsync("server.info")).GetProperty("connections").GetInt32()).IsEqualTo(3);

        await Eventually.TrueAsync("the end of the one that does not read",
            async () => (await watcher.CallAsync("server.info")).GetProperty("connections").GetInt32() == 2, TimeSpan.FromSeconds(60));
        await Eventually.TrueAsync("the file is closed", () => !daemon.OpenFiles.Contains(path));
    }

    [Test]
    public async Task A_trace_that_is_cut_while_it_is_sent_ends_that_connection_alone()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        string path = Store(daemon, SomeTurns);
        await using RawPeer peer = await daemon.ConnectRawAsync(daemon.Unix);
        await using RpcPeer watcher = await daemon.ConnectAsync();
        await peer.SendTextAsync(GetTrace);
        int length = await peer.ReadTextHeaderAsync();

        await using (var file = new FileStream(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite)) file.SetLength(file.Length / 2);

        int came = 0;
        await Assert.That(async () =>
        {
            while (came < length) came += (await peer.ReadSomeAsync(length)).Length;
        }).Throws<EndOfStreamException>();
        await Assert.That(came).IsLessThan(length);
        await Assert.That((await watcher.CallAsync("ping")).GetString()).IsEqualTo("pong");
        await Eventually.TrueAsync("the file is closed", () => !daemon.OpenFiles.Contains(path));
        await Eventually.TrueAsync("a line in the log", () => daemon.Errors.Contains("could not be sent to its end", StringComparison.Ordinal));
    }

    /// <summary>A batch has one answer, which is put together: up to the size of a message.</summary>
    [Test]
    public async Task In_a_batch_it_is_whole_or_it_is_an_error()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        string path = Store(daemon, SomeTurns);
        await using RawPeer peer = await daemon.ConnectRawAsync();

        await peer.SendTextAsync($"[{GetTrace}]");
        int length = await peer.ReadTextHeaderAsync();
        await Assert.That((await HashAsync(peer, length)).SequenceEqual(Expected(path, "[", "]"))).IsTrue();

        Store(daemon, 600);   // 37 MiB
        await peer.SendTextAsync($"[{Ping},{GetTrace}]");
        string answer = await peer.ReadTextAsync();
        await Assert.That(answer).Contains(Pong);
        await Assert.That(answer).Contains(
            """{"jsonrpc":"2.0","id":"trace","error":{"code":-32603,"message":"the answer is over 33554432 bytes, too large for a batch: ask for it alone or with a limit"}}""");
        await Eventually.TrueAsync("the file is closed", () => !daemon.OpenFiles.Contains(path));
    }

    [Test]
    public async Task As_a_notification_it_has_no_answer_and_leaves_no_file_open()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        string path = Store(daemon, SomeTurns);
        await using RawPeer peer = await daemon.ConnectRawAsync();
        string notification = GetTrace.Replace("\"id\":\"trace\",", "");

        for (int i = 0; i < 20; i++) await peer.SendTextAsync(notification);
        await peer.SendTextAsync($"[{notification},{notification}]");
        await peer.SendTextAsync(GetTrace);

        // The only answer is that to the request, which had to wait for the others.
        await Assert.That((await HashAsync(peer, await peer.ReadTextHeaderAsync())).SequenceEqual(Expected(path))).IsTrue();
        await peer.SendTextAsync(Ping);
        await Assert.That(await peer.ReadTextAsync()).IsEqualTo(Pong);
        await Eventually.TrueAsync("the file is closed", () => !daemon.OpenFiles.Contains(path));
    }

    [Test]
    [Arguments(65_536 - 400)]
    [Arguments(65_536)]
    [Arguments(65_536 + 400)]
    public async Task Around_the_size_where_parts_begin_it_is_the_same_answer(int bytes)
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        string path = Store(daemon, 1);
        await using RawPeer peer = await daemon.ConnectRawAsync();
        string[] lines = await File.ReadAllLinesAsync(path);
        for (int records = bytes - 20; records < bytes + 20; records++)
        {
            int padding = records - (lines[0].Length + 1 + lines[2].Length + 1) - """{"record":"turn","index":0,"prompt":"","verifier_verdict":"not_run"}""".Length;
            lines[1] = $$"""{"record":"turn","index":0,"prompt":"{{new string('p', padding)}}","verifier_verdict":"not_run"}""";
            await File.WriteAllLinesAsync(path, lines);
            await peer.SendTextAsync(GetTrace);
            string answer = await peer.ReadTextAsync();
            await Assert.That(answer).IsEqualTo(Before + string.Join(',', lines) + Behind);
            await Assert.That(answer.Length).IsEqualTo(Before.Length + records + Behind.Length);
        }
    }

    /// <summary>Puts an ended run on the disk whose turns have nearly 64 KiB each.</summary>
    private static string Store(TestDaemon daemon, int turns)
    {
        Directory.CreateDirectory(daemon.Home.In("runs", "a"));
        string path = daemon.Home.Trace("a", "r");
        using var file = new StreamWriter(path) { NewLine = "\n" };
        file.WriteLine("""{"record":"started","run_id":"r","agent_id":"a","intent":"test","outcome_description":null,"started_at":"2026-01-02T03:04:05Z"}""");
        string strings = string.Join(',', "abcd".Select(letter => $"\"{new string(letter, 16_000)}\""));
        for (int i = 0; i < turns; i++) file.WriteLine($$$"""{"record":"turn","index":{{{i}}},"parameters":[{{{strings}}}],"verifier_verdict":"not_run"}""");
        file.WriteLine("""{"record":"ended","run_id":"r","agent_id":"a","termination":{"kind":"incomplete"},"ended_at":"2026-01-02T03:04:05Z"}""");
        return path;
    }

    /// <summary>What the whole answer hashes to; neither it nor the trace is held here, either.</summary>
    private static byte[] Expected(string path, string around = "", string end = "")
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(Encoding.UTF8.GetBytes(around + Before));
        using FileStream file = File.OpenRead(path);
        byte[] piece = new byte[1 << 20];
        for (int length; (length = file.Read(piece)) > 0;)
        {
            if (file.Position == file.Length) length--;   // the last '\n' has no comma
            piece.AsSpan(0, length).Replace((byte)'\n', (byte)',');
            hash.AppendData(piece, 0, length);
        }
        hash.AppendData(Encoding.UTF8.GetBytes(Behind + end));
        return hash.GetHashAndReset();
    }

    private static async Task<byte[]> HashAsync(RawPeer peer, int length, Action<int>? look = null)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        for (int read = 0; read < length;)
        {
            byte[] piece = await peer.ReadSomeAsync(length - read);
            hash.AppendData(piece);
            read += piece.Length;
            look?.Invoke(read);
        }
        return hash.GetHashAndReset();
    }
}

using System.Diagnostics;
using System.Text.Json;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>A disk that takes no more: whoever writes hears of it, nothing half-written stays, and it goes on once there is room (protocol 25).</summary>
public sealed class DiskTroubleTests
{
    /// <summary>About 128 KiB: strings are cut at 16 KiB.</summary>
    private static readonly string Batch = string.Join(',', Enumerable.Repeat($$"""{"tool":"t","output":"{{new string('x', 16_000)}}"}""", 8));

    [Test]
    public async Task A_full_disk_refuses_whole_batches_and_the_run_goes_on_when_there_is_room()
    {
        using SmallDisk disk = await SmallDisk.MountAsync();
        string filler = disk.In("filler");
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth", "--journal-dir", disk.In("journals"));
        await using RpcPeer peer = await daemon.ConnectAsync();
        string run = await StartAsync(peer, "a");
        int stored = await RecordUntilRefusedAsync(peer, run, "run store: no space left on device");
        await File.WriteAllBytesAsync(filler, []);
        await FillAsync(filler);

        // Nothing is acknowledged that is not there, nothing is there that was not; and what needs the disk says why it can't be had.
        await AssertTraceAsync(disk, run, stored, ended: false);
        RpcFailure end = await peer.CallFailsAsync("runs.complete", $$"""{"run_id":"{{run}}","outcome":{"status":"done","summary":"{{new string('x', 100_000)}}"} }""");
        await Assert.That(end.Text).IsEqualTo("run store: no space left on device");
        await peer.CallAsync("proposal.submit", $$"""{"proposal":{"actions":[{"type":"state_write","parameters":{"key":"k","value":"{{new string('x', 100_000)}}"} }]} }""");
        JsonElement listed = await ListedAsync(peer, "a");
        await Assert.That(listed.GetProperty("status").GetString()).IsEqualTo("in_progress");
        await Assert.That(listed.GetProperty("turn_count").GetInt32()).IsEqualTo(stored);
        await Assert.That(listed.GetProperty("turns_dropped").GetInt32()).IsEqualTo(1);
        string other = await StartAsync(peer, "b");
        await peer.CallFailsAsync("runs.record_turns", $$"""{"run_id":"{{other}}","turns":[{{Batch}}]}""");
        int refusals = daemon.Errors.Split('\n').Count(line => line.Contains("refused by the disk", StringComparison.Ordinal));
        await Assert.That(refusals).IsBetween(1, 3);   // of a dozen refused writes

        File.Delete(filler);
        await RecordAsync(peer, run, 1);
        await RecordAsync(peer, other, 1);
        await CompleteAsync(peer, run);
        await CompleteAsync(peer, other);
        await AssertTraceAsync(disk, run, stored + 1, ended: true);
        await AssertTraceAsync(disk, other, 1, ended: true, agent: "b");
    }

    [Test]
    public async Task A_daemon_starts_on_a_full_disk_and_ends_what_was_left_open_when_there_is_room()
    {
        using SmallDisk disk = await SmallDisk.MountAsync();
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth", "--journal-dir", disk.In("journals"));
        RpcPeer peer = await daemon.ConnectAsync();
        string run = await StartAsync(peer, "a");
        int stored = await RecordUntilRefusedAsync(peer, run, "run store: no space left on device");
        await FillAsync(disk.In("filler"));
        await daemon.KillAsync();
        await peer.DisposeAsync();
        // A damaged line in what is left of the last page, or the end would find its place there.
        string trace = disk.In("runs", "a", run + ".jsonl");
        await File.AppendAllTextAsync(trace, new string('x', (int)(4096 - new FileInfo(trace).Length % 4096) - 1) + "\n");

        await daemon.RestartAsync();
        // The log has a writer of its own: its lines may come after the daemon is ready.
        await Eventually.TrueAsync("a log line about the run", () => daemon.Errors.Contains("could not end the orphaned run", StringComparison.Ordinal));
        await Assert.That(daemon.Errors).Contains("no space left on device");
        await using (RpcPeer reader = await daemon.ConnectAsync())
        {
            JsonElement listed = await ListedAsync(reader, "a");
            await Assert.That(listed.GetProperty("status").GetString()).IsEqualTo("in_progress");
            await Assert.That(listed.GetProperty("turn_count").GetInt32()).IsEqualTo(stored);
        }
        await daemon.KillAsync();
        File.Delete(disk.In("filler"));
        await daemon.RestartAsync();
        await AssertTraceAsync(disk, run, stored, ended: true);
    }

    /// <summary>Works for every user: a limit of the process, which the kernel enforces half-way through a write just as a disk would.</summary>
    [Test]
    [Arguments("os")]
    [Arguments("fsync")]
    public async Task A_file_that_may_not_grow_refuses_what_does_not_fit_and_takes_what_does(string durability)
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync(new DaemonStart
        {
            Arguments = ["--no-auth", "--durability", durability],
            Before = "ulimit -S -f 1000",   // of 512 or 1,024 bytes, as the shell likes
        });
        await using RpcPeer peer = await daemon.ConnectAsync();
        string run = await StartAsync(peer, "a");
        int stored = await RecordUntilRefusedAsync(peer, run, "run store: file too large");
        await AssertTraceAsync(daemon.Home, run, stored, ended: false);
        await RecordAsync(peer, run, 1);
        await CompleteAsync(peer, run);
        await AssertTraceAsync(daemon.Home, run, stored + 1, ended: true);
        string other = await StartAsync(peer, "a");
        await RecordAsync(peer, other, 1);
        await Assert.That(daemon.Errors).Contains("refused by the disk: file too large");
    }

    [Test]
    public async Task A_store_that_is_taken_away_is_made_anew()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer peer = await daemon.ConnectAsync();
        string before = await StartAsync(peer, "a");
        await RecordAsync(peer, before, 1);
        Directory.Delete(daemon.Home.In("runs"), recursive: true);
        await Assert.That((await peer.CallAsync("runs.list", """{"agent_id":"a"}""")).GetProperty("runs").GetArrayLength()).IsEqualTo(0);
        string after = await StartAsync(peer, "a");
        await RecordAsync(peer, after, 1);
        await CompleteAsync(peer, after);
        await AssertTraceAsync(daemon.Home, after, 1, ended: true);
        await Assert.That(File.GetUnixFileMode(daemon.Home.In("runs"))).IsEqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
    }

    [Test]
    public async Task What_was_acknowledged_as_durable_is_there_after_a_kill()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth", "--durability", "fsync");
        await using RpcPeer peer = await daemon.ConnectAsync();
        string[] runs = await Task.WhenAll(Enumerable.Range(0, 32).Select(i => StartAsync(peer, $"agent-{i}")));
        await Task.WhenAll(runs.SelectMany(run => Enumerable.Range(0, 8).Select(_ => peer.CallAsync("runs.record_turns", $$"""{"run_id":"{{run}}","turns":[{"tool":"t"}]}"""))));
        await daemon.KillAsync();
        await daemon.RestartAsync();
        for (int i = 0; i < runs.Length; i++) await AssertTraceAsync(daemon.Home, runs[i], 8, ended: true, agent: $"agent-{i}");
    }

    private static async Task<string> StartAsync(RpcPeer peer, string agent) =>
        (await peer.CallAsync("runs.start", $$"""{"intent":"test","agent_id":"{{agent}}"}""")).GetProperty("run_id").GetString()!;

    private static async Task RecordAsync(RpcPeer peer, string run, int turns)
    {
        string list = string.Join(',', Enumerable.Repeat("""{"tool":"small"}""", turns));
        JsonElement recorded = await peer.CallAsync("runs.record_turns", $$"""{"run_id":"{{run}}","turns":[{{list}}]}""");
        await Assert.That(recorded.GetProperty("ok").GetBoolean()).IsTrue();
    }

    private static Task CompleteAsync(RpcPeer peer, string run) => peer.CallAsync("runs.complete", $$"""{"run_id":"{{run}}","outcome":{"status":"done"} }""");

    /// <returns>How many turns were stored.</returns>
    private static async Task<int> RecordUntilRefusedAsync(RpcPeer peer, string run, string reason)
    {
        for (int stored = 0; stored < 1_000; stored += 8)
        {
            JsonElement answer = await peer.SendAsync("runs.record_turns", $$"""{"run_id":"{{run}}","turns":[{{Batch}}]}""");
            if (answer.TryGetProperty("result", out JsonElement result))
            {
                await Assert.That(result.GetProperty("base_index").GetInt32()).IsEqualTo(stored);
                continue;
            }
            await Assert.That(answer.GetProperty("error").GetProperty("message").GetString()).Contains(reason);
            await Assert.That(stored).IsGreaterThan(0);
            return stored;
        }
        throw new InvalidOperationException("the disk never filled up: nothing was tested");
    }

    private static async Task<JsonElement> ListedAsync(RpcPeer peer, string agent) =>
        (await peer.CallAsync("runs.list", $$"""{"agent_id":"{{agent}}"}""")).GetProperty("runs").EnumerateArray().Single();

    private static Task AssertTraceAsync(TempHome home, string run, int turns, bool ended, string agent = "a") => AssertTraceAsync(home.Trace(agent, run), turns, ended);

    private static Task AssertTraceAsync(SmallDisk disk, string run, int turns, bool ended, string agent = "a") => AssertTraceAsync(disk.In("runs", agent, run + ".jsonl"), turns, ended);

    /// <summary>Whole lines only: the start, the turns without a gap, and the end if there is one.</summary>
    private static async Task AssertTraceAsync(string path, int turns, bool ended)
    {
        string text = await File.ReadAllTextAsync(path);
        await Assert.That(text).EndsWith("\n");
        string[] lines = [.. text.TrimEnd('\n').Split('\n').Where(line => !line.StartsWith('x'))];
        await Assert.That(lines.Length).IsEqualTo(1 + turns + (ended ? 1 : 0));
        for (int i = 0; i < turns; i++)
        {
            using JsonDocument turn = JsonDocument.Parse(lines[i + 1]);
            await Assert.That(turn.RootElement.GetProperty("index").GetInt32()).IsEqualTo(i);
        }
        await Assert.That(lines[^1].Contains("\"record\":\"ended\"", StringComparison.Ordinal)).IsEqualTo(ended);
    }

    /// <summary>Takes every byte that is left.</summary>
    private static async Task FillAsync(string path)
    {
        await using var file = new FileStream(path, FileMode.Append, FileAccess.Write, FileShare.Read, bufferSize: 0);
        byte[] page = new byte[4096];
        try
        {
            while (true) file.Write(page);
        }
        catch (IOException)
        {
            // That is what it is full by.
        }
    }

    /// <summary>A file system of one megabyte, in memory. Needs root on Linux.</summary>
    private sealed class SmallDisk : IDisposable
    {
        private readonly TempHome _place = new();

        public static async Task<SmallDisk> MountAsync()
        {
            if (!OperatingSystem.IsLinux() || Environment.UserName != "root") Skip.Test("needs root on Linux, to mount a small disk");
            var disk = new SmallDisk();
            int exit = await RunAsync("mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", disk._place.Path);
            if (exit == 0) return disk;
            disk._place.Dispose();
            Skip.Test("this machine lets nobody mount anything");
            throw new UnreachableException();
        }

        public string In(params ReadOnlySpan<string> parts) => _place.In(parts);

        public void Dispose()
        {
            RunAsync("umount", "-l", _place.Path).GetAwaiter().GetResult();
            _place.Dispose();
        }

        private static async Task<int> RunAsync(string command, params string[] arguments)
        {
            using Process process = Process.Start(new ProcessStartInfo(command, arguments) { RedirectStandardError = true })!;
            await process.WaitForExitAsync();
            return process.ExitCode;
        }
    }
}

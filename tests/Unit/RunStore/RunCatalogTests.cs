using System.Text;
using CarServer.RunStore;
using CarServer.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using TUnit.Core;

namespace CarServer.Tests.Unit.RunStore;

public sealed class RunCatalogTests
{
    private static readonly DateTime Now = new(2026, 6, 1, 0, 0, 0, DateTimeKind.Utc);

    private static RunCatalog Catalog(TempHome home) => RunCatalog.ForJournalDirectory(home.Journals);

    private static byte[] Turn(int index)
    {
        byte[] body = TurnLine.TryEncodeBody(new RunTurn(Tool: "t"))!;
        byte[] line = new byte[TurnLine.MaxSize(body)];
        return line[..TurnLine.Write(line, index, body)];
    }

    /// <summary>Puts a trace on disk. <paramref name="ended"/> null: still in progress.</summary>
    private static string Write(TempHome home, string agentId, string runId, DateTime started, DateTime? ended, int turns = 0)
    {
        Catalog(home).TryGetPath(agentId, runId, out string path);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        List<byte> bytes = [.. new RunStarted(runId, agentId, "intent", null, started).ToLine()];
        for (int i = 0; i < turns; i++) bytes.AddRange(Turn(i));
        if (ended is { } at) bytes.AddRange(new RunEnded(runId, agentId, new RunOutcome(new AgentOutcome(OutcomeStatus.Done).WithDefaults(at)), at).ToLine());
        File.WriteAllBytes(path, [.. bytes]);
        return path;
    }

    [Test]
    public async Task The_root_is_beside_the_journals_private_and_marked_for_backups()
    {
        using var home = new TempHome();
        RunCatalog catalog = Catalog(home);
        await Assert.That(catalog.Root).IsEqualTo(home.In("runs"));
        await Assert.That(RunCatalog.ForJournalDirectory(home.Journals + "/").Root).IsEqualTo(home.In("runs"));
        await Assert.That(RunCatalog.ForJournalDirectory("j").Root).IsEqualTo(Path.Combine("j", "..", "runs"));
        await Assert.That(Directory.Exists(catalog.Root)).IsFalse();

        Directory.CreateDirectory(catalog.Root);
        File.SetUnixFileMode(catalog.Root, (UnixFileMode)0b111_101_101);
        catalog.EnsureRoot();
        catalog.EnsureRoot();
        await Assert.That(home.Files()).IsEquivalentTo(["runs/.nobackup"]);
        await Assert.That(new FileInfo(home.In("runs", ".nobackup")).Length).IsEqualTo(0);
        await Assert.That((int)File.GetUnixFileMode(catalog.Root)).IsEqualTo(0b111_000_000);
        await Assert.That((int)File.GetUnixFileMode(home.In("runs", ".nobackup"))).IsEqualTo(0b110_000_000);
    }

    [Test]
    public async Task An_agents_runs_are_listed_newest_start_first_with_status_and_turns()
    {
        using var home = new TempHome();
        Write(home, "name:a", "old", Now.AddHours(-2), Now.AddHours(-1), turns: 12);
        Write(home, "name:a", "new", Now, null, turns: 1);
        Write(home, "name:a", "empty", Now.AddHours(-1), Now);
        Write(home, "other", "theirs", Now, null);
        IReadOnlyList<RunSummary> runs = Catalog(home).List("name:a");
        await Assert.That(runs).IsEquivalentTo([
            new RunSummary("new", "name:a", "intent", Now, null, RunStatus.InProgress, 1),
            new RunSummary("empty", "name:a", "intent", Now.AddHours(-1), Now, RunStatus.Completed, 0),
            new RunSummary("old", "name:a", "intent", Now.AddHours(-2), Now.AddHours(-1), RunStatus.Completed, 12),
        ], TUnit.Assertions.Enums.CollectionOrdering.Matching);
        await Assert.That(Catalog(home).List("nobody")).IsEmpty();
        await Assert.That(Catalog(home).List("..")).IsEmpty();
    }

    [Test]
    public async Task A_run_is_found_by_its_id_alone()
    {
        using var home = new TempHome();
        Write(home, "one", "r1", Now, null);
        string path = Write(home, "Two", "r2", Now, null);
        await Assert.That(Catalog(home).Find("r2")).IsEqualTo(new TraceFile(path, "Two", "r2"));
        await Assert.That(Catalog(home).Find("r3")).IsNull();
        await Assert.That(Catalog(home).Find("../one/r1")).IsNull();
    }

    [Test]
    public async Task Every_prefix_of_a_trace_reads_as_the_records_whose_newline_is_in_it()
    {
        using var home = new TempHome();
        string path = Write(home, "a", "r", Now, Now, turns: 1);
        byte[] whole = await File.ReadAllBytesAsync(path);
        for (int length = 0; length <= whole.Length; length++)
        {
            await File.WriteAllBytesAsync(path, whole[..length]);
            TracePage page = TracePage.Read(path);
            int lines = whole.Take(length).Count(b => b == '\n');
            await Assert.That(page.Records.Count).IsEqualTo(lines);
            await Assert.That(page.DamagedLines).IsEqualTo(0);
            await Assert.That(string.Concat(page.Records.Select(record => record + "\n"))).IsEqualTo(
                Encoding.UTF8.GetString(whole, 0, Array.LastIndexOf(whole[..length], (byte)'\n') + 1));
            RunSummary? summary = RunTrace.Summarise(path, "a", "r");
            await Assert.That(summary is null).IsEqualTo(lines == 0);
            await Assert.That(summary?.Status).IsEqualTo(lines switch { 0 => null, 3 => RunStatus.Completed, _ => RunStatus.InProgress });
            await Assert.That(summary?.TurnCount ?? 0).IsEqualTo(lines > 1 ? 1 : 0);
        }
    }

    [Test]
    [Arguments("{\"record\":\"turn\",\"index\":0")]
    [Arguments("{\"record\":\"turn\"} {}")]
    [Arguments("[]")]
    [Arguments("7")]
    [Arguments("{}")]
    [Arguments("")]
    [Arguments("\0\0\0\0")]
    public async Task A_damaged_line_in_the_middle_is_left_out_and_counted(string damage)
    {
        using var home = new TempHome();
        string path = Write(home, "a", "r", Now, null);
        await File.AppendAllTextAsync(path, damage + "\n");
        await File.AppendAllBytesAsync(path, Turn(0));
        TracePage page = TracePage.Read(path);
        await Assert.That(page.Records.Count).IsEqualTo(2);
        await Assert.That(page.DamagedLines).IsEqualTo(1);
    }

    [Test]
    public async Task Broken_UTF_8_never_reaches_a_client()
    {
        using var home = new TempHome();
        string path = Write(home, "a", "r", Now, null);
        await File.AppendAllBytesAsync(path, [.. "{\"record\":\"turn\",\"index\":0,\"prompt\":\""u8, 0xFF, .. "\"}\n"u8]);
        TracePage page = TracePage.Read(path);
        await Assert.That(page.Records.Count).IsEqualTo(1);
        await Assert.That(page.DamagedLines).IsEqualTo(1);
    }

    [Test]
    public async Task A_trace_is_read_in_pages_by_count_and_by_bytes()
    {
        using var home = new TempHome();
        string path = Write(home, "a", "r", Now, Now, turns: 3);   // five records
        await Assert.That(Page(0, 5, long.MaxValue)).IsEqualTo("5 next ");
        await Assert.That(Page(0, 4, long.MaxValue)).IsEqualTo("4 next 4");
        await Assert.That(Page(4, 4, long.MaxValue)).IsEqualTo("1 next ");
        await Assert.That(Page(5, 4, long.MaxValue)).IsEqualTo("0 next ");
        await Assert.That(Page(1_000, 4, long.MaxValue)).IsEqualTo("0 next ");
        int turn = Turn(0).Length - 1;
        await Assert.That(Page(1, 10, 2 * turn)).IsEqualTo("2 next 3");
        await Assert.That(Page(1, 10, (2 * turn) - 1)).IsEqualTo("1 next 2");
        await Assert.That(Page(1, 10, 0)).IsEqualTo("1 next 2");

        string Page(long from, int limit, long maxBytes)
        {
            TracePage page = TracePage.Read(path, from, limit, maxBytes);
            return $"{page.Records.Count} next {page.Next}";
        }
    }

    [Test]
    public async Task A_line_longer_than_a_read_comes_whole()
    {
        using var home = new TempHome();
        string path = Write(home, "a", "r", Now, null);
        string huge = $$"""{"record":"turn","index":0,"prompt":"{{new string('x', 300_000)}}"}""";
        await File.AppendAllTextAsync(path, huge + "\n");
        await Assert.That(TracePage.Read(path, 1, 10, long.MaxValue).Records.Single()).IsEqualTo(huge);
        await Assert.That(RunTrace.Summarise(path, "a", "r")!.TurnCount).IsEqualTo(1);
    }

    [Test]
    public async Task Orphans_are_ended_once()
    {
        using var home = new TempHome();
        string torn = Write(home, "a", "torn", Now.AddDays(-1), Now, turns: 2);
        byte[] whole = await File.ReadAllBytesAsync(torn);
        await File.WriteAllBytesAsync(torn, whole[..^1]);   // 'ended' without its newline was never written
        string fine = Write(home, "a", "fine", Now.AddDays(-1), Now);
        Write(home, "b", "open", Now.AddDays(-1), null);
        string headless = Write(home, "b", "headless", Now, null);
        await File.WriteAllTextAsync(headless, "damaged\n");
        string empty = Write(home, "c", "empty", Now, null);
        await File.WriteAllTextAsync(empty, "{\"record\":\"star");
        byte[] before = await File.ReadAllBytesAsync(fine);

        await using var appender = new Appender(NullLogger.Instance);
        await Assert.That(await Catalog(home).AdoptOrphansAsync(appender, Now, NullLogger.Instance)).IsEqualTo(3);
        await Assert.That(await Catalog(home).AdoptOrphansAsync(appender, Now.AddDays(1), NullLogger.Instance)).IsEqualTo(0);
        await Assert.That(Catalog(home).List("a")[0]).IsEqualTo(new RunSummary("fine", "a", "intent", Now.AddDays(-1), Now, RunStatus.Completed, 0));
        await Assert.That(Catalog(home).List("a")[1]).IsEqualTo(new RunSummary("torn", "a", "intent", Now.AddDays(-1), Now, RunStatus.Incomplete, 2));
        await Assert.That(Catalog(home).List("b").All(run => run is { Status: RunStatus.Incomplete, EndedAt: not null })).IsTrue();
        await Assert.That(await File.ReadAllBytesAsync(fine)).IsEquivalentTo(before);
        await Assert.That(File.Exists(empty)).IsFalse();
    }

    [Test]
    [Arguments("{}")]
    [Arguments("\"incomplete\"")]
    [Arguments("{\"kind\":\"unknown\"}")]
    public async Task An_ended_record_that_cannot_be_understood_is_an_end_all_the_same(string termination)
    {
        using var home = new TempHome();
        string path = Write(home, "a", "r", Now.AddDays(-1), null, turns: 1);
        await File.AppendAllTextAsync(path, $$"""{"record":"ended","run_id":"r","agent_id":"a","termination":{{termination}},"ended_at":"2020-01-01T00:00:00Z"}""" + "\n");
        byte[] before = await File.ReadAllBytesAsync(path);
        await using var appender = new Appender(NullLogger.Instance);
        await Assert.That(await Catalog(home).AdoptOrphansAsync(appender, Now, NullLogger.Instance)).IsEqualTo(0);
        await Assert.That(Catalog(home).List("a").Single()).IsEqualTo(new RunSummary("r", "a", "intent", Now.AddDays(-1), null, RunStatus.Incomplete, 1));
        await Assert.That(await File.ReadAllBytesAsync(path)).IsEquivalentTo(before);
    }

    [Test]
    [Arguments("\0\0\0\0\n")]
    [Arguments("{\"\\ud800\":1}\ndamaged\n")]
    public async Task Damage_behind_the_last_record_neither_opens_a_run_again_nor_hides_its_turns(string damage)
    {
        using var home = new TempHome();
        await File.AppendAllTextAsync(Write(home, "a", "done", Now, Now, turns: 3), damage);
        await File.AppendAllTextAsync(Write(home, "a", "open", Now.AddDays(-1), null, turns: 2), damage);
        await using var appender = new Appender(NullLogger.Instance);
        await Assert.That(await Catalog(home).AdoptOrphansAsync(appender, Now, NullLogger.Instance)).IsEqualTo(1);
        await Assert.That(string.Join(", ", Catalog(home).List("a").Select(run => $"{run.RunId} {run.Status} {run.TurnCount}"))).IsEqualTo("done Completed 3, open Incomplete 2");
    }

    /// <summary>What a client may send, nested as deep as a message may be, comes back from the disk.</summary>
    [Test]
    public async Task A_record_may_nest_as_deep_as_the_value_it_carries_and_the_layers_around_it()
    {
        using var home = new TempHome();
        RawJson deep = RawJson.Parse(new string('[', RawJsonConverter.MaxDepth) + new string(']', RawJsonConverter.MaxDepth));
        string path = Write(home, "a", "r", Now, null);
        byte[] body = TurnLine.TryEncodeBody(new RunTurn(Output: deep))!;
        byte[] turn = new byte[TurnLine.MaxSize(body)];
        await File.AppendAllBytesAsync(path, turn[..TurnLine.Write(turn, 0, body)]);
        var outcome = new AgentOutcome(OutcomeStatus.Done, Evidence: [new Evidence(EvidenceKind.Evaluator, Data: deep)]);
        await File.AppendAllBytesAsync(path, new RunEnded("r", "a", new RunOutcome(outcome.WithDefaults(Now)), Now).ToLine());
        await Assert.That(TracePage.Read(path).DamagedLines).IsEqualTo(0);
        await Assert.That(RunTrace.Summarise(path, "a", "r")).IsEqualTo(new RunSummary("r", "a", "intent", Now, Now, RunStatus.Completed, 1));
    }

    [Test]
    public async Task A_trace_that_cannot_be_ended_keeps_nobody_from_starting()
    {
        using var home = new TempHome();
        Directory.CreateDirectory(home.In("runs", "a"));
        Directory.CreateSymbolicLink(home.Trace("a", "loop"), home.Trace("a", "loop"));
        Write(home, "a", "open", Now, null);
        await using var appender = new Appender(NullLogger.Instance);
        var log = new LogLines();
        await Assert.That(await Catalog(home).AdoptOrphansAsync(appender, Now, log)).IsEqualTo(1);
        await Assert.That(log.All.Single()).Contains("could not look at");
    }

    [Test]
    public async Task Collecting_keeps_the_newest_by_start_and_the_young_by_end_and_whatever_is_in_progress()
    {
        using var home = new TempHome();
        Write(home, "a", "open", Now.AddDays(-400), null);
        Write(home, "a", "1", Now.AddDays(-1), Now);
        Write(home, "a", "2", Now.AddDays(-50), Now.AddDays(-30));                  // just not older than 30 days
        Write(home, "a", "3", Now.AddDays(-51), Now);
        Write(home, "b", "late", Now.AddDays(-1), Now.AddDays(-30).AddSeconds(-1)); // one second too old
        await Assert.That(Catalog(home).Collect(Now, NullLogger.Instance, maxPerAgent: 2, maxAgeDays: 30)).IsEqualTo(2);
        await Assert.That(home.Files()).IsEquivalentTo(["runs/a/1.jsonl", "runs/a/2.jsonl", "runs/a/open.jsonl"]);
        await Assert.That(Directory.Exists(home.In("runs", "b"))).IsFalse();
    }

    [Test]
    public async Task A_limit_of_zero_or_less_is_no_limit()
    {
        using var home = new TempHome();
        for (int i = 0; i < 60; i++) Write(home, "a", $"{i}", Now.AddDays(-i - 100), Now.AddDays(-i - 100));
        await Assert.That(Catalog(home).Collect(Now, NullLogger.Instance, maxPerAgent: 0, maxAgeDays: -1)).IsEqualTo(0);
        await Assert.That(Catalog(home).Collect(Now, NullLogger.Instance, maxPerAgent: 0)).IsEqualTo(60);
    }

    [Test]
    public async Task By_default_fifty_are_kept()
    {
        using var home = new TempHome();
        for (int i = 0; i < 51; i++) Write(home, "a", $"{i}", Now.AddMinutes(-i), Now);
        await Assert.That(Catalog(home).Collect(Now, NullLogger.Instance)).IsEqualTo(1);
        await Assert.That(File.Exists(home.Trace("a", "50"))).IsFalse();
        await Assert.That(File.Exists(home.Trace("a", "49"))).IsTrue();
    }
}

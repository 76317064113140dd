using System.Text;
using CarServer.RunStore;
using CarServer.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using TUnit.Core;

namespace CarServer.Tests.Unit.RunStore;

public sealed class RunCatalogTests
{
    internal static readonly DateTime Now = new(2026, 6, 1, 0, 0, 0, DateTimeKind.Utc);

    internal static RunCatalog Catalog(TempHome home) => RunCatalog.ForJournalDirectory(home.Journals);

    private static byte[] Turn(int index)
    {
        byte[] body = TurnLine.TryEncodeBody(new RunTurn(Tool: "t"))!;
        byte[] line = new byte[TurnLine.LargestFrame + body.Length];
        return line[..TurnLine.Write(line, index, body)];
    }

    /// <summary>Puts a trace on disk. <paramref name="ended"/> null: still in progress.</summary>
    internal static string Write(TempHome home, string agentId, string runId, DateTime started, DateTime? ended, int turns = 0)
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
    public async Task A_list_reads_what_has_changed_and_nothing_else()
    {
        using var home = new TempHome();
        RunCatalog catalog = Catalog(home);
        string path = Write(home, "a", "r", Now, Now, turns: 1);
        string other = Write(home, "a", "s", Now.AddDays(-1), Now);
        IReadOnlyList<RunSummary> first = catalog.List("a");
        await Assert.That(catalog.List("a")).IsSameReferenceAs(first);

        // Behind its back, with the same size and time: it does not look.
        DateTime changed = File.GetLastWriteTimeUtc(path);
        await File.WriteAllTextAsync(path, (await File.ReadAllTextAsync(path)).Replace("\"intent\":\"intent\"", "\"intent\":\"TNETNI\"", StringComparison.Ordinal));
        File.SetLastWriteTimeUtc(path, changed);
        await Assert.That(catalog.List("a")).IsSameReferenceAs(first);
        File.SetLastWriteTimeUtc(path, changed.AddTicks(1));
        await Assert.That(catalog.List("a")[0].Intent).IsEqualTo("TNETNI");
        await Assert.That(catalog.List("a")[1]).IsSameReferenceAs(first[1]);

        Write(home, "a", "t", Now.AddDays(1), null, turns: 3);
        await Assert.That(string.Join(' ', catalog.List("a").Select(run => run.RunId))).IsEqualTo("t r s");
        await File.AppendAllBytesAsync(home.Trace("a", "t"), Turn(3));
        await Assert.That(catalog.List("a")[0].TurnCount).IsEqualTo(4);
        File.Delete(other);
        await Assert.That(string.Join(' ', catalog.List("a").Select(run => run.RunId))).IsEqualTo("t r");
        Directory.Delete(home.In("runs", "a"), recursive: true);
        await Assert.That(catalog.List("a")).IsEmpty();
    }

    [Test]
    public async Task Summaries_are_kept_up_to_a_bound_and_those_of_the_agent_listed_last_the_longest()
    {
        var cache = new SummaryCache();
        AgentRuns big = Runs("big", 10, 500_000);   // ten megabytes of intents
        foreach (string agent in (string[])["1", "2", "3"]) cache.Put(agent, big with { AgentId = agent });
        await Assert.That(cache.Get("1").Files.Count).IsEqualTo(10);
        cache.Put("4", big with { AgentId = "4" });
        await Assert.That(cache.Get("2")).IsSameReferenceAs(AgentRuns.None);
        await Assert.That(cache.Get("1").Files.Count).IsEqualTo(10);
        cache.Put("1", AgentRuns.None);
        await Assert.That(cache.Get("1")).IsSameReferenceAs(AgentRuns.None);
        cache.Put("5", Runs("5", 40, 500_000));   // more than all may have together
        await Assert.That(cache.Get("5")).IsSameReferenceAs(AgentRuns.None);
        await Assert.That(cache.Get("4").Files.Count).IsEqualTo(10);

        static AgentRuns Runs(string agent, int count, int intent)
        {
            RunSummary[] runs = [.. Enumerable.Range(0, count).Select(i => new RunSummary($"{i}", agent, new string('x', intent), Now, null, RunStatus.InProgress, 0))];
            return new AgentRuns(agent, runs.ToDictionary(run => run.RunId, run => new KnownTrace(1, Now, run)), runs);
        }
    }

    [Test]
    public async Task A_place_in_a_list_can_be_written_down_and_outlives_its_run()
    {
        var place = new RunPlace(Now.AddTicks(1), "a/b c");
        await Assert.That(RunPlace.TryParse(place.ToString(), out RunPlace read)).IsTrue();
        await Assert.That(read).IsEqualTo(place);
        await Assert.That(read.StartedAt.Kind).IsEqualTo(DateTimeKind.Utc);
        foreach (string text in (string[])["", "r", "2026-06-01T00:00:00.0000001Z", "2026-06-01T00:00:00.0000001Z-r", "2026-06-41T00:00:00.0000001Z/r"])
            await Assert.That(RunPlace.TryParse(text, out _)).IsFalse();
        await Assert.That(new RunPlace(Now, "a").CompareTo(new RunPlace(Now, "b"))).IsLessThan(0);
        await Assert.That(new RunPlace(Now.AddTicks(1), "b").CompareTo(new RunPlace(Now, "a"))).IsLessThan(0);
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

    /// <summary>What a client may send, nested as deep as a message may be, comes back from the disk.</summary>
    [Test]
    public async Task A_record_may_nest_as_deep_as_the_value_it_carries_and_the_layers_around_it()
    {
        using var home = new TempHome();
        RawJson deep = RawJson.Parse(new string('[', RawJsonConverter.MaxDepth) + new string(']', RawJsonConverter.MaxDepth));
        string path = Write(home, "a", "r", Now, null);
        byte[] body = TurnLine.TryEncodeBody(new RunTurn(Output: deep))!;
        byte[] turn = new byte[TurnLine.LargestFrame + body.Length];
        await File.AppendAllBytesAsync(path, turn[..TurnLine.Write(turn, 0, body)]);
        var outcome = new AgentOutcome(OutcomeStatus.Done, Evidence: [new Evidence(EvidenceKind.Evaluator, Data: deep)]);
        await File.AppendAllBytesAsync(path, new RunEnded("r", "a", new RunOutcome(outcome.WithDefaults(Now)), Now).ToLine());
        await Assert.That(TracePage.Read(path).DamagedLines).IsEqualTo(0);
        await Assert.That(RunTrace.Summarise(path, "a", "r")).IsEqualTo(new RunSummary("r", "a", "intent", Now, Now, RunStatus.Completed, 1));
    }
}

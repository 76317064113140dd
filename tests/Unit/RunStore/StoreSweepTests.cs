using CarServer.RunStore;
using CarServer.Tests.Support;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using TUnit.Core;
using static CarServer.Tests.Unit.RunStore.RunCatalogTests;

namespace CarServer.Tests.Unit.RunStore;

/// <summary>What a pass over the store ends, removes, and leaves alone.</summary>
public sealed class StoreSweepTests
{
    private static readonly Retention KeepAll = new(0, 0);

    private static async Task<int> AdoptAsync(TempHome home, Appender appender, DateTime now, ILogger log)
    {
        var sweep = new StoreSweep(Catalog(home), KeepAll, now, log) { Adopter = appender, Threads = 2 };
        await sweep.RunAsync(CancellationToken.None);
        await Assert.That(sweep.Removed).IsEmpty();
        return sweep.Adopted;
    }

    private static async Task<int> CollectAsync(TempHome home, Retention retention)
    {
        var sweep = new StoreSweep(Catalog(home), retention, Now, NullLogger.Instance);
        await sweep.RunAsync(CancellationToken.None);
        return sweep.Removed.Count;
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
        await Assert.That(await AdoptAsync(home, appender, Now, NullLogger.Instance)).IsEqualTo(3);
        await Assert.That(await AdoptAsync(home, appender, Now.AddDays(1), NullLogger.Instance)).IsEqualTo(0);
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
        await Assert.That(await AdoptAsync(home, appender, Now, NullLogger.Instance)).IsEqualTo(0);
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
        await Assert.That(await AdoptAsync(home, appender, Now, NullLogger.Instance)).IsEqualTo(1);
        await Assert.That(string.Join(", ", Catalog(home).List("a").Select(run => $"{run.RunId} {run.Status} {run.TurnCount}"))).IsEqualTo("done Completed 3, open Incomplete 2");
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
        await Assert.That(await CollectAsync(home, new Retention(2, 30))).IsEqualTo(2);
        await Assert.That(home.Files()).IsEquivalentTo(["runs/a/1.jsonl", "runs/a/2.jsonl", "runs/a/open.jsonl"]);
        await Assert.That(Directory.Exists(home.In("runs", "b"))).IsFalse();
    }

    [Test]
    public async Task A_limit_of_zero_or_less_is_no_limit()
    {
        using var home = new TempHome();
        for (int i = 0; i < 60; i++) Write(home, "a", $"{i}", Now.AddDays(-i - 100), Now.AddDays(-i - 100));
        await Assert.That(await CollectAsync(home, new Retention(0, -1))).IsEqualTo(0);
        await Assert.That(await CollectAsync(home, new Retention(MaxPerAgent: 0))).IsEqualTo(60);
    }

    [Test]
    public async Task By_default_fifty_are_kept()
    {
        using var home = new TempHome();
        for (int i = 0; i < 51; i++) Write(home, "a", $"{i}", Now.AddMinutes(-i), Now);
        await Assert.That(await CollectAsync(home, new Retention())).IsEqualTo(1);
        await Assert.That(File.Exists(home.Trace("a", "50"))).IsFalse();
        await Assert.That(File.Exists(home.Trace("a", "49"))).IsTrue();
    }

    [Test]
    public async Task A_trace_that_cannot_be_ended_keeps_nobody_from_starting()
    {
        using var home = new TempHome();
        string stuck = Write(home, "a", "stuck", Now, null);
        Write(home, "a", "open", Now, null);
        var disk = new FaultyDisk { OnOpen = path => { if (path == stuck) throw new UnauthorizedAccessException(); } };
        await using var appender = new Appender(NullLogger.Instance, disk: disk);
        var log = new LogLines();
        await Assert.That(await AdoptAsync(home, appender, Now, log)).IsEqualTo(1);
        await Assert.That(log.All.Single()).Contains("could not end the orphaned run").And.Contains("permission denied");
    }

    [Test]
    public async Task An_orphan_that_is_beyond_the_limit_goes_at_once()
    {
        using var home = new TempHome();
        for (int i = 0; i < 4; i++) Write(home, "a", $"{i}", Now.AddDays(-i), null);
        await using var appender = new Appender(NullLogger.Instance);
        var sweep = new StoreSweep(Catalog(home), new Retention(2, 30), Now, NullLogger.Instance) { Adopter = appender };
        await sweep.RunAsync(CancellationToken.None);
        await Assert.That(sweep.Adopted).IsEqualTo(2);
        await Assert.That(sweep.Removed.Count).IsEqualTo(2);
        await Assert.That(home.Files()).IsEquivalentTo(["runs/a/0.jsonl", "runs/a/1.jsonl"]);
        await Assert.That(Catalog(home).List("a").All(run => run.Status == RunStatus.Incomplete && run.EndedAt == Now)).IsTrue();
    }

    [Test]
    public async Task What_would_be_removed_is_told_and_stays_and_an_open_run_is_none_of_it()
    {
        using var home = new TempHome();
        Write(home, "a", "old", Now.AddDays(-50), Now.AddDays(-40));
        Write(home, "a", "open", Now.AddDays(-50), Now.AddDays(-40));
        Write(home, "a", "third", Now.AddDays(-3), Now.AddDays(-2));
        Write(home, "a", "new", Now.AddDays(-1), Now);
        var dry = new StoreSweep(Catalog(home), new Retention(1, 30), Now, NullLogger.Instance) { IsOpen = id => id == "open", DryRun = true };
        await dry.RunAsync(CancellationToken.None);
        RemovedRun[] removed = [.. dry.Removed.OrderBy(run => run.StartedAt)];
        await Assert.That(removed).IsEquivalentTo([
            new RemovedRun("old", "a", RunStatus.Completed, Now.AddDays(-50), Now.AddDays(-40), RetentionReason.MaxAgeDays),
            new RemovedRun("third", "a", RunStatus.Completed, Now.AddDays(-3), Now.AddDays(-2), RetentionReason.MaxPerAgent),
        ]);
        await Assert.That(home.Files().Count()).IsEqualTo(4);

        var real = new StoreSweep(Catalog(home), new Retention(1, 30), Now, NullLogger.Instance) { IsOpen = id => id == "open" };
        await real.RunAsync(CancellationToken.None);
        await Assert.That(real.Removed.OrderBy(run => run.StartedAt)).IsEquivalentTo(removed);
        await Assert.That(home.Files()).IsEquivalentTo(["runs/a/new.jsonl", "runs/a/open.jsonl"]);
    }

    [Test]
    public async Task A_trace_is_removed_where_it_was_found_whatever_its_name()
    {
        using var home = new TempHome();
        Directory.CreateDirectory(home.In("runs", "Some Agent"));
        string odd = home.In("runs", "Some Agent", "Odd Name.jsonl");
        File.Move(Write(home, "a", "r", Now.AddDays(-50), Now.AddDays(-40)), odd);
        string ours = Write(home, "Some Agent", "Odd Name", Now, Now);   // what the same ids are called by us
        await Assert.That(await CollectAsync(home, new Retention())).IsEqualTo(1);
        await Assert.That(File.Exists(odd)).IsFalse();
        await Assert.That(File.Exists(ours)).IsTrue();
    }

    [Test]
    public async Task Damaged_traces_are_ended_and_removed_like_others()
    {
        using var home = new TempHome();
        string path = Write(home, "a", "r", Now, null, turns: 2);
        byte[] whole = await File.ReadAllBytesAsync(path);
        whole[0] = (byte)'x';
        await File.WriteAllBytesAsync(path, whole);
        File.SetLastWriteTimeUtc(path, Now.AddDays(-60));
        await Assert.That(await CollectAsync(home, new Retention())).IsEqualTo(0);   // in progress
        await using var appender = new Appender(NullLogger.Instance);
        await Assert.That(await AdoptAsync(home, appender, Now.AddDays(-40), NullLogger.Instance)).IsEqualTo(1);
        RunSummary run = Catalog(home).List("a").Single();
        await Assert.That(run with { StartedAt = Now }).IsEqualTo(new RunSummary("r", "a", "", Now, Now.AddDays(-40), RunStatus.Incomplete, 2));
        await Assert.That(await CollectAsync(home, new Retention())).IsEqualTo(1);
        await Assert.That(Directory.Exists(home.In("runs", "a"))).IsFalse();
    }

    [Test]
    public async Task A_file_without_a_whole_line_goes_at_the_start_and_may_be_about_to_get_one_later()
    {
        using var home = new TempHome();
        string torn = Write(home, "a", "torn", Now, null);
        await File.WriteAllTextAsync(torn, "{\"record\"");
        string empty = Write(home, "a", "empty", Now, null);
        await File.WriteAllTextAsync(empty, "");
        File.SetLastWriteTimeUtc(empty, Now.AddDays(-400));
        await CollectAsync(home, new Retention());
        await Assert.That(home.Files().Count()).IsEqualTo(2);
        await using var appender = new Appender(NullLogger.Instance);
        await Assert.That(await AdoptAsync(home, appender, Now, NullLogger.Instance)).IsEqualTo(0);
        await Assert.That(Directory.Exists(home.In("runs", "a"))).IsFalse();
    }

    [Test]
    public async Task What_is_no_trace_is_left_where_it_is()
    {
        using var home = new TempHome();
        Write(home, "a", "old", Now.AddDays(-400), Now.AddDays(-400));
        string[] foreign = [home.In("runs", "note.jsonl"), home.In("runs", ".nobackup"), home.In("runs", "a", "note.txt"), home.In("runs", "a", "deep.jsonl", "x.jsonl")];
        Directory.CreateDirectory(home.In("runs", "a", "deep.jsonl"));
        foreach (string path in foreign) await File.WriteAllTextAsync(path, "mine\n");
        using var process = System.Diagnostics.Process.Start("mkfifo", home.In("runs", "a", "pipe.jsonl"));
        await process.WaitForExitAsync();

        await using var appender = new Appender(NullLogger.Instance);
        var sweep = new StoreSweep(Catalog(home), new Retention(), Now, NullLogger.Instance) { Adopter = appender };
        await sweep.RunAsync(CancellationToken.None).Soon("the end of the pass, which must not wait at a pipe");
        await Assert.That(sweep.Removed.Count).IsEqualTo(1);
        foreach (string path in foreign) await Assert.That(await File.ReadAllTextAsync(path)).IsEqualTo("mine\n");
        await Assert.That(Catalog(home).List("a")).IsEmpty();
    }

    [Test]
    public async Task Links_are_not_followed_out_of_the_tree()
    {
        using var home = new TempHome();
        using var elsewhere = new TempHome();
        string file = Write(elsewhere, "a", "old", Now.AddDays(-400), Now.AddDays(-400));
        string open = Write(elsewhere, "a", "open", Now.AddDays(-400), null);
        Write(home, "a", "new", Now, Now);
        File.CreateSymbolicLink(home.Trace("a", "old"), file);
        File.CreateSymbolicLink(home.Trace("a", "open"), open);
        File.CreateSymbolicLink(home.Trace("a", "loop"), home.Trace("a", "loop"));
        Directory.CreateSymbolicLink(home.In("runs", "linked"), elsewhere.In("runs", "a"));
        byte[] before = await File.ReadAllBytesAsync(open);

        await using var appender = new Appender(NullLogger.Instance);
        var log = new LogLines();
        var sweep = new StoreSweep(Catalog(home), new Retention(1, 1), Now, log) { Adopter = appender };
        await sweep.RunAsync(CancellationToken.None);
        await Assert.That(sweep.Adopted + sweep.Removed.Count).IsEqualTo(0);
        await Assert.That(log.All).IsEmpty();
        await Assert.That(File.Exists(file)).IsTrue();
        await Assert.That((await File.ReadAllBytesAsync(open)).SequenceEqual(before)).IsTrue();
        await Assert.That(Catalog(home).List("a").Single().RunId).IsEqualTo("new");
        await Assert.That(Catalog(home).List("linked").Count).IsEqualTo(2);   // whoever linked a directory wants it read
    }
}

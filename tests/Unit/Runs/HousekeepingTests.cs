using CarServer.RunStore;
using CarServer.State.Runs;
using CarServer.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using TUnit.Core;

namespace CarServer.Tests.Unit.Runs;

public sealed class HousekeepingTests
{
    [Test]
    public async Task What_a_dead_daemon_left_open_is_ended_and_then_counts_as_finished()
    {
        await using var house = new House();
        for (int i = 0; i < 3; i++) house.Write("a", $"{i}", house.Now.AddMinutes(-i), null);
        house.Configure("max_per_agent = 2");
        await house.Keeper.RecoverAsync();
        await Assert.That(string.Join(' ', house.Runs.Traces())).IsEqualTo("a/0 a/1");
        await Assert.That(house.Log.All.Single()).Contains("2 orphaned runs ended, 1 old ones and 0 journals removed");
    }

    [Test]
    public async Task Every_hour_the_file_is_read_anew_and_what_it_keeps_no_longer_goes()
    {
        await using var house = new House();
        for (int i = 0; i < 4; i++) house.Write("a", $"{i}", house.Now.AddMinutes(-i), house.Now);
        house.Write("b", "aging", house.Now.AddDays(-30), house.Now.AddDays(-30).AddMinutes(90));
        house.Write("b", "open", house.Now.AddDays(-300), null);
        house.Keeper.Start();
        await Assert.That(await house.Clock.NextTimerAsync()).IsEqualTo(Housekeeping.Period);
        await house.HourAsync();
        await Assert.That(house.Runs.Traces().Length).IsEqualTo(6);
        house.Configure("max_per_agent = 3");
        await house.HourAsync();
        await Assert.That(string.Join(' ', house.Runs.Traces())).IsEqualTo("a/0 a/1 a/2 b/open");
        house.Configure("max_per_agent = none");
        await house.HourAsync();
        await Assert.That(house.Runs.Traces().Length).IsEqualTo(4);
        await Assert.That(house.Log.All[^1]).Contains("max_per_agent = 3, max_age_days = 30");
    }

    [Test]
    public async Task A_run_that_is_open_here_stays_whatever_the_disk_says()
    {
        await using var house = new House();
        house.Configure("max_per_agent = 1");
        await house.Registry.StartAsync("c", "a", "", null, "mine");
        house.Write("a", "mine", house.Now.AddDays(-400), house.Now.AddDays(-400));
        Collected collected = await house.Keeper.CollectAsync(dryRun: false, CancellationToken.None);
        await Assert.That(collected.Runs).IsEmpty();
        await house.Registry.MarkIncompleteAsync("mine");
        house.Write("a", "mine", house.Now.AddDays(-400), house.Now.AddDays(-400));
        collected = await house.Keeper.CollectAsync(dryRun: true, CancellationToken.None);
        await Assert.That(collected.Runs.Single().Reason).IsEqualTo(RetentionReason.MaxAgeDays);
        await Assert.That(collected.Retention).IsEqualTo(new Retention(1, 30));
        await Assert.That(house.Runs.Traces().Length).IsEqualTo(1);
    }

    [Test]
    public async Task Beside_another_daemon_with_runs_nothing_is_ended_and_what_is_old_goes_all_the_same()
    {
        using var home = new TempHome();
        await using var other = new House(home);
        await other.Registry.StartAsync("c", "a", "", null, "theirs");
        await using var house = new House(home);
        house.Write("a", "old", house.Now.AddDays(-40), house.Now.AddDays(-40));
        await house.Keeper.RecoverAsync();
        await Assert.That(string.Join(' ', house.Runs.Traces())).IsEqualTo("a/theirs");
        await Assert.That(house.Runs.List("a").Single().Status).IsEqualTo(RunStatus.InProgress);
        await Assert.That(house.Log.All[0]).Contains("another daemon");
    }

    [Test]
    public async Task Passes_wait_for_each_other()
    {
        await using var house = new House();
        for (int i = 0; i < 200; i++) house.Write($"agent {i}", "old", house.Now.AddDays(-40), house.Now.AddDays(-40));
        Collected[] passes = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => house.Keeper.CollectAsync(dryRun: false, CancellationToken.None)));
        await Assert.That(passes.Sum(pass => pass.Runs.Count)).IsEqualTo(200);
        await Assert.That(passes.Count(pass => pass.Runs.Count > 0)).IsEqualTo(1);
    }

    [Test]
    public async Task Journals_go_by_the_day_they_were_last_written_to_and_not_while_somebody_writes()
    {
        await using var house = new House();
        Directory.CreateDirectory(house.Home.Journals);
        foreach (string name in (string[])["0123456789ab", "fedcba987654", "abcdefabcdef", "notes", "0123456789AB", "0123456789abc"])
            await File.WriteAllTextAsync(Journals.PathOf(house.Home.Journals, name), "{}\n");
        foreach (string file in Directory.GetFiles(house.Home.Journals)) File.SetLastWriteTimeUtc(file, house.Now.AddDays(-31));
        File.SetLastWriteTimeUtc(Journals.PathOf(house.Home.Journals, "abcdefabcdef"), house.Now.AddDays(-29));
        house.Live = "fedcba987654";
        await Assert.That((await house.Keeper.CollectAsync(dryRun: true, CancellationToken.None)).Journals).IsEqualTo(1);
        await Assert.That(Directory.GetFiles(house.Home.Journals).Length).IsEqualTo(6);
        await Assert.That((await house.Keeper.CollectAsync(dryRun: false, CancellationToken.None)).Journals).IsEqualTo(1);
        await Assert.That(File.Exists(Journals.PathOf(house.Home.Journals, "0123456789ab"))).IsFalse();
        await Assert.That(Directory.GetFiles(house.Home.Journals).Length).IsEqualTo(5);
    }

    [Test]
    public async Task An_end_that_the_disk_refused_is_offered_again_every_hour_until_it_is_there()
    {
        await using var house = new House();
        string path = house.Write("a", "r", house.Now, null);
        string gone = house.Write("a", "gone", house.Now, null);
        string ended = house.Write("a", "ended", house.Now, house.Now);
        byte[] before = await File.ReadAllBytesAsync(ended);
        File.Delete(gone);
        byte[] line = new RunEnded("r", "a", new RunIncomplete(), house.Now).ToLine();
        foreach (string one in (string[])[path, gone, ended]) house.Registry.RefusedEnds.RetryLater(house.Appender.File(one), line);
        house.Disk.OnWrite = (_, _, _) => throw FaultyDisk.Full();
        house.Keeper.Start();
        await house.Clock.NextTimerAsync();
        await house.HourAsync();
        await Assert.That(house.Registry.RefusedEnds.Count).IsEqualTo(1);
        house.Disk.OnWrite = null;
        await house.HourAsync();
        await Assert.That(house.Registry.RefusedEnds.Count).IsEqualTo(0);
        await Assert.That(house.Runs.List("a").Single(run => run.RunId == "r").Status).IsEqualTo(RunStatus.Incomplete);
        await Assert.That(File.Exists(gone)).IsFalse();
        await Assert.That((await File.ReadAllBytesAsync(ended)).SequenceEqual(before)).IsTrue();
    }

    [Test]
    public async Task Refused_ends_wait_up_to_a_bound()
    {
        await using var house = new House();
        byte[] line = new byte[RefusedEnds.MaxBytes / 2];
        for (int i = 0; i < 3; i++) house.Registry.RefusedEnds.RetryLater(house.Appender.File($"{i}"), line);
        await Assert.That(house.Registry.RefusedEnds.Count).IsEqualTo(2);
        await Assert.That(house.Log.All.Single()).Contains("the next start ends it as incomplete");
    }

    /// <summary>A store, its disk and its keeper, without a daemon around.</summary>
    private sealed class House : IAsyncDisposable
    {
        private readonly bool _ownsHome;

        public House() : this(new TempHome()) => _ownsHome = true;

        public House(TempHome home)
        {
            Home = home;
            Appender = new Appender(NullLogger.Instance, disk: Disk);
            Runs = RunCatalog.ForJournalDirectory(home.Journals);
            Registry = new RunRegistry(Runs, Appender, Log, Clock);
            Keeper = new Housekeeping(Registry, Runs, Appender, home.Journals, id => id == Live, Log, Clock);
        }

        public TempHome Home { get; }
        public FaultyDisk Disk { get; } = new();
        public Appender Appender { get; }
        public LogLines Log { get; } = new();
        public ManualClock Clock { get; } = new();
        public RunCatalog Runs { get; }
        public RunRegistry Registry { get; }
        public Housekeeping Keeper { get; }
        public string? Live { get; set; }
        public DateTime Now => Clock.GetUtcNow().UtcDateTime;

        public void Configure(string lines) => File.WriteAllText(Home.In("config.toml"), $"[runs]\n{lines}\n");

        public string Write(string agentId, string runId, DateTime started, DateTime? ended) => RunStore.RunCatalogTests.Write(Home, agentId, runId, started, ended);

        /// <summary>Lets an hour pass, and returns when the keeper waits for the next.</summary>
        public async Task HourAsync()
        {
            Clock.Advance(Housekeeping.Period);
            await Clock.NextTimerAsync();
        }

        public async ValueTask DisposeAsync()
        {
            await Keeper.DisposeAsync();
            await Appender.DisposeAsync();
            Registry.Dispose();
            if (_ownsHome) Home.Dispose();
        }
    }
}

internal static class CatalogView
{
    /// <summary>Every trace as agent/run, sorted.</summary>
    public static string[] Traces(this RunCatalog catalog) =>
        [.. catalog.AgentDirectories().SelectMany(RunCatalog.TracesIn).Select(trace => $"{trace.AgentId}/{trace.RunId}").Order(StringComparer.Ordinal)];
}

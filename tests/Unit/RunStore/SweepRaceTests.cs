using CarServer.RunStore;
using CarServer.State.Runs;
using CarServer.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using TUnit.Core;
using static CarServer.Tests.Unit.RunStore.RunCatalogTests;

namespace CarServer.Tests.Unit.RunStore;

/// <summary>What happens to a trace between a look at it and what the look decides.</summary>
public sealed class SweepRaceTests
{
    [Test]
    [Arguments(false)]
    [Arguments(true)]
    public async Task A_run_that_began_in_place_of_the_one_to_be_removed_stays(bool hasEnded)
    {
        using var home = new TempHome();
        string path = Write(home, "a", "key", Now.AddDays(-40), Now.AddDays(-40));
        var sweep = new StoreSweep(Catalog(home), new Retention(), Now, NullLogger.Instance)
        {
            // Right before the removal: another daemon's pass was faster, and one of its clients has used the key again.
            IsOpen = id =>
            {
                Write(home, "a", id, Now, hasEnded ? Now : null);
                return false;
            },
        };
        await sweep.RunAsync(CancellationToken.None);
        await Assert.That(sweep.Removed).IsEmpty();
        await Assert.That(RunTrace.Summarise(path, "a", "key")!.StartedAt).IsEqualTo(Now);
    }

    [Test]
    public async Task A_daemon_that_could_not_hold_the_store_tries_again_with_the_next_run()
    {
        using var home = new TempHome();
        await using var appender = new Appender(NullLogger.Instance);
        var log = new LogLines();
        using var runs = new RunRegistry(Catalog(home), appender, log, TimeProvider.System);
        Catalog(home).EnsureRoot();
        using (Catalog(home).TryHold(alone: true)) await runs.StartAsync("c", "a", "", null);   // waits as long as it ever does
        await Assert.That(log.All.Count(line => line.Contains("can't be held"))).IsEqualTo(1);
        using (IDisposable? alone = Catalog(home).TryHold(alone: true)) await Assert.That(alone).IsNotNull();
        await runs.StartAsync("c", "a", "", null);
        using (IDisposable? alone = Catalog(home).TryHold(alone: true)) await Assert.That(alone).IsNull();
    }

    [Test]
    public async Task What_the_disk_may_still_give_back_is_in_no_trace()
    {
        using var home = new TempHome();
        using var reached = new SemaphoreSlim(0);
        using var release = new ManualResetEventSlim();
        var disk = new FaultyDisk();
        await using var appender = new Appender(NullLogger.Instance, Durability.Fsync, disk);
        using var runs = new RunRegistry(Catalog(home), appender, NullLogger.Instance, TimeProvider.System);
        Run run = await runs.StartAsync("c", "a", "", null);
        await run.RecordAsync(Turns("acknowledged"), whatFits: false);
        disk.OnSync = () =>
        {
            reached.Release();
            release.Wait();
            throw FaultyDisk.Full();
        };
        Task recording = run.RecordAsync(Turns("refused"), whatFits: false);
        await reached.WaitAsync();
        using TraceSlice during = runs.ReadTrace(run.RunId, new TraceQuery(), static _ => true)!.Value.Slice;
        release.Set();
        await Assert.That((during.Count, during.Next)).IsEqualTo((2, (long?)null));
        await Assert.That(async () => await recording).Throws<IOException>();

        disk.OnSync = null;
        await run.RecordAsync(Turns("another"), whatFits: false);
        using TraceSlice after = runs.ReadTrace(run.RunId, new TraceQuery(), static _ => true)!.Value.Slice;
        await Assert.That((after.Count, after.Next)).IsEqualTo((3, (long?)null));
    }

    private static TurnBatch Turns(string tool)
    {
        var turns = new TurnBatch();
        turns.Add(new RunTurn(Tool: tool));
        return turns;
    }
}

using CarServer.RunStore;
using Microsoft.Extensions.Logging;

namespace CarServer.State.Runs;

/// <summary>What a pass removed, or would remove, and the limits it went by.</summary>
internal sealed record Collected(IReadOnlyCollection<RemovedRun> Runs, int Journals, Retention Retention);

/// <summary>Looks after what the daemon left behind: runs of a dead daemon at the start, and what is kept no longer then and every hour (protocol 14.2, 14.3).</summary>
/// <remarks>Only for the primary daemon of a state root.</remarks>
/// <param name="isLive">Whether a connection, by its client id, is open here.</param>
internal sealed class Housekeeping(RunRegistry runs, RunCatalog catalog, Appender appender, string journalDirectory, Func<string, bool> isLive,
    ILogger log, TimeProvider clock) : IAsyncDisposable
{
    public static readonly TimeSpan Period = TimeSpan.FromHours(1);

    private readonly SemaphoreSlim _pass = new(1);   // beside another one a pass could meet a trace that is not the one it looked at
    private readonly CancellationTokenSource _stopping = new();
    private Retention _retention = new();
    private Task _hourly = Task.CompletedTask;

    /// <summary>Before anything is served: ends what a dead daemon left open, then drops what is old. Failures are logged.</summary>
    /// <remarks>Ends nothing while another daemon has runs in the store: nobody could tell its open ones from those of a dead one.</remarks>
    public async Task RecoverAsync()
    {
        try
        {
            using IDisposable? alone = Directory.Exists(catalog.Root) ? catalog.TryHold(alone: true) : null;
            if (alone is null && Directory.Exists(catalog.Root)) log.LogWarning("run store: another daemon has runs in {Root}: what is open there stays so", catalog.Root);
            StoreSweep sweep = Sweep(alone is null ? null : appender, dryRun: false, Environment.ProcessorCount);
            await sweep.RunAsync(_stopping.Token);
            int journals = CollectJournals(dryRun: false);
            Tell(sweep.Adopted, sweep.Removed.Count, journals);
        }
        catch (Exception e)
        {
            // Whatever lies in the store, the daemon starts (protocol 14.3); a defect of ours is no reason not to, either.
            log.LogError(e, "run store: not looked through to its end");
        }
    }

    /// <summary>From now on, until this is disposed: every <see cref="Period"/>, what the disk refused and what is old.</summary>
    public void Start() => _hourly = RunHourlyAsync();

    /// <summary>Drops what is kept no longer. Safe beside everything, other daemons too: nobody writes to a trace that has ended.</summary>
    public async Task<Collected> CollectAsync(bool dryRun, CancellationToken abandoned)
    {
        await _pass.WaitAsync(abandoned);
        try
        {
            return await Task.Run(async () =>
            {
                StoreSweep sweep = Sweep(adopter: null, dryRun, threads: 1);
                await sweep.RunAsync(abandoned);
                int journals = CollectJournals(dryRun);
                if (!dryRun) Tell(0, sweep.Removed.Count, journals);
                return new Collected(sweep.Removed, journals, _retention);
            }, abandoned);
        }
        finally
        {
            _pass.Release();
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        await _hourly;
        _stopping.Dispose();
        _pass.Dispose();
    }

    private async Task RunHourlyAsync()
    {
        try
        {
            while (true)
            {
                await Task.Delay(Period, clock, _stopping.Token);
                try
                {
                    await runs.RefusedEnds.RetryAsync(appender);
                    await CollectAsync(dryRun: false, _stopping.Token);
                    await Task.Run(runs.Indexing.Run, _stopping.Token);
                }
                catch (Exception e) when (e is not OperationCanceledException)
                {
                    log.LogError(e, "run store: not looked through to its end");
                }
            }
        }
        catch (OperationCanceledException)
        {
            // The daemon stops.
        }
    }

    private StoreSweep Sweep(Appender? adopter, bool dryRun, int threads)
    {
        _retention = Retention.Read(catalog.ConfigFile, _retention, log);
        return new StoreSweep(catalog, _retention, Now, log) { Adopter = adopter, IsOpen = runs.IsOpen, DryRun = dryRun, Threads = threads };
    }

    private int CollectJournals(bool dryRun) => Journals.Collect(journalDirectory, _retention, Now, isLive, dryRun, log);

    private void Tell(int adopted, int removed, int journals)
    {
        if (adopted + removed + journals == 0) return;
        log.LogInformation("run store: {Adopted} orphaned runs ended, {Removed} old ones and {Journals} journals removed", adopted, removed, journals);
    }

    private DateTime Now => clock.GetUtcNow().UtcDateTime;
}

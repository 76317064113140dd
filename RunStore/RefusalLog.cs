using Microsoft.Extensions.Logging;

namespace CarServer.RunStore;

/// <summary>Says what a disk refuses without flooding the log: the first of a kind at once, then every <see cref="Pause"/> how many more there were.</summary>
/// <remarks>A kind is a reason, and there are as many as the system has errors. Any thread.</remarks>
internal sealed class RefusalLog(ILogger log, TimeProvider clock) : IDisposable
{
    public static readonly TimeSpan Pause = TimeSpan.FromSeconds(10);

    private readonly Lock _lock = new();
    private readonly Dictionary<string, Kind> _kinds = [];

    public void Report(string path, int appends, string reason)
    {
        lock (_lock)
        {
            if (_kinds.TryGetValue(reason, out Kind? known))
            {
                known.Since += appends;
                known.LastPath = path;
                return;
            }
            _kinds[reason] = new Kind { LastPath = path, Timer = clock.CreateTimer(_ => PauseOver(reason), null, Pause, Timeout.InfiniteTimeSpan) };
        }
        log.LogError("{Path}: {Count} appends were refused by the disk: {Reason}", path, appends, reason);
    }

    /// <summary>Says what was held back.</summary>
    public void Dispose()
    {
        string[] reasons;
        lock (_lock) reasons = [.. _kinds.Keys];
        foreach (string reason in reasons) PauseOver(reason, last: true);
    }

    private void PauseOver(string reason, bool last = false)
    {
        int since;
        string path;
        lock (_lock)
        {
            if (!_kinds.TryGetValue(reason, out Kind? kind)) return;
            (since, path) = (kind.Since, kind.LastPath);
            kind.Since = 0;
            if (since > 0 && !last)
            {
                kind.Timer.Change(Pause, Timeout.InfiniteTimeSpan);
            }
            else
            {
                _kinds.Remove(reason);
                kind.Timer.Dispose();
            }
        }
        if (since > 0) log.LogError("{Count} more appends were refused by the disk, the last to {Path}: {Reason}", since, path, reason);
    }

    private sealed class Kind
    {
        public required string LastPath;
        public required ITimer Timer;
        public int Since;
    }
}

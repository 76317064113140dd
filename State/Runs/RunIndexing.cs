using CarServer.RunStore;
using Microsoft.Extensions.Logging;

namespace CarServer.State.Runs;

/// <summary>Has the index of run ids agree with what is on disk. Until it does, where it does not know, all agents are searched.</summary>
internal sealed class RunIndexing(RunCatalog catalog, ILogger log, TimeProvider clock) : IDisposable
{
    /// <summary>Between two attempts at an index that starts have found wanting: each looks at every run on disk.</summary>
    private static readonly TimeSpan Pause = TimeSpan.FromMinutes(1);

    private readonly CancellationTokenSource _stopping = new();
    private readonly Lock _gate = new();
    private Task? _running;
    private long _began;

    /// <summary>In the background, unless it is being done or was a moment ago.</summary>
    public void BeginSoon()
    {
        lock (_gate)
        {
            if (_running is not null && (!_running.IsCompleted || clock.GetElapsedTime(_began) < Pause)) return;
            _began = clock.GetTimestamp();
            _running = Task.Run(Run);
        }
    }

    /// <summary>Looks at every run on disk. What goes wrong is logged.</summary>
    public void Run()
    {
        try
        {
            catalog.RefreshIndex(_stopping.Token);
        }
        catch (OperationCanceledException)
        {
            // The daemon stops.
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            log.LogWarning("run store: the index of {Root} can't be made: {Reason}", catalog.Root, PrivateFiles.Reason(e));
        }
    }

    public void Dispose()
    {
        _stopping.Cancel();
        if (_running is not null) Task.WaitAny(_running);   // not longer than one agent's directory takes
        _stopping.Dispose();
    }
}

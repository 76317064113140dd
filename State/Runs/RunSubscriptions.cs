using CarServer.State.Sessions;
using Microsoft.Extensions.Logging;

namespace CarServer.State.Runs;

/// <summary>The runs that one connection follows, each once.</summary>
internal sealed class RunSubscriptions(IClientChannel channel, TimeProvider clock, ILogger log)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, RunSubscriber> _byRun = [];
    private bool _closed;
    private long _waitingBytes;

    /// <summary>A place for the run, instead of the one this connection had. From its return on the earlier one sends nothing.</summary>
    /// <exception cref="RefusedException">Over <see cref="RunLimits.MaxSubscriptions"/>.</exception>
    public RunSubscriber Open(Run run)
    {
        var fresh = new RunSubscriber(run, this, channel, clock, log);
        RunSubscriber? earlier;
        lock (_gate)
        {
            if (_closed) throw new RefusedException("connection is closed");
            if (!_byRun.TryGetValue(run.RunId, out earlier) && _byRun.Count >= RunLimits.MaxSubscriptions)
                throw new RefusedException($"this connection follows {RunLimits.MaxSubscriptions} runs already, which is the limit");
            _byRun[run.RunId] = fresh;
        }
        earlier?.Stop();
        return fresh;
    }

    /// <summary>False when this connection did not follow the run.</summary>
    public bool Close(string runId)
    {
        RunSubscriber? subscriber;
        lock (_gate) _byRun.Remove(runId, out subscriber);
        subscriber?.Stop();
        return subscriber is not null;
    }

    /// <summary>The connection has gone.</summary>
    public void CloseAll()
    {
        RunSubscriber[] all;
        lock (_gate)
        {
            _closed = true;
            all = [.. _byRun.Values];
            _byRun.Clear();
        }
        foreach (RunSubscriber subscriber in all) subscriber.Stop();
    }

    /// <summary>A subscriber has come to its end by itself.</summary>
    public void Forget(RunSubscriber subscriber)
    {
        lock (_gate)
        {
            if (_byRun.TryGetValue(subscriber.Run.RunId, out RunSubscriber? known) && known == subscriber) _byRun.Remove(subscriber.Run.RunId);
        }
        subscriber.Stop();
    }

    /// <summary>False when <see cref="RunLimits.MaxWaitingBytes"/> would be passed.</summary>
    public bool TryReserve(int bytes)
    {
        if (Interlocked.Add(ref _waitingBytes, bytes) <= RunLimits.MaxWaitingBytes) return true;
        Release(bytes);
        return false;
    }

    public void Release(int bytes) => Interlocked.Add(ref _waitingBytes, -bytes);
}

namespace CarServer.State.Engine.Tools;

/// <summary>A tool's <c>rate_limit</c> (protocol 7.4): so many calls at once, refilled evenly; further ones wait in the order they came. Any thread.</summary>
internal sealed class TokenBucket
{
    /// <summary>Calls that may wait: all actions of the largest proposal. Whoever asks for more has no use for a limit.</summary>
    public const int MaxWaiting = EngineLimits.MaxActions;

    /// <summary>Longest interval in seconds: a year, like that of a policy.</summary>
    public const double MaxIntervalSecs = 366 * 24 * 3_600;

    /// <summary>What sums of fractions may be short of a whole token.</summary>
    private const double Rounding = 1e-6;

    private readonly TimeProvider _clock;
    private readonly double _capacity;
    private readonly double _perSecond;
    private readonly Lock _lock = new();
    private readonly LinkedList<TaskCompletionSource<bool>> _waiting = [];
    private double _tokens;
    private long _filled;
    private ITimer? _timer;

    public TokenBucket(ToolRateLimit limit, TimeProvider clock)
    {
        _clock = clock;
        _capacity = _tokens = limit.MaxCalls;
        _perSecond = limit.MaxCalls / limit.IntervalSecs;
        _filled = clock.GetTimestamp();
    }

    /// <summary>Why there can be no such bucket, or null.</summary>
    public static string? Problem(ToolRateLimit limit)
    {
        if (limit.MaxCalls == 0) return "rate_limit.max_calls must be at least 1";
        return limit.IntervalSecs is > 0 and <= MaxIntervalSecs ? null : $"rate_limit.interval_secs must be above 0 and at most {MaxIntervalSecs}";
    }

    /// <summary>Takes a token, at once when there is one and nobody waits. False when too many wait.</summary>
    /// <exception cref="OperationCanceledException">Nobody waits for the call any more; no token was taken.</exception>
    public ValueTask<bool> TakeAsync(CancellationToken abandoned)
    {
        abandoned.ThrowIfCancellationRequested();
        LinkedListNode<TaskCompletionSource<bool>> place;
        lock (_lock)
        {
            Fill();
            if (_waiting.Count == 0 && TryTake()) return ValueTask.FromResult(true);
            if (_waiting.Count == MaxWaiting) return ValueTask.FromResult(false);
            place = _waiting.AddLast(new TaskCompletionSource<bool>());
            if (_waiting.Count == 1) Wait();
        }
        return WaitAsync(place, abandoned);
    }

    private async ValueTask<bool> WaitAsync(LinkedListNode<TaskCompletionSource<bool>> place, CancellationToken abandoned)
    {
        using CancellationTokenRegistration leaving = abandoned.UnsafeRegister(_ => Leave(place, abandoned), null);
        return await place.Value.Task;
    }

    private void Leave(LinkedListNode<TaskCompletionSource<bool>> place, CancellationToken abandoned)
    {
        lock (_lock)
        {
            if (place.List is null) return;   // it has its token already
            _waiting.Remove(place);
            if (_waiting.Count == 0) Stop();
        }
        place.Value.TrySetCanceled(abandoned);
    }

    private void Serve()
    {
        var served = new List<TaskCompletionSource<bool>>();
        lock (_lock)
        {
            Fill();
            while (_waiting.First is { } first && TryTake())
            {
                _waiting.Remove(first);
                served.Add(first.Value);
            }
            if (_waiting.Count > 0) Wait();
            else Stop();
        }
        foreach (TaskCompletionSource<bool> one in served) one.TrySetResult(true);
    }

    private bool TryTake()
    {
        if (_tokens < 1 - Rounding) return false;
        _tokens = Math.Max(0, _tokens - 1);
        return true;
    }

    private void Fill()
    {
        long now = _clock.GetTimestamp();
        _tokens = Math.Min(_capacity, _tokens + _clock.GetElapsedTime(_filled, now).TotalSeconds * _perSecond);
        _filled = now;
    }

    /// <summary>Sets the timer to when the next token is there; one that rings too early is set again.</summary>
    private void Wait()
    {
        double milliseconds = Math.Ceiling((1 - Rounding - _tokens) / _perSecond * 1_000);
        TimeSpan due = EngineLimits.TimerSpan((ulong)Math.Clamp(milliseconds, 1, EngineLimits.MaxTimerMs));
        if (_timer is null) _timer = _clock.CreateTimer(static bucket => ((TokenBucket)bucket!).Serve(), this, due, Timeout.InfiniteTimeSpan);
        else _timer.Change(due, Timeout.InfiniteTimeSpan);
    }

    private void Stop()
    {
        _timer?.Dispose();
        _timer = null;
    }
}

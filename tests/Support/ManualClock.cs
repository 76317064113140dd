using System.Threading.Channels;

namespace CarServer.Tests.Support;

/// <summary>A clock that stands still until a test moves it. Timers fire inside <see cref="Advance"/>, in the order they are due.</summary>
internal sealed class ManualClock : TimeProvider
{
    private readonly Lock _lock = new();
    private readonly List<ManualTimer> _timers = [];
    private readonly Channel<TimeSpan> _created = Channel.CreateUnbounded<TimeSpan>();
    private DateTimeOffset _now = new(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);

    public override DateTimeOffset GetUtcNow()
    {
        lock (_lock) return _now;
    }

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;
    public override long GetTimestamp() => GetUtcNow().Ticks;

    /// <summary>Timers that are set and have not fired.</summary>
    public int TimersSet
    {
        get { lock (_lock) return _timers.Count(timer => timer.Due is not null); }
    }

    /// <summary>Waits for the next timer that anybody sets, and tells for how long it was set. Timers come in the order they were set.</summary>
    public async Task<TimeSpan> NextTimerAsync() => await _created.Reader.ReadAsync().AsTask().WaitAsync(TimeSpan.FromSeconds(10));

    public void Advance(TimeSpan by)
    {
        DateTimeOffset target;
        lock (_lock) target = _now + by;
        while (true)
        {
            ManualTimer? next;
            lock (_lock)
            {
                next = _timers.Where(timer => timer.Due <= target).MinBy(timer => timer.Due);
                _now = next?.Due ?? target;
                if (next is null) return;
                next.Due = null;
            }
            next.Fire();
        }
    }

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = new ManualTimer(this, callback, state);
        lock (_lock) _timers.Add(timer);
        timer.Change(dueTime, period);
        return timer;
    }

    private sealed class ManualTimer(ManualClock clock, TimerCallback callback, object? state) : ITimer
    {
        public DateTimeOffset? Due { get; set; }

        public void Fire() => callback(state);

        /// <summary>Periods are not supported: nothing in the daemon under test has one.</summary>
        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            bool set = dueTime != Timeout.InfiniteTimeSpan;
            lock (clock._lock) Due = set ? clock._now + dueTime : null;
            if (set) clock._created.Writer.TryWrite(dueTime);
            return true;
        }

        public void Dispose()
        {
            lock (clock._lock) clock._timers.Remove(this);
        }

        public ValueTask DisposeAsync()
        {
            Dispose();
            return ValueTask.CompletedTask;
        }
    }
}

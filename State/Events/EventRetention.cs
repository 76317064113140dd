namespace CarServer.State.Events;

/// <summary>Which of a session's events are kept, in memory and in its journal (protocol 12.2). Null: no such limit.</summary>
/// <param name="MaxEvents">The latest so many.</param>
/// <param name="MaxAgeSecs">Those that happened within so many seconds.</param>
internal sealed record EventRetention(long? MaxEvents = null, long? MaxAgeSecs = null)
{
    internal bool IsLimited => MaxEvents is not null || MaxAgeSecs is not null;

    /// <summary>What happened before this is kept no longer.</summary>
    public DateTime Cutoff(DateTime now) =>
        MaxAgeSecs is { } secs && secs < (now - DateTime.MinValue).TotalSeconds ? now.AddSeconds(-secs) : DateTime.MinValue;

    /// <exception cref="RefusedException">A limit below 0.</exception>
    public void Check()
    {
        if (MaxEvents < 0) throw new RefusedException("policy.max_events must not be negative", Refusal.Invalid);
        if (MaxAgeSecs < 0) throw new RefusedException("policy.max_age_secs must not be negative", Refusal.Invalid);
    }
}

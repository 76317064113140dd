namespace CarServer.State.Events;

/// <summary>An event in memory.</summary>
/// <param name="Line">One compact JSON object without its newline.</param>
internal readonly record struct LoggedEvent(ReadOnlyMemory<byte> Line, DateTime At, EventKind Kind);

/// <summary>The latest events of a session, the oldest first.</summary>
/// <remarks>Guarded by its log's lock.</remarks>
internal sealed class EventMemory
{
    /// <summary>Events kept in memory: a proposal of two thousand actions can still be looked at whole.</summary>
    public const int MaxEvents = 10_000;

    /// <summary>Bytes of the events kept in memory: about what <see cref="MaxEvents"/> of the usual two hundred bytes take. The journal has the rest.</summary>
    public const int MaxBytes = 2 * 1024 * 1024;

    private readonly Queue<LoggedEvent> _events = new();

    public int Count => _events.Count;

    /// <summary>Of the lines, newlines included.</summary>
    public long Bytes { get; private set; }

    /// <summary>Adds an event and drops those for which there is no room any more.</summary>
    public void Add(LoggedEvent logged)
    {
        _events.Enqueue(logged);
        Bytes += logged.Line.Length + 1;
        while (_events.Count > MaxEvents || (Bytes > MaxBytes && _events.Count > 1)) DropOldest();
    }

    /// <summary>Drops all but the latest <paramref name="keep"/>.</summary>
    /// <returns>How many.</returns>
    public int Truncate(long keep)
    {
        int removed = 0;
        for (; _events.Count > keep; removed++) DropOldest();
        if (_events.Count == 0) _events.TrimExcess();
        return removed;
    }

    /// <summary>Drops the oldest as far as they happened before <paramref name="cutoff"/>.</summary>
    public int DropBefore(DateTime cutoff)
    {
        int removed = 0;
        for (; _events.TryPeek(out LoggedEvent oldest) && oldest.At < cutoff; removed++) DropOldest();
        return removed;
    }

    public LoggedEvent[] ToArray() => _events.ToArray();

    private void DropOldest() => Bytes -= _events.Dequeue().Line.Length + 1;
}

using CarServer.RunStore;
using Microsoft.Win32.SafeHandles;

namespace CarServer.State.Events;

/// <summary>What can be asked of a log beside adding to it: what it holds, what it keeps, whether its journal is whole.</summary>
internal sealed partial class EventLog
{
    /// <summary>Events in memory now.</summary>
    public int Count => Stats().Events;

    public EventStats Stats()
    {
        lock (_lock)
        {
            Expire();
            return StatsLocked();
        }
    }

    /// <summary>The lines of the events in memory, oldest first.</summary>
    public ReadOnlyMemory<byte>[] Latest() => [.. Events().Select(static logged => logged.Line)];

    /// <summary>The events in memory, oldest first.</summary>
    public LoggedEvent[] Events()
    {
        lock (_lock)
        {
            Expire();
            return _memory.ToArray();
        }
    }

    /// <summary>Drops all events in memory but the latest. The journal keeps what it has.</summary>
    public (int Removed, EventStats Stats) Truncate(long keep)
    {
        lock (_lock)
        {
            Expire();
            int removed = _memory.Truncate(keep);
            return (removed, StatsLocked());
        }
    }

    /// <summary>Looks at the counters, in one moment.</summary>
    public T Read<T>(Func<EventTotals, T> look)
    {
        lock (_lock) return look(_totals);
    }

    /// <summary>From the next event on each is linked to the one before it.</summary>
    public void EnableChain()
    {
        lock (_lock) _chain ??= new EventChain();
    }

    /// <summary>Reads the journal as it is now, from disk. What is recorded meanwhile may be part of it.</summary>
    /// <exception cref="RefusedException">It can't be read.</exception>
    public async Task<EventChain.Check> VerifyChainAsync(CancellationToken abandoned)
    {
        Flush();
        await appender.FlushAsync();
        var check = new EventChain.Check();
        try
        {
            using SafeFileHandle file = File.OpenHandle(journalPath, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            using var reader = new LineReader(file, RandomAccess.GetLength(file));
            while (reader.TryRead() && check.Add(reader.Line)) abandoned.ThrowIfCancellationRequested();
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            // Nothing has happened yet.
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new RefusedException($"the journal cannot be read: {PrivateFiles.Reason(e)}");
        }
        return check;
    }

    public EventRetention Retention
    {
        get { lock (_lock) return _retention; }
    }

    /// <summary>Sets what is kept from now on. Completes when the journal has been looked at, too.</summary>
    /// <returns>How many events it removed from memory.</returns>
    public async Task<int> RetainAsync(EventRetention retention)
    {
        int removed;
        Task compaction;
        lock (_lock)
        {
            _retention = retention;
            removed = Prune(Now);
            compaction = BeginCompaction();
        }
        await compaction;
        return removed;
    }

    private EventStats StatsLocked() => new(_memory.Count, _memory.Bytes);

    private void Expire()
    {
        if (_retention.MaxAgeSecs is not null) Prune(Now);
    }

    /// <summary>One at a time, each with the retention that holds when it begins. Never fails.</summary>
    private Task BeginCompaction()
    {
        _compactAt = long.MaxValue;
        Task? before = _compaction;
        return _compaction = Task.Run(async () =>
        {
            if (before is not null) await before;
            await CompactAsync();
        });
    }

    private async Task CompactAsync()
    {
        EventRetention retention;
        AppendFile? journal;
        long lines;
        lock (_lock)
        {
            FlushLocked();
            (retention, journal, lines) = (_retention, _journal, _journalLines);
        }
        long removed = 0;
        if (journal is not null && retention.IsLimited && lines >= JournalCompaction.MinSurplusLines)
        {
            DateTime cutoff = retention.Cutoff(Now);
            removed = await JournalCompaction.RunAsync(appender, journal, retention.MaxEvents ?? long.MaxValue,
                line => retention.MaxAgeSecs is null || (EventLine.TryParse(line, out EventLine parsed) && parsed.TryGetTime(out DateTimeOffset at) && at.UtcDateTime >= cutoff));
        }
        lock (_lock)
        {
            _journalLines -= removed;
            // Another look costs reading the file: only when it has grown by enough to make a compaction possible.
            if (_retention.IsLimited) _compactAt = _journalLines + Math.Max(JournalCompaction.MinSurplusLines, _journalLines / (JournalCompaction.MinSurplusShare - 1));
        }
    }
}

/// <param name="Bytes">Of the events as JSON, newlines included.</param>
internal readonly record struct EventStats(int Events, long Bytes);

using CarServer.RunStore;

namespace CarServer.State.Events;

/// <summary>What happened in one session: the latest events in memory, all of them in a JSONL journal (protocol 12.2). Any thread.</summary>
/// <remarks>
/// An event is encoded once, under the lock, so that order and timestamps agree. Its bytes are the line of the journal and the element
/// in memory: both are slices of the same chunk, which is never written to again below its end. The journal file is made with the first
/// event. A crash of the process may lose what was not yet flushed to the appender; a write that fails is the appender's to report.
/// </remarks>
internal sealed partial class EventLog(string journalPath, Appender appender, TimeProvider clock)
{
    /// <summary>A session that logs little keeps little; one that logs much gets chunks that double up to <see cref="LargestChunk"/>.</summary>
    private const int FirstChunk = 1_024;

    /// <summary>Below the size from which arrays live in the large object heap. Also the most that waits for a flush.</summary>
    private const int LargestChunk = 64 * 1024;

    /// <summary>Of an event without its ids, its data and its hashes: names, braces, the kind and the time.</summary>
    private const int FixedBytes = 192;

    private readonly Lock _lock = new();
    private readonly EventMemory _memory = new();
    private readonly EventTotals _totals = new();
    private EventRetention _retention = new();
    private EventChain? _chain;
    private byte[] _chunk = [];
    private int _flushed;
    private int _end;
    private AppendFile? _journal;

    /// <summary>Lines of the journal, and the number at which it is worth looking whether it can be compacted.</summary>
    private long _journalLines;
    private long _compactAt = long.MaxValue;
    private Task? _compaction;

    /// <summary>Records one event and hands it to the journal at once.</summary>
    public void Log(EventKind kind, string? actionId, string? proposalId, params ReadOnlySpan<EventField> data)
    {
        Record(kind, actionId, proposalId, data);
        Flush();
    }

    /// <summary>Records one event; the journal gets it with the next <see cref="Flush"/>, or when enough has gathered.</summary>
    public void Record(EventKind kind, string? actionId, string? proposalId, params ReadOnlySpan<EventField> data)
    {
        lock (_lock)
        {
            DateTime now = Now;
            int most = MaxBytes(actionId, proposalId, data);
            if (_chunk.Length - _end < most) NewChunk(most);
            int length = Write(_chunk.AsSpan(_end), kind, actionId, proposalId, data, now);
            if (_chain is not null) length += _chain.Seal(_chunk.AsMemory(_end, length), _chunk.AsSpan(_end + length - 1));
            "}\n"u8.CopyTo(_chunk.AsSpan(_end + length - 1));
            _memory.Add(new LoggedEvent(_chunk.AsMemory(_end, length), now, kind));
            _end += length + 1;
            _totals.Add(kind, data);
            _journalLines++;
            if (!_retention.IsLimited) return;
            Prune(now);
            if (_journalLines >= _compactAt) BeginCompaction();
        }
    }

    /// <summary>Hands what was recorded to the journal. Does not wait for the disk.</summary>
    public void Flush()
    {
        lock (_lock) FlushLocked();
    }

    private DateTime Now => clock.GetUtcNow().UtcDateTime;

    /// <summary>Drops from memory what the retention does not keep.</summary>
    private int Prune(DateTime now) => _memory.DropBefore(_retention.Cutoff(now)) + _memory.Truncate(_retention.MaxEvents ?? long.MaxValue);

    private void FlushLocked()
    {
        if (_end == _flushed) return;
        _journal ??= appender.File(journalPath);
        // Only queues: the appender does its input and output elsewhere. Under the lock, so that lines keep their order.
        appender.Append(_journal, _chunk.AsMemory(_flushed, _end - _flushed));
        _flushed = _end;
    }

    private void NewChunk(int atLeast)
    {
        FlushLocked();
        int size = Math.Min(Math.Max(FirstChunk, _chunk.Length * 2), LargestChunk);
        _chunk = GC.AllocateUninitializedArray<byte>(Math.Max(size, atLeast));
        _flushed = _end = 0;
    }

    /// <summary>Bytes that an event takes at most, with its hashes and its newline.</summary>
    private static int MaxBytes(string? actionId, string? proposalId, ReadOnlySpan<EventField> data)
    {
        int most = FixedBytes + EventChain.SealBytes + ((actionId?.Length ?? 0) + (proposalId?.Length ?? 0)) * EventText.CharBytes;
        foreach (EventField field in data) most += field.MaxBytes;
        return most;
    }

    /// <summary>Writes the event without hashes and newline.</summary>
    private static int Write(Span<byte> target, EventKind kind, string? actionId, string? proposalId, ReadOnlySpan<EventField> data, DateTime now)
    {
        var line = new EventText(target);
        line.Add("{\"kind\":\""u8);
        line.Add(kind.Word().EncodedUtf8Bytes);
        line.Add("\",\"action_id\":"u8);
        line.AddText(actionId);
        line.Add(",\"proposal_id\":"u8);
        line.AddText(proposalId);
        line.Add(",\"data\":{"u8);
        bool isFirst = true;
        foreach (EventField field in data)
        {
            if (!field.HasValue) continue;
            if (!isFirst) line.Add(","u8);
            isFirst = false;
            field.WriteTo(ref line);
        }
        line.Add("},\"timestamp\":"u8);
        line.AddTime(now);
        line.Add("}"u8);
        return line.Length;
    }
}

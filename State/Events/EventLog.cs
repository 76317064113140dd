using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;
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

    [ThreadStatic] private static ArrayBufferWriter<byte>? t_line;
    [ThreadStatic] private static Utf8JsonWriter? t_writer;

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
            ReadOnlyMemory<byte> line = Encode(kind, actionId, proposalId, data, now);
            Span<byte> end = stackalloc byte[EventChain.SealBytes];
            int endLength = _chain?.Seal(line, end) ?? 0;
            "}\n"u8.CopyTo(end[endLength..]);
            endLength += 2;

            int length = line.Length - 1 + endLength;
            if (_chunk.Length - _end < length) NewChunk(length);
            line.Span[..^1].CopyTo(_chunk.AsSpan(_end));
            end[..endLength].CopyTo(_chunk.AsSpan(_end + line.Length - 1));
            _memory.Add(new LoggedEvent(_chunk.AsMemory(_end, length - 1), now, kind));
            _end += length;
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
        _chunk = new byte[Math.Max(size, atLeast)];
        _flushed = _end = 0;
    }

    /// <summary>The event without hashes and newline; valid until this thread encodes the next one.</summary>
    private static ReadOnlyMemory<byte> Encode(EventKind kind, string? actionId, string? proposalId, ReadOnlySpan<EventField> data, DateTime now)
    {
        ArrayBufferWriter<byte> line = t_line ??= new ArrayBufferWriter<byte>(FirstChunk);
        // Relaxed: a journal is read by people, and no browser takes it for markup.
        Utf8JsonWriter writer = t_writer ??= new Utf8JsonWriter(line,
            new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, SkipValidation = true });
        line.ResetWrittenCount();
        writer.Reset(line);
        writer.WriteStartObject();
        writer.WriteString("kind"u8, kind.Word());
        writer.WriteString("action_id"u8, actionId);
        writer.WriteString("proposal_id"u8, proposalId);
        writer.WriteStartObject("data"u8);
        foreach (EventField field in data) field.WriteTo(writer);
        writer.WriteEndObject();
        writer.WriteString("timestamp"u8, now);
        writer.WriteEndObject();
        writer.Flush();
        return line.WrittenMemory;
    }
}

using System.Buffers;
using System.Text.Json;
using System.Text.Unicode;
using Microsoft.Win32.SafeHandles;

namespace CarServer.RunStore;

/// <summary>Reading one trace file. Safe while the appender writes to it: only whole lines count.</summary>
internal static class RunTrace
{
    private const int ReadBytes = 64 * 1024;

    internal enum LineKind { Damaged, Started, Turn, Ended, Other }

    /// <summary>The run as its first and last lines tell it; null when there is no whole line. Does not read what lies between.</summary>
    /// <remarks>Turns count from 0 without a gap, so the last one's index is the count. A run without <c>ended</c> is in progress.</remarks>
    public static RunSummary? Summarise(string path, string agentId, string runId)
    {
        using SafeFileHandle file = OpenForReading(path);
        long end = JsonLines.EndOfLastLine(file, RandomAccess.GetLength(file));
        if (end == 0) return null;

        // A first line that can't be read costs the intent, not the run: it can still be listed, adopted and collected.
        byte[] first = JsonLines.LineAt(file, 0, end)!;
        RunStarted started = Peek(first, out _) == LineKind.Started && TryParse(first) is RunStarted read
            ? read
            : new RunStarted(runId, agentId, "", null, File.GetLastWriteTimeUtc(path));

        byte[] last = JsonLines.LineBefore(file, end, out long lastStart);
        LineKind kind = Peek(last, out int index);
        RunEnded? ended = kind == LineKind.Ended ? TryParse(last) as RunEnded : null;
        if (ended is not null && lastStart > 0) kind = Peek(JsonLines.LineBefore(file, lastStart, out _), out index);
        return new RunSummary(runId, agentId, started.Intent, started.StartedAt, ended?.EndedAt,
            ended?.Termination.Status ?? RunStatus.InProgress, kind == LineKind.Turn ? index + 1 : 0);
    }

    /// <summary>The records from position <paramref name="from"/> on, byte for byte. Lines that are no record have no position.</summary>
    /// <param name="limit">Most records to return.</param>
    /// <param name="maxBytes">Most bytes to return, but at least one record.</param>
    public static TracePage Read(string path, long from, int limit, long maxBytes)
    {
        using SafeFileHandle file = OpenForReading(path);
        var page = new PageBuilder(from, limit, maxBytes);
        byte[] buffer = ArrayPool<byte>.Shared.Rent(ReadBytes);
        try
        {
            int held = 0;
            for (long at = 0; ;)
            {
                int read = RandomAccess.Read(file, buffer.AsSpan(held), at);
                if (read == 0) return page.Build();   // what is held now is a torn tail
                at += read;
                held += read;
                int taken = 0;
                for (int newline; (newline = buffer.AsSpan(taken, held - taken).IndexOf((byte)'\n')) >= 0; taken += newline + 1)
                {
                    if (!page.Take(buffer.AsSpan(taken, newline))) return page.Build();
                }
                buffer.AsSpan(taken, held - taken).CopyTo(buffer);
                held -= taken;
                if (held == buffer.Length) buffer = Grow(buffer);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>What a line is, found in one pass that also proves that it is one JSON object in valid UTF-8.</summary>
    /// <param name="index">A turn's index; 0 for everything else.</param>
    public static LineKind Peek(ReadOnlySpan<byte> line, out int index)
    {
        index = 0;
        var kind = LineKind.Damaged;
        try
        {
            // The reader does not look inside strings, and a text frame with broken UTF-8 would cost the client its connection.
            if (!Utf8.IsValid(line)) return LineKind.Damaged;
            var reader = new Utf8JsonReader(line, new JsonReaderOptions { MaxDepth = RawJsonConverter.MaxDepth });
            if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject) return LineKind.Damaged;
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                bool isRecord = reader.ValueTextEquals("record"u8);
                bool isIndex = reader.ValueTextEquals("index"u8);
                reader.Read();
                if (isRecord && reader.TokenType == JsonTokenType.String) kind = KindOf(ref reader);
                else if (isIndex && reader.TokenType == JsonTokenType.Number) reader.TryGetInt32(out index);
                else reader.Skip();
            }
            if (reader.Read()) return LineKind.Damaged;
        }
        catch (JsonException)
        {
            return LineKind.Damaged;
        }
        if (kind != LineKind.Turn) index = 0;
        return kind;
    }

    private static LineKind KindOf(ref Utf8JsonReader reader) =>
        reader.ValueTextEquals("turn"u8) ? LineKind.Turn
        : reader.ValueTextEquals("started"u8) ? LineKind.Started
        : reader.ValueTextEquals("ended"u8) ? LineKind.Ended
        : LineKind.Other;

    private static RunRecord? TryParse(byte[] line)
    {
        try
        {
            return JsonSerializer.Deserialize(line, RunRecordJson.Default.RunRecord);
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private static SafeFileHandle OpenForReading(string path) =>
        File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);

    private static byte[] Grow(byte[] full)
    {
        byte[] bigger = ArrayPool<byte>.Shared.Rent(full.Length * 2);
        full.CopyTo(bigger, 0);
        ArrayPool<byte>.Shared.Return(full);
        return bigger;
    }

    private sealed class PageBuilder(long from, int limit, long maxBytes)
    {
        private readonly List<RawJson> _records = [];
        private long _position;
        private long _bytes;
        private int _damaged;
        private long? _next;

        /// <summary>False when the page is full and there is more.</summary>
        public bool Take(ReadOnlySpan<byte> line)
        {
            if (Peek(line, out _) == LineKind.Damaged)
            {
                _damaged++;
                return true;
            }
            if (_position++ < from) return true;
            if (_records.Count >= limit || (_records.Count > 0 && _bytes + line.Length > maxBytes))
            {
                _next = _position - 1;
                return false;
            }
            _records.Add(RawJson.FromCompact(line.ToArray()));
            _bytes += line.Length;
            return true;
        }

        public TracePage Build() => new(_records, _next, _damaged);
    }
}

/// <param name="Next">Where to go on; null at the end of the trace.</param>
/// <param name="DamagedLines">Whole lines that are no record. A torn tail is not among them: it never was a line.</param>
internal sealed record TracePage(IReadOnlyList<RawJson> Records, long? Next, int DamagedLines);

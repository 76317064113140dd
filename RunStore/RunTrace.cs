using System.Text.Json;
using System.Text.Unicode;
using Microsoft.Win32.SafeHandles;
using CarServer.RunStore.Contracts;

namespace CarServer.RunStore;

/// <summary>Reading one trace file. Safe while the appender writes to it: only whole lines count.</summary>
internal static class RunTrace
{
    /// <summary>Damaged lines behind the records that are looked past: a power cut leaves one or two.</summary>
    private const int MaxDamagedLines = 1_000;

    internal enum LineKind { Damaged, Started, Turn, Ended, Other }

    /// <summary>The run as its first and last records tell it; null when there is no whole line. Does not read what lies between.</summary>
    /// <remarks>Turns count from 0 without a gap, so the last one's index is the count. A run without <c>ended</c> is in progress.</remarks>
    /// <exception cref="IOException">The file can't be read, or what is in it is nothing like a trace.</exception>
    public static RunSummary? Summarise(string path, string agentId, string runId)
    {
        using SafeFileHandle? file = OpenForReading(path);
        if (file is null) return null;
        long end = JsonLines.EndOfLastLine(file, RandomAccess.GetLength(file));
        if (end == 0) return null;

        // A first line that can't be read costs the intent, not the run: it can still be listed, adopted and collected.
        byte[] first = JsonLines.LineAt(file, 0, end)!;
        RunStarted started = Peek(first, out _) == LineKind.Started && TryParse(first) is RunStarted read
            ? read
            : new RunStarted(runId, agentId, "", null, File.GetLastWriteTimeUtc(path));

        LineKind kind = RecordBefore(file, ref end, out byte[] last, out int index);
        if (kind != LineKind.Ended)
            return new RunSummary(runId, agentId, started.Intent, started.StartedAt, null, RunStatus.InProgress, index + 1);

        // An end that can't be understood, another version's perhaps, is an end all the same: how the run went is what is not known.
        var ended = TryParse(last) as RunEnded;
        RecordBefore(file, ref end, out _, out index);
        return new RunSummary(runId, agentId, started.Intent, started.StartedAt, ended?.EndedAt, ended?.Termination.Status ?? RunStatus.Incomplete, index + 1);
    }

    /// <summary>The last line before <paramref name="end"/> that is a record; <paramref name="end"/> becomes its beginning. Damaged when there is none.</summary>
    /// <remarks>Damage behind the records, such as the zeros of a power cut, must not make an ended run look open.</remarks>
    private static LineKind RecordBefore(SafeFileHandle file, ref long end, out byte[] line, out int index)
    {
        (LineKind kind, line, index) = (LineKind.Damaged, [], -1);
        long behind = end;
        for (int damaged = 0; kind == LineKind.Damaged && end > 0; damaged++)
        {
            if (damaged == MaxDamagedLines || behind - end > JsonLines.MaxLineBytes) throw JsonLines.TooLong();
            line = JsonLines.LineBefore(file, end, out long start);
            kind = Peek(line, out index);
            end = start;
        }
        return kind;
    }

    /// <summary>What a line is, found in one pass that also proves that it is one JSON object in valid UTF-8.</summary>
    /// <param name="index">A turn's index; -1 for everything else.</param>
    public static LineKind Peek(ReadOnlySpan<byte> line, out int index)
    {
        index = -1;
        int number = 0;
        var kind = LineKind.Damaged;
        try
        {
            // The reader does not look inside strings, and a text frame with broken UTF-8 would cost the client its connection.
            if (!Utf8.IsValid(line)) return LineKind.Damaged;
            var reader = new Utf8JsonReader(line, new JsonReaderOptions { MaxDepth = RawJsonConverter.MaxWrappedDepth });
            if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject) return LineKind.Damaged;
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                bool isRecord = reader.TextIs("record"u8);
                bool isIndex = reader.TextIs("index"u8);
                reader.Read();
                if (isRecord && reader.TokenType == JsonTokenType.String) kind = KindOf(ref reader);
                else if (isIndex && reader.TokenType == JsonTokenType.Number) reader.TryGetInt32(out number);
                else reader.Skip();
            }
            if (reader.Read()) return LineKind.Damaged;
        }
        catch (JsonException)
        {
            return LineKind.Damaged;
        }
        if (kind == LineKind.Turn) index = number;
        return kind;
    }

    private static LineKind KindOf(ref Utf8JsonReader reader) =>
        reader.TextIs("turn"u8) ? LineKind.Turn
        : reader.TextIs("started"u8) ? LineKind.Started
        : reader.TextIs("ended"u8) ? LineKind.Ended
        : LineKind.Other;

    private static RunRecord? TryParse(byte[] line)
    {
        try
        {
            return Json.RunRecord.Parse(line);
        }
        catch (JsonException)
        {
            return null;
        }
    }

    /// <summary>Null when there is nothing to read. A pipe has no bytes either: opening it would wait for somebody to write. A link may lead to one, or anywhere.</summary>
    public static SafeFileHandle? OpenForReading(string path)
    {
        var file = new FileInfo(path);
        if (file.Exists && (file.Length == 0 || (file.Attributes & FileAttributes.ReparsePoint) != 0)) return null;
        return File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
    }
}

using System.Text;
using System.Text.Json;
using CarServer.RunStore;
using CarServer.Tests.Support;
using TUnit.Core;

namespace CarServer.Tests.Unit.RunStore;

public sealed class TraceSliceTests
{
    /// <summary>Any file, any query, read in pieces of any size: what a reader that holds everything would say.</summary>
    [Test]
    public async Task A_slice_is_what_a_simple_reader_would_return()
    {
        using var home = new TempHome();
        string path = home.In("r.jsonl");
        for (int seed = 0; seed < (FuzzBudget.IsLong ? 20_000 : 600); seed++)
        {
            var random = new Random(seed);
            byte[] file = RandomFile(random);
            await File.WriteAllBytesAsync(path, file);
            for (int i = 0; i < 4; i++)
            {
                TraceQuery query = RandomQuery(random);
                string expected = Simple(file, query), told;
                try
                {
                    told = Tell(path, query, random);
                }
                catch (Exception e)
                {
                    throw new InvalidOperationException($"seed {seed}, {query}", e);
                }
                if (told != expected) throw new InvalidDataException($"seed {seed}, {query}:\n{told[..Math.Min(told.Length, 2_000)]}\ninstead of\n{expected[..Math.Min(expected.Length, 2_000)]}");
            }
        }
    }

    [Test]
    public async Task A_file_that_grows_after_it_was_opened_is_as_long_as_it_was()
    {
        using var home = new TempHome();
        string path = home.In("r.jsonl");
        string[] lines = [.. Enumerable.Range(0, 3_000).Select(i => Turn(i, "padding so that it is read a second time"))];
        await File.WriteAllLinesAsync(path, lines);
        using TraceSlice slice = TraceSlice.Open(path, new TraceQuery());
        await File.AppendAllLinesAsync(path, [Turn(3_000, "late")]);
        await Assert.That(TracePage.Of(slice).Records.SequenceEqual(lines)).IsTrue();
    }

    [Test]
    public async Task A_file_that_was_removed_after_it_was_opened_is_read_to_its_end()
    {
        using var home = new TempHome();
        string path = home.In("r.jsonl");
        string[] lines = [.. Enumerable.Range(0, 3_000).Select(i => Turn(i, "padding so that it is read a second time"))];
        await File.WriteAllLinesAsync(path, lines);
        using TraceSlice slice = TraceSlice.Open(path, new TraceQuery());
        File.Delete(path);
        await Assert.That(TracePage.Of(slice).Records.SequenceEqual(lines)).IsTrue();
    }

    [Test]
    public async Task A_file_that_became_shorter_is_an_error_and_never_a_shorter_slice()
    {
        using var home = new TempHome();
        string path = home.In("r.jsonl");
        await File.WriteAllLinesAsync(path, Enumerable.Range(0, 3_000).Select(i => Turn(i, "padding so that it is read a second time")));
        using TraceSlice slice = TraceSlice.Open(path, new TraceQuery());
        await using (var file = new FileStream(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite)) file.SetLength(100_000);
        await Assert.That(() => slice.CopyTo(Stream.Null, 1_000)).Throws<EndOfStreamException>();
    }

    [Test]
    [Arguments("missing/r.jsonl")]
    [Arguments("missing.jsonl")]
    public async Task A_file_that_is_not_there_is_an_error_of_the_file_system(string name)
    {
        using var home = new TempHome();
        await Assert.That(() => TraceSlice.Open(home.In(name), new TraceQuery())).Throws<IOException>();
    }

    // ---------------------------------------------------------------- the simple reader

    /// <summary>Records, where to go on, damaged lines: everything in memory, with another parser.</summary>
    private static string Simple(byte[] file, TraceQuery query)
    {
        var records = new List<string>();
        long position = 0, bytes = 0;
        int damaged = 0;
        long? next = null;
        for (int start = 0, end; (end = Array.IndexOf(file, (byte)'\n', start)) >= 0; start = end + 1)
        {
            byte[] line = file[start..end];
            string? kind = KindOf(line);
            if (kind is null)
            {
                damaged++;
                continue;
            }
            if (query.TurnsOnly && kind != "turn") continue;
            long place = query.TurnsOnly ? IndexOf(line) : position++;
            if (place >= query.Until) break;
            if (place < query.From) continue;
            if (records.Count >= query.Limit || (records.Count > 0 && bytes + line.Length > query.MaxBytes))
            {
                next = place;
                break;
            }
            bytes += line.Length + (records.Count > 0 ? 1 : 0);
            records.Add(Encoding.UTF8.GetString(line));
        }
        return Told(string.Join(',', records), records.Count, next, damaged);
    }

    /// <summary>What the line says it is; null when it is not one JSON object that says so.</summary>
    private static string? KindOf(byte[] line)
    {
        try
        {
            new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(line);
            using JsonDocument document = JsonDocument.Parse(line, new JsonDocumentOptions { MaxDepth = RawJsonConverter.MaxWrappedDepth });
            return document.RootElement.ValueKind == JsonValueKind.Object && document.RootElement.TryGetProperty("record", out JsonElement kind) && kind.ValueKind == JsonValueKind.String
                ? kind.GetString() : null;
        }
        catch (Exception e) when (e is JsonException or ArgumentException)
        {
            return null;
        }
    }

    private static int IndexOf(byte[] line)
    {
        using JsonDocument document = JsonDocument.Parse(line, new JsonDocumentOptions { MaxDepth = RawJsonConverter.MaxWrappedDepth });
        return document.RootElement.TryGetProperty("index", out JsonElement index) && index.ValueKind == JsonValueKind.Number && index.TryGetInt32(out int number) ? number : 0;
    }

    private static string Tell(string path, TraceQuery query, Random random)
    {
        using TraceSlice slice = TraceSlice.Open(path, query);
        var text = new MemoryStream();
        byte[] piece = new byte[random.Next(3) == 0 ? random.Next(1, 20) : random.Next(1, 200_000)];
        for (int read; (read = slice.Read(piece, 0, piece.Length)) > 0;) text.Write(piece, 0, read);
        if (text.Length != slice.Length) throw new InvalidDataException($"{slice.Length} bytes announced, {text.Length} came");
        return Told(Encoding.UTF8.GetString(text.ToArray()), slice.Count, slice.Next, slice.DamagedLines);
    }

    private static string Told(string records, int count, long? next, int damaged) => $"{count} records, next {next?.ToString() ?? "none"}, {damaged} damaged: {records}";

    // ---------------------------------------------------------------- what is read

    private static TraceQuery RandomQuery(Random random) => new(
        random.Next(3) == 0 ? 0 : random.Next(40),
        random.Next(3) == 0 ? random.Next(40) : long.MaxValue,
        random.Next(3) switch { 0 => long.MaxValue, 1 => random.Next(1, 5), _ => random.Next(1, 60) },
        random.Next(3) switch { 0 => long.MaxValue, 1 => random.Next(1, 500), _ => random.Next(1, 300_000) },
        random.Next(2) == 0);

    private static byte[] RandomFile(Random random)
    {
        var file = new MemoryStream();
        int lines = random.Next(30);
        bool large = random.Next(4) == 0;
        for (int i = 0; i < lines; i++)
        {
            file.Write(RandomLine(random, i, large));
            file.WriteByte((byte)'\n');
        }
        if (random.Next(3) == 0) file.Write(RandomLine(random, lines, large));                            // torn, or whole but for its end
        if (random.Next(5) == 0 && file.Length > 0) file.SetLength(random.Next((int)file.Length));        // cut anywhere
        byte[] bytes = file.ToArray();
        if (random.Next(5) == 0 && bytes.Length > 0) bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
        return bytes;
    }

    private static byte[] RandomLine(Random random, int index, bool large)
    {
        string padding = new('p', large && random.Next(3) == 0 ? random.Next(200_000) : random.Next(100));
        string line = random.Next(24) switch
        {
            0 => """{"record":"started","run_id":"r","agent_id":"a","intent":"","outcome_description":null,"started_at":"2026-01-02T03:04:05Z"}""",
            1 => """{"record":"ended","run_id":"r","agent_id":"a","termination":{"kind":"incomplete"},"ended_at":"2026-01-02T03:04:05Z"}""",
            2 => """{"record":"of another age","new":[1]}""",
            3 => "",
            4 => "\0\0\0\0\0\0\0\0",
            5 => Turn(index, padding)[..^1],                        // a bracket short
            6 => Turn(index, padding) + Turn(index, padding),       // two in one line
            7 => Turn(index, padding) + "\r",                       // from an editor of another system
            8 => "  " + Turn(index, padding) + " ",
            9 => """{"index":1}""",
            10 => """{"record":7}""",
            11 => """["record","turn"]""",
            12 => $$"""{"index":{{index}},"\u0072ecord":"tur\u006e","prompt":"{{padding}}"}""",
            13 => $$"""{"record":"turn","index":{{index}},"output":{{new string('[', 130)}}{{new string(']', 130)}}}""",
            14 => $$"""{"record":"turn","index":{{index}},"output":{{new string('[', 200)}}{{new string(']', 200)}}}""",
            15 => $$"""{"record":"turn","index":{{index}},"prompt":"\ud800","x":"é😀"}""",
            16 => "null",
            _ => Turn(index, padding),
        };
        byte[] bytes = Encoding.UTF8.GetBytes(line);
        if (random.Next(40) == 0) bytes = [.. bytes, 0xC3];          // half a character
        return bytes;
    }

    private static string Turn(int index, string prompt) => $$"""{"record":"turn","index":{{index}},"prompt":"{{prompt}}","verifier_verdict":"not_run"}""";
}

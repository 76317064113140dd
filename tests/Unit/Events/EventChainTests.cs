using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using CarServer.RunStore;
using CarServer.State.Events;
using CarServer.Tests.Support;
using CarServer.Tests.Unit.Engine;

namespace CarServer.Tests.Unit.Events;

/// <summary>Protocol 12.2: what was changed in a journal is found, and where.</summary>
public sealed class EventChainTests
{
    [Test]
    public async Task A_link_has_the_hash_that_the_document_describes()
    {
        await using var engine = new TestEngine();
        engine.Runtime.Events.Log(EventKind.Consolidated, null, null);
        engine.Runtime.Events.EnableChain();
        engine.Runtime.Events.EnableChain();
        engine.Runtime.Events.Log(EventKind.ActionFailed, "a\"1", "p", new("z", 1), new("a", RawJson.Parse("""{"y":"ä","x":[2.50]}""")));
        engine.Runtime.Events.Log(EventKind.Consolidated, null, null);
        string[] lines = await engine.JournalAsync();

        string first = Hex("""{"action_id":"a\"1","data":{"a":{"x":[2.50],"y":"ä"},"z":1},"kind":"action_failed","prev_hash":null,"proposal_id":"p","timestamp":"2026-01-02T03:04:05Z"}""");
        string second = Hex($$"""{"action_id":null,"data":{},"kind":"consolidated","prev_hash":"{{first}}","proposal_id":null,"timestamp":"2026-01-02T03:04:05Z"}""");
        await Assert.That(lines[0]).EndsWith("""05Z"}""");
        await Assert.That(lines[1]).EndsWith($$"""05Z","prev_hash":null,"hash":"{{first}}"}""");
        await Assert.That(lines[2]).EndsWith($$"""05Z","prev_hash":"{{first}}","hash":"{{second}}"}""");
        await Assert.That(engine.Runtime.Events.Latest().Select(line => Encoding.UTF8.GetString(line.Span))).IsEquivalentTo(lines);
    }

    [Test]
    public async Task An_untouched_chain_is_verified_from_its_first_link_on()
    {
        await using var engine = new TestEngine();
        await Assert.That((await engine.Runtime.Events.VerifyChainAsync(default)).Verified).IsEqualTo(0);
        engine.Runtime.Events.Record(EventKind.Consolidated, "unchained", null);
        await Assert.That((await engine.Runtime.Events.VerifyChainAsync(default)).Verified).IsEqualTo(0);
        engine.Runtime.Events.EnableChain();
        for (int i = 0; i < 1_000; i++) engine.Runtime.Events.Record(EventKind.Consolidated, i.ToString(CultureInfo.InvariantCulture), null);
        EventChain.Check check = await engine.Runtime.Events.VerifyChainAsync(default);
        await Assert.That((check.Verified, check.TamperedAt)).IsEqualTo((1_000, null));
    }

    /// <summary>A thousand events with random data. In each line one byte after the other is made another: in one line every byte, in the others those that matter most, and some more.</summary>
    [Test]
    public async Task Any_changed_byte_of_any_line_is_found_at_its_line()
    {
        int seed = Environment.GetEnvironmentVariable("CAR_SEED") is { } given ? int.Parse(given, CultureInfo.InvariantCulture) : Random.Shared.Next();
        var random = new Random(seed);
        byte[][] lines = await RandomJournalAsync(random, leading: random.Next(3), links: 1_000);
        int leading = lines.TakeWhile(line => line.AsSpan().IndexOf("\"hash\""u8) < 0).Count();
        int whole = random.Next(leading, lines.Length);
        for (int at = leading; at < lines.Length; at++)
        {
            foreach ((int position, byte after) in FuzzBudget.IsLong || at == whole ? EveryChange(lines[at], random) : SomeChanges(lines[at], random))
            {
                byte before = lines[at][position];
                // The last line's end: what is left of it has no newline any more, and so is no line.
                if (after == before || (at == lines.Length - 1 && position == lines[at].Length - 1)) continue;
                lines[at][position] = after;
                long? found = Verify(lines, at);
                lines[at][position] = before;
                if (found != at) throw new InvalidOperationException($"CAR_SEED={seed}: byte {position} of line {at}, {before} made {after}, was found at {found}");
            }
        }
        await Assert.That(Verify(lines, leading)).IsNull();
    }

    /// <summary>Each bit of each byte flipped, and each byte made what separates lines, tokens or strings, or another digit.</summary>
    private static IEnumerable<(int Position, byte After)> EveryChange(byte[] line, Random random) =>
        from position in Enumerable.Range(0, line.Length)
        from after in (byte[])[.. Enumerable.Range(0, 8).Select(bit => (byte)(line[position] ^ (1 << bit))), .. "\n\r \t\"\\0"u8, (byte)random.Next(256)]
        select (position, after);

    /// <summary>The ends of the line, a digit of either hash in another case or of another value, and any bytes.</summary>
    private static IEnumerable<(int Position, byte After)> SomeChanges(byte[] line, Random random)
    {
        int newline = line.Length - 1, hash = newline - 3 - random.Next(64), prevHash = hash - "\",\"hash\":\"".Length - 64;
        yield return (newline, (byte)(line[newline] ^ (1 << random.Next(8))));
        yield return (newline, (byte)' ');
        yield return (newline - 1, (byte)'\n');
        yield return (0, (byte)' ');
        yield return (hash, (byte)(line[hash] ^ 1));
        yield return (hash, (byte)(line[hash] ^ 0x20));
        yield return (prevHash, (byte)(line[prevHash] ^ 1));
        for (int n = 0; n < 4; n++)
        {
            int position = random.Next(line.Length);
            yield return (position, (byte)(line[position] ^ random.Next(1, 256)));
        }
    }

    [Test]
    public async Task Lines_that_are_missing_moved_added_or_unchained_are_found()
    {
        byte[][] lines = await RandomJournalAsync(new Random(1), leading: 1, links: 50);
        await Assert.That(Verify([.. lines[..20], .. lines[21..]], 0)).IsEqualTo(20);
        await Assert.That(Verify([.. lines[..20], lines[21], lines[20], .. lines[22..]], 0)).IsEqualTo(20);
        await Assert.That(Verify([.. lines[..20], lines[19], .. lines[20..]], 0)).IsEqualTo(20);
        await Assert.That(Verify([.. lines[..20], lines[0], .. lines[20..]], 0)).IsEqualTo(20);
        await Assert.That(Verify([.. lines[..20], "\n"u8.ToArray(), .. lines[20..]], 0)).IsEqualTo(20);
        string more = Encoding.UTF8.GetString(lines[20]).Replace("\"kind\":", "\"more\":1,\"kind\":", StringComparison.Ordinal);
        await Assert.That(Verify([.. lines[..20], Encoding.UTF8.GetBytes(more), .. lines[21..]], 0)).IsEqualTo(20);
        // A newline in the first link leaves two lines that are none.
        byte[] broken = [.. lines[1][..^2], (byte)'\n', (byte)'\n'];
        await Assert.That(Verify([lines[0], broken, .. lines[2..]], 0)).IsEqualTo(1);
        // Cut at the front, as retention does.
        await Assert.That(Verify(lines[20..], 0)).IsNull();
    }

    [Test]
    public async Task A_line_over_the_limit_is_a_changed_one()
    {
        byte[][] lines = await RandomJournalAsync(new Random(1), leading: 0, links: 3);
        byte[] huge = [.. Enumerable.Repeat((byte)'x', LineReader.MaxLineBytes * 3), (byte)'\n'];
        await Assert.That(Verify([lines[0], huge, lines[1]], 0)).IsEqualTo(1);
    }

    private static async Task<byte[][]> RandomJournalAsync(Random random, int leading, int links)
    {
        await using var engine = new TestEngine();
        for (int i = 0; i < leading; i++) engine.Runtime.Events.Record(EventKind.Consolidated, null, null);
        engine.Runtime.Events.EnableChain();
        for (int i = 0; i < links; i++)
        {
            engine.Clock.Advance(TimeSpan.FromTicks(random.Next(100_000_000)));
            engine.Runtime.Events.Record((EventKind)random.Next(Enum.GetValues<EventKind>().Length), random.Next(2) == 0 ? null : Text(random), random.Next(2) == 0 ? null : Text(random),
                new("tool", random.Next(2) == 0 ? null : Text(random)), new("n", random.Next()), new("x", random.NextDouble()), new("ok", random.Next(2) == 0),
                new("a", RawJson.Parse(JsonValueOf(random, 3))));
        }
        engine.Runtime.Events.Flush();
        await engine.JournalAsync();
        string all = await File.ReadAllTextAsync(engine.JournalPath);
        return [.. all.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => Encoding.UTF8.GetBytes(line + "\n"))];
    }

    private static string Text(Random random) => new([.. Enumerable.Range(0, random.Next(12)).Select(_ => "ab\"\\\n\tä€ {}[],:7"[random.Next(16)])]);

    private static string JsonValueOf(Random random, int depth) => random.Next(depth == 0 ? 4 : 6) switch
    {
        0 => random.Next(-1000, 1000).ToString(CultureInfo.InvariantCulture),
        1 => "\"\\u00e4\\ud83d\"",
        2 => RawJson.FromString(Text(random)).ToString(),
        3 => random.Next(3) switch { 0 => "null", 1 => "true", _ => "1.50e3" },
        4 => $"[{string.Join(',', Enumerable.Range(0, random.Next(4)).Select(_ => JsonValueOf(random, depth - 1)))}]",
        _ => $"{{{string.Join(',', Enumerable.Range(0, random.Next(4)).Select(i => $"\"{(char)('a' + random.Next(26))}{i}\":{JsonValueOf(random, depth - 1)}"))}}}",
    };

    /// <summary>Runs the check over the lines as a file would have them, from shortly before the changed one on: what stands before it was never touched.</summary>
    private static long? Verify(byte[][] lines, int changed)
    {
        int from = changed > 2 && lines.Length > 100 ? changed - 2 : 0, until = Math.Min(lines.Length, changed + 3);
        if (lines.Length <= 100) until = lines.Length;
        string path = Path.GetTempFileName();
        try
        {
            File.WriteAllBytes(path, [.. lines[from..until].SelectMany(line => line)]);
            using Microsoft.Win32.SafeHandles.SafeFileHandle file = File.OpenHandle(path);
            using var reader = new LineReader(file, RandomAccess.GetLength(file));
            var check = new EventChain.Check();
            while (reader.TryRead() && check.Add(reader.Line)) { }
            return check.TamperedAt + from;
        }
        finally
        {
            File.Delete(path);
        }
    }

    private static string Hex(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)));
}

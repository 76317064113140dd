using System.Text;
using System.Text.Json;
using CarServer.RunStore;
using CarServer.Tests.Support;

namespace CarServer.Tests.Fuzz;

/// <summary>Where the scan is sure, the framework's reader is of the same opinion; and it is sure of whatever is JSON.</summary>
public sealed class JsonScanFuzz
{
    private const int Damaged = 4;   // one input in so many

    [Test]
    public async Task A_value_ends_where_the_reader_ends_it()
    {
        var random = new Random(8259);
        int sure = 0, damaged = 0;
        for (int round = 0; round < FuzzBudget.EnvelopeInputs; round++)
        {
            var builder = new StringBuilder();
            JsonTexts.Value(random, builder, 6);
            byte[] octets = Encoding.UTF8.GetBytes(builder + "," + new string(' ', random.Next(20)));   // as inside of an envelope
            int length = random.Next(Damaged) == 0 ? Mutation.Apply(random, octets, octets.Length) : octets.Length;
            ReadOnlySpan<byte> text = octets.AsSpan(0, length);
            int at = JsonScan.Token(text, 0);
            bool isCompact = true;
            int end = JsonScan.Value(text, at, ref isCompact);
            // What follows is for the caller to look at; the reader looks at it, but only when a number ends there.
            if (end > 0 && (end == length || !",]} \t\r\n"u8.Contains(text[end]))) continue;
            int expected = End(text);
            if (end != expected) Assert.Fail($"{end} instead of {expected} in {Encoding.UTF8.GetString(text)}");
            if (end < 0)
            {
                damaged++;
                continue;
            }
            sure++;
            bool wasCompact = RawJson.Parse(text[at..end]).Utf8.Length == end - at;
            if (isCompact != wasCompact) Assert.Fail($"compact is {isCompact} of {Encoding.UTF8.GetString(text[at..end])}");
        }
        FuzzReport.Print($"scanned JSON: {sure:N0} values, {damaged:N0} that are none");
        await Assert.That(sure).IsGreaterThan(damaged);
        await Assert.That(damaged).IsGreaterThan(0);
    }

    [Test]
    [Arguments(64, true)]
    [Arguments(65, false)]
    public async Task Sixty_four_levels_are_scanned(int levels, bool isSure)
    {
        byte[] text = Encoding.UTF8.GetBytes(new string('[', levels) + new string(']', levels));
        bool isCompact = true;
        await Assert.That(JsonScan.Value(text, 0, ref isCompact)).IsEqualTo(isSure ? text.Length : JsonScan.Unsure);
    }

    /// <summary>Each length of a string, and each place of what ends it, against the sixteen bytes that are looked at together.</summary>
    [Test]
    [Arguments("\"", true)]
    [Arguments("\\n\"", true)]
    [Arguments("\\u00e9\"", true)]
    [Arguments("\u0001\"", false)]
    [Arguments("\\x\"", false)]
    [Arguments("", false)]
    public async Task A_string_ends_at_its_quote(string ending, bool isSure)
    {
        for (int length = 0; length < 40; length++)
        {
            for (int after = 0; after < 20; after++)
            {
                byte[] text = Encoding.UTF8.GetBytes(new string('a', length) + ending + new string(' ', after));
                int end = JsonScan.String(text, 0, out bool hasEscapes);
                await Assert.That(end).IsEqualTo(isSure ? length + ending.Length : JsonScan.Unsure).Because($"{length} before, {after} after");
                if (isSure) await Assert.That(hasEscapes).IsEqualTo(ending.Length > 1);
            }
        }
    }

    private static int End(ReadOnlySpan<byte> text)
    {
        // Not its final block: what follows the value is somebody else's, and a number at the very end may go on.
        var reader = new Utf8JsonReader(text, isFinalBlock: false, default);
        try
        {
            if (!reader.Read() || !reader.TrySkip()) return JsonScan.Unsure;
            return (int)reader.BytesConsumed;
        }
        catch (JsonException)
        {
            return JsonScan.Unsure;
        }
    }
}

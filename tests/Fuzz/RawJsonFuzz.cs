using System.Text;
using System.Text.Json;
using CarServer.RunStore;
using CarServer.Tests.Support;

namespace CarServer.Tests.Fuzz;

/// <summary>Compaction changes white space and nothing else.</summary>
public sealed class RawJsonFuzz
{
    [Test]
    public async Task Any_value_is_compacted_to_the_same_value()
    {
        var random = new Random(8259);
        int counted = FuzzBudget.EnvelopeInputs / 2, values = 0;
        for (int round = 0; round < counted; round++)
        {
            var builder = new StringBuilder();
            JsonTexts.Value(random, builder, 5);
            byte[] text = Encoding.UTF8.GetBytes(builder.ToString());
            byte[]? compact = Compact(text), plain = PlainlyCompact(text);
            if (plain is not null) values++;
            if (!(compact ?? []).AsSpan().SequenceEqual(plain ?? [])) Assert.Fail($"{builder} became {(compact is null ? "nothing" : Encoding.UTF8.GetString(compact))}");
            if (compact is not null && !compact.AsSpan().SequenceEqual(Compact(compact))) Assert.Fail($"{builder} changes when it is compacted again");
        }
        FuzzReport.Print($"carried JSON: {counted:N0} inputs, {values:N0} of them JSON");
        await Assert.That(values).IsGreaterThan(counted / 2);
    }

    private static byte[]? Compact(byte[] text)
    {
        try { return RawJson.Parse(text).Utf8.ToArray(); }
        catch (JsonException) { return null; }
    }

    /// <summary>White space outside of strings dropped, one octet after another; null when the framework's document calls it no JSON.</summary>
    private static byte[]? PlainlyCompact(byte[] text)
    {
        try { using JsonDocument _ = JsonDocument.Parse(text, new JsonDocumentOptions { MaxDepth = 128 }); }
        catch (JsonException) { return null; }
        var compact = new List<byte>(text.Length);
        bool inString = false;
        for (int i = 0; i < text.Length; i++)
        {
            if (!inString && text[i] is (byte)' ' or (byte)'\t' or (byte)'\r' or (byte)'\n') continue;
            compact.Add(text[i]);
            if (inString && text[i] == (byte)'\\') compact.Add(text[++i]);
            else if (text[i] == (byte)'"') inString = !inString;
        }
        return [.. compact];
    }
}

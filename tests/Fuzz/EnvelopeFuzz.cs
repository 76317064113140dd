using System.Diagnostics;
using System.Text;
using System.Text.Json;
using System.Text.Unicode;
using CarServer.Tests.Support;

namespace CarServer.Tests.Fuzz;

/// <summary>Any text is read without an exception, as the framework's document and a plain reading of JSON-RPC 2.0 have it.</summary>
public sealed class EnvelopeFuzz
{
    private const int MaxDepth = 128;

    [Test]
    public async Task Any_text_is_read_as_the_plain_reading_has_it()
    {
        var random = new Random(2000);
        long start = Stopwatch.GetTimestamp();
        var seen = new Dictionary<string, int>();
        for (int round = 0; round < FuzzBudget.EnvelopeInputs; round++)
        {
            byte[] octets = Encoding.UTF8.GetBytes(JsonTexts.Message(random));
            int length = random.Next(3) == 0 ? Mutation.Apply(random, octets, octets.Length) : octets.Length;
            ReadOnlySpan<byte> message = octets.AsSpan(0, length);
            if (!Utf8.IsValid(message)) message = "\"the frames let no such text through\""u8;
            string told = EnvelopeReading.Tell(message);
            string kind = told[..(told.IndexOf(' ') is > 0 and int space ? space : told.Length)];
            seen[kind] = seen.GetValueOrDefault(kind) + 1;
            string expected = Expected(message.ToArray());
            if (told != expected) Assert.Fail($"read: {told}; plainly: {expected}; of: {Encoding.UTF8.GetString(message)}");
        }
        FuzzReport.Print($"envelopes: {FuzzBudget.EnvelopeInputs:N0} inputs, {Stopwatch.GetElapsedTime(start).TotalSeconds:0.0} s; {string.Join(", ", seen.OrderBy(pair => pair.Key).Select(pair => $"{pair.Key} {pair.Value:N0}"))}");
        foreach (string kind in (string[])["Request", "Notification", "Reply", "Batch", "Invalid", "NotJson"]) await Assert.That(seen.ContainsKey(kind)).IsTrue().Because($"{kind} has to be among the inputs");
    }

    private static string Expected(byte[] message)
    {
        JsonElement root;
        try
        {
            root = JsonDocument.Parse(message, new JsonDocumentOptions { MaxDepth = 1000 }).RootElement;
        }
        catch (JsonException)
        {
            // Text that goes too deep is refused for that, at that place; it may be broken further on.
            int deep = FirstTooDeep(message);
            return First(message) == '[' ? $"Batch {(deep >= 0 ? -32600 : -32700)}" : deep >= 0 ? Told("Invalid", IdsBefore(message, deep)) : "NotJson";
        }
        if (root.ValueKind != JsonValueKind.Array) return One(root, message);
        if (root.GetArrayLength() == 0 || FirstTooDeep(message) >= 0) return "Batch -32600";
        return "Batch" + string.Concat(root.EnumerateArray().Select(member => $" [{One(member, Encoding.UTF8.GetBytes(member.GetRawText()))}]"));
    }

    private static string One(JsonElement root, byte[] text)
    {
        if (root.ValueKind == JsonValueKind.Array) return "Batch";
        if (root.ValueKind != JsonValueKind.Object) return "Invalid";
        if (FirstTooDeep(text) is >= 0 and int deep) return Told("Invalid", IdsBefore(text, deep));

        var members = new Dictionary<string, List<JsonElement>>();
        foreach (JsonProperty property in root.EnumerateObject())
        {
            string name;
            try { name = property.Name; }
            catch (InvalidOperationException) { continue; }   // a lone surrogate: a name of nobody's
            if (!members.TryGetValue(name, out List<JsonElement>? values)) members[name] = values = [];
            values.Add(property.Value);
        }
        string id = EchoedId(members.GetValueOrDefault("id") ?? []);
        bool valid = true;
        foreach (string name in (string[])["jsonrpc", "method", "id", "params", "result", "error"]) valid &= members.GetValueOrDefault(name) is not { Count: > 1 };
        JsonElement? Single(string name) => members.TryGetValue(name, out List<JsonElement>? values) ? values[0] : null;
        if (Single("method") is { } method) valid &= method.ValueKind == JsonValueKind.String;
        if (Single("id") is { } given) valid &= given.ValueKind is JsonValueKind.String or JsonValueKind.Number or JsonValueKind.Null;
        if (Single("params") is { } parameters) valid &= parameters.ValueKind is JsonValueKind.Object or JsonValueKind.Array or JsonValueKind.Null;
        if (!valid) return Told("Invalid", id);

        if (Single("method") is null && Single("id") is not null)
            return Told("Reply", id) + Field("result", Single("result")) + Field("error", Single("error"));
        if (Single("jsonrpc") is not { ValueKind: JsonValueKind.String } version || Text(version) != "2.0" || Single("method") is null) return Told("Invalid", id);
        string kind = Single("id") is null ? "Notification" : "Request";
        string name2 = Single("method")!.Value.GetRawText()[1..^1];
        return Told(kind, id) + (name2.Length > 0 ? $" method={name2}" : "") + (Single("params") is { ValueKind: not JsonValueKind.Null } some ? Field("params", some) : "");
    }

    private static string Told(string kind, string id) => kind + (id.Length > 0 ? $" id={id}" : "");
    private static string Field(string name, JsonElement? value) => value is { } given ? $" {name}={given.GetRawText()}" : "";

    private static string EchoedId(List<JsonElement> ids) =>
        ids.Count == 1 && ids[0].ValueKind is JsonValueKind.String or JsonValueKind.Number or JsonValueKind.Null ? ids[0].GetRawText() : "";

    private static string? Text(JsonElement value)
    {
        try { return value.GetString(); }
        catch (InvalidOperationException) { return null; }
    }

    private static char First(byte[] message) => Encoding.UTF8.GetString(message).TrimStart(' ', '\t', '\r', '\n') is [var first, ..] ? first : '\0';

    /// <summary>Where the bracket stands that opens level 129; -1 when none does before the text ends or breaks.</summary>
    private static int FirstTooDeep(byte[] message)
    {
        var reader = new Utf8JsonReader(message, new JsonReaderOptions { MaxDepth = 1000 });
        try
        {
            while (reader.Read())
                if (reader.TokenType is JsonTokenType.StartArray or JsonTokenType.StartObject && reader.CurrentDepth >= MaxDepth) return (int)reader.TokenStartIndex;
        }
        catch (JsonException) { }
        return -1;
    }

    /// <summary>The id among the members that end before the place where it goes too deep.</summary>
    private static string IdsBefore(byte[] message, int end)
    {
        var reader = new Utf8JsonReader(message.AsSpan(0, end), isFinalBlock: false, new JsonReaderState(new JsonReaderOptions { MaxDepth = 1000 }));
        var ids = new List<JsonElement>();
        reader.Read();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string? name = null;
            try { name = reader.GetString(); }
            catch (InvalidOperationException) { }
            if (!reader.Read()) break;
            int start = (int)reader.TokenStartIndex;
            if (!reader.TrySkip()) break;
            if (name == "id") ids.Add(JsonDocument.Parse(message.AsMemory(start, (int)reader.BytesConsumed - start), new JsonDocumentOptions { MaxDepth = 1000 }).RootElement);
        }
        return EchoedId(ids);
    }
}

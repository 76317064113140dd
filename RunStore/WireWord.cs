using System.Text.Json;
using System.Text.Json.Serialization;

namespace CarServer.RunStore;

/// <summary>The words that may stand in a place; the schema of a method shows them.</summary>
internal interface IWireWords
{
    IReadOnlyList<string> Words { get; }
}

/// <summary>A text that has to be one of some words; refuses every other.</summary>
/// <remarks>Instead of an enum where the text itself is what is kept.</remarks>
internal abstract class WireWord(params string[] words) : JsonConverter<string>, IWireWords
{
    public IReadOnlyList<string> Words => words;

    public override string Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        if (reader.TokenType == JsonTokenType.String)
            foreach (string word in words)
                if (reader.ValueTextEquals(word)) return word;
        throw new JsonException();
    }

    public override void Write(Utf8JsonWriter writer, string value, JsonSerializerOptions options) => writer.WriteStringValue(value);
}

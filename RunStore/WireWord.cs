using System.Text.Json;
using System.Text.Json.Serialization;

namespace CarServer.RunStore;

/// <summary>A text that has to be one of some words; refuses every other.</summary>
/// <remarks>For what an enum would be for: each enum type on the wire has its own copy of the serializer's code, some tens of KiB.</remarks>
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

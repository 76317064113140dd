using System.Text.Json;
using System.Text.Json.Serialization;

namespace CarServer.RunStore;

/// <summary>The words an enum has on the wire; the schema of a method shows them.</summary>
internal interface IWireWords
{
    IReadOnlyList<string> Words { get; }
}

/// <summary>Writes an enum as the protocol spells it, <c>partial_success</c> for <c>PartialSuccess</c>; refuses everything but such a word.</summary>
/// <remarks>The framework's own string converter also takes lists, "tool_call,assertion", and makes one value of them.</remarks>
internal sealed class SnakeCaseEnum<T> : JsonConverter<T>, IWireWords
    where T : struct, Enum
{
    private static readonly T[] Values = Enum.GetValues<T>();
    private static readonly string[] Spelled = [.. Values.Select(value => JsonNamingPolicy.SnakeCaseLower.ConvertName(value.ToString()))];

    public IReadOnlyList<string> Words => Spelled;

    public override T Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        if (reader.TokenType == JsonTokenType.String)
            for (int i = 0; i < Spelled.Length; i++)
                if (reader.ValueTextEquals(Spelled[i])) return Values[i];
        throw new JsonException();
    }

    public override void Write(Utf8JsonWriter writer, T value, JsonSerializerOptions options) => writer.WriteStringValue(Spelled[Array.IndexOf(Values, value)]);
}

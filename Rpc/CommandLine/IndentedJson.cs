using System.Buffers;
using System.Text.Json;
using CarServer.RunStore;

namespace CarServer.Rpc.CommandLine;

/// <summary>JSON for people: one member a line. Strings and numbers stay exactly as they came.</summary>
/// <remarks>By hand, because <see cref="Utf8JsonWriter"/> puts raw values of an array all on one line.</remarks>
internal static class IndentedJson
{
    public static byte[] From(RawJson value)
    {
        var output = new ArrayBufferWriter<byte>(value.Utf8.Length * 2);
        var reader = new Utf8JsonReader(value.Utf8, new JsonReaderOptions { MaxDepth = RawJsonConverter.MaxWrappedDepth });
        var before = JsonTokenType.None;
        while (reader.Read())
        {
            bool opens = before is JsonTokenType.StartObject or JsonTokenType.StartArray;
            bool closes = reader.TokenType is JsonTokenType.EndObject or JsonTokenType.EndArray;
            if (before is not (JsonTokenType.None or JsonTokenType.PropertyName) && !(opens && closes))
            {
                if (!opens && !closes) output.Write(","u8);
                output.Write("\n"u8);
                for (int level = 0; level < reader.CurrentDepth; level++) output.Write("  "u8);
            }
            if (reader.TokenType is JsonTokenType.String or JsonTokenType.PropertyName)
            {
                output.Write("\""u8);
                output.Write(reader.ValueSpan);
                output.Write(reader.TokenType == JsonTokenType.PropertyName ? "\": "u8 : "\""u8);
            }
            else output.Write(reader.ValueSpan);
            before = reader.TokenType;
        }
        return output.WrittenSpan.ToArray();
    }
}

using System.Buffers;
using System.Text.Json;
using CarServer.RunStore;

namespace CarServer.Rpc.CommandLine;

/// <summary>JSON for people: one member a line. Strings and numbers stay exactly as they came.</summary>
internal static class IndentedJson
{
    public static byte[] From(RawJson value)
    {
        var output = new ArrayBufferWriter<byte>(value.Utf8.Length * 2);
        using var writer = new Utf8JsonWriter(output, new JsonWriterOptions { Indented = true, SkipValidation = true, MaxDepth = RawJsonConverter.MaxDepth });
        var reader = new Utf8JsonReader(value.Utf8, new JsonReaderOptions { MaxDepth = RawJsonConverter.MaxDepth });
        while (reader.Read())
        {
            switch (reader.TokenType)
            {
                case JsonTokenType.StartObject: writer.WriteStartObject(); break;
                case JsonTokenType.EndObject: writer.WriteEndObject(); break;
                case JsonTokenType.StartArray: writer.WriteStartArray(); break;
                case JsonTokenType.EndArray: writer.WriteEndArray(); break;
                case JsonTokenType.PropertyName: writer.WritePropertyName(JsonEncodedText.Encode(reader.GetString()!, System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping)); break;
                case JsonTokenType.String: writer.WriteRawValue([(byte)'"', .. reader.ValueSpan, (byte)'"'], skipInputValidation: true); break;
                default: writer.WriteRawValue(reader.ValueSpan, skipInputValidation: true); break;
            }
        }
        writer.Flush();
        return output.WrittenSpan.ToArray();
    }
}

using System.Buffers;
using System.Runtime.InteropServices;
using System.Text.Json;
using CarServer.RunStore;
using CarServer.RunStore.Contracts;

namespace CarServer.State.Engine;

/// <summary>Fields that a client sent and this version does not know. They are shown where their owner is recorded, under <see cref="Name"/>.</summary>
internal static class UnknownFields
{
    public const string Name = "extra";

    /// <summary>One object with all of them as they were spelled; absent when there are none.</summary>
    public static RawJson ToRawJson(Dictionary<string, JsonElement>? fields)
    {
        if (fields is null) return default;
        var json = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(json, Contract.Compact))
        {
            writer.WriteStartObject();
            foreach ((string name, JsonElement value) in fields)
            {
                writer.WritePropertyName(name);
                writer.WriteRawValue(RawJson.Parse(JsonMarshal.GetRawUtf8Value(value)).Utf8, skipInputValidation: true);
            }
            writer.WriteEndObject();
        }
        return RawJson.FromCompact(json.WrittenSpan.ToArray());
    }
}

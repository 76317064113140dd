using System.Text.Json;
using System.Text.Json.Serialization;

namespace CarServer.RunStore;

/// <summary>RFC 3339 times: written in UTC with <c>Z</c>; read with any offset; without one they count as UTC (protocol 0).</summary>
internal sealed class UtcTime : JsonConverter<DateTime>
{
    public override DateTime Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        DateTime read = reader.GetDateTime();
        return read.Kind == DateTimeKind.Unspecified ? DateTime.SpecifyKind(read, DateTimeKind.Utc) : read.ToUniversalTime();
    }

    public override void Write(Utf8JsonWriter writer, DateTime value, JsonSerializerOptions options) =>
        writer.WriteStringValue(value.Kind == DateTimeKind.Local ? value.ToUniversalTime() : DateTime.SpecifyKind(value, DateTimeKind.Utc));
}

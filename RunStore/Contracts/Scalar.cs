using System.Buffers;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace CarServer.RunStore.Contracts;

/// <summary>What has no members.</summary>
internal static class Scalar
{
    public static readonly TextContract Text = new();
    public static readonly BooleanContract Boolean = new();
    public static readonly Int32Contract Int32 = new();
    public static readonly UInt32Contract UInt32 = new();
    public static readonly Int64Contract Int64 = new();
    public static readonly UInt64Contract UInt64 = new();
    public static readonly DoubleContract Double = new();
    public static readonly TimeContract Time = new();
    public static readonly RawContract Raw = new();
    public static readonly ElementContract Element = new();

    private static void Type(IBufferWriter<byte> output, ReadOnlySpan<byte> name, bool orNull)
    {
        output.Write(orNull ? "\"type\":[\""u8 : "\"type\":\""u8);
        output.Write(name);
        output.Write(orNull ? "\",\"null\"]"u8 : "\""u8);
    }

    internal sealed class TextContract : IReads<string>, IWrites<string>
    {
        public string Read(ref Utf8JsonReader reader) => reader.TokenType == JsonTokenType.String ? reader.GetString()! : throw new JsonException();
        public void Write(Utf8JsonWriter writer, string value) => writer.WriteStringValue(value);
        public void Describe(IBufferWriter<byte> output, bool orNull = false) => Type(output, "string"u8, orNull);
    }

    internal sealed class BooleanContract : IReads<bool>, IWrites<bool>
    {
        public bool Read(ref Utf8JsonReader reader) => reader.TokenType is JsonTokenType.True or JsonTokenType.False ? reader.TokenType == JsonTokenType.True : throw new JsonException();
        public void Write(Utf8JsonWriter writer, bool value) => writer.WriteBooleanValue(value);
        public void Describe(IBufferWriter<byte> output, bool orNull = false) => Type(output, "boolean"u8, orNull);
    }

    internal sealed class Int32Contract : IReads<int>, IWrites<int>
    {
        public int Read(ref Utf8JsonReader reader) => reader.TokenType == JsonTokenType.Number && reader.TryGetInt32(out int value) ? value : throw new JsonException();
        public void Write(Utf8JsonWriter writer, int value) => writer.WriteNumberValue(value);
        public void Describe(IBufferWriter<byte> output, bool orNull = false) => Type(output, "integer"u8, orNull);
    }

    internal sealed class UInt32Contract : IReads<uint>, IWrites<uint>
    {
        public uint Read(ref Utf8JsonReader reader) => reader.TokenType == JsonTokenType.Number && reader.TryGetUInt32(out uint value) ? value : throw new JsonException();
        public void Write(Utf8JsonWriter writer, uint value) => writer.WriteNumberValue(value);
        public void Describe(IBufferWriter<byte> output, bool orNull = false) => Type(output, "integer"u8, orNull);
    }

    internal sealed class Int64Contract : IReads<long>, IWrites<long>
    {
        public long Read(ref Utf8JsonReader reader) => reader.TokenType == JsonTokenType.Number && reader.TryGetInt64(out long value) ? value : throw new JsonException();
        public void Write(Utf8JsonWriter writer, long value) => writer.WriteNumberValue(value);
        public void Describe(IBufferWriter<byte> output, bool orNull = false) => Type(output, "integer"u8, orNull);
    }

    internal sealed class UInt64Contract : IReads<ulong>, IWrites<ulong>
    {
        public ulong Read(ref Utf8JsonReader reader) => reader.TokenType == JsonTokenType.Number && reader.TryGetUInt64(out ulong value) ? value : throw new JsonException();
        public void Write(Utf8JsonWriter writer, ulong value) => writer.WriteNumberValue(value);
        public void Describe(IBufferWriter<byte> output, bool orNull = false) => Type(output, "integer"u8, orNull);
    }

    internal sealed class DoubleContract : IReads<double>, IWrites<double>
    {
        public double Read(ref Utf8JsonReader reader) => reader.TokenType == JsonTokenType.Number && reader.TryGetDouble(out double value) ? value : throw new JsonException();
        public void Write(Utf8JsonWriter writer, double value) => writer.WriteNumberValue(value);
        public void Describe(IBufferWriter<byte> output, bool orNull = false) => Type(output, "number"u8, orNull);
    }

    /// <summary>RFC 3339 times: written in UTC with <c>Z</c>; read with any offset; without one they count as UTC (protocol 0).</summary>
    internal sealed class TimeContract : IReads<DateTime>, IWrites<DateTime>
    {
        public DateTime Read(ref Utf8JsonReader reader)
        {
            if (reader.TokenType != JsonTokenType.String || !reader.TryGetDateTime(out DateTime read)) throw new JsonException();
            return read.Kind == DateTimeKind.Unspecified ? DateTime.SpecifyKind(read, DateTimeKind.Utc) : read.ToUniversalTime();
        }

        public void Write(Utf8JsonWriter writer, DateTime value) =>
            writer.WriteStringValue(value.Kind == DateTimeKind.Local ? value.ToUniversalTime() : DateTime.SpecifyKind(value, DateTimeKind.Utc));

        public void Describe(IBufferWriter<byte> output, bool orNull = false)
        {
            Type(output, "string"u8, orNull);
            output.Write(",\"format\":\"date-time\""u8);
        }
    }

    /// <summary>Carried as it stands; <c>null</c> is a value like others.</summary>
    internal sealed class RawContract : IReads<RawJson>, IWrites<RawJson>
    {
        public RawJson Read(ref Utf8JsonReader reader) => RawJsonConverter.ReadValue(ref reader);
        public void Write(Utf8JsonWriter writer, RawJson value) => writer.WriteRawValue(value.Utf8, skipInputValidation: true);
        public void Describe(IBufferWriter<byte> output, bool orNull = false) { }
    }

    internal sealed class ElementContract : IReads<JsonElement>, IWrites<JsonElement>
    {
        public JsonElement Read(ref Utf8JsonReader reader) => JsonElement.ParseValue(ref reader);
        public void Write(Utf8JsonWriter writer, JsonElement value) => value.WriteTo(writer);
        public void Describe(IBufferWriter<byte> output, bool orNull = false) { }
    }
}

/// <summary>What a <see cref="JsonConverter{T}"/> reads and writes.</summary>
internal sealed class ConvertedContract<T>(JsonConverter<T> converter) : IReads<T>, IWrites<T>
{
    public T Read(ref Utf8JsonReader reader) => converter.Read(ref reader, typeof(T), null!)!;
    public void Write(Utf8JsonWriter writer, T value) => converter.Write(writer, value, null!);

    public void Describe(IBufferWriter<byte> output, bool orNull = false)
    {
        if (converter is IWireWords spelled) Members.DescribeWords(output, spelled.Words, orNull);
    }
}

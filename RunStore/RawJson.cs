using System.Buffers;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace CarServer.RunStore;

/// <summary>A JSON value that the daemon carries without looking inside: compact UTF-8, exactly one value, never a newline.</summary>
/// <remarks>
/// Strings keep the escapes and numbers the digits they came with; only the white space between tokens is dropped, so that a value
/// can stand in one line of a JSONL file. <c>default</c> means "absent" and is written as <c>null</c>. Equality is byte equality:
/// two spellings of one value differ here. Immutable as long as nobody writes to the bytes it was made from.
/// </remarks>
[JsonConverter(typeof(RawJsonConverter))]
internal readonly struct RawJson : IEquatable<RawJson>
{
    private static readonly byte[] NullBytes = "null"u8.ToArray();

    private readonly byte[]? _utf8;

    private RawJson(byte[] utf8) => _utf8 = utf8;

    public static RawJson Null { get; } = new(NullBytes);
    public static RawJson EmptyObject { get; } = new("{}"u8.ToArray());

    /// <summary>True when no value was given at all; differs from a given <c>null</c>.</summary>
    public bool IsAbsent => _utf8 is null;
    public bool IsNull => _utf8 is null || _utf8.AsSpan().SequenceEqual("null"u8);

    public ReadOnlySpan<byte> Utf8 => _utf8 ?? NullBytes;
    public ReadOnlyMemory<byte> Memory => _utf8 ?? NullBytes;

    /// <summary>Takes over bytes that are known to be one compact JSON value.</summary>
    public static RawJson FromCompact(byte[] utf8) => new(utf8);

    /// <summary>Parses and compacts one value. Throws <see cref="JsonException"/> when the text is not exactly one JSON value.</summary>
    public static RawJson Parse(ReadOnlySpan<byte> json)
    {
        var reader = new Utf8JsonReader(json, new JsonReaderOptions { MaxDepth = RawJsonConverter.MaxDepth });
        if (!reader.Read()) throw new JsonException("empty");
        RawJson value = RawJsonConverter.ReadValue(ref reader);
        if (reader.Read()) throw new JsonException("more than one value");
        return value;
    }

    public static RawJson Parse(string json) => Parse(Encoding.UTF8.GetBytes(json));

    /// <summary>The JSON string that spells <paramref name="text"/>; a lone surrogate becomes U+FFFD.</summary>
    public static RawJson FromString(string text)
    {
        JsonEncodedText encoded = JsonEncodedText.Encode(Encoding.UTF8.GetBytes(text), JavaScriptEncoder.UnsafeRelaxedJsonEscaping);
        return new RawJson([(byte)'"', .. encoded.EncodedUtf8Bytes, (byte)'"']);
    }

    public Utf8JsonReader Reader()
    {
        var reader = new Utf8JsonReader(Utf8, new JsonReaderOptions { MaxDepth = RawJsonConverter.MaxDepth });
        reader.Read();
        return reader;
    }

    public bool Equals(RawJson other) => Utf8.SequenceEqual(other.Utf8);
    public override bool Equals(object? obj) => obj is RawJson other && Equals(other);
    public override int GetHashCode()
    {
        var hash = new HashCode();
        hash.AddBytes(Utf8);
        return hash.ToHashCode();
    }
    public override string ToString() => Encoding.UTF8.GetString(Utf8);
}

/// <summary>Copies tokens as they stand; never decodes a string or a number.</summary>
internal sealed class RawJsonConverter : JsonConverter<RawJson>
{
    /// <summary>Levels of arrays and objects a carried value may have; a message as a whole has the same limit (see the envelope).</summary>
    public const int MaxDepth = 128;

    /// <summary>What whoever reads a value back has to take: the daemon puts it at most eight levels down (reply, result, records,
    /// <c>ended</c>, termination, outcome, evidence, one piece of it).</summary>
    public const int MaxWrappedDepth = MaxDepth + 8;

    public override bool HandleNull => true;

    public override RawJson Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) => ReadValue(ref reader);

    public override void Write(Utf8JsonWriter writer, RawJson value, JsonSerializerOptions options) =>
        writer.WriteRawValue(value.Utf8, skipInputValidation: true);

    /// <summary>Reads the value the reader stands on and leaves the reader on its last token.</summary>
    internal static RawJson ReadValue(ref Utf8JsonReader reader)
    {
        if (reader.TokenType is not (JsonTokenType.StartObject or JsonTokenType.StartArray))
        {
            if (reader.TokenType == JsonTokenType.Null) return RawJson.Null;
            if (reader.TokenType != JsonTokenType.String) return RawJson.FromCompact(reader.ValueSpan.ToArray());
            byte[] quoted = GC.AllocateUninitializedArray<byte>(reader.ValueSpan.Length + 2);
            quoted[0] = quoted[^1] = (byte)'"';
            reader.ValueSpan.CopyTo(quoted.AsSpan(1));
            return RawJson.FromCompact(quoted);
        }

        var output = new CompactOutput();
        try
        {
            int outer = reader.CurrentDepth;
            bool comma = false;
            do
            {
                if (comma && reader.TokenType is not (JsonTokenType.EndObject or JsonTokenType.EndArray)) output.Add((byte)',');
                switch (reader.TokenType)
                {
                    case JsonTokenType.StartObject: output.Add((byte)'{'); comma = false; break;
                    case JsonTokenType.StartArray: output.Add((byte)'['); comma = false; break;
                    case JsonTokenType.EndObject: output.Add((byte)'}'); comma = true; break;
                    case JsonTokenType.EndArray: output.Add((byte)']'); comma = true; break;
                    case JsonTokenType.PropertyName: output.AddQuoted(reader.ValueSpan); output.Add((byte)':'); comma = false; break;
                    case JsonTokenType.String: output.AddQuoted(reader.ValueSpan); comma = true; break;
                    default: output.Add(reader.ValueSpan); comma = true; break;
                }
            }
            while (!(reader.TokenType is (JsonTokenType.EndObject or JsonTokenType.EndArray) && reader.CurrentDepth == outer) && reader.Read());
            return RawJson.FromCompact(output.ToArray());
        }
        finally
        {
            output.Dispose();
        }
    }

    private struct CompactOutput()
    {
        private byte[] _buffer = ArrayPool<byte>.Shared.Rent(256);
        private int _length;

        public void Add(byte b)
        {
            if (_length == _buffer.Length) Grow(1);
            _buffer[_length++] = b;
        }

        public void Add(ReadOnlySpan<byte> bytes)
        {
            if (_buffer.Length - _length < bytes.Length) Grow(bytes.Length);
            bytes.CopyTo(_buffer.AsSpan(_length));
            _length += bytes.Length;
        }

        public void AddQuoted(ReadOnlySpan<byte> bytes)
        {
            Add((byte)'"');
            Add(bytes);
            Add((byte)'"');
        }

        private void Grow(int more)
        {
            byte[] bigger = ArrayPool<byte>.Shared.Rent(Math.Max(_buffer.Length * 2, _length + more));
            _buffer.AsSpan(0, _length).CopyTo(bigger);
            ArrayPool<byte>.Shared.Return(_buffer);
            _buffer = bigger;
        }

        public readonly byte[] ToArray() => _buffer.AsSpan(0, _length).ToArray();
        public readonly void Dispose() => ArrayPool<byte>.Shared.Return(_buffer);
    }
}

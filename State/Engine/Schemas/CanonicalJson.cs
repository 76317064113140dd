using System.Buffers;
using System.Globalization;
using System.Text.Json;
using CarServer.RunStore;

namespace CarServer.State.Engine.Schemas;

/// <summary>One form for all spellings of a value: two values are equal by JSON Schema when these bytes are. It is no JSON itself.</summary>
internal static class CanonicalJson
{
    /// <summary>Of the value the reader stands on; leaves the reader on its last token.</summary>
    /// <exception cref="InvalidOperationException">A string in it is not valid Unicode.</exception>
    public static RawJson Of(ref Utf8JsonReader value)
    {
        long written = 0;
        return Of(ref value, ref written);
    }

    /// <param name="written">Grows by the bytes that were written: those in objects once for each object around them.</param>
    public static RawJson Of(ref Utf8JsonReader value, ref long written)
    {
        var output = new ArrayBufferWriter<byte>(64);
        Write(ref value, output, ref written);
        written += output.WrittenCount;
        return RawJson.FromCompact(output.WrittenSpan.ToArray());
    }

    private static void Write(ref Utf8JsonReader value, ArrayBufferWriter<byte> output, ref long written)
    {
        switch (value.TokenType)
        {
            case JsonTokenType.StartObject: WriteObject(ref value, output, ref written); break;
            case JsonTokenType.StartArray: WriteArray(ref value, output, ref written); break;
            case JsonTokenType.String or JsonTokenType.PropertyName: WriteText(ref value, output); break;
            case JsonTokenType.Number: WriteNumber(new JsonNumber(value.ValueSpan), output); break;
            default: output.Write(value.ValueSpan); break;
        }
    }

    private static void WriteObject(ref Utf8JsonReader value, ArrayBufferWriter<byte> output, ref long written)
    {
        var members = new List<(RawJson Name, RawJson Value)>();
        while (value.Read() && value.TokenType == JsonTokenType.PropertyName)
        {
            RawJson name = Of(ref value, ref written);
            value.Read();
            members.Add((name, Of(ref value, ref written)));
        }
        members.Sort(static (a, b) => a.Name.Utf8.SequenceCompareTo(b.Name.Utf8) is not 0 and int names ? names : a.Value.Utf8.SequenceCompareTo(b.Value.Utf8));
        output.Write("{"u8);
        foreach ((RawJson name, RawJson member) in members)
        {
            output.Write(name.Utf8);
            output.Write(member.Utf8);
        }
        output.Write("}"u8);
    }

    private static void WriteArray(ref Utf8JsonReader value, ArrayBufferWriter<byte> output, ref long written)
    {
        output.Write("["u8);
        while (value.Read() && value.TokenType != JsonTokenType.EndArray)
        {
            Write(ref value, output, ref written);
            output.Write(","u8);
        }
        output.Write("]"u8);
    }

    /// <summary>Its length goes first: then nothing in a text can look like what follows it.</summary>
    private static void WriteText(ref Utf8JsonReader value, ArrayBufferWriter<byte> output)
    {
        byte[] text = ArrayPool<byte>.Shared.Rent(value.ValueSpan.Length);
        int length = value.CopyString(text);
        WriteInteger(length, output);
        output.Write("\""u8);
        output.Write(text.AsSpan(0, length));
        ArrayPool<byte>.Shared.Return(text);
    }

    private static void WriteNumber(JsonNumber number, ArrayBufferWriter<byte> output)
    {
        output.Write(number.IsNegative ? "-"u8 : "+"u8);
        Span<byte> digits = output.GetSpan(number.Digits + 1);
        for (int i = 0; i < number.Digits; i++) digits[i] = (byte)('0' + number.Digit(i));
        output.Advance(number.Digits);
        output.Write("e"u8);
        WriteInteger(number.Magnitude, output);
    }

    private static void WriteInteger(long number, ArrayBufferWriter<byte> output)
    {
        number.TryFormat(output.GetSpan(20), out int written, default, CultureInfo.InvariantCulture);
        output.Advance(written);
    }
}

using System.Buffers;
using System.Text;
using System.Text.Json;

namespace CarServer.RunStore.Contracts;

/// <summary>What the generated contracts of objects and words have in common.</summary>
internal static class Members
{
    public static void Begin(ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.StartObject) throw new JsonException();
    }

    /// <summary>Goes to the next member's name, if there is one.</summary>
    public static bool Next(ref Utf8JsonReader reader, out ReadOnlySpan<byte> name)
    {
        reader.Read();
        if (reader.TokenType != JsonTokenType.PropertyName)
        {
            name = default;
            return false;
        }
        name = reader.ValueIsEscaped ? Encoding.UTF8.GetBytes(reader.GetString()!) : reader.ValueSpan;
        return true;
    }

    /// <summary>Goes from a member's name to its value; refuses a second one.</summary>
    public static void Enter(ref Utf8JsonReader reader, ref ulong seen, int member)
    {
        if ((seen & (1UL << member)) != 0) throw new JsonException();
        seen |= 1UL << member;
        reader.Read();
    }

    public static void Need(ulong seen, ulong required)
    {
        if ((seen & required) != required) throw new JsonException();
    }

    /// <summary>The text of a member of the object that the reader stands on, wherever it is in there; null when it has none, or something else.</summary>
    public static string? Find(Utf8JsonReader reader, ReadOnlySpan<byte> name)
    {
        Begin(ref reader);
        string? text = null;
        ulong seen = 0;
        while (Next(ref reader, out ReadOnlySpan<byte> found))
        {
            if (found.SequenceEqual(name))
            {
                Enter(ref reader, ref seen, 0);
                text = reader.TokenType == JsonTokenType.String ? reader.GetString() : null;
            }
            reader.Skip();
        }
        return text;
    }

    public static void Unknown(ref Utf8JsonReader reader, ref Dictionary<string, JsonElement>? unknown)
    {
        unknown ??= [];
        string name = reader.GetString()!;
        if (unknown.ContainsKey(name)) throw new JsonException();
        reader.Read();
        unknown.Add(name, JsonElement.ParseValue(ref reader));
    }

    public static void Write(Utf8JsonWriter writer, Dictionary<string, JsonElement>? unknown)
    {
        if (unknown is null) return;
        foreach (KeyValuePair<string, JsonElement> member in unknown)
        {
            writer.WritePropertyName(member.Key);
            member.Value.WriteTo(writer);
        }
    }

    public static int Word(ref Utf8JsonReader reader, ReadOnlySpan<string> words)
    {
        if (reader.TokenType == JsonTokenType.String)
            for (int i = 0; i < words.Length; i++)
                if (reader.ValueTextEquals(words[i])) return i;
        throw new JsonException();
    }

    /// <param name="text">In which a <c>?</c> stands for the schema of the next part, and a <c>!</c> for one that may be null.</param>
    public static void Describe(IBufferWriter<byte> output, bool orNull, ReadOnlySpan<byte> text, params ReadOnlySpan<IContract> parts)
    {
        output.Write(orNull ? "\"type\":[\"object\",\"null\"],"u8 : "\"type\":\"object\","u8);
        foreach (IContract part in parts)
        {
            int hole = text.IndexOfAny((byte)'?', (byte)'!');
            output.Write(text[..hole]);
            part.Describe(output, text[hole] == (byte)'!');
            text = text[(hole + 1)..];
        }
        output.Write(text);
    }

    public static void DescribeWords(IBufferWriter<byte> output, IReadOnlyList<string> words, bool orNull)
    {
        output.Write("\"enum\":["u8);
        for (int i = 0; i < words.Count; i++) output.Write(Encoding.UTF8.GetBytes($"{(i == 0 ? "" : ",")}\"{words[i]}\""));
        output.Write(orNull ? ",null]"u8 : "]"u8);
    }
}

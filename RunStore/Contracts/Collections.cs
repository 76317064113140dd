using System.Buffers;
using System.Text.Json;

namespace CarServer.RunStore.Contracts;

/// <summary>A JSON array, as a list.</summary>
internal sealed class ListContract<T>(IContract item) : IReads<List<T>>, IWrites<IReadOnlyList<T>>
{
    public List<T> Read(ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.StartArray) throw new JsonException();
        var items = (IReads<T>)item;
        var list = new List<T>();
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
            list.Add(reader.TokenType == JsonTokenType.Null && default(T) is null ? default! : items.Read(ref reader));
        return list;
    }

    public void Write(Utf8JsonWriter writer, IReadOnlyList<T> value)
    {
        var items = (IWrites<T>)item;
        writer.WriteStartArray();
        for (int i = 0; i < value.Count; i++)
        {
            if (value[i] is { } one) items.Write(writer, one);
            else writer.WriteNullValue();
        }
        writer.WriteEndArray();
    }

    public void Describe(IBufferWriter<byte> output, bool orNull = false)
    {
        output.Write(orNull ? "\"type\":[\"array\",\"null\"],\"items\":{"u8 : "\"type\":\"array\",\"items\":{"u8);
        item.Describe(output);
        output.Write("}"u8);
    }
}

/// <summary>A JSON object whose members are not known beforehand. None may come twice.</summary>
internal sealed class MapContract<T>(IContract item) : IReads<Dictionary<string, T>>, IWrites<IReadOnlyDictionary<string, T>>
{
    public Dictionary<string, T> Read(ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.StartObject) throw new JsonException();
        var items = (IReads<T>)item;
        var map = new Dictionary<string, T>();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string name = reader.GetString()!;
            if (map.ContainsKey(name)) throw new JsonException();
            reader.Read();
            map.Add(name, reader.TokenType == JsonTokenType.Null && default(T) is null ? default! : items.Read(ref reader));
        }
        return map;
    }

    public void Write(Utf8JsonWriter writer, IReadOnlyDictionary<string, T> value)
    {
        var items = (IWrites<T>)item;
        writer.WriteStartObject();
        // Its own enumerator is no object of a proposal.
        if (value is Dictionary<string, T> map)
        {
            foreach (KeyValuePair<string, T> member in map) Add(writer, items, member);
        }
        else
        {
            foreach (KeyValuePair<string, T> member in value) Add(writer, items, member);
        }
        writer.WriteEndObject();
    }

    private static void Add(Utf8JsonWriter writer, IWrites<T> items, KeyValuePair<string, T> member)
    {
        writer.WritePropertyName(member.Key);
        if (member.Value is { } one) items.Write(writer, one);
        else writer.WriteNullValue();
    }

    public void Describe(IBufferWriter<byte> output, bool orNull = false)
    {
        output.Write(orNull ? "\"type\":[\"object\",\"null\"],\"additionalProperties\":{"u8 : "\"type\":\"object\",\"additionalProperties\":{"u8);
        item.Describe(output);
        output.Write("}"u8);
    }
}

using System.Buffers;
using System.Text.Json;
using CarServer.RunStore;

namespace CarServer.State;

/// <summary>JSON in the one order that a hash can be taken of.</summary>
internal static class SortedJson
{
    /// <summary>
    /// Appends a value without white space and with the members of every object sorted by the bytes of their names. Strings keep their
    /// escapes and numbers their digits; members of one name keep their order.
    /// </summary>
    /// <param name="json">One JSON value.</param>
    public static void Write(ReadOnlyMemory<byte> json, IBufferWriter<byte> output)
    {
        var reader = new Utf8JsonReader(json.Span, new JsonReaderOptions { MaxDepth = RawJsonConverter.MaxWrappedDepth });
        reader.Read();
        if (reader.TokenType == JsonTokenType.StartObject) WriteObject(json, ref reader, output);
        else if (reader.TokenType == JsonTokenType.StartArray) WriteArray(json, ref reader, output);
        else output.Write(json.Span[(int)reader.TokenStartIndex..(int)reader.BytesConsumed]);
    }

    private static void WriteObject(ReadOnlyMemory<byte> json, ref Utf8JsonReader reader, IBufferWriter<byte> output)
    {
        var members = new List<Member>();
        bool isSorted = true;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            int name = (int)reader.TokenStartIndex + 1;
            ReadOnlyMemory<byte> spelled = json.Slice(name, reader.ValueSpan.Length);
            var member = new Member(spelled, NextValue(json, ref reader), members.Count);
            isSorted = isSorted && (members.Count == 0 || Compare(members[^1], member) <= 0);
            members.Add(member);
        }
        if (!isSorted) members.Sort(Compare);

        output.Write("{"u8);
        bool isFirst = true;
        foreach (Member member in members)
        {
            if (!isFirst) output.Write(","u8);
            isFirst = false;
            output.Write("\""u8);
            output.Write(member.Name.Span);
            output.Write("\":"u8);
            Write(member.Value, output);
        }
        output.Write("}"u8);
    }

    private static void WriteArray(ReadOnlyMemory<byte> json, ref Utf8JsonReader reader, IBufferWriter<byte> output)
    {
        output.Write("["u8);
        bool isFirst = true;
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (!isFirst) output.Write(","u8);
            isFirst = false;
            int start = (int)reader.TokenStartIndex;
            reader.Skip();
            Write(json[start..(int)reader.BytesConsumed], output);
        }
        output.Write("]"u8);
    }

    private static ReadOnlyMemory<byte> NextValue(ReadOnlyMemory<byte> json, ref Utf8JsonReader reader)
    {
        reader.Read();
        int start = (int)reader.TokenStartIndex;
        reader.Skip();
        return json[start..(int)reader.BytesConsumed];
    }

    private static int Compare(Member a, Member b)
    {
        int names = a.Name.Span.SequenceCompareTo(b.Name.Span);
        return names != 0 ? names : a.Place.CompareTo(b.Place);
    }

    private readonly record struct Member(ReadOnlyMemory<byte> Name, ReadOnlyMemory<byte> Value, int Place);
}

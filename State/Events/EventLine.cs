using System.Text.Json;
using CarServer.RunStore;

namespace CarServer.State.Events;

/// <summary>The members of one event as they stand in its line: each a slice with one JSON value (protocol 12.2).</summary>
internal readonly struct EventLine
{
    public ReadOnlyMemory<byte> Kind { get; private init; }
    public ReadOnlyMemory<byte> ActionId { get; private init; }
    public ReadOnlyMemory<byte> ProposalId { get; private init; }
    public ReadOnlyMemory<byte> Data { get; private init; }
    public ReadOnlyMemory<byte> Timestamp { get; private init; }

    /// <summary>Empty in an event that is in no chain; so is <see cref="Hash"/>.</summary>
    public ReadOnlyMemory<byte> PrevHash { get; private init; }
    public ReadOnlyMemory<byte> Hash { get; private init; }

    /// <summary>Whether there is a member beside these: what another version adds, or what somebody put in.</summary>
    public bool HasMore { get; private init; }

    /// <summary>False for a line that is no event: not JSON, a member missing or twice, or of a wrong type. Any kind is one.</summary>
    public static bool TryParse(ReadOnlyMemory<byte> line, out EventLine parsed)
    {
        parsed = default;
        ReadOnlyMemory<byte> kind = default, actionId = default, proposalId = default, data = default, timestamp = default, prevHash = default, hash = default;
        bool hasMore = false;
        try
        {
            var reader = new Utf8JsonReader(line.Span, new JsonReaderOptions { MaxDepth = RawJsonConverter.MaxWrappedDepth });
            if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject) return false;
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                ReadOnlySpan<byte> name = reader.ValueSpan;
                reader.Read();
                JsonTokenType type = reader.TokenType;
                int start = (int)reader.TokenStartIndex;
                reader.Skip();
                ReadOnlyMemory<byte> value = line[start..(int)reader.BytesConsumed];
                bool isText = type == JsonTokenType.String, isId = isText || type == JsonTokenType.Null;
                bool isGood = true;
                if (name.SequenceEqual("kind"u8)) isGood = isText && TrySet(ref kind, value);
                else if (name.SequenceEqual("action_id"u8)) isGood = isId && TrySet(ref actionId, value);
                else if (name.SequenceEqual("proposal_id"u8)) isGood = isId && TrySet(ref proposalId, value);
                else if (name.SequenceEqual("data"u8)) isGood = type == JsonTokenType.StartObject && TrySet(ref data, value);
                else if (name.SequenceEqual("timestamp"u8)) isGood = isText && TrySet(ref timestamp, value);
                else if (name.SequenceEqual("prev_hash"u8)) isGood = isId && TrySet(ref prevHash, value);
                else if (name.SequenceEqual("hash"u8)) isGood = isText && TrySet(ref hash, value);
                else hasMore = true;
                if (!isGood) return false;
            }
            if (reader.Read()) return false;
        }
        catch (JsonException)
        {
            return false;
        }
        if (kind.IsEmpty || actionId.IsEmpty || proposalId.IsEmpty || data.IsEmpty || timestamp.IsEmpty) return false;
        parsed = new EventLine
        {
            Kind = kind, ActionId = actionId, ProposalId = proposalId, Data = data, Timestamp = timestamp, PrevHash = prevHash, Hash = hash, HasMore = hasMore,
        };
        return true;
    }

    /// <summary>When it happened; false when the text is no time.</summary>
    public bool TryGetTime(out DateTimeOffset time)
    {
        var reader = new Utf8JsonReader(Timestamp.Span);
        time = default;
        return reader.Read() && reader.TryGetDateTimeOffset(out time);
    }

    private static bool TrySet(ref ReadOnlyMemory<byte> member, ReadOnlyMemory<byte> value)
    {
        if (!member.IsEmpty) return false;
        member = value;
        return true;
    }
}

using System.Text.Json;
using CarServer.RunStore;
using CarServer.RunStore.Contracts;

namespace CarServer.State.Events;

/// <summary>Which events are asked for (protocol 12.2). What is null asks for nothing in particular.</summary>
/// <param name="Kinds">One of these words; a word that is no kind matches nothing.</param>
/// <param name="Since">At this moment or later.</param>
/// <param name="Until">Before this moment.</param>
/// <param name="DataMatches">Each is a member of <c>data</c> and has this text; a value that is no string is compared as compact JSON.</param>
/// <param name="Limit">So many at most; 0 for all.</param>
[FromJson]
internal sealed record EventQuery(
    IReadOnlyList<string>? Kinds = null, string? ActionId = null, string? ProposalId = null, DateTime? Since = null, DateTime? Until = null,
    IReadOnlyDictionary<string, string>? DataMatches = null, int Limit = 0)
{
    /// <summary>Kinds of one query: twice as many as there are.</summary>
    public const int MaxKinds = 128;

    /// <summary>Members of <c>data</c> that one query compares: an event has some ten.</summary>
    public const int MaxDataMatches = 16;

    /// <exception cref="RefusedException">It asks for too much, or for nothing that could be.</exception>
    public void Check()
    {
        if (Kinds?.Count > MaxKinds) throw Invalid($"kinds may have at most {MaxKinds} members, got {Kinds.Count}");
        if (DataMatches?.Count > MaxDataMatches) throw Invalid($"data_matches may have at most {MaxDataMatches} members, got {DataMatches.Count}");
        if (DataMatches?.Values.Any(static text => text is null) == true) throw Invalid("data_matches compares texts: null is none");
        if (Limit < 0) throw Invalid("limit must not be negative; 0 is all");
    }

    /// <summary>The events that match, newest first.</summary>
    /// <param name="events">Oldest first.</param>
    public List<ReadOnlyMemory<byte>> Run(ReadOnlySpan<LoggedEvent> events)
    {
        bool[]? kinds = Kinds is null ? null : EventKinds.Of(Kinds);
        // As the log spells them, so that they can be compared as they stand in the line.
        RawJson? actionId = ActionId is null ? null : RawJson.FromString(ActionId), proposalId = ProposalId is null ? null : RawJson.FromString(ProposalId);
        var found = new List<ReadOnlyMemory<byte>>(Limit == 0 ? events.Length : Math.Min(Limit, events.Length));
        for (int i = events.Length - 1; i >= 0 && (Limit == 0 || found.Count < Limit); i--)
        {
            ref readonly LoggedEvent logged = ref events[i];
            if (kinds?[(int)logged.Kind] == false || logged.At < Since || logged.At >= Until) continue;
            if (actionId is not null || proposalId is not null || DataMatches is not null)
            {
                if (!EventLine.TryParse(logged.Line, out EventLine line)) continue;
                if (actionId is { } a && !line.ActionId.Span.SequenceEqual(a.Utf8)) continue;
                if (proposalId is { } p && !line.ProposalId.Span.SequenceEqual(p.Utf8)) continue;
                if (DataMatches is not null && !HasData(line.Data.Span)) continue;
            }
            found.Add(logged.Line);
        }
        return found;
    }

    private bool HasData(ReadOnlySpan<byte> data)
    {
        int matches = 0;
        var reader = new Utf8JsonReader(data, new JsonReaderOptions { MaxDepth = RawJsonConverter.MaxWrappedDepth });
        reader.Read();
        // The names are ours and come once each.
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName && matches < DataMatches!.Count)
        {
            bool isAsked = DataMatches.TryGetValue(reader.GetString()!, out string? text);
            reader.Read();
            int start = (int)reader.TokenStartIndex;
            bool isString = reader.TokenType == JsonTokenType.String;
            bool isEqual = isAsked && isString && TextEquals(ref reader, text!);
            reader.Skip();
            if (!isAsked) continue;
            if (!isString) isEqual = RawJson.Parse(data[start..(int)reader.BytesConsumed]).ToString() == text;
            if (!isEqual) return false;
            matches++;
        }
        return matches == DataMatches!.Count;
    }

    private static bool TextEquals(ref Utf8JsonReader reader, string text)
    {
        try
        {
            return reader.ValueTextEquals(text);
        }
        catch (InvalidOperationException)
        {
            return false;   // half a surrogate pair is no text
        }
    }

    private static RefusedException Invalid(string message) => new(message, Refusal.Invalid);
}

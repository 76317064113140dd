using System.Text.Json;
using System.Text.Json.Serialization;
using CarServer.Rpc.JsonRpc;
using CarServer.RunStore;
using CarServer.RunStore.Contracts;
using CarServer.State.Events;

namespace CarServer.Rpc.Methods;

/// <summary><c>events.*</c>: what happened on this connection (protocol 12.2).</summary>
internal static class EventMethods
{
    /// <summary>Events that may be looked through on the read loop: some hundred microseconds, if each has to be parsed.</summary>
    private const int MaxInlineEvents = 256;

    public static readonly Method[] Rows =
    [
        Method.Row("events.count", "{}", "Events of this connection in memory.",
            Json.NoParams, Scalar.Int32, Count),
        Method.Row("events.stats", "{}", "How many events, and how large; this daemon has no spans.",
            Json.NoParams, Json.EventStatsResult, Stats),
        Method.Row("events.truncate", "{ maxEvents?, maxSpans? }", "Drops all but the latest events from memory; what is no such number changes nothing.",
            Json.EventsTruncateParams, Json.EventsTruncateResult, Truncate),
        Method.Row("events.clear", "{}", "Drops all events from memory; the journal stays.",
            Json.NoParams, Json.EventsClearResult, Clear),
        Method.Waiting("events.query", "{ kinds?, action_id?, proposal_id?, since?, until?, data_matches?, limit? }",
            "The events in memory that match, newest first.",
            Json.EventQuery, Json.EventsQueryResult, QueryAsync),
        Method.Row("events.chain.enable", "{}", "Links each later event to the one before it by its hash.",
            Json.NoParams, Json.ChainEnableResult, EnableChain),
        Method.Waiting("events.chain.verify", "{}", "Reads this connection's journal and finds the first line that was changed.",
            Json.NoParams, Json.ChainVerifyResult, VerifyChainAsync),
        Method.Waiting("events.retention", "{ policy?: { max_events?, max_age_secs? } }", "Sets or shows which events are kept, in memory and in the journal.",
            Json.EventsRetentionParams, Json.EventsRetentionResult, RetainAsync),
        Method.Row("events.cost_by_agent", "{}", "What each agent's inference has cost on this connection, the dearest first.",
            Json.NoParams, Json.ListOfAgentCost, CostByAgent),
    ];

    internal static int Count(Call call, NoParams _) => Log(call).Count;

    internal static EventStatsResult Stats(Call call, NoParams _) => EventStatsResult.Of(Log(call).Stats());

    internal static EventsTruncateResult Truncate(Call call, EventsTruncateParams p)
    {
        (int removed, EventStats stats) = Log(call).Truncate(AsLimit(p.MaxEvents) ?? long.MaxValue);
        return new EventsTruncateResult(removed, 0, EventStatsResult.Of(stats));
    }

    internal static EventsClearResult Clear(Call call, NoParams _)
    {
        (int removed, EventStats stats) = Log(call).Truncate(0);
        return new EventsClearResult(removed, EventStatsResult.Of(stats));
    }

    internal static Task<EventsQueryResult> QueryAsync(Call call, EventQuery p)
    {
        p.Check();
        EventLog log = Log(call);
        return OffTheLoopIfLong(log, () =>
        {
            List<ReadOnlyMemory<byte>> found = p.Run(log.Events());
            return new EventsQueryResult(found.Count, new EventLines(found));
        });
    }

    internal static ChainEnableResult EnableChain(Call call, NoParams _)
    {
        Log(call).EnableChain();
        return new ChainEnableResult(true);
    }

    internal static async Task<ChainVerifyResult> VerifyChainAsync(Call call, NoParams _)
    {
        EventChain.Check check = await Task.Run(() => Log(call).VerifyChainAsync(call.Abandoned));
        return check.TamperedAt is { } index ? new ChainVerifyResult(TamperedAt: index) : new ChainVerifyResult(Verified: check.Verified);
    }

    internal static async Task<EventsRetentionResult> RetainAsync(Call call, EventsRetentionParams p)
    {
        EventLog log = Log(call);
        if (p.Policy is not { } policy) return new EventsRetentionResult(log.Retention);
        policy.Check();
        return new EventsRetentionResult(policy, await log.RetainAsync(policy));
    }

    internal static AgentCost[] CostByAgent(Call call, NoParams _) => Log(call).Read(static totals => totals.Agents);

    internal static Task<R> OffTheLoopIfLong<R>(EventLog log, Func<R> work) => log.Count <= MaxInlineEvents ? Task.FromResult(work()) : Task.Run(work);

    private static EventLog Log(Call call) => call.Session.Runtime.Events;

    private static long? AsLimit(RawJson value)
    {
        Utf8JsonReader reader = value.Reader();
        return reader.TokenType == JsonTokenType.Number && reader.TryGetInt64(out long limit) && limit >= 0 ? limit : null;
    }
}

// This pair of objects, and what is made of it, is spelled in camel case.

/// <param name="Spans">None: nothing in this daemon makes spans.</param>
[ToJson]
internal sealed record EventStatsResult(
    int Events, int Spans, [property: JsonPropertyName("approxEventBytes")] long ApproxEventBytes, [property: JsonPropertyName("approxSpanBytes")] long ApproxSpanBytes)
{
    public static EventStatsResult Of(EventStats stats) => new(stats.Events, 0, stats.Bytes, 0);
}

/// <param name="MaxEvents">Not typed, since what is no number means: leave it as it is.</param>
[FromJson]
internal sealed record EventsTruncateParams(
    [property: JsonPropertyName("maxEvents")] RawJson MaxEvents = default, [property: JsonPropertyName("maxSpans")] RawJson MaxSpans = default);

[ToJson]
internal sealed record EventsTruncateResult(
    [property: JsonPropertyName("removedEvents")] int RemovedEvents, [property: JsonPropertyName("removedSpans")] int RemovedSpans, EventStatsResult Stats);

[ToJson]
internal sealed record EventsClearResult(int Removed, EventStatsResult Stats);

/// <param name="Events">As they stand in the journal.</param>
[ToJson]
internal sealed record EventsQueryResult(int Count, EventLines Events);

/// <summary>Events on their way into an answer: copied there from where they lie, since two megabytes in one piece between would cost a collection of everything.</summary>
[JsonConverter(typeof(EventLinesConverter))]
internal readonly record struct EventLines(List<ReadOnlyMemory<byte>> Lines);

internal sealed class EventLinesConverter : JsonConverter<EventLines>
{
    /// <summary>Nobody sends events to the daemon.</summary>
    public override EventLines Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) => throw new JsonException();

    public override void Write(Utf8JsonWriter writer, EventLines value, JsonSerializerOptions options)
    {
        writer.WriteStartArray();
        foreach (ReadOnlyMemory<byte> line in value.Lines) writer.WriteRawValue(line.Span, skipInputValidation: true);
        writer.WriteEndArray();
    }
}

[ToJson]
internal sealed record ChainEnableResult(bool Ok);

/// <param name="Verified">Links of the chain; absent when one was changed.</param>
/// <param name="TamperedAt">The line, counted from 0.</param>
[ToJson]
internal sealed record ChainVerifyResult(
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] long? Verified = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] long? TamperedAt = null);

/// <param name="Policy">Null or absent: only show it. Without members: no limit.</param>
[FromJson]
internal sealed record EventsRetentionParams(EventRetention? Policy = null);

/// <param name="Removed">Events that left memory because of it.</param>
[ToJson]
internal sealed record EventsRetentionResult(
    EventRetention Policy, [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] int? Removed = null);

using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using CarServer.Rpc.JsonRpc;
using CarServer.RunStore;
using CarServer.RunStore.Contracts;
using CarServer.State;
using CarServer.State.Runs;

namespace CarServer.Rpc.Methods;

/// <summary><c>runs.*</c>: the runs of agents and their traces (protocol 13).</summary>
internal static class RunsMethods
{
    /// <summary>Bytes of records in one page: as much as a message may have. What is left can be asked for with <c>next_cursor</c>.</summary>
    private const long MaxPageBytes = Transport.Limits.DefaultMaxMessageBytes;

    private const string CompleteShape = "{ run_id, outcome: { status, summary?, evidence?, metrics?, timestamp? } }";
    private const string RecordTurnsShape = "{ run_id, turns: [RunTurn] }";

    /// <summary>Runs that <c>runs.gc</c> names in one answer: more than anybody reads, and a whole store's worth would not fit.</summary>
    private const int MaxRemovedShown = 1_000;

    public static readonly Method[] Rows =
    [
        Method.Waiting("runs.start", "{ intent, agent_id?, agent_name?, outcome_description?, idempotency_key? }",
            "Starts a run and makes it this connection's current one.",
            Json.StartRunParams, Json.StartRunResult, StartAsync),
        Method.Waiting("runs.complete", CompleteShape,
            "Ends a run with the outcome its harness reports.",
            Json.CompleteRunParams, Json.CompleteRunResult, CompleteAsync),
        Method.Waiting("runs.list", "{ agent_id, limit?, before?, status? }",
            "An agent's runs on disk, newest first.",
            Json.ListRunsParams, Json.ListRunsResult, ListAsync),
        Method.Streaming("runs.get_trace", "{ run_id, cursor?, limit? }",
            "The records of a run on disk, from a position on.",
            Json.GetTraceParams, Json.GetTraceResult, GetTraceAsync),
        Method.Waiting("runs.record_turns", RecordTurnsShape,
            "Appends turns to a run of the agent this connection is bound to.",
            Json.RecordTurnsParams, RecordTurnsRequest.Read, Json.RecordTurnsResult, RecordTurnsAsync),
        Method.Streaming("runs.subscribe", "{ run_id, cursor? }",
            "The turns of a run so far; each later record comes as runs.trace.event.",
            Json.SubscribeParams, Json.SubscribeResult, SubscribeAsync),
        Method.Row("runs.unsubscribe", "{ run_id }",
            "Ends this connection's subscription to a run.",
            Json.RunIdParams, Json.UnsubscribeResult, Unsubscribe),
        Method.Waiting("runs.gc", "{ dry_run? }",
            "Removes the finished runs that are kept no longer, as happens at every start and every hour; with dry_run only tells which.",
            Json.CollectRunsParams, Json.CollectRunsResult, CollectAsync, Access.Host),
    ];

    internal static async Task<StartRunResult> StartAsync(Call call, StartRunParams p)
    {
        string agentId = AgentIdentity.Resolve(p.AgentId, call.Session.AgentId, Environment.GetEnvironmentVariable("CAR_AGENT_ID"), p.AgentName);
        Run run = await call.State.Runs.StartAsync(call.Session.ClientId, agentId, p.Intent, p.OutcomeDescription, p.IdempotencyKey,
            opened: run => call.Session.CurrentRunId = run.RunId);
        // A farewell that began while the run was being opened may have looked for open runs too early to see this one.
        if (call.Session.Closed.IsCancellationRequested) await call.State.Runs.SweepForDisconnectAsync(call.Session.ClientId);
        return new StartRunResult(run.RunId, run.AgentId);
    }

    internal static async Task<CompleteRunResult> CompleteAsync(Call call, CompleteRunParams p)
    {
        if (call.State.Runs.Find(p.RunId) is not { } run || !RunAccess.MayComplete(call.Session, run)) throw RunRegistry.UnknownRun(p.RunId);
        if (!double.IsFinite(p.Outcome.Metrics?.DurationMs ?? 0) || p.Outcome.Evidence?.Contains(null!) == true)
            throw RpcException.BadParams("runs.complete", CompleteShape, "duration_ms is too large, or null is among the evidence");
        await call.State.Runs.CompleteAsync(p.RunId, p.Outcome);
        if (call.Session.CurrentRunId == p.RunId) call.Session.CurrentRunId = null;
        return new CompleteRunResult(p.RunId, Ok: true);
    }

    internal static async Task<ListRunsResult> ListAsync(Call call, ListRunsParams p)
    {
        if (!RunAccess.MayRead(call.Session, p.AgentId, call.State.Auth))
            throw new RefusedException($"not authorized to read runs of agent '{p.AgentId}'");
        if (p.Limit is < 1) throw new RefusedException("limit must be at least 1", Refusal.Invalid);
        RunPage page = await call.State.Runs.ListAsync(p.AgentId, p.Limit, p.Before, p.Status);
        RawJson? next = page.Next is { } place ? RawJson.FromString(place)
            : p.Limit is not null ? RawJson.Null
            : null;
        return new ListRunsResult(p.AgentId, page.Runs, next);
    }

    internal static async Task<CollectRunsResult> CollectAsync(Call call, CollectRunsParams p)
    {
        if (!call.State.Info.IsPrimary) throw new RefusedException("another daemon is the primary one for this state root: only that one removes runs");
        Collected collected = await call.State.Housekeeping.CollectAsync(p.DryRun, call.Abandoned);
        RemovedRun[] removed = [.. collected.Runs];
        Array.Sort(removed, static (a, b) => a.AgentId == b.AgentId ? b.StartedAt.CompareTo(a.StartedAt) : string.CompareOrdinal(a.AgentId, b.AgentId));
        return new CollectRunsResult(p.DryRun, removed[..Math.Min(removed.Length, MaxRemovedShown)], removed.Length, collected.Journals, collected.Retention.MaxPerAgent, collected.Retention.MaxAgeDays);
    }

    /// <summary>Without a limit all that there is, however large; with one, a page that fits into a message of usual size.</summary>
    internal static Task<StreamedResult<GetTraceResult>> GetTraceAsync(Call call, GetTraceParams p)
    {
        if (p.Cursor < 0) throw new RefusedException("cursor must not be negative", Refusal.Invalid);
        if (p.Limit is < 1) throw new RefusedException("limit must be at least 1", Refusal.Invalid);
        TraceQuery query = p.Limit is { } limit ? new TraceQuery(p.Cursor, Limit: limit, MaxBytes: MaxPageBytes) : new TraceQuery(p.Cursor);
        if (call.State.Runs.ReadTrace(p.RunId, query, agentId => RunAccess.MayRead(call.Session, agentId, call.State.Auth)) is not var (agentId, slice))
            return Task.FromResult(new StreamedResult<GetTraceResult>(new GetTraceResult(p.RunId, NotFound: true)));
        RawJson? next = p.Limit is null ? null : slice.Next is { } position ? RawJson.Parse(position.ToString(CultureInfo.InvariantCulture)) : RawJson.Null;
        return Task.FromResult(new StreamedResult<GetTraceResult>(new GetTraceResult(p.RunId, agentId, [], p.Cursor, next), "records", slice));
    }

    internal static async Task<RecordTurnsResult> RecordTurnsAsync(Call call, RecordTurnsRequest p)
    {
        if (p.RunId.Length == 0) throw RpcException.BadParams("runs.record_turns", RecordTurnsShape, "run_id is empty");
        if (p.Count is 0 or > RecordTurnsRequest.MaxTurns)
            throw RpcException.BadParams("runs.record_turns", RecordTurnsShape, $"1 to {RecordTurnsRequest.MaxTurns} turns, got {p.Count}");
        // Whose run it is comes first: to others it does not exist, whatever they send.
        if (call.State.Runs.Find(p.RunId) is not { } run || !RunAccess.MayRecord(call.Session, run, call.State.Auth))
            return Dropped(p.RunId, TurnDrop.RunNotFound);
        TurnsRecorded recorded = await call.State.Runs.RecordTurnsAsync(run, p.Turns);
        return recorded.Dropped is { } reason ? Dropped(p.RunId, reason) : new RecordTurnsResult(p.RunId, recorded.BaseIndex, recorded.Count, Ok: true);
    }

    private static RecordTurnsResult Dropped(string runId, TurnDrop reason) => new(runId, BaseIndex: 0, Count: 0, Ok: false, reason);

    internal static Task<StreamedResult<SubscribeResult>> SubscribeAsync(Call call, SubscribeParams p)
    {
        if (p.Cursor < 0) throw new RefusedException("cursor must not be negative", Refusal.Invalid);
        RunSubscriptions subscriptions = call.Session.Subscriptions;
        RunSnapshot run = call.State.Runs.Subscribe(p.RunId, p.Cursor, subscriptions, agentId => RunAccess.MayRead(call.Session, agentId, call.State.Auth));
        var shell = new SubscribeResult(p.RunId, run.AgentId, [], run.Cursor, run.Status);
        return Task.FromResult(new StreamedResult<SubscribeResult>(shell, "turns_so_far", run.Turns, sent =>
        {
            if (run.Subscriber is not { } subscriber) return;
            if (!sent) subscriptions.Forget(subscriber);
            _ = subscriber.DrainAsync();   // after the answer, so that no event can overtake it; of one that was let go it only clears up
        }));
    }

    internal static UnsubscribeResult Unsubscribe(Call call, RunIdParams p) => new(p.RunId, call.Session.Subscriptions.Close(p.RunId));
}

[FromJson]
internal sealed record StartRunParams(
    string Intent, string? AgentId = null, string? AgentName = null, string? OutcomeDescription = null, string? IdempotencyKey = null);

[ToJson]
internal sealed record StartRunResult(string RunId, string AgentId);

[FromJson]
internal sealed record CompleteRunParams(string RunId, AgentOutcome Outcome);

[ToJson]
internal sealed record CompleteRunResult(string RunId, bool Ok);

/// <param name="Before">The <c>next_before</c> of the page before, or the id of a run in the list.</param>
[FromJson]
internal sealed record ListRunsParams(string AgentId, int? Limit = null, string? Before = null, RunStatus? Status = null);

/// <param name="NextBefore">Where to go on. At the end: JSON null with a limit, absent without one.</param>
[ToJson]
internal sealed record ListRunsResult(
    string AgentId, IReadOnlyList<RunSummary> Runs,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] RawJson? NextBefore);

[FromJson]
internal sealed record GetTraceParams(string RunId, long Cursor = 0, int? Limit = null);

/// <param name="Cursor">The position of the first record, as asked for.</param>
/// <param name="NextCursor">Where to go on. At the end: JSON null with a limit, absent without one.</param>
/// <param name="NotFound">No such run, or none this caller may read; then nothing else is given.</param>
[ToJson]
internal sealed record GetTraceResult(
    string RunId,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? AgentId = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] IReadOnlyList<RawJson>? Records = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] long? Cursor = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] RawJson? NextCursor = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] bool? NotFound = null);

/// <summary>What the params of <c>runs.record_turns</c> look like. They are read by <see cref="RecordTurnsRequest.Read"/>, which makes no object of a turn.</summary>
[FromJson]
internal sealed record RecordTurnsParams(string RunId, IReadOnlyList<TurnParams> Turns);

/// <param name="Count">Turns that were sent. Those over the limit are not in <paramref name="Turns"/>.</param>
internal sealed record RecordTurnsRequest(string RunId, int Count, TurnBatch Turns)
{
    /// <summary>Turns in one call (protocol 13.7).</summary>
    public const int MaxTurns = 256;

    /// <exception cref="JsonException">They are none.</exception>
    public static RecordTurnsRequest Read(ReadOnlySpan<byte> json)
    {
        var reader = new Utf8JsonReader(json, new JsonReaderOptions { MaxDepth = RawJsonConverter.MaxDepth });
        if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject) throw new JsonException();
        string? runId = null;
        var turns = new TurnBatch();
        int? count = null;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            bool isRunId = reader.TextIs("run_id"u8), isTurns = reader.TextIs("turns"u8);
            reader.Read();
            if (isRunId && runId is null && reader.TokenType == JsonTokenType.String) runId = Text(ref reader);
            else if (isTurns && count is null) count = TurnReader.ReadAll(ref reader, json, turns, MaxTurns);
            else if (isRunId || isTurns) throw new JsonException(null, isRunId ? "$.run_id" : "$.turns", null, null);
            else reader.Skip();
        }
        return new RecordTurnsRequest(runId ?? throw new JsonException(), count ?? throw new JsonException(), turns);
    }

    private static string Text(ref Utf8JsonReader reader)
    {
        try
        {
            return reader.GetString()!;
        }
        catch (InvalidOperationException)
        {
            throw new JsonException(null, "$.run_id", null, null);   // half a surrogate pair is no text
        }
    }
}

/// <param name="Dropped">Why none was recorded.</param>
[ToJson]
internal sealed record RecordTurnsResult(
    string RunId, int BaseIndex, int Count, bool Ok,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] TurnDrop? Dropped = null);

/// <param name="Cursor">Turns that the client has already: the snapshot begins behind them.</param>
[FromJson]
internal sealed record SubscribeParams(string RunId, int Cursor = 0);

[FromJson]
internal sealed record RunIdParams(string RunId);

/// <param name="TurnsSoFar">Turn records, from the cursor that was asked for up to <paramref name="Cursor"/>.</param>
/// <param name="Cursor">Turns of the run at this moment.</param>
[ToJson]
internal sealed record SubscribeResult(string RunId, string AgentId, IReadOnlyList<RawJson> TurnsSoFar, int Cursor, RunStatus Status);

[ToJson]
internal sealed record UnsubscribeResult(string RunId, bool Removed);

[FromJson]
internal sealed record CollectRunsParams(bool DryRun = false);

/// <param name="Removed">By agent, the newest first; at most a thousand.</param>
/// <param name="RemovedCount">All of them.</param>
/// <param name="JournalsRemoved">Event journals of connections, by the same <paramref name="MaxAgeDays"/>.</param>
/// <param name="MaxPerAgent">The limit that was applied; 0 or less is none.</param>
[ToJson]
internal sealed record CollectRunsResult(
    bool DryRun, IReadOnlyList<RemovedRun> Removed, int RemovedCount, int JournalsRemoved, int MaxPerAgent, int MaxAgeDays);

using System.Globalization;
using System.Text.Json.Serialization;
using CarServer.Rpc.JsonRpc;
using CarServer.RunStore;
using CarServer.State;
using CarServer.State.Runs;

namespace CarServer.Rpc.Methods;

/// <summary><c>runs.*</c>: the runs of agents and their traces (protocol 13).</summary>
internal static class RunsMethods
{
    /// <summary>Bytes of records in one page: as much as a message may have. What is left can be asked for with <c>next_cursor</c>.</summary>
    private const long MaxPageBytes = Transport.Limits.DefaultMaxMessageBytes;

    /// <summary>Turns in one call (protocol 13.7).</summary>
    private const int MaxTurnsInBatch = 256;

    public static readonly Method[] Rows =
    [
        Method.Waiting("runs.start", "{ intent, agent_id?, agent_name?, outcome_description?, idempotency_key? }",
            "Starts a run and makes it this connection's current one.",
            RunsMethodsJson.Default.StartRunParams, RunsMethodsJson.Default.StartRunResult, StartAsync),
        Method.Waiting("runs.complete", "{ run_id, outcome: { status, summary?, evidence?, metrics?, timestamp? } }",
            "Ends a run with the outcome its harness reports.",
            RunsMethodsJson.Default.CompleteRunParams, RunsMethodsJson.Default.CompleteRunResult, CompleteAsync),
        Method.Waiting("runs.list", "{ agent_id, limit?, before? }",
            "An agent's runs on disk, newest first.",
            RunsMethodsJson.Default.ListRunsParams, RunsMethodsJson.Default.ListRunsResult, ListAsync),
        Method.Streaming("runs.get_trace", "{ run_id, cursor?, limit? }",
            "The records of a run on disk, from a position on.",
            RunsMethodsJson.Default.GetTraceParams, RunsMethodsJson.Default.GetTraceResult, GetTraceAsync),
        Method.Waiting("runs.record_turns", "{ run_id, turns: [RunTurn] }",
            "Appends turns to a run of the agent this connection is bound to.",
            RunsMethodsJson.Default.RecordTurnsParams, RunsMethodsJson.Default.RecordTurnsResult, RecordTurnsAsync),
        Method.Streaming("runs.subscribe", "{ run_id }",
            "The turns of a run so far; each later record comes as runs.trace.event.",
            RunsMethodsJson.Default.RunIdParams, RunsMethodsJson.Default.SubscribeResult, SubscribeAsync),
        Method.Row("runs.unsubscribe", "{ run_id }",
            "Ends this connection's subscription to a run.",
            RunsMethodsJson.Default.RunIdParams, RunsMethodsJson.Default.UnsubscribeResult, Unsubscribe),
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
            throw RpcException.BadParams("runs.complete", "{ run_id, outcome: { status, summary?, evidence?, metrics?, timestamp? } }", "duration_ms is too large, or null is among the evidence");
        await call.State.Runs.CompleteAsync(p.RunId, p.Outcome);
        if (call.Session.CurrentRunId == p.RunId) call.Session.CurrentRunId = null;
        return new CompleteRunResult(p.RunId, Ok: true);
    }

    internal static async Task<ListRunsResult> ListAsync(Call call, ListRunsParams p)
    {
        if (!RunAccess.MayRead(call.Session, p.AgentId, call.State.Auth))
            throw new RefusedException($"not authorized to read runs of agent '{p.AgentId}'");
        if (p.Limit is < 1) throw new RefusedException("limit must be at least 1", Refusal.Invalid);
        IReadOnlyList<RunSummary> runs = await call.State.Runs.ListAsync(p.AgentId, p.Before);
        if (p.Limit is not { } limit) return new ListRunsResult(p.AgentId, runs, NextBefore: null);
        IReadOnlyList<RunSummary> page = [.. runs.Take(limit)];
        return new ListRunsResult(p.AgentId, page, page.Count < runs.Count ? RawJson.FromString(page[^1].RunId) : RawJson.Null);
    }

    /// <summary>Without a limit all that there is, however large; with one, a page that fits into a message of usual size.</summary>
    internal static Task<StreamedResult<GetTraceResult>> GetTraceAsync(Call call, GetTraceParams p)
    {
        if (p.Cursor < 0) throw new RefusedException("cursor must not be negative", Refusal.Invalid);
        if (p.Limit is < 1) throw new RefusedException("limit must be at least 1", Refusal.Invalid);
        TraceQuery query = p.Limit is { } limit ? new TraceQuery(p.Cursor, limit, MaxPageBytes) : new TraceQuery(p.Cursor);
        if (call.State.Runs.ReadTrace(p.RunId, query, agentId => RunAccess.MayRead(call.Session, agentId, call.State.Auth)) is not var (agentId, slice))
            return Task.FromResult(new StreamedResult<GetTraceResult>(new GetTraceResult(p.RunId, NotFound: true)));
        RawJson? next = p.Limit is null ? null : slice.Next is { } position ? RawJson.Parse(position.ToString(CultureInfo.InvariantCulture)) : RawJson.Null;
        return Task.FromResult(new StreamedResult<GetTraceResult>(new GetTraceResult(p.RunId, agentId, [], p.Cursor, next), "records", slice));
    }

    internal static async Task<RecordTurnsResult> RecordTurnsAsync(Call call, RecordTurnsParams p)
    {
        if (p.RunId.Length == 0) throw RpcException.BadParams("runs.record_turns", "{ run_id, turns: [RunTurn] }", "run_id is empty");
        if (p.Turns.Count is 0 or > MaxTurnsInBatch)
            throw RpcException.BadParams("runs.record_turns", "{ run_id, turns: [RunTurn] }", $"1 to {MaxTurnsInBatch} turns, got {p.Turns.Count}");
        // The serializer lets a null stand in a list, and reads a number that is too large for a double as infinite.
        int whole = p.Turns.TakeWhile(static turn => turn is not null && double.IsFinite(turn.CliOutcome?.DurationMs ?? 0)).Count();
        if (whole < p.Turns.Count)
            throw RpcException.BadParams("runs.record_turns", "{ run_id, turns: [RunTurn] }", $"wrong or unexpected value at params.turns[{whole}]");
        // Whose run it is comes first: to others it does not exist, whatever they send.
        if (call.State.Runs.Find(p.RunId) is not { } run || !RunAccess.MayRecord(call.Session, run, call.State.Auth))
            return Dropped(p.RunId, TurnDrop.RunNotFound);
        TurnsRecorded recorded = await call.State.Runs.RecordTurnsAsync(run, [.. p.Turns.Select(turn => TurnLine.TryEncodeBody(turn.ToTurn()))]);
        return recorded.Dropped is { } reason ? Dropped(p.RunId, reason) : new RecordTurnsResult(p.RunId, recorded.BaseIndex, recorded.Count, Ok: true);
    }

    private static RecordTurnsResult Dropped(string runId, TurnDrop reason) => new(runId, BaseIndex: 0, Count: 0, Ok: false, reason);

    internal static Task<StreamedResult<SubscribeResult>> SubscribeAsync(Call call, RunIdParams p)
    {
        RunSubscriptions subscriptions = call.Session.Subscriptions;
        RunSnapshot run = call.State.Runs.Subscribe(p.RunId, subscriptions, agentId => RunAccess.MayRead(call.Session, agentId, call.State.Auth));
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

internal sealed record StartRunParams(
    string Intent, string? AgentId = null, string? AgentName = null, string? OutcomeDescription = null, string? IdempotencyKey = null);

internal sealed record StartRunResult(string RunId, string AgentId);

internal sealed record CompleteRunParams(string RunId, AgentOutcome Outcome);

internal sealed record CompleteRunResult(string RunId, bool Ok);

/// <param name="Before">The <c>next_before</c> of the page before: the id of its last run.</param>
internal sealed record ListRunsParams(string AgentId, int? Limit = null, string? Before = null);

/// <param name="NextBefore">Absent without a limit; JSON null on the last page.</param>
internal sealed record ListRunsResult(
    string AgentId, IReadOnlyList<RunSummary> Runs,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] RawJson? NextBefore);

internal sealed record GetTraceParams(string RunId, long Cursor = 0, int? Limit = null);

/// <param name="Cursor">The position of the first record, as asked for.</param>
/// <param name="NextCursor">Where to go on. At the end: JSON null with a limit, absent without one.</param>
/// <param name="NotFound">No such run, or none this caller may read; then nothing else is given.</param>
internal sealed record GetTraceResult(
    string RunId,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? AgentId = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] IReadOnlyList<RawJson>? Records = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] long? Cursor = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] RawJson? NextCursor = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] bool? NotFound = null);

/// <param name="Turns">Their <c>index</c> is not read: the run decides it.</param>
internal sealed record RecordTurnsParams(string RunId, IReadOnlyList<TurnParams> Turns);

internal sealed record TurnParams(
    string? Prompt = null, string? Tool = null, RawJson Parameters = default, RawJson Output = default, CliOutcome? CliOutcome = null,
    VerifierVerdict VerifierVerdict = VerifierVerdict.NotRun, bool? PolicyRejected = null)
{
    public RunTurn ToTurn() => new(
        0, Prompt, Tool, Parameters.IsAbsent ? null : Parameters, Output.IsAbsent ? null : Output, CliOutcome, VerifierVerdict, PolicyRejected);
}

/// <param name="Dropped">Why none was recorded.</param>
internal sealed record RecordTurnsResult(
    string RunId, int BaseIndex, int Count, bool Ok,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] TurnDrop? Dropped = null);

internal sealed record RunIdParams(string RunId);

/// <param name="TurnsSoFar">Turn records, as many as <paramref name="Cursor"/> says.</param>
internal sealed record SubscribeResult(string RunId, string AgentId, IReadOnlyList<RawJson> TurnsSoFar, int Cursor, RunStatus Status);

internal sealed record UnsubscribeResult(string RunId, bool Removed);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, RespectRequiredConstructorParameters = true,
    RespectNullableAnnotations = true, AllowOutOfOrderMetadataProperties = true, Converters = [typeof(UtcTime)], AllowDuplicateProperties = false,
    MaxDepth = RawJsonConverter.MaxDepth)]
[JsonSerializable(typeof(StartRunParams)), JsonSerializable(typeof(StartRunResult))]
[JsonSerializable(typeof(CompleteRunParams)), JsonSerializable(typeof(CompleteRunResult))]
[JsonSerializable(typeof(ListRunsParams)), JsonSerializable(typeof(ListRunsResult))]
[JsonSerializable(typeof(GetTraceParams)), JsonSerializable(typeof(GetTraceResult))]
[JsonSerializable(typeof(RecordTurnsParams)), JsonSerializable(typeof(RecordTurnsResult))]
[JsonSerializable(typeof(RunIdParams)), JsonSerializable(typeof(SubscribeResult)), JsonSerializable(typeof(UnsubscribeResult))]
internal sealed partial class RunsMethodsJson : JsonSerializerContext;

using System.Globalization;
using CarServer.Rpc.Client;
using CarServer.RunStore;

namespace CarServer.Rpc.CommandLine.Runs;

/// <summary>Follows one run until it has ended, over as many connections as that takes.</summary>
/// <remarks>
/// The trace comes first, in pages; then a subscription, whose answer brings only what came since and says from where on events come.
/// </remarks>
/// <param name="show">Called for each record once, in order.</param>
/// <param name="note">Told what goes on beside the run.</param>
internal sealed class RunWatch(string runId, Action<RawJson, RunRecord?> show, Action<string> note)
{
    /// <summary>How long an answer may take.</summary>
    private static readonly TimeSpan AnswerTime = TimeSpan.FromSeconds(30);

    /// <summary>Between two looks for what an event told of and the trace does not have yet.</summary>
    private static readonly TimeSpan LookingPause = TimeSpan.FromMilliseconds(50);

    /// <summary>Ten seconds: a disk that has not written by then has failed.</summary>
    private const int MostLooks = 200;

    private readonly LiveRun _run = new();
    private bool _isFollowing;

    /// <summary>Follows on this connection. Returns when the run has ended; may be called again when the connection is lost.</summary>
    /// <exception cref="RpcErrorException">The daemon knows no such run, or does not show it to this caller.</exception>
    /// <exception cref="RpcConnectionException">The connection was lost.</exception>
    public async Task FollowAsync(RpcClient client)
    {
        var trace = new TraceReader(client, runId);
        using var events = new TraceInbox(client);
        bool subscribed = false;
        while (!_run.IsOver)
        {
            if (!subscribed) subscribed = await SubscribedAsync(client, trace);
            // What was dropped on the way, on either side, is in the trace; only a new subscription tells whether anything was.
            else subscribed = await events.NextAsync() is var (method, parameters) && await StillSubscribedAsync(method, parameters, trace);
        }
    }

    private async Task<bool> SubscribedAsync(RpcClient client, TraceReader trace)
    {
        int before = _run.Next;
        await ReadAsync(trace, NextPosition);
        NoteHealed(before);
        if (_run.IsOver) return false;

        before = _run.Next;
        RawJson asked = RawJson.Parse(string.Create(CultureInfo.InvariantCulture, $"{{\"run_id\":{RawJson.FromString(runId)},\"cursor\":{_run.Next}}}"));
        RawJson said = await Answer(deadline => client.CallAsync("runs.subscribe", asked, deadline));
        Subscribed subscribed = RunsWire.Read("runs.subscribe", said, Json.Subscribed);
        foreach (RawJson turn in subscribed.TurnsSoFar) TakeStored(turn);
        _run.Hear(subscribed.Cursor, subscribed.Status);
        NoteHealed(before);
        _isFollowing = true;
        await CatchUpAsync(trace);
        return true;
    }

    private async Task<bool> StillSubscribedAsync(string method, RawJson parameters, TraceReader trace)
    {
        bool still = true;
        if (method == "runs.trace.lagged")
        {
            TraceLagged lagged = RunsWire.Read(method, parameters, Json.TraceLagged);
            if (lagged.RunId != runId) return true;
            _run.Hear(lagged.Cursor, lagged.Status);
            still = lagged.Subscribed;
        }
        else
        {
            TraceEvent told = RunsWire.Read(method, parameters, Json.TraceEvent);
            if (told.RunId != runId) return true;
            _run.Hear(told.Cursor, told.Status);
            RunRecord? record = TraceReader.Parse(told.Record);
            if (_run.TakeLive(record)) show(told.Record, record);
        }
        await CatchUpAsync(trace);
        return still;
    }

    /// <summary>Reads what is missing from the trace. The end of a run may reach us before it reaches the disk, so one look may not do.</summary>
    private async Task CatchUpAsync(TraceReader trace)
    {
        for (int look = 0; _run.IsBehind; look++)
        {
            if (look == MostLooks)
            {
                _run.GiveUp();
                note(_run.IsOver ? "the run has ended, but its trace does not tell how" : $"gap not healed: the trace ends before turn {_run.Next}");
                return;
            }
            if (look > 0) await Task.Delay(LookingPause);
            int before = _run.Next;
            await ReadAsync(trace, look == 1 ? 0 : NextPosition);
            NoteHealed(before);
        }
    }

    /// <summary>Of the next turn in the trace, whose head is the record of the start.</summary>
    private long NextPosition => _run.Next == 0 ? 0 : _run.Next + 1;

    private async Task ReadAsync(TraceReader trace, long from)
    {
        for (long? cursor = from; cursor is { } position && !_run.IsOver;)
        {
            TracePart part = await Answer(deadline => trace.PartAsync(position, TraceReader.PageRecords, deadline));
            IReadOnlyList<RawJson> records = part.Records ?? [];
            // Lines that are damaged have no position: behind them a turn comes earlier than its index says.
            bool tooFar = position == from && from > 0 && records.Count > 0 && TraceReader.Parse(records[0]) is RunTurn first && first.Index > _run.Next;
            cursor = tooFar ? from = 0 : part.NextCursor;
            if (tooFar) continue;
            foreach (RawJson record in records) TakeStored(record);
        }
    }

    private void TakeStored(RawJson record)
    {
        RunRecord? parsed = TraceReader.Parse(record);
        if (_run.TakeStored(parsed)) show(record, parsed);
    }

    /// <summary>What was there before we came is no gap.</summary>
    private void NoteHealed(int before)
    {
        if (_isFollowing && _run.Next > before) note(_run.Next == before + 1 ? $"gap healed: turn {before}" : $"gap healed: turns {before}-{_run.Next - 1}");
    }

    private static async Task<T> Answer<T>(Func<CancellationToken, Task<T>> call)
    {
        using var deadline = new CancellationTokenSource(AnswerTime);
        try { return await call(deadline.Token); }
        catch (OperationCanceledException) { throw new RpcConnectionException($"no answer within {ClientVerb.Seconds(AnswerTime)}"); }
    }
}

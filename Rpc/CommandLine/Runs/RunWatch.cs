using CarServer.Rpc.Client;
using CarServer.RunStore;

namespace CarServer.Rpc.CommandLine.Runs;

/// <summary>Follows one run until it has ended, over as many connections as that takes.</summary>
/// <param name="show">Called for each record once, in order.</param>
/// <param name="note">Told what goes on beside the run.</param>
internal sealed class RunWatch(string runId, Action<RawJson, RunRecord?> show, Action<string> note)
{
    /// <summary>How long an answer may take.</summary>
    private static readonly TimeSpan AnswerTime = TimeSpan.FromSeconds(30);

    /// <summary>Between two looks into a trace that does not have yet what an event told of.</summary>
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(50);

    /// <summary>Ten seconds: a disk that has not written by then has failed.</summary>
    private const int MostLooks = 200;

    private readonly LiveRun _run = new();
    private bool _headIsShown;
    private bool _isFollowing;

    /// <summary>Subscribes on this connection and follows. Returns when the run has ended; may be called again when the connection is lost.</summary>
    /// <exception cref="RpcErrorException">The daemon knows no such run, or does not show it to this caller.</exception>
    /// <exception cref="RpcConnectionException">The connection was lost.</exception>
    public async Task FollowAsync(RpcClient client)
    {
        var trace = new TraceReader(client, runId);
        if (!_headIsShown) await ShowHeadAsync(trace);
        using var events = new TraceInbox(client);
        await SubscribeAsync(client, trace);
        while (!_run.IsOver)
        {
            if (await events.NextAsync() is not { } said) await SubscribeAsync(client, trace);
            else await TakeAsync(said.Method, said.Params, client, trace);
        }
    }

    private async Task ShowHeadAsync(TraceReader trace)
    {
        TracePart head = await Answer(deadline => trace.PartAsync(0, limit: 1, deadline));
        foreach (RawJson record in head.Records ?? [])
            if (TraceReader.Parse(record) is RunStarted started) show(record, started);
        _headIsShown = true;
    }

    private async Task SubscribeAsync(RpcClient client, TraceReader trace)
    {
        RawJson asked = RawJson.Parse($"{{\"run_id\":{RawJson.FromString(runId)}}}");
        RawJson said = await Answer(deadline => client.CallAsync("runs.subscribe", asked, deadline));
        Subscribed subscribed = RunsWire.Read("runs.subscribe", said, RunsWire.Default.Subscribed);
        int before = _run.Next;
        foreach (RawJson turn in subscribed.TurnsSoFar) TakeStored(turn);
        _run.Hear(subscribed.Cursor, subscribed.Status);
        NoteHealed(before);
        await CatchUpAsync(trace);
    }

    private async Task TakeAsync(string method, RawJson parameters, RpcClient client, TraceReader trace)
    {
        if (method == "runs.trace.lagged")
        {
            TraceLagged lagged = RunsWire.Read(method, parameters, RunsWire.Default.TraceLagged);
            if (lagged.RunId != runId) return;
            _run.Hear(lagged.Cursor, lagged.Status);
            if (!lagged.Subscribed) await SubscribeAsync(client, trace);
        }
        else
        {
            TraceEvent told = RunsWire.Read(method, parameters, RunsWire.Default.TraceEvent);
            if (told.RunId != runId) return;
            _run.Hear(told.Cursor, told.Status);
            RunRecord? record = TraceReader.Parse(told.Record);
            if (_run.TakeLive(record)) show(told.Record, record);
        }
        await CatchUpAsync(trace);
    }

    /// <summary>Reads what is missing from the trace. An end may reach us before it reaches the disk, so one look may not do.</summary>
    private async Task CatchUpAsync(TraceReader trace)
    {
        for (int look = 0; _run.IsBehind; look++)
        {
            int before = _run.Next;
            // Counted from the trace's head, where `started` stands. Lines that are damaged have no place; then the whole trace is read.
            await ReadAsync(trace, before + 1);
            if (_run.Next == before && _run.IsBehind && look > 0) await ReadAsync(trace, 0);
            NoteHealed(before);
            if (!_run.IsBehind) return;
            if (look == MostLooks)
            {
                _run.GiveUp();
                note(_run.IsOver ? "the run has ended, but its trace does not tell how" : $"gap not healed: the trace does not have all turns before {_run.Next}");
                return;
            }
            await Task.Delay(Pause);
        }
    }

    private async Task ReadAsync(TraceReader trace, long from)
    {
        for (long? cursor = from; cursor is { } position && !_run.IsOver;)
        {
            TracePart part = await Answer(deadline => trace.PartAsync(position, TraceReader.PageRecords, deadline));
            foreach (RawJson record in part.Records ?? []) TakeStored(record);
            cursor = part.NextCursor;
        }
    }

    private void TakeStored(RawJson record)
    {
        RunRecord? parsed = TraceReader.Parse(record);
        if (_run.TakeStored(parsed)) show(record, parsed);
    }

    /// <summary>What comes before the first events is no gap.</summary>
    private void NoteHealed(int before)
    {
        if (_isFollowing && _run.Next > before) note(_run.Next == before + 1 ? $"gap healed: turn {before}" : $"gap healed: turns {before}-{_run.Next - 1}");
        _isFollowing = true;
    }

    private static async Task<T> Answer<T>(Func<CancellationToken, Task<T>> call)
    {
        using var deadline = new CancellationTokenSource(AnswerTime);
        try { return await call(deadline.Token); }
        catch (OperationCanceledException) { throw new RpcConnectionException($"no answer within {ClientVerb.Seconds(AnswerTime)}"); }
    }
}

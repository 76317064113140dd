using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text;
using CarServer.RunStore;
using CarServer.State.Engine;
using Microsoft.Extensions.Logging;

namespace CarServer.State.Runs;

/// <summary>All runs of the process (protocol 13). A run outlives the connection that started it.</summary>
/// <remarks>Any thread may call. No lock but each run's own; disk work is the appender's or leaves the caller's thread. What becomes of
/// runs that no daemon has in memory is <see cref="Housekeeping"/>'s matter.</remarks>
internal sealed class RunRegistry(RunCatalog catalog, Appender appender, ILogger log, TimeProvider clock) : IDisposable
{
    /// <summary>How long a first run waits for another daemon to be through with its recovery: a look at a hundred thousand traces.</summary>
    private static readonly TimeSpan LongestRecovery = TimeSpan.FromSeconds(10);

    /// <summary>How long a start waits for another one with its key, here or in another daemon: what that waits for is its first write.</summary>
    private static readonly TimeSpan LongestStart = TimeSpan.FromSeconds(10);

    /// <summary>Starts with a key that are under way at once: each holds a file open until its first line is stored.</summary>
    private const int MaxKeyedStarts = 64;

    /// <summary>Between two looks at a key that somebody else is starting a run with: from a millisecond on, doubled each time.</summary>
    private static readonly TimeSpan LongestPause = TimeSpan.FromMilliseconds(50);

    private readonly ConcurrentDictionary<string, Run> _runs = new();

    /// <summary>The open ones among them, so that a disconnect need not look at every run there ever was.</summary>
    private readonly ConcurrentDictionary<string, Run> _open = new();

    private readonly ConcurrentQueue<Run> _ended = new();
    private readonly SemaphoreSlim _root = new(1);
    private readonly SemaphoreSlim _keyedStarts = new(MaxKeyedStarts);
    private volatile bool _rootIsReady;
    private volatile bool _hasDropped;   // turns of some run
    private bool _waitedForShare;
    private IDisposable? _share;   // of the store, from the first run on: another daemon must not adopt what is open here

    public static RefusedException UnknownRun(string runId) => new($"unknown run_id `{runId}`");

    /// <summary>A run this process knows, open or ended; null otherwise.</summary>
    public Run? Find(string runId) => _runs.GetValueOrDefault(runId);

    /// <summary>True from a run's start until its end is accepted.</summary>
    public bool IsOpen(string runId) => _open.ContainsKey(runId);

    /// <summary>Has the index of run ids agree with what is on disk.</summary>
    public RunIndexing Indexing { get; } = new(catalog, log, clock);

    /// <summary>Ends that the disk refused; <see cref="Housekeeping"/> offers them again.</summary>
    public RefusedEnds RefusedEnds { get; } = new(log);

    /// <summary>Starts a run, or finds the one that <paramref name="runId"/> names already and makes it this connection's.</summary>
    /// <param name="runId">The caller's own id for it (<c>idempotency_key</c>); null for a random one.</param>
    /// <param name="opened">Called as soon as the run exists, before the disk is waited for.</param>
    /// <returns>When the disk has, or has refused, the first line. A refusal is logged and keeps nothing from going on.</returns>
    /// <exception cref="RefusedException">An id that can't be a file name, a text over its limit, a key that belongs to another agent, or one
    /// that somebody else has been starting a run with for <see cref="LongestStart"/>.</exception>
    public async Task<Run> StartAsync(string clientId, string agentId, string intent, string? outcomeDescription,
        string? runId = null, Action<Run>? opened = null)
    {
        CheckName("agent_id", agentId);
        if (runId is not null) CheckName("idempotency_key", runId);
        CheckLength("intent", intent);
        CheckLength("outcome_description", outcomeDescription);
        if (!_rootIsReady) await EnsureRootAsync();

        if (runId is null) return await HeadStoredAsync(Open(new RunStarted(Guid.NewGuid().ToString(), agentId, intent, outcomeDescription, Now), clientId), opened);

        await _keyedStarts.WaitAsync();
        try
        {
            (Run? existing, RunClaim? claim) = await FindOrClaimAsync(agentId, runId, clientId);
            using RunClaim? untilStored = claim;
            Run run = existing is not null ? Resume(existing, clientId, agentId) : Open(new RunStarted(runId, agentId, intent, outcomeDescription, Now), clientId);
            return await HeadStoredAsync(run, opened);
        }
        finally
        {
            _keyedStarts.Release();
        }
    }

    private async Task<Run> HeadStoredAsync(Run run, Action<Run>? opened)
    {
        opened?.Invoke(run);
        try
        {
            await run.HeadStored;
        }
        catch (IOException e)
        {
            log.LogWarning("run {RunId}: its start could not be stored yet: {Reason}", run.RunId, e.Message);
        }
        return run;
    }

    /// <summary>Ends a run with the outcome that its harness reports.</summary>
    /// <exception cref="RefusedException">No such run, it has ended (protocol 13.5), or the disk refused: then it is still open.</exception>
    public async Task CompleteAsync(string runId, AgentOutcome outcome)
    {
        Run run = Find(runId) ?? throw UnknownRun(runId);
        if (!run.TryEnd(new RunOutcome(outcome.WithDefaults(Now)), Now, mayFail: true, out Task? stored))
            throw new RefusedException($"run `{runId}` is already terminal — cannot record another outcome");
        try
        {
            await stored;
        }
        catch (IOException e)
        {
            throw StoreRefused(e);
        }
        Ended(run);
    }

    /// <summary>Stores turns in a run (protocol 13.7).</summary>
    /// <exception cref="RefusedException">The disk refused, and none of them is in the run.</exception>
    public async Task<TurnsRecorded> RecordTurnsAsync(Run run, TurnBatch turns)
    {
        if (!run.IsOpen) return new TurnsRecorded(0, 0, TurnDrop.RunTerminal);
        if (turns.HasTooLarge) return new TurnsRecorded(0, 0, TurnDrop.TurnTooLarge);
        try
        {
            return await run.RecordAsync(turns, whatFits: false);
        }
        catch (IOException e)
        {
            throw StoreRefused(e);
        }
    }

    /// <summary>Follows a run: what was stored so far, and from there on every event. Of an ended run there is only the former.</summary>
    /// <param name="from">Turns that the subscriber has already.</param>
    /// <param name="mayRead">Given the owner's agent id.</param>
    /// <exception cref="RefusedException">No such run, or none this caller may read; open in another daemon; or its trace can't be read.</exception>
    public RunSnapshot Subscribe(string runId, int from, RunSubscriptions subscriptions, Func<string, bool> mayRead)
    {
        CheckName("run_id", runId);
        if (Find(runId) is { IsOnlyOnDisk: false } run)
        {
            if (!mayRead(run.AgentId)) throw UnknownRun(runId);
            RunSubscriber subscriber = subscriptions.Open(run);
            int? stored = run.Add(subscriber);
            if (stored is null) subscriptions.Forget(subscriber);
            try
            {
                catalog.TryGetPath(run.AgentId, runId, out string path);
                TraceSlice? turns = from >= stored ? null : OpenTrace(path, runId, new TraceQuery(from, stored ?? long.MaxValue, TurnsOnly: true));
                return stored is { } cursor
                    ? new RunSnapshot(run.AgentId, turns, cursor, RunStatus.InProgress, subscriber)
                    : new RunSnapshot(run.AgentId, turns, (int)(turns?.End ?? 0), run.Status, null);
            }
            catch
            {
                subscriptions.Forget(subscriber);
                throw;
            }
        }
        if (catalog.Find(runId) is not { } trace || !mayRead(trace.AgentId) || trace.Summarise() is not { } summary) throw UnknownRun(runId);
        if (summary.Status == RunStatus.InProgress) throw new RefusedException($"run `{runId}` is open in another daemon: subscribe there");
        TraceSlice? told = OpenTrace(trace.Path, runId, new TraceQuery(from, TurnsOnly: true));
        return new RunSnapshot(trace.AgentId, told, (int)(told?.End ?? 0), summary.Status, null);
    }

    /// <summary>Ends a run that nobody will complete. False when there was nothing to end.</summary>
    public async Task<bool> MarkIncompleteAsync(string runId)
    {
        if (Find(runId) is not { File: { } file } run) return false;
        DateTime now = Now;
        Task? stored;
        while (!run.TryEnd(new RunIncomplete(), now, mayFail: false, out stored))
        {
            // An outcome is on its way to the disk: were it refused, the run would stay open, and who could try again has gone.
            if (stored is null || await IsStoredAsync(stored)) return false;
        }
        Ended(run);
        try
        {
            await stored;
        }
        catch (IOException e)
        {
            log.LogWarning("run {RunId}: its end could not be stored yet: {Reason}", run.RunId, e.Message);
            RefusedEnds.RetryLater(file, new RunEnded(run.RunId, run.AgentId, new RunIncomplete(), now).ToLine());
        }
        return true;
    }

    private static async Task<bool> IsStoredAsync(Task stored)
    {
        try
        {
            await stored;
            return true;
        }
        catch (IOException)
        {
            return false;
        }
    }

    /// <summary>After a disconnect: gives a <c>runs.complete</c> on its way <see cref="RunLimits.CompleteGrace"/>, then ends what that client left open.</summary>
    public async Task SweepForDisconnectAsync(string clientId)
    {
        List<Run> left = [.. _open.Values.Where(run => run.ClientId == clientId)];
        if (left.Count == 0) return;
        await Task.Delay(RunLimits.CompleteGrace, clock);
        // Asked again: another connection may have taken a run over with its key, and then its end is that connection's matter.
        await Task.WhenAll(left.Where(run => run.ClientId == clientId).Select(run => MarkIncompleteAsync(run.RunId)));
    }

    /// <summary>For a graceful stop: ends every open run at once.</summary>
    public Task MarkAllOpenAsync() => Task.WhenAll(_open.Keys.Select(MarkIncompleteAsync));

    /// <summary>Records what a submitted proposal did. Never throws: what can't be recorded is logged and counted on the run.</summary>
    /// <param name="runId">The connection's current run; a run that is gone or has ended takes nothing, silently (protocol 13.4).</param>
    public async Task RecordProposalAsync(string runId, ActionProposal proposal, ProposalResult result)
    {
        if (Find(runId) is not { IsOpen: true } run) return;
        var turns = new TurnBatch();
        foreach (RunTurn turn in TurnRecorder.ToTurns(proposal, result)) turns.Add(turn);
        int recorded = 0;
        string reason = "over the limits";
        try
        {
            TurnsRecorded outcome = await run.RecordAsync(turns, whatFits: true);
            if (outcome.Dropped == TurnDrop.RunTerminal) return;
            recorded = outcome.Count;
        }
        catch (IOException e)
        {
            reason = e.Message;
        }
        int dropped = result.Results.Count - recorded;
        if (dropped == 0) return;
        _hasDropped = true;
        run.CountDropped(dropped);
        log.LogWarning("run {RunId}: {Count} turns of proposal {ProposalId} were not recorded: {Reason}", runId, dropped, proposal.Id, reason);
    }

    /// <summary>A page of an agent's runs on disk, the newest start first.</summary>
    /// <param name="before">What the page before told, or a run id: only those after it in that order. Null: from the first.</param>
    /// <param name="status">Only runs that have it; null for all.</param>
    /// <exception cref="RefusedException">An id that can't be a file name, or <paramref name="before"/> is no place in this list.</exception>
    public Task<RunPage> ListAsync(string agentId, int? limit = null, string? before = null, RunStatus? status = null)
    {
        CheckName("agent_id", agentId);
        return Task.Run(() =>
        {
            IReadOnlyList<RunSummary> runs = catalog.List(agentId);
            IEnumerable<RunSummary> rest = runs;
            if (before is not null)
            {
                RunPlace place = runs.FirstOrDefault(run => run.RunId == before) is { } named ? RunPlace.Of(named)
                    : RunPlace.TryParse(before, out RunPlace given) ? given
                    : throw new RefusedException($"before: agent '{agentId}' has no run '{before}'", Refusal.Invalid);
                rest = rest.Where(run => RunPlace.Of(run).CompareTo(place) > 0);
            }
            if (status is not null) rest = rest.Where(run => run.Status == status);
            return RunPage.Of(rest.Select(WithWhatIsKnownHere), limit);
        });
    }

    /// <summary>Of a run in memory the disk may have lines already that nobody was told of, or will have to give back.</summary>
    private RunSummary WithWhatIsKnownHere(RunSummary stored)
    {
        if ((stored.Status != RunStatus.InProgress && !_hasDropped) || Find(stored.RunId) is not { } run || run.AgentId != stored.AgentId) return stored;
        (int turns, RunStatus status) = run.Position;
        if (status != RunStatus.InProgress || stored.Status != RunStatus.InProgress) turns = stored.TurnCount;
        return turns == stored.TurnCount && run.TurnsDropped == 0 ? stored : stored with { TurnCount = turns, TurnsDropped = run.TurnsDropped };
    }

    /// <summary>A piece of a run's trace on disk; null when there is none, or none this caller may read.</summary>
    /// <param name="mayRead">Given the owner's agent id. Asked before the trace is opened.</param>
    /// <exception cref="RefusedException">An id that can't be a file name, or the trace can't be read.</exception>
    public (string AgentId, TraceSlice Slice)? ReadTrace(string runId, TraceQuery query, Func<string, bool> mayRead)
    {
        CheckName("run_id", runId);
        if (catalog.Find(runId) is not { } trace || !mayRead(trace.AgentId)) return null;
        // Behind the turns that are acknowledged there may be some that the disk will have to give back.
        if (Find(runId) is { IsOnlyOnDisk: false } run && run.AgentId == trace.AgentId && run.Position is (var turns, RunStatus.InProgress))
            query = query with { Until = Math.Min(query.Until, turns + (query.TurnsOnly ? 0 : 1)) };
        return OpenTrace(trace.Path, runId, query) is { } slice ? (trace.AgentId, slice) : null;
    }

    /// <summary>Null when there is no such file.</summary>
    private TraceSlice? OpenTrace(string path, string runId, TraceQuery query)
    {
        try
        {
            TraceSlice slice = TraceSlice.Open(path, query);
            if (slice.DamagedLines > 0) log.LogWarning("{Path}: {Count} damaged lines left out", path, slice.DamagedLines);
            return slice;
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;   // removed since it was found
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            log.LogError("{Path} can't be read: {Reason}", path, PrivateFiles.Reason(e));
            throw new RefusedException($"run store: the trace of run `{runId}` can't be read");
        }
    }

    private static RefusedException StoreRefused(IOException e) => new($"run store: {e.Message}");

    private DateTime Now => clock.GetUtcNow().UtcDateTime;

    private static void CheckName(string field, string id)
    {
        if (RunPath.TryEncode(id, out _)) return;
        throw new RefusedException(
            $"{field} must not be empty, '.' or '..', and must fit into {RunPath.MaxNameBytes} bytes as a file name", Refusal.Invalid);
    }

    private static void CheckLength(string field, string? text)
    {
        if (text is not null && Encoding.UTF8.GetByteCount(text) > RunLimits.MaxIntentBytes)
            throw new RefusedException($"{field} is longer than {RunLimits.MaxIntentBytes} bytes", Refusal.Invalid);
    }

    /// <summary>Lets go of the store. The runs must have ended, and the appender with them.</summary>
    public void Dispose()
    {
        Indexing.Dispose();
        _share?.Dispose();
        _root.Dispose();
        _keyedStarts.Dispose();
    }

    private async Task EnsureRootAsync()
    {
        await _root.WaitAsync();   // who comes second has nothing else to do than to wait for the first
        try
        {
            if (_rootIsReady) return;
            await Task.Run(() => catalog.EnsureRoot(appender.Durability));
            long start = Stopwatch.GetTimestamp();
            while ((_share ??= catalog.TryHold(alone: false)) is null && !_waitedForShare && Stopwatch.GetElapsedTime(start) < LongestRecovery) await Task.Delay(5);
            if (_share is null && !_waitedForShare) log.LogWarning("run store: {Root} can't be held: another daemon may end what is open here", catalog.Root);
            // Without it every start tries again, but only the first one waits: a full disk, which may be the reason, gets space again.
            _waitedForShare = true;
            _rootIsReady = _share is not null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            log.LogWarning("run store: {Root} can't be prepared: {Reason}", catalog.Root, PrivateFiles.Reason(e));
        }
        finally
        {
            _root.Release();
        }
    }

    private Run Open(RunStarted started, string clientId)
    {
        catalog.TryGetPath(started.AgentId, started.RunId, out string path);
        var run = new Run(started, clientId, appender, path);
        run.File!.BeforeCreation = () => catalog.AddToIndex(started.AgentId, started.RunId);
        if (!_runs.TryAdd(run.RunId, run)) return Resume(_runs[run.RunId], clientId, started.AgentId);   // the same key, at the same time
        _open[run.RunId] = run;
        run.Begin();
        return run;
    }

    private static Run Resume(Run run, string clientId, string agentId)
    {
        if (run.AgentId != agentId) throw new RefusedException($"idempotency_key `{run.RunId}` belongs to a run of another agent");
        run.ClientId = clientId;
        return run;
    }

    /// <summary>A run by its key: from memory, else from disk, else the claim to start it.</summary>
    private async Task<(Run? Existing, RunClaim? Claim)> FindOrClaimAsync(string agentId, string runId, string clientId)
    {
        long start = Stopwatch.GetTimestamp();
        for (TimeSpan pause = TimeSpan.FromMilliseconds(1); ; pause = pause * 2 < LongestPause ? pause * 2 : LongestPause)
        {
            if (Find(runId) is { } known) return (known, null);
            if (await ClaimAsync(agentId, runId) is { } claim)
            {
                if (!claim.IndexIsComplete) Indexing.BeginSoon();
                return (Find(runId) ?? (claim.Taken is { } trace ? Load(trace, clientId) : null), claim);
            }
            if (Stopwatch.GetElapsedTime(start) > LongestStart) throw new RefusedException($"idempotency_key `{runId}`: somebody else is starting a run with it, and the disk does not answer: try again");
            await Task.Delay(pause);
        }
    }

    private async Task<RunClaim?> ClaimAsync(string agentId, string runId)
    {
        try
        {
            return await Task.Run(() => catalog.TryClaim(agentId, runId));
        }
        catch (IOException e)
        {
            throw StoreRefused(e);
        }
    }

    /// <summary>A run found on disk counts as ended: either it is, or another daemon has it.</summary>
    private Run Load(TraceFile trace, string clientId)
    {
        Run stored = Run.FromDisk(trace.RunId, trace.AgentId, clientId, new RunIncomplete(), appender);
        Run kept = _runs.GetOrAdd(trace.RunId, stored);
        if (kept == stored) Retire(kept);
        return kept;
    }

    private void Ended(Run run)
    {
        _open.TryRemove(run.RunId, out _);
        Retire(run);
    }

    /// <summary>Keeps the header of an ended run for a while, and lets go of the oldest.</summary>
    private void Retire(Run run)
    {
        _ended.Enqueue(run);
        if (_ended.Count > RunLimits.MaxEndedRuns && _ended.TryDequeue(out Run? oldest)) _runs.TryRemove(KeyValuePair.Create(oldest.RunId, oldest));
    }
}

/// <summary>A run at the moment of a subscription (protocol 13.8).</summary>
/// <param name="Turns">The turns so far, but for those the subscriber has; null when there are none.</param>
/// <param name="Cursor">How many turns the run has.</param>
/// <param name="Subscriber">Set while the run is open; its task is to be started when the client has the snapshot.</param>
internal sealed record RunSnapshot(string AgentId, TraceSlice? Turns, int Cursor, RunStatus Status, RunSubscriber? Subscriber);

using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using CarServer.RunStore;
using CarServer.State.Sessions;

namespace CarServer.State.Runs;

/// <summary>One run while the daemon knows it: its header, the queue to its trace file, and who follows it.</summary>
/// <remarks>
/// <para>What a caller brings is queued under the run's lock and committed by one loop per run, a group at a time: number the turns,
/// append the lines, and when the disk has them, under the lock again, count them and hand them to the subscribers. So an index is
/// given only to a turn that is stored, indices have no gap on the wire or on disk even when the disk refuses something in between,
/// nothing can be seen live that a replay would not show, and <c>ended</c> cannot overtake a batch that was accepted before it.</para>
/// <para>Batches that arrive while one is being written go out together with the next write. The turns themselves are on disk and
/// nowhere else: a long run costs no more memory than a short one.</para>
/// </remarks>
internal sealed class Run
{
    /// <summary>What waits for a run that has ended, or was never open here.</summary>
    private static readonly Queue<Batch> s_nothing = [];

    private readonly Appender _appender;
    private AppendFile? _file;

    private readonly Lock _gate = new();
    private Queue<Batch> _waiting = s_nothing;
    private HashSet<RunSubscriber>? _subscribers;
    private int _count;                   // turns stored
    private int _claimed;                 // turns stored and turns accepted for storing
    private bool _committing;
    private bool _ending;                 // an end was accepted; nothing comes after it
    private Task? _endStored;             // while that end is on its way to the disk
    private RunTermination? _termination; // set when the end is shown

    /// <summary>The <c>started</c> line until the disk has taken it; goes ahead of whatever is written first.</summary>
    private byte[]? _unwrittenHead;

    private Run(string runId, string agentId, string clientId, Appender appender, AppendFile? file)
    {
        RunId = runId;
        AgentId = agentId;
        ClientId = clientId;
        _appender = appender;
        _file = file;
    }

    /// <summary>A fresh run. Nothing is written before <see cref="Begin"/>.</summary>
    public Run(RunStarted started, string clientId, Appender appender, string path)
        : this(started.RunId, started.AgentId, clientId, appender, appender.File(path))
    {
        _unwrittenHead = started.ToLine();
        var head = new Batch(null, null);
        _waiting = new Queue<Batch>([head]);
        HeadStored = head.Settled.Task;
    }

    /// <summary>A run that ended before this daemon started, known from its trace. Takes no turns and writes nothing.</summary>
    public static Run FromDisk(string runId, string agentId, string clientId, RunTermination termination, Appender appender) =>
        new(runId, agentId, clientId, appender, null) { _ending = true, _termination = termination, IsOnlyOnDisk = true };

    public string RunId { get; }
    public string AgentId { get; }

    /// <summary>It was never open here: how it ended, or whether another daemon has it open, only its trace tells.</summary>
    public bool IsOnlyOnDisk { get; private init; }

    /// <summary>The trace; null once the run has ended and everything is written, or refused.</summary>
    public AppendFile? File => _file;

    /// <summary>The connection whose end ends this run: the one that started it, or that last started it again under its key.</summary>
    public volatile string ClientId;

    /// <summary>Completes when the <c>started</c> line is with the operating system; fails with <see cref="IOException"/> when it was
    /// refused. The run goes on either way, and the line is offered again with the first turns.</summary>
    public Task HeadStored { get; } = Task.CompletedTask;

    /// <summary>Sends the <c>started</c> line to the disk.</summary>
    public void Begin() => Commit();

    public RunStatus Status
    {
        get { lock (_gate) return _termination?.Status ?? RunStatus.InProgress; }
    }

    /// <summary>False as soon as an end is accepted, even while its record is still on the way to the disk.</summary>
    public bool IsOpen
    {
        get { lock (_gate) return !_ending; }
    }

    /// <summary>The turns that are stored, and the status that goes with them.</summary>
    public (int Turns, RunStatus Status) Position
    {
        get { lock (_gate) return (_count, _termination?.Status ?? RunStatus.InProgress); }
    }

    /// <summary>From now on the subscriber is handed what is stored. Null: the run has ended, and nothing will come.</summary>
    /// <returns>How many turns were stored before; they are the first ones on disk.</returns>
    public int? Add(RunSubscriber subscriber)
    {
        lock (_gate)
        {
            if (_termination is not null) return null;
            (_subscribers ??= []).Add(subscriber);
            return _count;
        }
    }

    public void Remove(RunSubscriber subscriber)
    {
        lock (_gate) _subscribers?.Remove(subscriber);
    }

    /// <summary>Turns of proposals that ran but could not be recorded: no room, too large, or refused by the disk (protocol 25).</summary>
    public int TurnsDropped => _turnsDropped;
    private int _turnsDropped;

    public void CountDropped(int turns) => Interlocked.Add(ref _turnsDropped, turns);

    /// <summary>Stores turns, in this order and without others in between. They are the run's from now on.</summary>
    /// <param name="whatFits">With too many turns: true stores those that fit below <see cref="RunLimits.MaxTurns"/>, false stores none.</param>
    /// <exception cref="IOException">From the task: the disk refused, and none of them is in the run.</exception>
    public async Task<TurnsRecorded> RecordAsync(TurnBatch turns, bool whatFits)
    {
        using TurnBatch ours = turns;
        Batch batch;
        lock (_gate)
        {
            if (_ending) return new TurnsRecorded(0, 0, TurnDrop.RunTerminal);
            int room = RunLimits.MaxTurns - _claimed;
            if (turns.Count > room && (!whatFits || room == 0)) return new TurnsRecorded(0, 0, TurnDrop.RunTurnLimit);
            if (turns.Count > room) turns.Keep(room);
            _claimed += turns.Count;
            batch = new Batch(turns, null);
            _waiting.Enqueue(batch);
        }
        Commit();
        await batch.Settled.Task;
        return new TurnsRecorded(batch.BaseIndex, turns.Count, null);
    }

    /// <summary>Ends the run. False: it has ended already, or is about to.</summary>
    /// <param name="mayFail">When the disk refuses the record. True: the run stays open, and can be ended again. False: it ends all the
    /// same, for nobody is there to try again.</param>
    /// <param name="stored">Completes when the end is shown and its record is with the operating system; fails with
    /// <see cref="IOException"/> when the disk refused the record. With false: that of the end accepted before, null once it is shown.</param>
    public bool TryEnd(RunTermination termination, DateTime now, bool mayFail, [NotNullWhen(true)] out Task? stored)
    {
        byte[] line = new RunEnded(RunId, AgentId, termination, now).ToLine();
        var end = new Batch(null, new End(termination, line, mayFail));
        lock (_gate)
        {
            stored = _endStored;
            if (_ending) return false;
            _ending = true;
            stored = _endStored = end.Settled.Task;
            _waiting.Enqueue(end);
        }
        Commit();
        return true;
    }

    /// <summary>Starts the commit loop unless it runs. It ends when nothing waits.</summary>
    private void Commit()
    {
        lock (_gate)
        {
            if (_committing) return;
            _committing = true;
        }
        _ = CommitLoopAsync();
    }

    private async Task CommitLoopAsync()
    {
        // On a connection's loop the rest of what one read brought comes first: its turns are written, and shown, together.
        if (SynchronizationContext.Current is not null) await Task.Yield();
        while (TakeGroup() is { } group)
        {
            IOException? failure = await TryStoreAsync(group);
            if (failure is null || group.Count == 1)
            {
                if (failure is not null) Refuse(group[0], failure);
                continue;
            }
            // The group was our idea: one batch too big for the disk must not take its neighbours with it.
            foreach (Batch batch in group)
            {
                if (await TryStoreAsync([batch]) is { } own) Refuse(batch, own);
            }
        }
    }

    /// <summary>What is written next, up to <see cref="RunLimits.MaxCommitBytes"/>; null, and the loop over, when nothing waits.</summary>
    private List<Batch>? TakeGroup()
    {
        lock (_gate)
        {
            if (_waiting.Count == 0)
            {
                _committing = false;
                if (_termination is not null) (_waiting, _file) = (s_nothing, null);   // thousands of ended runs are kept
                return null;
            }
            List<Batch> group = [];
            long bytes = 0;
            while (_waiting.TryPeek(out Batch? next) && (group.Count == 0 || bytes + next.Bytes <= RunLimits.MaxCommitBytes))
            {
                bytes += next.Bytes;
                group.Add(_waiting.Dequeue());
            }
            return group;
        }
    }

    private async Task<IOException?> TryStoreAsync(List<Batch> group)
    {
        int size = _unwrittenHead?.Length ?? 0;
        foreach (Batch batch in group) size += batch.Bytes;
        byte[] memory = ArrayPool<byte>.Shared.Rent(size);
        try
        {
            Block block = Encode(group, memory);
            if (block.Bytes.Length > 0) await _appender.AppendAsync(_file!, block.Bytes);
            Show(group, block);
        }
        catch (IOException e)
        {
            return e;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(memory);
        }
        foreach (Batch batch in group) batch.Settled.SetResult();
        return null;
    }

    /// <summary>The lines of a group, one after another, as they go to the disk. Only the commit loop adds turns, so it may count them.</summary>
    private Block Encode(List<Batch> group, byte[] memory)
    {
        int used = 0;
        if (_unwrittenHead is { } head)
        {
            head.CopyTo(memory, 0);
            used = head.Length;
        }
        var lines = new List<ReadOnlyMemory<byte>>();
        foreach (Batch batch in group)
        {
            batch.BaseIndex = _count + lines.Count;
            for (int i = 0; i < batch.Count; i++)
            {
                int length = TurnLine.Write(memory.AsSpan(used), _count + lines.Count, batch.Turns![i]);
                lines.Add(memory.AsMemory(used, length - 1));
                used += length;
            }
            if (batch.End is { } end)
            {
                end.Line.CopyTo(memory, used);
                used += end.Line.Length;
            }
        }
        return new Block(memory.AsMemory(0, used), lines);
    }

    /// <summary>Makes what is stored part of the run, and hands its very bytes to whoever follows it.</summary>
    private void Show(List<Batch> group, Block block)
    {
        lock (_gate)
        {
            if (_unwrittenHead is { } head)
            {
                _unwrittenHead = null;
                HandOut([head.AsMemory(0, head.Length - 1)], 0);
            }
            HandOut(block.Turns, 1);
            _count += block.Turns.Count;
            if (group[^1].End is { } end) ShowEnd(end);
        }
    }

    /// <summary>Tells a caller that the disk refused. The end of an abandoned run is an end all the same.</summary>
    private void Refuse(Batch batch, IOException failure)
    {
        lock (_gate)
        {
            _claimed -= batch.Count;
            if (batch.End is { MayFail: true }) (_ending, _endStored) = (false, null);
            else if (batch.End is { } end) ShowEnd(end);
        }
        batch.Settled.SetException(failure);
    }

    private void ShowEnd(End end)
    {
        _termination = end.Termination;
        _endStored = null;
        HandOut([end.Line.AsMemory(0, end.Line.Length - 1)], 0);
        if (_subscribers is null) return;
        foreach (RunSubscriber subscriber in _subscribers) subscriber.Complete();
        _subscribers = null;
    }

    /// <summary>Each record is encoded once, however many follow the run.</summary>
    /// <param name="step">1 for turns, which count; 0 for <c>started</c> and <c>ended</c>.</param>
    private void HandOut(IReadOnlyList<ReadOnlyMemory<byte>> records, int step)
    {
        if (_subscribers is not { Count: > 0 } subscribers) return;
        IClientChannel encoder = subscribers.First().Channel;
        RunStatus status = _termination?.Status ?? RunStatus.InProgress;
        var piece = new ArrayBufferWriter<byte>();
        for (int i = 0; i < records.Count; i++)
        {
            var happened = new RunTraceEvent(RunId, AgentId, RawJson.FromCompact(records[i].ToArray()), _count + (i + 1) * step, status);
            encoder.Encode(piece, RunTraceEvent.Method, happened, Json.RunTraceEvent);
            if (piece.WrittenCount < RunLimits.MaxPieceBytes && i + 1 < records.Count) continue;
            foreach (RunSubscriber subscriber in subscribers) subscriber.Offer(piece.WrittenMemory);
            piece = new ArrayBufferWriter<byte>();
        }
    }

    private sealed class Batch(TurnBatch? turns, End? end)
    {
        public TurnBatch? Turns => turns;
        public int Count { get; } = turns?.Count ?? 0;
        public End? End => end;
        public int BaseIndex { get; set; }

        /// <summary>Who waits goes on at once, on the thread that heard from the disk: he only answers a client.</summary>
        public TaskCompletionSource Settled { get; } = new();

        /// <summary>What its lines need at most.</summary>
        public int Bytes { get; } = (turns?.MaxSize ?? 0) + (end?.Line.Length ?? 0);
    }

    /// <param name="MayFail">Whether the run stays open when the disk refuses the record.</param>
    private sealed record End(RunTermination Termination, byte[] Line, bool MayFail);

    private readonly record struct Block(ReadOnlyMemory<byte> Bytes, List<ReadOnlyMemory<byte>> Turns);
}

/// <summary>Why turns were not recorded, in the protocol's words (13.7).</summary>
internal enum TurnDrop { RunNotFound, RunTerminal, RunTurnLimit, TurnTooLarge }

/// <param name="BaseIndex">Index of the first recorded turn.</param>
/// <param name="Count">How many were recorded.</param>
/// <param name="Dropped">Set when none was.</param>
internal readonly record struct TurnsRecorded(int BaseIndex, int Count, TurnDrop? Dropped);

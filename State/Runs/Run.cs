using System.Diagnostics.CodeAnalysis;
using CarServer.RunStore;

namespace CarServer.State.Runs;

/// <summary>One run while the daemon knows it: its header, its turns, and the queue to its trace file.</summary>
/// <remarks>
/// <para>What a caller brings is queued under the run's lock and committed by one loop per run, a group at a time: number the turns,
/// append the lines, and when the disk has them, under the lock again, show them. So an index is given only to a turn that is
/// stored, indices have no gap on the wire or on disk even when the disk refuses something in between, nothing can be seen live
/// that a replay would not show, and <c>ended</c> cannot overtake a batch that was accepted before it.</para>
/// <para>Batches that arrive while one is being written go out together with the next write.</para>
/// </remarks>
internal sealed class Run
{
    private readonly Appender _appender;
    private readonly AppendFile? _file;

    private readonly Lock _gate = new();
    private readonly Queue<Batch> _waiting = [];
    private List<ReadOnlyMemory<byte>> _turns = [];
    private int _claimed;                 // turns stored and turns accepted for storing
    private bool _committing;
    private bool _ending;                 // an end was accepted; nothing comes after it
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
        var head = new Batch(default, null);
        _waiting.Enqueue(head);
        HeadStored = head.Settled.Task;
    }

    /// <summary>A run that ended before this daemon started, known from its trace. Takes no turns and writes nothing.</summary>
    public static Run FromDisk(string runId, string agentId, string clientId, RunTermination termination, Appender appender) =>
        new(runId, agentId, clientId, appender, null) { _ending = true, _termination = termination };

    public string RunId { get; }
    public string AgentId { get; }

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

    /// <summary>The stored turns, each the very bytes of its line without the '\n'. Empty once the run has ended: then the disk has them.</summary>
    public ReadOnlyMemory<byte>[] Turns
    {
        get { lock (_gate) return [.. _turns]; }
    }

    /// <summary>Turns of proposals that ran but could not be recorded: no room, too large, or refused by the disk (protocol 25).</summary>
    public int TurnsDropped => _turnsDropped;
    private int _turnsDropped;

    public void CountDropped(int turns) => Interlocked.Add(ref _turnsDropped, turns);

    /// <summary>Stores turns that <see cref="TurnLine.TryEncodeBody"/> encoded, in this order and without others in between.</summary>
    /// <param name="whatFits">With too many turns: true stores those that fit below <see cref="RunLimits.MaxTurns"/>, false stores none.</param>
    /// <exception cref="IOException">From the task: the disk refused, and none of them is in the run.</exception>
    public async Task<TurnsRecorded> RecordAsync(ReadOnlyMemory<byte[]> bodies, bool whatFits)
    {
        Batch batch;
        lock (_gate)
        {
            if (_ending) return new TurnsRecorded(0, 0, TurnDrop.RunTerminal);
            int room = RunLimits.MaxTurns - _claimed;
            if (bodies.Length > room && (!whatFits || room == 0)) return new TurnsRecorded(0, 0, TurnDrop.RunTurnLimit);
            if (bodies.Length > room) bodies = bodies[..room];
            _claimed += bodies.Length;
            batch = new Batch(bodies, null);
            _waiting.Enqueue(batch);
        }
        Commit();
        await batch.Settled.Task;
        return new TurnsRecorded(batch.BaseIndex, bodies.Length, null);
    }

    /// <summary>Ends the run. False: it has ended already.</summary>
    /// <param name="stored">Completes when the end is shown and its record is with the operating system; fails with
    /// <see cref="IOException"/> when the disk refused the record, which does not keep the run from ending.</param>
    public bool TryEnd(RunTermination termination, DateTime now, [NotNullWhen(true)] out Task? stored)
    {
        byte[] line = new RunEnded(RunId, AgentId, termination, now).ToLine();
        var end = new Batch(default, new End(termination, line));
        stored = null;
        lock (_gate)
        {
            if (_ending) return false;
            _ending = true;
            _waiting.Enqueue(end);
        }
        Commit();
        stored = end.Settled.Task;
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
        Block block = Encode(group);
        try
        {
            if (block.Bytes.Length > 0) await _appender.AppendAsync(_file!, block.Bytes);
        }
        catch (IOException e)
        {
            return e;
        }
        Show(group, block);
        foreach (Batch batch in group) batch.Settled.SetResult();
        return null;
    }

    /// <summary>The lines of a group, one after another, as they go to the disk. Only the commit loop adds turns, so it may count them.</summary>
    private Block Encode(List<Batch> group)
    {
        int size = _unwrittenHead?.Length ?? 0;
        foreach (Batch batch in group) size += batch.Bytes;
        byte[] bytes = GC.AllocateUninitializedArray<byte>(size);
        int used = 0;
        if (_unwrittenHead is { } head)
        {
            head.CopyTo(bytes, 0);
            used = head.Length;
        }
        var lines = new List<ReadOnlyMemory<byte>>();
        foreach (Batch batch in group)
        {
            batch.BaseIndex = _turns.Count + lines.Count;
            foreach (byte[] body in batch.Bodies.Span)
            {
                int length = TurnLine.Write(bytes.AsSpan(used), _turns.Count + lines.Count, body);
                lines.Add(bytes.AsMemory(used, length - 1));
                used += length;
            }
            if (batch.End is { } end)
            {
                end.Line.CopyTo(bytes, used);
                used += end.Line.Length;
            }
        }
        return new Block(bytes.AsMemory(0, used), lines);
    }

    /// <summary>Makes what is stored part of the run. Whoever follows the run is told here, under the lock, with these very bytes.</summary>
    private void Show(List<Batch> group, Block block)
    {
        lock (_gate)
        {
            _unwrittenHead = null;
            _turns.AddRange(block.Turns);
            if (group[^1].End is { } end) ShowEnd(end);
        }
    }

    /// <summary>Tells a caller that the disk refused. An end is an end all the same.</summary>
    private void Refuse(Batch batch, IOException failure)
    {
        lock (_gate)
        {
            _claimed -= batch.Bodies.Length;
            if (batch.End is { } end) ShowEnd(end);
        }
        batch.Settled.SetException(failure);
    }

    private void ShowEnd(End end)
    {
        _termination = end.Termination;
        _turns = [];   // the heaviest thing a run has, and the disk has it too
    }

    private sealed class Batch(ReadOnlyMemory<byte[]> bodies, End? end)
    {
        public ReadOnlyMemory<byte[]> Bodies { get; } = bodies;
        public End? End { get; } = end;
        public int BaseIndex { get; set; }
        public TaskCompletionSource Settled { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        /// <summary>What its lines need at most.</summary>
        public int Bytes { get; } = Measure(bodies.Span) + (end?.Line.Length ?? 0);

        private static int Measure(ReadOnlySpan<byte[]> bodies)
        {
            int bytes = 0;
            foreach (byte[] body in bodies) bytes += TurnLine.MaxSize(body);
            return bytes;
        }
    }

    private sealed record End(RunTermination Termination, byte[] Line);

    private readonly record struct Block(ReadOnlyMemory<byte> Bytes, List<ReadOnlyMemory<byte>> Turns);
}

/// <summary>Why turns were not recorded, in the protocol's words (13.7).</summary>
internal enum TurnDrop { RunNotFound, RunTerminal, RunTurnLimit, TurnTooLarge }

/// <param name="BaseIndex">Index of the first recorded turn.</param>
/// <param name="Count">How many were recorded.</param>
/// <param name="Dropped">Set when none was.</param>
internal readonly record struct TurnsRecorded(int BaseIndex, int Count, TurnDrop? Dropped);

using CarServer.RunStore;

namespace CarServer.Rpc.CommandLine.Runs;

/// <summary>What of a run has been shown, and what is known to be missing. Decides; reads and prints nothing.</summary>
/// <remarks>
/// A turn may come in an event, in the answer to a subscription and from the trace, in any order and more than once. Its index says
/// whether it is the next to show, was shown already, or lies behind a gap. What lies behind a gap is not kept: the trace has it
/// and is read anyway.
/// </remarks>
internal sealed class LiveRun
{
    private int _known;
    private bool _hasBegun;
    private bool _hasEnded;

    /// <summary>Turns shown or given up, which is also the index of the next.</summary>
    public int Next { get; private set; }

    /// <summary>The end was shown: nothing comes after it.</summary>
    public bool IsOver { get; private set; }

    /// <summary>There is more than was shown: the trace has to be read from <see cref="Next"/> on.</summary>
    public bool IsBehind => _known > Next || (_hasEnded && !IsOver);

    /// <summary>Something was said of the run: it has at least so many turns, and this status.</summary>
    public void Hear(int turns, RunStatus status)
    {
        _known = Math.Max(_known, turns);
        _hasEnded |= status != RunStatus.InProgress;
    }

    /// <summary>A record of an event. True: it is the next, show it now.</summary>
    public bool TakeLive(RunRecord? record) => record switch
    {
        RunStarted => Begin(),
        RunTurn turn when turn.Index == Next => Show(turn),
        RunEnded when _known <= Next => End(),
        _ => false,
    };

    /// <summary>A record of the trace or of a subscription's answer. True: show it now. What it skips is not there any more.</summary>
    public bool TakeStored(RunRecord? record) => record switch
    {
        RunStarted => Begin(),
        RunTurn turn when turn.Index >= Next => Show(turn),
        RunEnded => End(),
        _ => false,
    };

    /// <summary>The trace does not have what was heard of, and will not: go on behind it.</summary>
    public void GiveUp()
    {
        Next = Math.Max(Next, _known);
        IsOver |= _hasEnded;
    }

    private bool Begin()
    {
        bool first = !_hasBegun;
        _hasBegun = true;
        return first;
    }

    private bool Show(RunTurn turn)
    {
        Next = turn.Index + 1;
        return true;
    }

    private bool End()
    {
        bool first = !IsOver;
        _hasEnded = IsOver = true;
        return first;
    }
}

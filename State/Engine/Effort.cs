using CarServer.State.Engine.Analysis;

namespace CarServer.State.Engine;

/// <summary>What one analysis, or the conditions of one proposal, may still spend. Not a clock: the same question gets the same answer on any machine.</summary>
/// <param name="abandoned">Ends the work when nobody waits for it any more.</param>
/// <param name="what">Whose work it is, for the error.</param>
/// <remarks>One thread at a time.</remarks>
internal sealed class Effort(CancellationToken abandoned, long steps = AnalysisLimits.MaxSteps, string what = "this analysis")
{
    /// <summary>Bytes of JSON that are compared in one step.</summary>
    private const int BytesInStep = 16;

    /// <summary>Between two looks at the token: well under a millisecond.</summary>
    private const int StepsBetweenLooks = 4_096;

    private readonly long _most = steps;
    private long _left = steps;
    private long _look = steps;

    /// <exception cref="RefusedException">It is used up.</exception>
    /// <exception cref="OperationCanceledException">Nobody waits any more.</exception>
    public void Spend(long count = 1)
    {
        _left -= count;
        if (_left < 0) throw new RefusedException($"{what} would take more than {_most} steps: fewer trials, conditions or bytes to compare are needed");
        if (_left >= _look) return;
        abandoned.ThrowIfCancellationRequested();
        _look = _left - StepsBetweenLooks;
    }

    public void SpendBytes(long bytes) => Spend(1 + bytes / BytesInStep);
}

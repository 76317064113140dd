using System.Globalization;

namespace CarServer.State.Engine.Policies;

/// <summary>So many calls of a tool in any interval of this length, on one connection; kept in memory only.</summary>
/// <remarks>
/// A slot is taken when this rule lets a call pass, also when another policy then refuses it; a call that this rule refuses takes none.
/// A retry is no further call. Time is the monotonic clock's: setting the wall clock gives nobody a slot.
/// </remarks>
internal sealed class RateLimitTool(string tool, int maxCalls, double intervalSecs)
    : Policy($"rate_limit_tool:{tool}", string.Create(CultureInfo.InvariantCulture, $"allows {maxCalls} calls of tool '{tool}' in {intervalSecs} s"))
{
    private readonly string _reason = string.Create(CultureInfo.InvariantCulture, $"tool '{tool}' may be called {maxCalls} times in {intervalSecs} s");

    /// <summary>When each call of the last interval was let pass, oldest first. Also the lock.</summary>
    private readonly Queue<long> _taken = new();

    public override Policy ForConnection() => new RateLimitTool(tool, maxCalls, intervalSecs);

    public override string? Check(PolicySubject subject)
    {
        if (subject.Action.Type != ActionType.ToolCall || !subject.Calls(tool)) return null;
        lock (_taken)
        {
            long now = subject.Clock.GetTimestamp();
            while (_taken.TryPeek(out long oldest) && subject.Clock.GetElapsedTime(oldest, now).TotalSeconds >= intervalSecs) _taken.Dequeue();
            if (_taken.Count >= maxCalls) return _reason;
            _taken.Enqueue(now);
            return null;
        }
    }
}

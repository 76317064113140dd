using CarServer.State.Engine.Tools;

namespace CarServer.State.Engine;

/// <summary>Bounds of a proposal and of what its execution waits for, each with its reason.</summary>
/// <remarks>The bounds of the state store, the tool registry and the idempotency cache stand with them.</remarks>
internal static class EngineLimits
{
    /// <summary>A plan that a model writes has tens of actions; ten thousand leaves room for generated ones and still runs in well under a second.</summary>
    public const int MaxActions = 10_000;

    /// <summary>Characters of a proposal or action id: it is repeated in every event of its action, so it must stay an id and not become a payload.</summary>
    public const int MaxIdChars = 1_024;

    /// <summary>Characters of a tool's name, for the same reason. Model providers allow 64 to 128.</summary>
    public const int MaxToolNameChars = 256;

    /// <summary>
    /// Characters of somebody's reason for a no, as the results of a proposal repeat it: with <see cref="MaxActions"/> of them the answer stays
    /// within what its client may leave unread.
    /// </summary>
    public const int MaxRepeatedChars = 512;

    /// <summary>Characters of an action's id in a text that other actions' results repeat: it has to be found again, and is whole in its own.</summary>
    public const int MaxRepeatedIdChars = 64;

    /// <summary>
    /// Actions, preconditions, dependencies and effects of a proposal that may run on the thread that brought it, or that brought a tool's
    /// reply: both are a read loop, whose other connections wait meanwhile. At a few microseconds each this is about a millisecond.
    /// </summary>
    public const int MaxInlineActions = 256;

    /// <summary>Bytes of state, with what the proposal itself may write, for which that holds: a condition may have to look through all of it.</summary>
    public const int MaxInlineStateBytes = 64 * 1024;

    /// <summary>
    /// Steps that the preconditions and assertions of one proposal may take: one each, and one for 16 bytes compared. Ten thousand conditions
    /// on 64 KiB each are within it; all of it is some seconds of one processor.
    /// </summary>
    public const long MaxConditionSteps = 50_000_000;

    /// <summary>
    /// Longest time one timer is asked to wait, in milliseconds: about 24.8 days, what every timer interface takes. A larger
    /// <c>timeout_ms</c> is honoured up to here; texts still show what was asked for.
    /// </summary>
    public const ulong MaxTimerMs = int.MaxValue;

    /// <summary>Plans that one request may ask for after an abort: who has found none that works by then does not find it in the next minute either.</summary>
    public const int MaxReplans = 16;

    /// <summary>Longest delay before such a question, in milliseconds: what a retry waits at most, too.</summary>
    public const ulong MaxReplanDelayMs = MaxBackoffMs;

    /// <summary>How long the client has for another plan, in milliseconds: as long as for a tool without a timeout of its own.</summary>
    public const ulong PlannerMs = ToolBudget.DefaultMs;

    /// <summary>Delay before the first retry (protocol 10.3); it doubles with every further one.</summary>
    public const ulong FirstBackoffMs = 100;

    /// <summary>The doubling stops at half an hour, the default deadline of a handler: nobody waits for a retry beyond it.</summary>
    public const ulong MaxBackoffMs = 30 * 60 * 1_000;

    /// <summary>Delay before retry <paramref name="retry"/>, counted from 1: <c>100·2^(retry-1)</c> ms.</summary>
    public static TimeSpan Backoff(ulong retry)
    {
        // 2^15 is past the cap already, and a larger shift would wrap around.
        ulong delay = retry > 15 ? MaxBackoffMs : Math.Min(FirstBackoffMs << (int)(retry - 1), MaxBackoffMs);
        return TimeSpan.FromMilliseconds(delay);
    }

    /// <summary>All delays before the first <paramref name="retries"/> retries, in milliseconds.</summary>
    public static ulong Backoffs(ulong retries)
    {
        ulong doubling = Math.Min(retries, 15);
        return FirstBackoffMs * ((1UL << (int)doubling) - 1) + (retries - doubling) * MaxBackoffMs;
    }

    /// <summary>What a timer is set to for <paramref name="milliseconds"/>.</summary>
    public static TimeSpan TimerSpan(ulong milliseconds) => TimeSpan.FromMilliseconds((long)Math.Min(milliseconds, MaxTimerMs));
}

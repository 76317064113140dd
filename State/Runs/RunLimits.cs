namespace CarServer.State.Runs;

/// <summary>The bounds of runs in memory, each with its reason.</summary>
internal static class RunLimits
{
    /// <summary>Turns of one run (protocol 13.7). A run's turns stay in memory until it ends.</summary>
    public const int MaxTurns = 2_000;

    /// <summary>UTF-8 bytes of a run's intent, and of its outcome description: both are sentences, and every <c>runs.list</c> repeats the intent.</summary>
    public const int MaxIntentBytes = 64 * 1024;

    /// <summary>Ended runs whose header stays in memory, so that a second <c>runs.complete</c> gets its own error text.
    /// A header is a few hundred bytes; the traces themselves are on disk.</summary>
    public const int MaxEndedRuns = 4_096;

    /// <summary>Bytes that one write takes from one run's queue: well above any usual batch, and no second copy of everything that waits.</summary>
    public const int MaxCommitBytes = 8 * 1024 * 1024;

    /// <summary>Between a client's disconnect and the end of its open runs: a <c>runs.complete</c> that is on its way may still arrive (protocol 3.2).</summary>
    public static readonly TimeSpan CompleteGrace = TimeSpan.FromMilliseconds(250);
}

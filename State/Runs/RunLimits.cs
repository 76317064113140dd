namespace CarServer.State.Runs;

/// <summary>The bounds of runs in memory, each with its reason.</summary>
internal static class RunLimits
{
    /// <summary>Turns of one run (protocol 13.7).</summary>
    public const int MaxTurns = 2_000;

    /// <summary>UTF-8 bytes of a run's intent, and of its outcome description: both are sentences, and every <c>runs.list</c> repeats the intent.</summary>
    public const int MaxIntentBytes = 64 * 1024;

    /// <summary>Ended runs whose header stays in memory, so that a second <c>runs.complete</c> gets its own error text.
    /// A header is a few hundred bytes; the traces themselves are on disk.</summary>
    public const int MaxEndedRuns = 16_384;

    /// <summary>Bytes that one write takes from one run's queue: well above any usual batch, and no second copy of everything that waits.</summary>
    public const int MaxCommitBytes = 8 * 1024 * 1024;

    /// <summary>Pieces of a live trace that wait for one subscriber (protocol 13.8). What finds no place is dropped, and the cursor shows it.</summary>
    public const int MaxPiecesWaiting = 256;

    /// <summary>Bytes of a piece, or one event: what one write to a socket carries well.</summary>
    public const int MaxPieceBytes = 64 * 1024;

    /// <summary>Bytes of live traces that wait for one connection, all its subscriptions together. The bytes are shared by all who
    /// follow a run; this bounds what a client that does not read can keep alive.</summary>
    public const int MaxWaitingBytes = 32 * 1024 * 1024;

    /// <summary>Runs that one connection follows at a time: more than a person can watch, and 16,384 connections times this is no number to be afraid of.</summary>
    public const int MaxSubscriptions = 256;

    /// <summary>How long a subscriber may take no byte before its subscription ends. Shorter than the time after which its connection does:
    /// its other calls go on.</summary>
    public static readonly TimeSpan SubscriberWriteTimeout = TimeSpan.FromSeconds(10);

    /// <summary>Between a client's disconnect and the end of its open runs: a <c>runs.complete</c> that is on its way may still arrive (protocol 3.2).</summary>
    public static readonly TimeSpan CompleteGrace = TimeSpan.FromMilliseconds(250);
}

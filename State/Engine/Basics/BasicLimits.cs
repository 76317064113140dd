namespace CarServer.State.Engine.Basics;

/// <summary>Bounds of the tools that the daemon runs itself (protocol 7.3), each with its reason.</summary>
internal static class BasicLimits
{
    /// <summary>Most bytes of one file that are read, searched or edited (protocol 7.3).</summary>
    public const int MaxReadBytes = 512 * 1024;

    /// <summary>Characters that an edit may make of a file: some bytes replaced everywhere by many are a gigabyte.</summary>
    public const int MaxEditedChars = 16 * 1024 * 1024;

    /// <summary>Bytes that <c>read_file</c> may pass over to come to its first line; a log of a week is smaller.</summary>
    public const long MaxPassedBytes = 256L * 1024 * 1024;

    /// <summary>Bytes of a path, as long as the system takes one.</summary>
    public const int MaxPathBytes = 4_096;

    /// <summary>Directories below each other in a walk: each is one descriptor. Source trees have about twenty.</summary>
    public const int MaxDepth = 64;

    /// <summary>Entries that one walk looks at: a large repository has so many without what walks leave out.</summary>
    public const int MaxWalkEntries = 200_000;

    /// <summary>Entries of one directory that are listed, or kept for a walk.</summary>
    public const int MaxListed = 10_000;

    /// <summary>Files or lines that a search answers with, at most and unless it says less; a model reads a screen or two.</summary>
    public const int MaxResults = 1_000;

    /// <summary>Characters of a line that a search shows.</summary>
    public const int MaxLineChars = 500;

    /// <summary>Characters of a pattern.</summary>
    public const int MaxPatternChars = 4_096;

    /// <summary>Characters of an expression to calculate.</summary>
    public const int MaxExpressionChars = 4_096;

    /// <summary>Brackets and signs inside each other; each is some calls on the stack.</summary>
    public const int MaxExpressionDepth = 64;

    /// <summary>Basics that run at a time, of all connections: each holds a file's worth of memory and a thread that may wait for the disk.</summary>
    public const int MaxRunning = 8;

    /// <summary>How long a walk goes on; it then answers with what it has.</summary>
    public static readonly TimeSpan WalkTime = TimeSpan.FromSeconds(10);

    /// <summary>How long one regular expression may look at one line. It is linear anyway.</summary>
    public static readonly TimeSpan MatchTimeout = TimeSpan.FromMilliseconds(500);
}

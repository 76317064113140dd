namespace CarServer.State.Engine.Policies;

/// <summary>Bounds of what may be forbidden, each with its reason.</summary>
internal static class PolicyLimits
{
    /// <summary>Policies in one scope: all of them are asked about every action, and each that says no leaves an event.</summary>
    public const int MaxPolicies = 256;

    /// <summary>Policy sessions open at a time on one connection: one for each of more sub-agents than anybody runs.</summary>
    public const int MaxSessions = 256;

    /// <summary>Characters of a policy's name, which each of its violations repeats.</summary>
    public const int MaxNameChars = 256;

    /// <summary>UTF-8 bytes of a pattern, key or value: whoever lists more than fits on two screens wants a tool, not a policy.</summary>
    public const int MaxTextBytes = 4_096;

    /// <summary>Bytes of all policies that one connection has registered.</summary>
    public const int MaxTotalBytes = 4 * 1024 * 1024;

    /// <summary>Files in the operator's directory; people keep one a concern.</summary>
    public const int MaxFiles = 64;

    /// <summary>Bytes of one such file: a thousand rules of the usual length. It is read while a connection waits.</summary>
    public const int MaxFileBytes = 256 * 1024;

    /// <summary>Rules of all files together, for the reason of <see cref="MaxPolicies"/>; the operator may have more of them than a client.</summary>
    public const int MaxFileRules = 1_024;

    /// <summary>Calls that a <c>rate_limit_tool</c> may allow in its interval: each one made takes eight bytes until the interval has passed.</summary>
    public const int MaxRateCalls = 100_000;

    /// <summary>Longest interval in seconds: a year, and far inside what a clock's ticks can hold.</summary>
    public const int MaxRateIntervalSecs = 366 * 24 * 3_600;

    /// <summary>How long one regular expression may look at one text. It is linear anyway; who passes this is refused.</summary>
    public static readonly TimeSpan MatchTimeout = TimeSpan.FromMilliseconds(500);
}

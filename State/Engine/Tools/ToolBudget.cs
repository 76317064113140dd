using System.Globalization;

namespace CarServer.State.Engine.Tools;

/// <summary>How long the daemon waits for the reply to a tool callback (protocol 4.3).</summary>
internal static class ToolBudget
{
    /// <summary>What a call with its own <c>timeout_ms</c> gets on top, so that the attempt's own timer ends it first.</summary>
    public const ulong GraceMs = 5_000;

    /// <summary>For a call without <c>timeout_ms</c>, unless <c>CAR_TOOL_TIMEOUT</c> says otherwise.</summary>
    public const ulong DefaultMs = 300_000;

    /// <summary>The budget in milliseconds. May be more than a timer takes; see <see cref="EngineLimits.TimerSpan"/>.</summary>
    /// <param name="carToolTimeout">
    /// Whole seconds, white space around them allowed; 0 is honoured. Anything else means the default. Not looked at when the call has a
    /// <paramref name="timeoutMs"/>.
    /// </param>
    public static ulong Milliseconds(ulong? timeoutMs, string? carToolTimeout)
    {
        if (timeoutMs is { } ms) return ms > ulong.MaxValue - GraceMs ? ulong.MaxValue : ms + GraceMs;
        ReadOnlySpan<char> digits = carToolTimeout.AsSpan().Trim();
        // A plus sign is part of an unsigned number as the first daemon read it; a minus sign never is, not even before a zero.
        if (digits is ['+', .. var rest]) digits = rest;
        if (!ulong.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out ulong seconds)) return DefaultMs;
        return seconds > ulong.MaxValue / 1_000 ? ulong.MaxValue : seconds * 1_000;
    }
}

using CarServer.RunStore;

namespace CarServer.State.Engine.Tools;

/// <summary>Who runs a session's tools: its own client through a callback, or a fake in a test.</summary>
internal interface IToolExecutor
{
    /// <summary>Runs one attempt.</summary>
    /// <param name="abandoned">Set when the attempt's time is up or nobody waits any more; the call then ends soon, whatever the tool does.</param>
    /// <remarks>Any thread, many at a time. A tool's failure is an outcome, not an exception.</remarks>
    Task<ToolOutcome> ExecuteAsync(ToolCall call, CancellationToken abandoned);
}

/// <summary>One attempt at a tool.</summary>
internal sealed record ToolCall
{
    /// <summary>Empty when no action stands behind the call.</summary>
    public required string ActionId { get; init; }
    public required string Tool { get; init; }
    public required RawJson Parameters { get; init; }

    /// <summary>The action's own budget for one attempt; null when it has none.</summary>
    public ulong? TimeoutMs { get; init; }

    /// <summary>Counted from 1.</summary>
    public uint Attempt { get; init; } = 1;

    public InvocationMode Mode { get; init; } = InvocationMode.OneShot;

    /// <summary>Why the call was abandoned; only to be asked when it was.</summary>
    public Func<string> AbandonReason { get; init; } = static () => "the request was abandoned";
}

internal enum ToolEnd
{
    Succeeded,
    Failed,
    /// <summary>Given up because its token said so.</summary>
    Abandoned,
}

/// <summary>How an attempt ended.</summary>
/// <param name="Error">Null for a success.</param>
internal readonly record struct ToolOutcome(ToolEnd End, RawJson Output, string? Error)
{
    public static ToolOutcome Succeeded(RawJson output) => new(ToolEnd.Succeeded, output, null);
    public static ToolOutcome Failed(string error) => new(ToolEnd.Failed, default, error);
    public static ToolOutcome Abandoned(string error) => new(ToolEnd.Abandoned, default, error);
}

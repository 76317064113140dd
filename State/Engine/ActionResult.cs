using System.Text.Json.Serialization;
using CarServer.RunStore;

namespace CarServer.State.Engine;

internal enum ActionStatus
{
    Proposed, Validated,
    /// <summary>Stopped before it was dispatched: by a capability, the validation or a policy.</summary>
    Rejected,
    Executing, Succeeded,
    /// <summary>Dispatched, and every attempt went wrong.</summary>
    Failed,
    /// <summary>Never looked at, because of what happened before.</summary>
    Skipped,
}

/// <summary>How one action ended (protocol 10.1).</summary>
internal sealed record ActionResult
{
    internal static readonly IReadOnlyDictionary<string, RawJson> NoChanges = new Dictionary<string, RawJson>();

    public required string ActionId { get; init; }
    public required ActionStatus Status { get; init; }
    public RawJson Output { get; init; }
    public string? Error { get; init; }

    /// <summary>Key to new value, for each key that this action wrote.</summary>
    public IReadOnlyDictionary<string, RawJson> StateChanges { get; init; } = NoChanges;

    /// <summary>From the first look at the action to its end, retries and their delays included; 0 when skipped.</summary>
    public double DurationMs { get; init; }

    /// <summary>UTC, when the action ended.</summary>
    public required DateTime Timestamp { get; init; }

    /// <summary>A success whose state changes an abort took back. What its tool did elsewhere stays done.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    public bool RolledBack { get; init; }

    /// <summary>For the turn of a run (protocol 13.4), not for the wire.</summary>
    [JsonIgnore]
    public bool RejectedByPolicy { get; init; }
}

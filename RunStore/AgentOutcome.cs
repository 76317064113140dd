namespace CarServer.RunStore;

internal enum OutcomeStatus { Success, PartialSuccess, GiveUp, Timeout, Failure, Done }

internal enum EvidenceKind { SelfAssessment, ToolResult, StateChange, ExternalVerification, StopReason, Evaluator }

/// <summary>What a harness says of its finished run (protocol 13.2). Only the status has to be given.</summary>
internal sealed record AgentOutcome(
    OutcomeStatus Status,
    string? Summary = null,
    IReadOnlyList<Evidence>? Evidence = null,
    OutcomeMetrics? Metrics = null,
    DateTime? Timestamp = null)
{
    /// <summary>The same with every default in its place, as it is stored.</summary>
    public AgentOutcome WithDefaults(DateTime now) => this with
    {
        Summary = Summary ?? "",
        Evidence = Evidence ?? [],
        Metrics = Metrics ?? new OutcomeMetrics(),
        Timestamp = Timestamp ?? now,
    };
}

internal sealed record Evidence(EvidenceKind Kind, string Description = "", RawJson Data = default);

/// <param name="DurationMs">Milliseconds; a fraction is kept.</param>
internal sealed record OutcomeMetrics(
    long Turns = 0, long ToolCalls = 0, double DurationMs = 0, long Retries = 0, long ActionsSucceeded = 0, long ActionsFailed = 0);

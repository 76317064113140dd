using System.Text.Json;
using CarServer.RunStore;

namespace CarServer.State.Events;

/// <summary>The kinds of events: those of the protocol's baseline, then those of later versions (12.2). Readers of a journal must expect kinds they do not know.</summary>
internal enum EventKind
{
    ProposalReceived, ActionValidated, ActionRejected, ActionExecuting, ActionSucceeded, ActionFailed, ActionSkipped, ActionRetrying,
    ActionDeduplicated, PolicyViolation, StateChanged, StateSnapshot, StateRollback,
    SkillDistilled, SkillEvolved, SkillDeprecated, EvolutionTriggered, Consolidated,
    ReplanAttempted, ReplanProposalReceived, ReplanRejected, ReplanExhausted,
    VoiceFastTurnStarted, VoiceFastTurnEnded, VoiceSidecarResolved, VoiceSidecarFailed, VoiceSidecarTimedOut, VoiceTurnCancelled,
    VoiceBridgePlayed, SessionScope,

    RunStarted, RunCancellationRequested, RunCancellationResult, ProposalCompleted, StateCommitted, CandidatePromoted, CandidateRejected,
    ProactiveMemoryMaintained, ProactiveMemoryIntervention, GateAccepted, GateRejected, ModelFallback, PermissionDecision, ApprovalRecorded,
    BranchDecision, AlternativeRejected, InferenceMetered, TransactionConflict, AdmissionGateDecision, ToolReceiptHallucination,
    GoalEvaluated, TurnCompleted, RunCompleted,
}

internal static class EventKinds
{
    private static readonly JsonEncodedText[] Words =
        Array.ConvertAll(Enum.GetNames<EventKind>(), static name => JsonEncodedText.Encode(JsonNamingPolicy.SnakeCaseLower.ConvertName(name)));

    /// <summary>The kind as the wire and the journal spell it.</summary>
    public static JsonEncodedText Word(this EventKind kind) => Words[(int)kind];

    /// <summary>For each kind whether it is among the words, of which those that this daemon does not know stand for none.</summary>
    public static bool[] Of(IReadOnlyList<string> words)
    {
        var asked = new bool[Words.Length];
        foreach (string word in words)
            if (Array.FindIndex(Words, known => known.ToString() == word) is >= 0 and var at) asked[at] = true;
        return asked;
    }
}

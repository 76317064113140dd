using System.Text.Json;
using System.Text.Json.Serialization;
using CarServer.RunStore;

namespace CarServer.State.Events;

/// <summary>The kinds of events at the protocol's baseline (12.2). Readers of a journal must expect kinds they do not know.</summary>
[JsonConverter(typeof(SnakeCaseEnum<EventKind>))]
internal enum EventKind
{
    ProposalReceived, ActionValidated, ActionRejected, ActionExecuting, ActionSucceeded, ActionFailed, ActionSkipped, ActionRetrying,
    ActionDeduplicated, PolicyViolation, StateChanged, StateSnapshot, StateRollback,
    SkillDistilled, SkillEvolved, SkillDeprecated, EvolutionTriggered, Consolidated,
    ReplanAttempted, ReplanProposalReceived, ReplanRejected, ReplanExhausted,
    VoiceFastTurnStarted, VoiceFastTurnEnded, VoiceSidecarResolved, VoiceSidecarFailed, VoiceSidecarTimedOut, VoiceTurnCancelled,
    VoiceBridgePlayed, SessionScope,
}

internal static class EventKinds
{
    private static readonly JsonEncodedText[] Words =
        [.. Enum.GetValues<EventKind>().Select(kind => JsonEncodedText.Encode(JsonNamingPolicy.SnakeCaseLower.ConvertName(kind.ToString())))];

    /// <summary>The kind as the wire and the journal spell it.</summary>
    public static JsonEncodedText Word(this EventKind kind) => Words[(int)kind];
}

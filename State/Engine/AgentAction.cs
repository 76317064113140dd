using System.Diagnostics.CodeAnalysis;
using System.Text.Json;
using System.Text.Json.Serialization;
using CarServer.RunStore;

namespace CarServer.State.Engine;

internal enum ActionType { ToolCall, StateWrite, StateRead, Assertion }

/// <summary>What a rejected or failed action means for the rest of its proposal (table in protocol 10.3).</summary>
internal enum FailureBehavior
{
    /// <summary>The rest is skipped; a failure (not a rejection) also rolls the state back.</summary>
    Abort,
    /// <summary>A failure is tried again <see cref="AgentAction.MaxRetries"/> times; then the rest is skipped, without rollback.</summary>
    Retry,
    /// <summary>The rest goes on.</summary>
    Skip,
}

internal enum InvocationMode { OneShot, Streaming, LongRunning }

/// <summary>What the proposer declares about undoing an action; never enforced.</summary>
internal enum Reversibility { Reversible, Compensable, Irreversible }

internal enum CompensationType { Tool, ActionRef }

/// <summary>How an action says it could be undone: by a tool, or by another action of the proposal. Carried, never run.</summary>
internal sealed record Compensation
{
    [JsonRequired]
    public CompensationType Type { get; set; }
    public string? Tool { get; set; }
    public RawJson Parameters { get; set; }
    public string? ActionId { get; set; }
}

/// <summary>What the proposer believed about one state key when it planned.</summary>
internal sealed record Assumption
{
    [JsonRequired]
    public string Key { get; set; } = "";
    public RawJson ExpectedValue { get; set; }
    public ulong? ReadVersion { get; set; }
}

/// <summary>One step of a proposal (protocol 10.1). Unknown fields are carried.</summary>
/// <remarks>Setters for the reason given at <see cref="ActionProposal"/>.</remarks>
internal sealed record AgentAction
{
    // Of all actions that were given none: nobody adds to them.
    private static readonly Dictionary<string, RawJson> NoEffects = [];
    private static readonly List<Precondition> NoPreconditions = [];
    private static readonly List<string> NoNames = [];
    private static readonly List<Assumption> NoAssumptions = [];

    /// <summary>Unique in its proposal. Twelve hex digits when the client gave none.</summary>
    [AllowNull]
    public string Id { get => field ??= ActionProposal.NewId(); set; }

    [JsonRequired]
    public ActionType Type { get; set; }

    /// <summary>Only for a tool call, which is rejected without it.</summary>
    public string? Tool { get; set; }

    /// <summary>A JSON object, as the client wrote it.</summary>
    public RawJson Parameters { get => field.IsNull ? RawJson.EmptyObject : field; set; }

    public List<Precondition> Preconditions { get; set; } = NoPreconditions;

    /// <summary>Written to the state when the action succeeds.</summary>
    public Dictionary<string, RawJson> ExpectedEffects { get; set; } = NoEffects;

    /// <summary>State keys that must be there; they also order the action after the last earlier writer of each.</summary>
    public List<string> StateDependencies { get; set; } = NoNames;

    /// <summary>Ids of actions that must come first, whatever the state says; own and unknown ids are ignored.</summary>
    public List<string> Dependencies { get; set; } = NoNames;

    /// <summary>A success may stand for later calls of the same tool with the same parameters.</summary>
    public bool Idempotent { get; set; }

    /// <summary>Only with <see cref="Engine.FailureBehavior.Retry"/>.</summary>
    public uint MaxRetries { get; set; } = 3;

    public FailureBehavior FailureBehavior { get; set; } = FailureBehavior.Abort;

    /// <summary>For each attempt; null is unbounded.</summary>
    public ulong? TimeoutMs { get; set; }

    public RawJson Metadata { get; set; }
    public List<string> ReadSet { get; set; } = NoNames;
    public List<string> WriteSet { get; set; } = NoNames;
    public List<Assumption> Assumptions { get; set; } = NoAssumptions;
    public InvocationMode InvocationMode { get; set; } = InvocationMode.OneShot;
    public Reversibility Reversibility { get; set; } = Reversibility.Irreversible;
    public Compensation? Compensation { get; set; }

    /// <summary>What the client sent and we do not know; shown wherever the action is.</summary>
    [JsonExtensionData]
    public Dictionary<string, JsonElement>? Unknown { get; set; }

    /// <summary>How often it is tried at most.</summary>
    [JsonIgnore]
    public ulong Attempts => FailureBehavior == FailureBehavior.Retry ? MaxRetries + 1UL : 1;

    /// <summary>Key, value and operator inside <see cref="Parameters"/>, for the three types that work on the state; read once.</summary>
    [JsonIgnore]
    public StateOperands Operands => field ??= StateOperands.Read(Parameters);

    /// <summary>The key that a state write sets; null for other types and for a write that names none.</summary>
    [JsonIgnore]
    public string? WrittenKey => Type == ActionType.StateWrite ? Operands.Key : null;

    /// <summary>What makes this no action at all, or null.</summary>
    internal string? Problem()
    {
        if (Parameters.Utf8[0] != '{') return "parameters must be an object";
        if (Tool?.Length > EngineLimits.MaxToolNameChars) return $"tool is longer than {EngineLimits.MaxToolNameChars} characters";
        if (Preconditions.Contains(null!)) return "a precondition is null";
        if (StateDependencies.Contains(null!)) return "a state dependency is null";
        if (Dependencies.Contains(null!)) return "a dependency is null";
        if (ReadSet.Contains(null!)) return "a key of read_set is null";
        if (WriteSet.Contains(null!)) return "a key of write_set is null";
        if (Assumptions.Contains(null!)) return "an assumption is null";
        return null;
    }
}

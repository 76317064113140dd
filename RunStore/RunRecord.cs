using System.Buffers;
using System.Text.Json;
using System.Text.Json.Serialization;
using CarServer.RunStore.Contracts;

namespace CarServer.RunStore;

/// <summary>One line of a run's trace (protocol 13.2): first <c>started</c>, then the turns, last <c>ended</c>.</summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "record")]
[JsonDerivedType(typeof(RunStarted), "started")]
[JsonDerivedType(typeof(RunTurn), "turn")]
[JsonDerivedType(typeof(RunEnded), "ended")]
[FromJson, ToJson]
internal abstract record RunRecord
{
    /// <summary>The record as it stands in the file, with its '\n'. Turns have their own way: <see cref="TurnLine"/>.</summary>
    public byte[] ToLine()
    {
        var line = new ArrayBufferWriter<byte>(512);
        using (var writer = new Utf8JsonWriter(line, Contract.Compact)) Json.RunRecord.WriteAll(writer, this);
        line.Write("\n"u8);
        return line.WrittenSpan.ToArray();
    }
}

internal sealed record RunStarted(string RunId, string AgentId, string Intent, string? OutcomeDescription, DateTime StartedAt) : RunRecord;

/// <summary>One step of the agent. What was not given is left out of the line; a given <c>null</c> stays.</summary>
/// <param name="Index">Position among the run's turns, from 0. The run decides it, never the sender.</param>
/// <param name="Extra">Fields of a proposal's action that the daemon does not know.</param>
[FromJson]
internal sealed record RunTurn(
    int Index = 0,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Prompt = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Tool = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] RawJson? Parameters = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] RawJson? Output = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] CliOutcome? CliOutcome = null,
    VerifierVerdict VerifierVerdict = VerifierVerdict.NotRun,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] bool? PolicyRejected = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] RawJson? Extra = null) : RunRecord;

internal sealed record RunEnded(string RunId, string AgentId, RunTermination Termination, DateTime EndedAt) : RunRecord;

/// <summary>How a run ended: with an outcome that its harness reported, or without one.</summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "kind")]
[JsonDerivedType(typeof(RunOutcome), "outcome")]
[JsonDerivedType(typeof(RunIncomplete), "incomplete")]
internal abstract record RunTermination
{
    /// <summary>An outcome is <c>completed</c> whatever it says, <c>timeout</c> and <c>failure</c> too.</summary>
    [JsonIgnore]
    public abstract RunStatus Status { get; }
}

internal sealed record RunOutcome(AgentOutcome Outcome) : RunTermination
{
    [JsonIgnore]
    public override RunStatus Status => RunStatus.Completed;
}

internal sealed record RunIncomplete : RunTermination
{
    [JsonIgnore]
    public override RunStatus Status => RunStatus.Incomplete;
}

internal enum RunStatus { InProgress, Completed, Incomplete }

internal enum VerifierVerdict { NotRun, Passed, Failed, Inconclusive }

internal enum CliOutcomeKind { Succeeded, Failed, TimedOut }

/// <summary>How a command line program that a turn ran came out.</summary>
internal sealed record CliOutcome(
    CliOutcomeKind Kind,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] long? ExitCode = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] double? DurationMs = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? StdoutTail = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? StderrTail = null);

/// <summary>A run as <c>runs.list</c> shows it.</summary>
/// <param name="TurnsDropped">Turns that could not be recorded, as far as this process knows; left out when there are none.</param>
[FromJson]
internal sealed record RunSummary(
    string RunId, string AgentId, string Intent, DateTime StartedAt, DateTime? EndedAt, RunStatus Status, int TurnCount,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)] int TurnsDropped = 0);

using CarServer.RunStore.Contracts;

namespace CarServer.RunStore;

/// <summary>A turn as an agent sends it. Its <c>index</c> is not read: the run decides it.</summary>
[FromJson]
internal sealed record TurnParams(
    string? Prompt = null, string? Tool = null, RawJson Parameters = default, RawJson Output = default, CliOutcome? CliOutcome = null,
    VerifierVerdict VerifierVerdict = VerifierVerdict.NotRun, bool? PolicyRejected = null)
{
    public RunTurn ToTurn() => new(
        0, Prompt, Tool, Parameters.IsAbsent ? null : Parameters, Output.IsAbsent ? null : Output, CliOutcome, VerifierVerdict, PolicyRejected);
}

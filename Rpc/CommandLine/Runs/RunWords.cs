using System.Globalization;
using CarServer.RunStore;

namespace CarServer.Rpc.CommandLine.Runs;

/// <summary>How a run stands, in words.</summary>
internal static class RunWords
{
    /// <summary>As the wire spells them.</summary>
    public static IReadOnlyList<string> Statuses { get; } = Json.RunStatusContract.Words;

    private static readonly IReadOnlyList<string> Outcomes = Json.OutcomeStatusContract.Words;

    public static string Status(RunStatus status) => Spaced(Statuses[(int)status]);

    public static string Outcome(OutcomeStatus outcome) => Spaced(Outcomes[(int)outcome]);

    /// <summary><c>completed: partial success</c>.</summary>
    public static string How(RunTermination termination) =>
        Status(termination.Status) + (termination is RunOutcome { Outcome.Status: var outcome } ? $": {Outcome(outcome)}" : "");

    public static TurnOutcome Colour(RunTermination termination) => termination switch
    {
        RunOutcome { Outcome.Status: OutcomeStatus.Success or OutcomeStatus.Done } => TurnOutcome.Ok,
        RunOutcome { Outcome.Status: OutcomeStatus.PartialSuccess } => TurnOutcome.Doubted,
        _ => TurnOutcome.Failed,
    };

    public static string Count(int count, string thing) => string.Create(CultureInfo.InvariantCulture, $"{count} {thing}{(count == 1 ? "" : "s")}");

    private static string Spaced(string wire) => wire.Replace('_', ' ');
}

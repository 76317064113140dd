using System.Text.Json;
using CarServer.RunStore;

namespace CarServer.Rpc.CommandLine.Runs;

/// <summary>How a turn came out, in the kinds that have a colour.</summary>
internal enum TurnOutcome { Ok, Failed, Rejected, Doubted }

/// <summary>A turn at a glance: what the terminal puts on one line, and the page into one row.</summary>
/// <param name="Word">The outcome in a word or two: <c>exit 2</c>, <c>timed out</c>.</param>
/// <param name="Took">Null where the turn does not tell.</param>
/// <param name="Given">The parameters in a line, or the prompt where there are none.</param>
internal sealed record TurnGlance(int Index, string Tool, TurnOutcome Outcome, string Word, double? DurationMs, string? Took, string Given, string Came)
{
    /// <summary>Stands where a turn names no tool.</summary>
    private const string NoTool = "-";

    public static TurnGlance Of(RunTurn turn)
    {
        (TurnOutcome outcome, string word) = Judge(turn);
        double? duration = turn.CliOutcome?.DurationMs;
        string given = ValueText.Glance(turn.Parameters);
        return new TurnGlance(
            turn.Index, TerminalText.OneLine(turn.Tool ?? "") is { Length: > 0 } tool ? tool : NoTool, outcome, word, duration, duration is { } ms ? TimeText.OfMilliseconds(ms) : null,
            given.Length == 0 && turn.Prompt is { } prompt ? ValueText.Glance(RawJson.FromString(prompt)) : given,
            ValueText.Glance(turn.Output));
    }

    /// <summary>For a record that this version cannot read: it is there, and somebody should look.</summary>
    public static TurnGlance Unreadable(int index) => new(index, NoTool, TurnOutcome.Doubted, "unreadable", null, null, "", "");

    /// <summary>What kept it from happening goes first, then how it ended, then what was thought of it.</summary>
    private static (TurnOutcome, string) Judge(RunTurn turn) => turn switch
    {
        { PolicyRejected: true } => (TurnOutcome.Rejected, "rejected"),
        { CliOutcome.Kind: CliOutcomeKind.TimedOut } => (TurnOutcome.Failed, "timed out"),
        { CliOutcome: { Kind: CliOutcomeKind.Failed, ExitCode: { } code } } => (TurnOutcome.Failed, $"exit {code}"),
        { CliOutcome.Kind: CliOutcomeKind.Failed } => (TurnOutcome.Failed, "failed"),
        { Output: { } output } when IsError(output) => (TurnOutcome.Failed, "failed"),
        { VerifierVerdict: VerifierVerdict.Failed } => (TurnOutcome.Doubted, "not verified"),
        { VerifierVerdict: VerifierVerdict.Inconclusive } => (TurnOutcome.Doubted, "inconclusive"),
        { VerifierVerdict: VerifierVerdict.Passed } => (TurnOutcome.Ok, "verified"),
        _ => (TurnOutcome.Ok, "ok"),
    };

    /// <summary>The form that the daemon gives to the output of a failed action (protocol 13.4): an object with an error text and nothing else.</summary>
    private static bool IsError(RawJson output)
    {
        Utf8JsonReader reader = output.Reader();
        return reader.TokenType == JsonTokenType.StartObject && reader.Read() && reader.TokenType == JsonTokenType.PropertyName && reader.TextIs("error"u8)
            && reader.Read() && reader.TokenType == JsonTokenType.String && reader.Read() && reader.TokenType == JsonTokenType.EndObject;
    }
}

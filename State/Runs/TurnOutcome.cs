using System.Text.Json;
using CarServer.RunStore;
using CarServer.State.Engine;

namespace CarServer.State.Runs;

/// <summary>How the tool call of a recorded turn ended.</summary>
internal static class TurnOutcome
{
    /// <summary>Null when the tool was not called, or the turn does not tell.</summary>
    /// <remarks>
    /// A turn failed when its program did, or when its output is <c>{"error": …}</c> and nothing else; with the error of a rejection, of a call
    /// that its rate limit held back, or of an action that was skipped, the tool never heard of it (see <see cref="TurnRecorder"/>).
    /// </remarks>
    public static bool? Of(RunTurn turn)
    {
        if (turn.PolicyRejected == true) return null;
        if (turn.CliOutcome is { } program) return program.Kind == CliOutcomeKind.Succeeded;
        if (turn.Output is not { } output) return null;
        if (Error(output) is not { } error) return true;
        return ActionValidation.IsRejection(error) || ActionAttempts.IsUncalled(error) || error.StartsWith(ProposalRun.Skipped, StringComparison.Ordinal) ? null : false;
    }

    /// <summary>The error of an output that is nothing else; the empty text for one that is no string.</summary>
    private static string? Error(RawJson output)
    {
        Utf8JsonReader reader = output.Reader();
        if (reader.TokenType != JsonTokenType.StartObject || !reader.Read() || reader.TokenType != JsonTokenType.PropertyName || !reader.TextIs("error"u8)) return null;
        reader.Read();
        string? text = reader.TokenType == JsonTokenType.String ? Text(ref reader) : "";
        reader.Skip();
        return reader.Read() && reader.TokenType == JsonTokenType.EndObject ? text : null;
    }

    private static string Text(ref Utf8JsonReader reader)
    {
        try
        {
            return reader.GetString()!;
        }
        catch (InvalidOperationException)
        {
            return "";   // half a surrogate pair; none of our own texts has one
        }
    }
}

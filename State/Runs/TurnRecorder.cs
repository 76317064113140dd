using System.Buffers;
using System.Text.Json;
using CarServer.RunStore;
using CarServer.State.Engine;

namespace CarServer.State.Runs;

/// <summary>A proposal and its results as turns: one per result, in result order (protocol 13.4).</summary>
internal static class TurnRecorder
{
    public static List<RunTurn> ToTurns(ActionProposal proposal, ProposalResult result)
    {
        Dictionary<string, AgentAction> actions = proposal.Actions.ToDictionary(static action => action.Id);
        var turns = new List<RunTurn>(result.Results.Count);
        foreach (ActionResult outcome in result.Results)
        {
            actions.TryGetValue(outcome.ActionId, out AgentAction? action);
            turns.Add(ToTurn(action, outcome));
        }
        return turns;
    }

    private static RunTurn ToTurn(AgentAction? action, ActionResult outcome) => new(
        Prompt: action is null ? null : Prompt(action.Parameters),
        Tool: action?.Tool,
        Parameters: action is null || action.Parameters.IsAbsent ? null : action.Parameters,
        Output: Output(outcome),
        CliOutcome: CommandOutcome(outcome),
        PolicyRejected: outcome.RejectedByPolicy ? true : null,
        Extra: action?.Unknown is { } unknown ? UnknownFields.ToRawJson(unknown) : null);

    private static RawJson? Output(ActionResult outcome)
    {
        if (outcome.Status != ActionStatus.Succeeded && outcome.Error is { } error) return ErrorObject(error);
        return outcome.Output.IsAbsent ? null : outcome.Output;
    }

    private static RawJson ErrorObject(string error)
    {
        var json = new ArrayBufferWriter<byte>();
        json.Write("{\"error\":"u8);
        json.Write(RawJson.FromString(error).Utf8);
        json.Write("}"u8);
        return RawJson.FromCompact(json.WrittenSpan.ToArray());
    }

    private static string? Prompt(RawJson parameters)
    {
        Utf8JsonReader reader = parameters.Reader();
        if (!TryEnter(ref reader, "prompt"u8) || reader.TokenType != JsonTokenType.String) return null;
        try
        {
            return reader.GetString();
        }
        catch (InvalidOperationException)
        {
            return null;   // half a surrogate pair is no text; the parameters still show it as it came
        }
    }

    /// <summary>Only an output that carries an <c>exit_code</c> is a program's. Its text stays in the output; a second copy would say nothing new.</summary>
    private static CliOutcome? CommandOutcome(ActionResult outcome)
    {
        Utf8JsonReader reader = outcome.Output.Reader();
        if (!TryEnter(ref reader, "exit_code"u8) || reader.TokenType != JsonTokenType.Number || !reader.TryGetInt64(out long exitCode)) return null;
        return new CliOutcome(exitCode == 0 ? CliOutcomeKind.Succeeded : CliOutcomeKind.Failed, exitCode, outcome.DurationMs);
    }

    /// <summary>Moves the reader from an object to the value of one of its members.</summary>
    private static bool TryEnter(ref Utf8JsonReader reader, ReadOnlySpan<byte> member)
    {
        if (reader.TokenType != JsonTokenType.StartObject) return false;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            bool found = reader.TextIs(member);
            reader.Read();
            if (found) return true;
            reader.Skip();
        }
        return false;
    }
}

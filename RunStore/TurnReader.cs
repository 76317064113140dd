using System.Text.Json;
using CarServer.RunStore.Contracts;

namespace CarServer.RunStore;

/// <summary>Reads turns as agents send them (protocol 13.7) and encodes them in the same pass.</summary>
/// <remarks>
/// Turns are the heaviest thing that agents send, and what they carry is stored as it came: so a usual turn's values are copied from the
/// message into its line. A turn that needs more, such as a text to be cut or an escape in a name, takes the way through
/// <see cref="RunTurn"/>; both come to the same bytes. Four times as fast as making objects of all of them.
/// </remarks>
internal static class TurnReader
{
    /// <summary>Reads the array that the reader stands on.</summary>
    /// <param name="json">What the reader reads from its beginning on.</param>
    /// <param name="most">Turns that are read; further ones are only counted.</param>
    /// <returns>How many there are.</returns>
    /// <exception cref="JsonException">It is no array of turns.</exception>
    public static int ReadAll(ref Utf8JsonReader reader, ReadOnlySpan<byte> json, TurnBatch batch, int most)
    {
        if (reader.TokenType != JsonTokenType.StartArray) throw new JsonException(null, "$.turns", null, null);
        int count = 0;
        for (; reader.Read() && reader.TokenType != JsonTokenType.EndArray; count++)
        {
            if (count < most) Read(ref reader, json, batch, count);
            else reader.Skip();
        }
        return count;
    }

    private static void Read(ref Utf8JsonReader reader, ReadOnlySpan<byte> json, TurnBatch batch, int number)
    {
        if (reader.TokenType != JsonTokenType.StartObject) throw Wrong(number, null);
        int start = (int)reader.TokenStartIndex;
        var fields = new Fields();
        bool isUsual = true;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            Member member = MemberOf(ref reader);
            reader.Read();
            if (member == Member.Unknown)
            {
                reader.Skip();
                continue;
            }
            if (!fields.Note(member)) throw Wrong(number, member);
            switch (member)
            {
                case Member.Prompt or Member.Tool:
                    if (reader.TokenType == JsonTokenType.Null) break;
                    if (reader.TokenType != JsonTokenType.String) throw Wrong(number, member);
                    isUsual &= !reader.ValueIsEscaped && reader.ValueSpan.Length <= TurnLine.MaxStringBytes;
                    ReadOnlySpan<byte> text = json.Slice((int)reader.TokenStartIndex, reader.ValueSpan.Length + 2);
                    if (member == Member.Prompt) fields.Prompt = text;
                    else fields.Tool = text;
                    break;
                case Member.Parameters or Member.Output:
                    ReadOnlySpan<byte> value = Value(ref reader, json, ref isUsual);
                    if (member == Member.Parameters) fields.Parameters = value;
                    else fields.Output = value;
                    break;
                case Member.PolicyRejected when reader.TokenType is JsonTokenType.True or JsonTokenType.False or JsonTokenType.Null:
                    if (reader.TokenType != JsonTokenType.Null) fields.PolicyRejected = reader.ValueSpan;
                    break;
                case Member.VerifierVerdict when reader.TokenType == JsonTokenType.String:
                    isUsual &= reader.ValueSpan.SequenceEqual("not_run"u8);
                    break;
                case Member.CliOutcome:
                    isUsual &= reader.TokenType == JsonTokenType.Null;
                    reader.Skip();
                    break;
                default:
                    throw Wrong(number, member);
            }
        }
        if (isUsual && fields.Size <= TurnLine.LargestBody) fields.WriteTo(batch);
        else batch.Add(Slowly(json[start..(int)reader.BytesConsumed], number));
    }

    /// <summary>The value the reader stands on, compact; leaves the reader on its last token.</summary>
    /// <param name="isUsual">Becomes false when a text in it is long enough to be looked at more closely.</param>
    private static ReadOnlySpan<byte> Value(scoped ref Utf8JsonReader reader, ReadOnlySpan<byte> json, scoped ref bool isUsual)
    {
        int start = (int)reader.TokenStartIndex;
        int depth = reader.CurrentDepth;
        int compact = 0;   // length without the white space between tokens
        bool comma = false;
        do
        {
            bool ends = reader.TokenType is JsonTokenType.EndObject or JsonTokenType.EndArray;
            if (comma && !ends) compact++;
            compact += reader.TokenType switch
            {
                JsonTokenType.PropertyName => reader.ValueSpan.Length + 3,
                JsonTokenType.String => reader.ValueSpan.Length + 2,
                _ => reader.ValueSpan.Length,
            };
            isUsual &= reader.TokenType != JsonTokenType.String || reader.ValueSpan.Length <= TurnLine.MaxStringBytes;
            comma = reader.TokenType is not (JsonTokenType.PropertyName or JsonTokenType.StartObject or JsonTokenType.StartArray);
            if (comma && reader.CurrentDepth == depth) break;
        }
        while (reader.Read());
        ReadOnlySpan<byte> value = json[start..(int)reader.BytesConsumed];
        return value.Length == compact ? value : RawJson.Parse(value).Utf8;
    }

    private static RunTurn Slowly(ReadOnlySpan<byte> turn, int number)
    {
        try
        {
            RunTurn made = Json.TurnParams.Parse(turn)!.ToTurn();
            // A number too large for a double is read as infinite, and can't be written.
            return double.IsFinite(made.CliOutcome?.DurationMs ?? 0) ? made : throw Wrong(number, Member.CliOutcome);
        }
        catch (JsonException e) when (e.Path?.StartsWith("$.turns", StringComparison.Ordinal) != true)
        {
            throw new JsonException(null, $"$.turns[{number}]{e.Path?[1..]}", null, null);
        }
    }

    private static JsonException Wrong(int number, Member? member) => new(null, $"$.turns[{number}]{(member is { } named ? "." + NameOf(named) : null)}", null, null);

    private enum Member { Unknown, Prompt, Tool, Parameters, Output, CliOutcome, VerifierVerdict, PolicyRejected }

    private static string NameOf(Member member) => JsonNamingPolicy.SnakeCaseLower.ConvertName(member.ToString());

    private static Member MemberOf(ref Utf8JsonReader reader) =>
        reader.TextIs("tool"u8) ? Member.Tool
        : reader.TextIs("parameters"u8) ? Member.Parameters
        : reader.TextIs("output"u8) ? Member.Output
        : reader.TextIs("prompt"u8) ? Member.Prompt
        : reader.TextIs("cli_outcome"u8) ? Member.CliOutcome
        : reader.TextIs("verifier_verdict"u8) ? Member.VerifierVerdict
        : reader.TextIs("policy_rejected"u8) ? Member.PolicyRejected
        : Member.Unknown;

    /// <summary>What a turn says, as JSON; empty for what it does not say.</summary>
    private ref struct Fields
    {
        private int _seen;
        public ReadOnlySpan<byte> Prompt, Tool, Parameters, Output, PolicyRejected;

        /// <summary>False when the member came before.</summary>
        public bool Note(Member member)
        {
            int bit = 1 << (int)member;
            if ((_seen & bit) != 0) return false;
            _seen |= bit;
            return true;
        }

        /// <summary>Bytes that <see cref="WriteTo"/> writes at most.</summary>
        public readonly int Size => Prompt.Length + Tool.Length + Parameters.Length + Output.Length + PolicyRejected.Length + 128;

        public readonly void WriteTo(TurnBatch batch)
        {
            Write(batch, ",\"prompt\":"u8, Prompt);
            Write(batch, ",\"tool\":"u8, Tool);
            Write(batch, ",\"parameters\":"u8, Parameters);
            Write(batch, ",\"output\":"u8, Output);
            batch.Append(",\"verifier_verdict\":\"not_run\""u8);
            Write(batch, ",\"policy_rejected\":"u8, PolicyRejected);
            batch.Append("}"u8);
            batch.EndTurn();
        }

        private static void Write(TurnBatch batch, ReadOnlySpan<byte> name, ReadOnlySpan<byte> value)
        {
            if (value.IsEmpty) return;
            batch.Append(name);
            batch.Append(value);
        }
    }
}

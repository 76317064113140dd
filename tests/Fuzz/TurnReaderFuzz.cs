using System.Text;
using System.Text.Json;
using CarServer.Rpc.Methods;
using CarServer.RunStore.Contracts;
using CarServer.RunStore;
using CarServer.Tests.Support;

namespace CarServer.Tests.Fuzz;

/// <summary>Turns that are encoded as they are read come to the same JSON, and the same refusals, as turns made into objects first.</summary>
public sealed class TurnReaderFuzz
{
    private static readonly string[] Members =
        ["prompt", "tool", "parameters", "output", "cli_outcome", "verifier_verdict", "policy_rejected", "index", "record", "to\\u006fl", "other", "\\u006fther"];

    [Test]
    public async Task Any_turns_are_stored_as_their_objects_would_be()
    {
        var random = new Random(137);
        int counted = FuzzBudget.EnvelopeInputs / 2, taken = 0, refused = 0;
        for (int round = 0; round < counted; round++)
        {
            string text = Params(random);
            byte[] json = Encoding.UTF8.GetBytes(text);
            // An unknown name that is half a surrogate pair makes the framework refuse; here it is passed over like any unknown name.
            if (!IsJson(json) || text.Contains("\"\\ud800\":", StringComparison.Ordinal)) continue;
            string read = Read(json), made = Make(json);
            if (!AreAlike(read, made)) Assert.Fail($"{text}\nread as {read}\nmade as {made}");
            if (read == "refused") refused++;
            else taken++;
        }
        FuzzReport.Print($"turns: {taken:N0} batches taken, {refused:N0} refused");
        await Assert.That(taken).IsGreaterThan(counted / 10);
        await Assert.That(refused).IsGreaterThan(counted / 10);
    }

    private static string Read(byte[] json)
    {
        try
        {
            using TurnBatch turns = RecordTurnsRequest.Read(json).Turns;
            return string.Join('\n', Enumerable.Range(0, turns.Count).Select(i => Encoding.UTF8.GetString(turns[i]))) + (turns.HasTooLarge ? "\ntoo large" : "");
        }
        catch (JsonException) { return "refused"; }
    }

    private static string Make(byte[] json)
    {
        try
        {
            RecordTurnsParams made = Json.RecordTurnsParams.Parse(json)!;
            if (made.Turns.Contains(null!)) return "refused";
            byte[]?[] bodies = [.. made.Turns.Select(turn => TurnLine.TryEncodeBody(turn.ToTurn()))];
            return string.Join('\n', bodies.OfType<byte[]>().Select(Encoding.UTF8.GetString)) + (bodies.Contains(null) ? "\ntoo large" : "");
        }
        catch (JsonException) { return "refused"; }
    }

    /// <summary>Byte by byte, but for characters beyond the first plane: the framework's writer escapes them, a copy leaves them as they came.</summary>
    private static bool AreAlike(string read, string made) => read == made || Escaped(read) == Escaped(made);

    private static string Escaped(string text)
    {
        var escaped = new StringBuilder();
        foreach (char c in text) escaped.Append(char.IsSurrogate(c) ? $"\\u{(int)c:X4}" : c.ToString());
        return escaped.ToString();
    }

    private static bool IsJson(byte[] json)
    {
        try { using JsonDocument _ = JsonDocument.Parse(json); return true; }
        catch (JsonException) { return false; }
    }

    private static string Params(Random random)
    {
        var text = new StringBuilder("{");
        if (random.Next(20) > 0) text.Append("\"run_id\":").Append(random.Next(30) == 0 ? "\"\\ud800\"" : random.Next(30) == 0 ? "null" : "\"r\"").Append(',');
        text.Append("\"turns\": [");
        for (int count = random.Next(4), i = 0; i < count; i++)
        {
            if (i > 0) text.Append(" , ");
            if (random.Next(30) == 0) JsonTexts.Value(random, text, 1);
            else Turn(random, text);
        }
        return text.Append("] }").ToString();
    }

    private static void Turn(Random random, StringBuilder text)
    {
        text.Append('{');
        string[] members = [.. random.GetItems(Members, random.Next(6)).Distinct()];
        if (members.Length > 0 && random.Next(25) == 0) members = [.. members, members[0]];
        for (int i = 0; i < members.Length; i++)
        {
            if (i > 0) text.Append(',');
            if (random.Next(10) == 0) text.Append(" \n");
            text.Append('"').Append(members[i]).Append("\":").Append(random.Next(10) == 0 ? " " : "");
            Member(random, text, members[i]);
        }
        text.Append('}');
    }

    private static void Member(Random random, StringBuilder text, string name)
    {
        if (random.Next(15) == 0) JsonTexts.Value(random, text, 1);
        else if (random.Next(15) == 0) text.Append("null");
        else switch (name)
        {
            case "prompt" or "tool" or "to\\u006fl": Text(random, text); break;
            case "verifier_verdict": text.Append(random.GetItems(["\"not_run\"", "\"passed\"", "\"not\\u005frun\"", "\"Passed\""], 1)[0]); break;
            case "policy_rejected": text.Append(random.Next(2) == 0 ? "true" : "false"); break;
            case "cli_outcome": text.Append(random.GetItems(["{\"kind\":\"failed\",\"exit_code\":2}", "{}", "{\"kind\":\"succeeded\",\"stdout_tail\":\"x\"}"], 1)[0]); break;
            case "parameters" or "output" when random.Next(8) == 0: Text(random, text); break;
            default: JsonTexts.Value(random, text, 4); break;
        }
    }

    /// <summary>Mostly short; now and then around the length where it is cut, or so long that the whole turn is too large.</summary>
    private static void Text(Random random, StringBuilder text)
    {
        text.Append('"').Append(random.GetItems(["", "a", "read_file", "é", "\\n", "\\u0041", "\\ud83d\\ude00", "😀"], 1)[0]);
        if (random.Next(50) == 0) text.Append(random.GetItems(['x', 'é'], 1)[0], TurnLine.MaxStringBytes - 2 + random.Next(5));
        if (random.Next(500) == 0) text.Append('y', TurnLine.MaxLineBytes);
        text.Append('"');
    }
}

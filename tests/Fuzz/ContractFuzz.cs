using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using System.Text.RegularExpressions;
using CarServer.RunStore.Contracts;
using CarServer.Tests.Support;

namespace CarServer.Tests.Fuzz;

/// <summary>The generated contracts read, refuse and write as the framework's own serializer does for the same types.</summary>
public sealed partial class ContractFuzz
{
    /// <summary>By the word that tells them.</summary>
    private static readonly Dictionary<string, IContract> Cases = new()
    {
        ["started"] = Json.RunStarted, ["turn"] = Json.RunTurn, ["ended"] = Json.RunEnded, ["outcome"] = Json.RunOutcome, ["incomplete"] = Json.RunIncomplete,
    };

    private readonly Random _random = new(20261123);

    [Test]
    public async Task What_is_read_is_what_the_framework_reads()
    {
        Reading[] types =
        [
            Of(Json.ProposalSubmitParams), Of(Json.MonteCarloParams), Of(Json.EquivalentParams), Of(Json.CompleteRunParams), Of(Json.RecordTurnsParams),
            Of(Json.RunRecord), Of(Json.EventQuery), Of(Json.AgentPostures), Of(Json.PermissionDecideParams), Of(Json.EventsTruncateParams),
        ];
        int taken = 0, refused = 0;
        foreach (Reading type in types)
        {
            using JsonDocument schema = JsonDocument.Parse(type.Contract.Schema());
            for (int round = 0; round < FuzzBudget.EnvelopeInputs / 20; round++)
            {
                string json = Text(schema.RootElement, faults: _random.Next(3) == 0 ? 0 : 0.02);
                (string ours, string theirs) = (type.Ours(json), type.Theirs(json));
                if (!AreAlike(json, ours, theirs)) Assert.Fail($"{type.Contract.GetType().Name}\n{json}\nours   {ours}\ntheirs {theirs}");
                if (ours.StartsWith('{')) taken++;
                else refused++;
            }
        }
        FuzzReport.Print($"contracts: {taken:N0} texts taken, {refused:N0} refused");
        await Assert.That(taken).IsGreaterThan(refused / 10);
        await Assert.That(refused).IsGreaterThan(taken / 10);
    }

    [Test]
    public async Task What_is_written_is_what_the_framework_writes()
    {
        int written = Written(Json.ProposalResult) + Written(Json.ToolsListResult) + Written(Json.Verification) + Written(Json.TrialReport)
            + Written(Json.ListRunsResult) + Written(Json.GetTraceResult) + Written(Json.RunRecord) + Written(Json.MetricsAlertsResult)
            + Written(Json.AgentPostures) + Written(Json.ApprovalRecord) + Written(Json.EvaluateResult);
        FuzzReport.Print($"contracts: {written:N0} values written");
        await Assert.That(written).IsGreaterThan(FuzzBudget.EnvelopeInputs / 10);
    }

    /// <summary>Values that the framework reads from texts of our schema, written by both.</summary>
    private int Written<T>(IWrites<T> contract)
    {
        JsonTypeInfo<T> framework = FrameworkJson.Of<T>();
        using JsonDocument schema = JsonDocument.Parse(contract.Schema());
        int written = 0;
        for (int round = 0; round < FuzzBudget.EnvelopeInputs / 20; round++)
        {
            T? value;
            try { value = JsonSerializer.Deserialize(Text(schema.RootElement, faults: 0), framework); }
            catch (JsonException) { continue; }   // a required member that a value may be written without
            (string ours, string theirs) = (contract.Text(value!), JsonSerializer.Serialize(value!, framework));
            if (ours != theirs) Assert.Fail($"{contract.GetType().Name}\nours   {ours}\ntheirs {theirs}");
            written++;
        }
        return written;
    }

    /// <summary>What both readers make of a text: the value as the framework writes it, or where they refuse it.</summary>
    private sealed record Reading(IContract Contract, Func<string, string> Ours, Func<string, string> Theirs);

    /// <summary>A member that comes twice is refused where its name stands, the framework first reads the value, and may stumble in there; of a union without its word it names only where the union begins.</summary>
    private static bool AreAlike(string json, string ours, string theirs) => ours == theirs || (HasTwice(json) || json.Contains("\"record\"", StringComparison.Ordinal))
        && (ours.StartsWith("refused at ", StringComparison.Ordinal) && theirs.StartsWith("refused at ", StringComparison.Ordinal)
            && (theirs.StartsWith(ours, StringComparison.Ordinal) || ours.StartsWith(theirs, StringComparison.Ordinal)));

    private static bool HasTwice(string json)
    {
        var open = new Stack<HashSet<string>>();
        var reader = new Utf8JsonReader(Encoding.UTF8.GetBytes(json));
        while (reader.Read())
        {
            if (reader.TokenType == JsonTokenType.StartObject) open.Push([]);
            else if (reader.TokenType == JsonTokenType.EndObject) open.Pop();
            else if (reader.TokenType == JsonTokenType.PropertyName && !open.Peek().Add(reader.GetString()!)) return true;
        }
        return false;
    }

    private static Reading Of<T>(IReads<T> contract)
    {
        JsonTypeInfo<T> framework = FrameworkJson.Of<T>();
        return new(contract, json => Outcome(() => contract.Parse(json), framework), json => Outcome(() => JsonSerializer.Deserialize(json, framework), framework));
    }

    private static string Outcome<T>(Func<T?> read, JsonTypeInfo<T> framework)
    {
        try { return MadeId().Replace(JsonSerializer.Serialize(read()!, framework), "\"id\":\"made\""); }
        catch (JsonException e) { return $"refused at {e.Path}"; }
        catch (ArgumentException) { return "{ infinite }"; }   // 1e400 is read, and cannot be written
        catch (NotSupportedException) { return "refused at $"; }   // what the framework throws for an abstract type without its word
    }

    [GeneratedRegex("\"id\":\"[0-9a-f]{12}\"")]
    private static partial Regex MadeId();

    /// <summary>A text of the schema, and now and then one that is not.</summary>
    private string Text(JsonElement schema, double faults)
    {
        if (_random.NextDouble() < faults) return Fault();
        if (schema.TryGetProperty("enum", out JsonElement words)) return words[_random.Next(words.GetArrayLength())].GetRawText();
        if (!schema.TryGetProperty("type", out JsonElement types)) return Fault();
        string type = types.ValueKind == JsonValueKind.Array ? types[_random.Next(types.GetArrayLength())].GetString()! : types.GetString()!;
        return type switch
        {
            "null" => "null",
            "boolean" => _random.Next(2) == 0 ? "true" : "false",
            "integer" => _random.Next(1000).ToString(),
            "number" => _random.Next(2) == 0 ? _random.Next(1000).ToString() : (_random.NextDouble() * 100).ToString("R", System.Globalization.CultureInfo.InvariantCulture),
            "string" => schema.TryGetProperty("format", out _) ? $"\"2026-11-23T0{_random.Next(10)}:00:00{(_random.Next(2) == 0 ? "Z" : "+01:00")}\"" : $"\"{new[] { "", "a", "tool_x", "é", "\\u0041\\n", "<&>" }[_random.Next(6)]}\"",
            "array" => "[" + string.Join(',', Enumerable.Range(0, _random.Next(3)).Select(_ => Text(schema.GetProperty("items"), faults))) + "]",
            _ => Object(schema, faults),
        };
    }

    private string Object(JsonElement schema, double faults)
    {
        var members = new List<string>();
        if (schema.TryGetProperty("additionalProperties", out JsonElement item))
        {
            for (int i = _random.Next(3); i > 0; i--) members.Add($"\"k{i}\":{Text(item, faults)}");
            if (_random.NextDouble() < faults) members.Add("\"k1\":1");
            return "{" + string.Join(',', members) + "}";
        }
        JsonProperty told = schema.GetProperty("properties").EnumerateObject().FirstOrDefault();
        if (told.Value.ValueKind == JsonValueKind.Object && told.Value.TryGetProperty("enum", out JsonElement cases) && Cases.ContainsKey(cases[0].GetString()!))
        {
            string word = cases[_random.Next(cases.GetArrayLength())].GetString()!;
            using JsonDocument one = JsonDocument.Parse(Cases[word].Schema());
            string text = Object(one.RootElement, faults);
            string mark = $"\"{told.Name}\":{(_random.NextDouble() < faults ? Fault() : $"\"{word}\"")}";
            return text == "{}" ? $"{{{mark}}}" : _random.Next(2) == 0 ? $"{{{mark},{text[1..]}" : $"{text[..^1]},{mark}}}";
        }
        string?[] required = schema.TryGetProperty("required", out JsonElement names) ? [.. names.EnumerateArray().Select(name => name.GetString())] : [];
        foreach (JsonProperty property in schema.GetProperty("properties").EnumerateObject())
        {
            bool isThere = required.Contains(property.Name) ? _random.NextDouble() >= faults : _random.Next(2) == 0;
            if (!isThere) continue;
            string name = _random.NextDouble() < faults ? "\\u" + ((int)property.Name[0]).ToString("x4") + property.Name[1..] : property.Name;
            members.Add($"\"{name}\":{Text(property.Value, faults)}");
            if (_random.NextDouble() < faults) members.Add($"\"{property.Name}\":{Text(property.Value, faults)}");
        }
        if (_random.Next(4) == 0) members.Add($"\"new.member\":{Fault()}");
        if (_random.NextDouble() < faults) members.Add($"\"new.member\":{Fault()}");
        for (int i = members.Count - 1; i > 0; i--)
        {
            int other = _random.Next(i + 1);
            (members[i], members[other]) = (members[other], members[i]);
        }
        return "{" + string.Join(_random.Next(5) == 0 ? " ,\n" : ",", members) + "}";
    }

    private string Fault() => new[] { "null", "1", "-1", "1.5", "1e400", "99999999999999999999", "\"x\"", "\"\\ud800\"", "true", "[]", "[null]", "{}", "{\"a\":[1,{\"b\":2}]}", "[1,[2]]" }[_random.Next(14)];
}

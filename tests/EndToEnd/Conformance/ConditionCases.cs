using System.Text.Json;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd.Conformance;

/// <summary>A condition in one of its two places, and whether it holds by the words of protocol 10.1.</summary>
/// <param name="Actual">What the state holds; null: nothing.</param>
/// <param name="Operator">Null: left out.</param>
/// <param name="Expected">Null: left out.</param>
internal sealed record ConditionCase(string? Actual, string? Operator, string? Expected, bool IsAssertion)
{
    private static readonly string[] Values =
    [
        "null", "true", "false", "0", "-0.0", "1", "1.0", "1.5", "-1", "100", "1e2", "9007199254740993", "9007199254740992", "1e400", "-1e400",
        "\"\"", "\"1\"", "\"a\"", "\"abc\"", "\"ä\\u0062\"", "\"null\"", "[]", "[1]", "[1.0,\"a\"]", "[[1],null]", "{}", "{\"a\":1,\"b\":[2]}", "{\"b\":[2.0],\"a\":1.0}",
    ];

    private static readonly string?[] Operators = [null, "eq", "neq", "gt", "lt", "gte", "lte", "exists", "not_exists", "contains", "EQ", "about", ""];

    /// <summary>Every operator between every two values, none included, in both places.</summary>
    public static IReadOnlyList<ConditionCase> All { get; } =
    [
        .. from actual in Values.Prepend(null) from op in Operators from expected in Values.Prepend(null) from isAssertion in (bool[])[false, true]
           select new ConditionCase(actual, op, expected, isAssertion),
    ];

    /// <summary>The keys that hold the values; one more holds none.</summary>
    public static IEnumerable<(string Key, string Value)> State => Values.Select((value, i) => ($"v{i}", value));

    private string Key => $"v{Array.IndexOf(Values, Actual)}";
    private string Condition => $$"""{"key":"{{Key}}"{{Field("operator", Operator is null ? null : $"\"{Operator}\"")}}{{Field("value", Expected)}}}""";

    public string Action => IsAssertion
        ? $$"""{"type":"assertion","failure_behavior":"skip","parameters":{{Condition}}}"""
        : $$"""{"type":"state_read","failure_behavior":"skip","parameters":{"key":"v0"},"preconditions":[{{Condition}}]}""";

    /// <summary>What is wrong with a result, or null.</summary>
    public string? Complaint(JsonElement result)
    {
        bool holds = ConditionOracle.Holds(Operator ?? "eq", Actual is null ? null : Json(Actual), Json(Expected ?? "null"));
        string status = holds ? "succeeded" : IsAssertion ? "failed" : "rejected", text = holds ? "" : Text;
        string? error = result.GetProperty("error").GetString();
        bool right = result.GetProperty("status").GetString() == status && (holds ? error is null : error!.Contains(text, StringComparison.Ordinal));
        return right ? null : $"{(IsAssertion ? "assertion" : "precondition")} {Actual ?? "(no key)"} {Operator ?? "(no operator)"} {Expected ?? "(no value)"}: "
            + $"{status} '{text}' expected, got {result.GetRawText()}";
    }

    /// <summary>What the document gives of the error.</summary>
    private string Text => Operator switch
    {
        "gt" or "lt" or "gte" or "lte" => IsNumber(Actual) && IsNumber(Expected) ? Key : "cannot compare",
        null or "eq" or "neq" or "exists" or "not_exists" or "contains" => Key,
        _ => $"unknown operator '{Operator}'",
    };

    private static bool IsNumber(string? value) => value is not null && Json(value).ValueKind == JsonValueKind.Number;

    private static string Field(string name, string? value) => value is null ? "" : $",\"{name}\":{value}";

    private static readonly Dictionary<string, JsonElement> Parsed = Values.ToDictionary(value => value, value =>
    {
        using JsonDocument document = JsonDocument.Parse(value);
        return document.RootElement.Clone();
    });

    private static JsonElement Json(string value) => Parsed[value];
}

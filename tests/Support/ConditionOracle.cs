using System.Text.Json;

namespace CarServer.Tests.Support;

/// <summary>The operators of protocol 10.1 once more, in the words of the document and with nothing of the daemon's.</summary>
internal static class ConditionOracle
{
    /// <param name="actual">Null when the key is not there.</param>
    public static bool Holds(string op, JsonElement? actual, JsonElement expected)
    {
        if (op is "exists" or "not_exists") return actual is null == (op == "not_exists");
        if (actual is not { } value) return false;   // a missing key fails all the others
        return op switch
        {
            "eq" => Equal(value, expected),
            "neq" => !Equal(value, expected),
            "contains" => value.ValueKind == JsonValueKind.Array
                ? value.EnumerateArray().Any(member => Equal(member, expected))
                : Text(value).Contains(Text(expected), StringComparison.Ordinal),
            "gt" or "lt" or "gte" or "lte" => value.ValueKind == JsonValueKind.Number && expected.ValueKind == JsonValueKind.Number
                && double.IsFinite(value.GetDouble()) && double.IsFinite(expected.GetDouble())   // what no double can hold compares with nothing
                && Compare(op, value.GetDouble(), expected.GetDouble()),
            _ => false,
        };
    }

    private static bool Compare(string op, double left, double right) => op switch
    {
        "gt" => left > right,
        "lt" => left < right,
        "gte" => left >= right,
        _ => left <= right,
    };

    /// <summary>Numbers by their value (protocol 25), objects whatever the order of their members.</summary>
    private static bool Equal(JsonElement left, JsonElement right)
    {
        if (left.ValueKind != right.ValueKind) return false;
        switch (left.ValueKind)
        {
            case JsonValueKind.Number:
                // A double does not tell neighbours beyond 2^53 apart, and a decimal has no number beyond 10^28.
                return left.TryGetDecimal(out decimal one) && right.TryGetDecimal(out decimal two) ? one == two : left.GetDouble().Equals(right.GetDouble());
            case JsonValueKind.String:
                return left.GetString() == right.GetString();
            case JsonValueKind.Array:
                JsonElement[] these = [.. left.EnumerateArray()], those = [.. right.EnumerateArray()];
                return these.Length == those.Length && these.Zip(those).All(pair => Equal(pair.First, pair.Second));
            case JsonValueKind.Object:
                return left.EnumerateObject().Count() == right.EnumerateObject().Count()
                    && left.EnumerateObject().All(member => right.TryGetProperty(member.Name, out JsonElement other) && Equal(member.Value, other));
            default:
                return true;
        }
    }

    /// <summary>A string's own text; anything else as it was written.</summary>
    private static string Text(JsonElement value) => value.ValueKind == JsonValueKind.String ? value.GetString()! : value.GetRawText();
}

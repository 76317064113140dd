using System.Text;
using System.Text.Json;
using CarServer.RunStore;

namespace CarServer.State.Engine;

/// <summary>The operators of preconditions and assertions (protocol 10.1).</summary>
internal static class Preconditions
{
    /// <summary>Whether there is such an operator.</summary>
    public static bool IsOperator(string op) => op is "exists" or "not_exists" or "eq" or "neq" or "contains" or "gt" or "lt" or "gte" or "lte";

    /// <summary>Why the condition does not hold, or null when it does. Never shows a value: state may hold secrets.</summary>
    /// <param name="present">False when the key is not in the state; <paramref name="actual"/> then means nothing.</param>
    public static string? Problem(string op, bool present, RawJson actual, RawJson expected) => op switch
    {
        "exists" => present ? null : "key not found",
        "not_exists" => present ? "key is present" : null,
        "eq" or "neq" or "contains" when !present => "key not found",
        "eq" => JsonEquality.Equal(actual, expected) ? null : "value differs",
        "neq" => JsonEquality.Equal(actual, expected) ? "value is equal" : null,
        "contains" => Contains(actual, expected) ? null : "value is not contained",
        "gt" or "lt" or "gte" or "lte" => present ? Compare(op, actual, expected) : "cannot compare: key not found",
        _ => $"unknown operator '{op}'",
    };

    private static string? Compare(string op, RawJson actual, RawJson expected)
    {
        if (!TryNumber(actual, out double left) || !TryNumber(expected, out double right)) return "cannot compare: both sides must be numbers";
        bool holds = op switch { "gt" => left > right, "lt" => left < right, "gte" => left >= right, _ => left <= right };
        return holds ? null : $"value is not {op}";
    }

    private static bool TryNumber(RawJson value, out double number)
    {
        Utf8JsonReader reader = value.Reader();
        number = 0;
        return reader.TokenType == JsonTokenType.Number && reader.TryGetDouble(out number);
    }

    /// <summary>Membership for an array, else substring of the text form.</summary>
    private static bool Contains(RawJson actual, RawJson expected)
    {
        Utf8JsonReader reader = actual.Reader();
        if (reader.TokenType != JsonTokenType.StartArray) return Text(actual).Contains(Text(expected), StringComparison.Ordinal);
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (JsonEquality.Equal(RawJsonConverter.ReadValue(ref reader), expected)) return true;
        }
        return false;
    }

    /// <summary>A string's own text, any other value's compact JSON.</summary>
    private static string Text(RawJson value)
    {
        Utf8JsonReader reader = value.Reader();
        try
        {
            return reader.TokenType == JsonTokenType.String ? reader.GetString()! : Encoding.UTF8.GetString(value.Utf8);
        }
        catch (InvalidOperationException)
        {
            // An escaped lone surrogate has no text; its JSON is the next best thing to search in.
            return Encoding.UTF8.GetString(value.Utf8);
        }
    }
}

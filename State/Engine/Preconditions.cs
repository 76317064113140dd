using System.Text.Json;
using CarServer.RunStore;

namespace CarServer.State.Engine;

/// <summary>The operators of preconditions and assertions (protocol 10.1).</summary>
internal static class Preconditions
{
    /// <summary>Bytes of a text that are looked for before the rest is compared: so few that looking for them costs no more than reading.</summary>
    private const int HeadBytes = 64;

    /// <summary>Whether there is such an operator.</summary>
    public static bool IsOperator(string op) => op is "exists" or "not_exists" or "eq" or "neq" or "contains" or "gt" or "lt" or "gte" or "lte";

    /// <summary>Why the condition does not hold, or null when it does. Never shows a value: state may hold secrets.</summary>
    /// <param name="present">False when the key is not in the state; <paramref name="actual"/> then means nothing.</param>
    /// <param name="effort">Pays for each byte that is looked at.</param>
    /// <exception cref="RefusedException">The effort is used up.</exception>
    public static string? Problem(string op, bool present, RawJson actual, RawJson expected, Effort effort)
    {
        bool looksInside = present && op is not ("exists" or "not_exists");
        effort.SpendBytes(looksInside ? actual.Utf8.Length + expected.Utf8.Length : 0);
        return op switch
        {
            "exists" => present ? null : "key not found",
            "not_exists" => present ? "key is present" : null,
            "eq" or "neq" or "contains" when !present => "key not found",
            "eq" => JsonEquality.Equal(actual, expected) ? null : "value differs",
            "neq" => JsonEquality.Equal(actual, expected) ? "value is equal" : null,
            "contains" => Contains(actual, expected, effort) ? null : "value is not contained",
            "gt" or "lt" or "gte" or "lte" => present ? Compare(op, actual, expected) : "cannot compare: key not found",
            _ => $"unknown operator '{op}'",
        };
    }

    private static string? Compare(string op, RawJson actual, RawJson expected)
    {
        if (!TryNumber(actual, out double left) || !TryNumber(expected, out double right)) return "cannot compare: both sides must be numbers";
        bool holds = op switch { "gt" => left > right, "lt" => left < right, "gte" => left >= right, _ => left <= right };
        return holds ? null : $"value is not {op}";
    }

    /// <summary>A number beyond what a double can hold is none: all such numbers would be one and the same infinity.</summary>
    private static bool TryNumber(RawJson value, out double number)
    {
        Utf8JsonReader reader = value.Reader();
        number = 0;
        return reader.TokenType == JsonTokenType.Number && reader.TryGetDouble(out number) && double.IsFinite(number);
    }

    /// <summary>Membership for an array, else substring of the text form.</summary>
    private static bool Contains(RawJson actual, RawJson expected, Effort effort)
    {
        Utf8JsonReader reader = actual.Reader();
        if (reader.TokenType != JsonTokenType.StartArray) return Contains(Text(actual), Text(expected), effort);
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            int start = (int)reader.TokenStartIndex;
            reader.Skip();
            ReadOnlyMemory<byte> element = actual.Memory[start..(int)reader.BytesConsumed];
            effort.SpendBytes(JsonEquality.MayDiffer(element.Span, expected.Utf8) ? element.Length + expected.Utf8.Length : 0);
            if (JsonEquality.Equal(element, expected.Memory)) return true;
        }
        return false;
    }

    /// <summary>Texts that repeat themselves can ask for the product of their lengths; what is compared is paid for.</summary>
    private static bool Contains(ReadOnlySpan<byte> text, ReadOnlySpan<byte> part, Effort effort)
    {
        ReadOnlySpan<byte> head = part[..Math.Min(part.Length, HeadBytes)];
        for (int at; (at = text.IndexOf(head)) >= 0; text = text[1..])
        {
            text = text[at..];
            if (text.Length < part.Length) return false;
            int same = text.CommonPrefixLength(part);
            if (same == part.Length) return true;
            effort.SpendBytes(same);
        }
        return false;
    }

    /// <summary>A string's own text, any other value's compact JSON; in UTF-8, where what holds for texts holds for their bytes.</summary>
    private static ReadOnlySpan<byte> Text(RawJson value)
    {
        Utf8JsonReader reader = value.Reader();
        if (reader.TokenType != JsonTokenType.String) return value.Utf8;
        if (!reader.ValueIsEscaped) return value.Utf8[1..^1];
        try
        {
            byte[] text = new byte[reader.ValueSpan.Length];
            return text.AsSpan(0, reader.CopyString(text));
        }
        catch (InvalidOperationException)
        {
            // An escaped lone surrogate has no text; its JSON is the next best thing to search in.
            return value.Utf8;
        }
    }
}

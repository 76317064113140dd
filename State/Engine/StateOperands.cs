using System.Text.Json;
using CarServer.RunStore;

namespace CarServer.State.Engine;

/// <summary>What <c>state_write</c>, <c>state_read</c> and <c>assertion</c> take from their parameters: <c>{key, value, operator}</c>.</summary>
/// <param name="Key">Null when it is missing or no string.</param>
/// <param name="Value"><c>null</c> when missing.</param>
internal sealed record StateOperands(string? Key, RawJson Value, string Operator)
{
    private static readonly StateOperands None = new(null, RawJson.Null, "eq");

    /// <summary>Of a name given twice the last one counts, as in the rest of the protocol.</summary>
    public static StateOperands Read(RawJson parameters)
    {
        Utf8JsonReader reader = parameters.Reader();
        if (reader.TokenType != JsonTokenType.StartObject) return None;
        string? key = null;
        string op = "eq";
        RawJson value = RawJson.Null;
        try
        {
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                if (reader.TextIs("key"u8))
                {
                    reader.Read();
                    key = reader.TokenType == JsonTokenType.String ? reader.GetString() : null;
                    reader.Skip();
                }
                else if (reader.TextIs("value"u8))
                {
                    reader.Read();
                    value = RawJsonConverter.ReadValue(ref reader);
                }
                else if (reader.TextIs("operator"u8))
                {
                    reader.Read();
                    op = reader.TokenType == JsonTokenType.String ? reader.GetString()! : "";
                    reader.Skip();
                }
                else
                {
                    reader.Read();
                    reader.Skip();
                }
            }
        }
        catch (InvalidOperationException)
        {
            // An escaped lone surrogate: JSON, but no text that could be a key.
            return None;
        }
        return new StateOperands(key, value, op);
    }
}

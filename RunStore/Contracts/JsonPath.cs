using System.Globalization;
using System.Text.Json;

namespace CarServer.RunStore.Contracts;

/// <summary>Where in a JSON text something is: <c>$.actions[3].tool</c>.</summary>
/// <remarks>Found by reading once more, so that who reads well pays nothing for it.</remarks>
internal static class JsonPath
{
    /// <param name="offset">Of a token. An end belongs to what it ends; a name to its member.</param>
    public static string At(ReadOnlySpan<byte> json, long offset)
    {
        var steps = new List<string>();   // of each open object or array, the member or item that is looked at
        var counts = new List<int>();     // items seen of each array; below zero for an object
        var reader = new Utf8JsonReader(json, new JsonReaderOptions { MaxDepth = RawJsonConverter.MaxWrappedDepth });
        try
        {
            while (reader.Read())
            {
                JsonTokenType token = reader.TokenType;
                if (token is JsonTokenType.EndObject or JsonTokenType.EndArray)
                {
                    steps.RemoveAt(steps.Count - 1);
                    counts.RemoveAt(counts.Count - 1);
                }
                else if (token == JsonTokenType.PropertyName) steps[^1] = Member(reader.GetString()!);
                else if (counts.Count > 0 && counts[^1] >= 0) steps[^1] = string.Create(CultureInfo.InvariantCulture, $"[{counts[^1]++}]");
                if (reader.TokenStartIndex >= offset) break;
                if (token is not (JsonTokenType.StartObject or JsonTokenType.StartArray)) continue;
                steps.Add("");
                counts.Add(token == JsonTokenType.StartArray ? 0 : -1);
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // It is no JSON from here on: this is the place.
        }
        return "$" + string.Concat(steps);
    }

    private static string Member(string name) => name.AsSpan().IndexOfAny(" .'/\"[]()\t\n\r\f\b\\") < 0 && name.Length > 0 ? "." + name : $"['{name}']";
}

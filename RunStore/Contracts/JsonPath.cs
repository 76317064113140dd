using System.Globalization;
using System.Text;
using System.Text.Json;

namespace CarServer.RunStore.Contracts;

/// <summary>Where in a JSON text something is: <c>$.actions[3].tool</c>.</summary>
/// <remarks>Found by reading once more, so that who reads well pays nothing for it.</remarks>
internal static class JsonPath
{
    /// <summary>Of each name. It goes into an answer, and whoever sent it knows it.</summary>
    private const int MaxNameChars = 64;

    /// <summary>The member or item of an open object or array that is looked at.</summary>
    /// <param name="Name">Where its name begins, behind the quote.</param>
    /// <param name="Items">Items seen of an array; below zero for an object.</param>
    private readonly record struct Step(int Name, int Length, int Items);

    /// <param name="offset">Of a token. An end belongs to what it ends; a name to its member.</param>
    public static string At(ReadOnlySpan<byte> json, long offset)
    {
        var steps = new List<Step>();
        var reader = new Utf8JsonReader(json, new JsonReaderOptions { MaxDepth = RawJsonConverter.MaxWrappedDepth });
        try
        {
            while (reader.Read())
            {
                JsonTokenType token = reader.TokenType;
                if (token is JsonTokenType.EndObject or JsonTokenType.EndArray) steps.RemoveAt(steps.Count - 1);
                else if (token == JsonTokenType.PropertyName) steps[^1] = new Step((int)reader.TokenStartIndex + 1, reader.ValueSpan.Length, -1);
                else if (steps.Count > 0 && steps[^1].Items >= 0) steps[^1] = new Step(0, 0, steps[^1].Items + 1);
                if (reader.TokenStartIndex >= offset) break;
                if (token is JsonTokenType.StartObject or JsonTokenType.StartArray) steps.Add(new Step(0, 0, token == JsonTokenType.StartArray ? 0 : -1));
            }
        }
        catch (JsonException)
        {
            // It is no JSON from here on: this is the place.
        }
        var path = new StringBuilder("$");
        foreach (Step step in steps)
        {
            if (step.Items > 0) path.Append(CultureInfo.InvariantCulture, $"[{step.Items - 1}]");
            else if (step.Name > 0) path.Append(Member(Name(json.Slice(step.Name - 1, step.Length + 2))));
        }
        return path.ToString();
    }

    private static string Name(ReadOnlySpan<byte> quoted)
    {
        var reader = new Utf8JsonReader(quoted);
        reader.Read();
        string name;
        try { name = reader.GetString()!; }
        catch (InvalidOperationException) { name = Encoding.UTF8.GetString(quoted[1..^1]); }   // half a surrogate pair
        return name.Length <= MaxNameChars ? name : name[..MaxNameChars] + "…";
    }

    private static string Member(string name) => name.AsSpan().IndexOfAny(" .'/\"[]()\t\n\r\f\b\\") < 0 && name.Length > 0 ? "." + name : $"['{name}']";
}

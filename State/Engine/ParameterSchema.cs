using System.Globalization;
using System.Text.Json;
using CarServer.RunStore;

namespace CarServer.State.Engine;

/// <summary>What a tool's schema demands of the top level of its parameters: required keys and declared types. Further keys are welcome.</summary>
internal sealed class ParameterSchema
{
    private static readonly ParameterSchema Anything = new([], []);

    private readonly string[] _required;
    private readonly Dictionary<string, string[]> _types;

    private ParameterSchema(string[] required, Dictionary<string, string[]> types)
    {
        _required = required;
        _types = types;
    }

    /// <summary>False when any object fits.</summary>
    public bool DeclaresAnything => _required.Length > 0 || _types.Count > 0;

    /// <summary>Reads a schema; on false <paramref name="problem"/> says what is wrong with it.</summary>
    public static bool TryParse(RawJson schema, out ParameterSchema parsed, out string problem)
    {
        parsed = Anything;
        problem = "";
        if (schema.Utf8.SequenceEqual("{}"u8)) return true;
        using JsonDocument document = JsonDocument.Parse(schema.Memory, new JsonDocumentOptions { MaxDepth = RawJsonConverter.MaxDepth });
        try
        {
            problem = Read(document.RootElement, out parsed) ?? "";
        }
        catch (InvalidOperationException)
        {
            problem = "a name in it is not valid Unicode";
        }
        return problem.Length == 0;
    }

    private static string? Read(JsonElement schema, out ParameterSchema parsed)
    {
        parsed = Anything;
        if (schema.ValueKind != JsonValueKind.Object) return "a schema must be an object";
        if (schema.TryGetProperty("type", out JsonElement type))
        {
            if (!TryTypes(type, out string[] whole)) return "type must be a type name or a list of them";
            if (!whole.Contains("object")) return "parameters are always an object";
        }

        string[] required = [];
        if (schema.TryGetProperty("required", out JsonElement names))
        {
            if (names.ValueKind != JsonValueKind.Array || names.EnumerateArray().Any(name => name.ValueKind != JsonValueKind.String))
                return "required must be a list of strings";
            required = [.. names.EnumerateArray().Select(name => name.GetString()!)];
        }

        var types = new Dictionary<string, string[]>(StringComparer.Ordinal);
        if (schema.TryGetProperty("properties", out JsonElement properties))
        {
            if (properties.ValueKind != JsonValueKind.Object) return "properties must be an object";
            foreach (JsonProperty property in properties.EnumerateObject())
            {
                // true and false are schemas, too: anything, and nothing; neither declares a type.
                if (property.Value.ValueKind is JsonValueKind.True or JsonValueKind.False) continue;
                if (property.Value.ValueKind != JsonValueKind.Object) return $"property '{property.Name}' must be a schema";
                if (!property.Value.TryGetProperty("type", out JsonElement declared)) continue;
                if (!TryTypes(declared, out string[] allowed)) return $"type of property '{property.Name}' must be a type name or a list of them";
                types[property.Name] = allowed;
            }
        }
        parsed = new ParameterSchema(required, types);
        return null;
    }

    private static bool TryTypes(JsonElement declared, out string[] types)
    {
        types = [];
        if (declared.ValueKind == JsonValueKind.String) types = [declared.GetString()!];
        else if (declared.ValueKind == JsonValueKind.Array && declared.EnumerateArray().All(type => type.ValueKind == JsonValueKind.String))
            types = [.. declared.EnumerateArray().Select(type => type.GetString()!)];
        return types.Length > 0 && types.All(type => type is "string" or "number" or "integer" or "boolean" or "array" or "object" or "null");
    }

    /// <summary>Why <paramref name="parameters"/>, an object, do not fit, or null. Names keys and types, never a value.</summary>
    public string? Problem(string tool, RawJson parameters)
    {
        if (!DeclaresAnything) return null;
        string? mismatch = null;
        var present = new HashSet<string>(StringComparer.Ordinal);
        Utf8JsonReader reader = parameters.Reader();
        try
        {
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                string name = reader.GetString()!;
                reader.Read();
                present.Add(name);
                if (mismatch is null && _types.TryGetValue(name, out string[]? allowed) && !FitsAny(ref reader, allowed))
                {
                    string words = string.Join(", ", allowed.Select(type => $"\"{type}\""));
                    mismatch = $"tool '{tool}' parameter validation: value is not of type{(allowed.Length == 1 ? "" : "s")} {words} (at {Pointer(name)})";
                }
                reader.Skip();
            }
        }
        catch (InvalidOperationException)
        {
            return $"tool '{tool}' parameter validation: a parameter name is not valid Unicode (at /)";
        }
        return Array.Find(_required, name => !present.Contains(name)) is { } missing
            ? $"missing required parameter '{missing}' for tool '{tool}'"
            : mismatch;
    }

    private static bool FitsAny(ref Utf8JsonReader value, string[] types)
    {
        foreach (string type in types)
        {
            bool fits = type switch
            {
                "string" => value.TokenType == JsonTokenType.String,
                "number" => value.TokenType == JsonTokenType.Number,
                "integer" => value.TokenType == JsonTokenType.Number && IsWhole(value.ValueSpan),
                "boolean" => value.TokenType is JsonTokenType.True or JsonTokenType.False,
                "array" => value.TokenType == JsonTokenType.StartArray,
                "object" => value.TokenType == JsonTokenType.StartObject,
                _ => value.TokenType == JsonTokenType.Null,
            };
            if (fits) return true;
        }
        return false;
    }

    /// <summary>JSON Schema counts 1.0 and 1e2 as integers.</summary>
    private static bool IsWhole(ReadOnlySpan<byte> digits) =>
        digits.IndexOfAny(".eE"u8) < 0
        || (double.TryParse(digits, NumberStyles.Float, CultureInfo.InvariantCulture, out double number) && double.IsInteger(number));

    /// <summary>The key as a JSON Pointer (RFC 6901).</summary>
    private static string Pointer(string name) => "/" + name.Replace("~", "~0", StringComparison.Ordinal).Replace("/", "~1", StringComparison.Ordinal);
}

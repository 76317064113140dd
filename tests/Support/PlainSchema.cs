using System.Text.Json;
using System.Text.RegularExpressions;

namespace CarServer.Tests.Support;

/// <summary>JSON Schema read plainly: a document, a keyword at a time, no thought of speed. For small numbers and honest schemas.</summary>
internal static class PlainSchema
{
    public static bool Fits(JsonElement root, JsonElement schema, JsonElement value) => schema.ValueKind switch
    {
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        _ => schema.EnumerateObject().All(keyword => Holds(root, schema, keyword.Name, keyword.Value, value)),
    };

    private static bool Holds(JsonElement root, JsonElement schema, string keyword, JsonElement rule, JsonElement value)
    {
        bool Fits(JsonElement inner, JsonElement of) => PlainSchema.Fits(root, inner, of);
        JsonElement[] Schemas() => [.. rule.EnumerateArray()];
        bool isNumber = value.ValueKind == JsonValueKind.Number, isString = value.ValueKind == JsonValueKind.String;
        JsonElement[]? items = value.ValueKind == JsonValueKind.Array ? [.. value.EnumerateArray()] : null;
        JsonProperty[]? members = value.ValueKind == JsonValueKind.Object ? [.. value.EnumerateObject()] : null;
        switch (keyword)
        {
            case "type": return rule.ValueKind == JsonValueKind.String ? HasType(rule.GetString()!, value) : Schemas().Any(type => HasType(type.GetString()!, value));
            case "enum": return Schemas().Any(one => JsonElement.DeepEquals(one, value));
            case "const": return JsonElement.DeepEquals(rule, value);
            case "minimum": return !isNumber || value.GetDecimal() >= rule.GetDecimal();
            case "maximum": return !isNumber || value.GetDecimal() <= rule.GetDecimal();
            case "exclusiveMinimum": return !isNumber || value.GetDecimal() > rule.GetDecimal();
            case "exclusiveMaximum": return !isNumber || value.GetDecimal() < rule.GetDecimal();
            case "multipleOf": return !isNumber || value.GetDecimal() % rule.GetDecimal() == 0;
            case "minLength": return !isString || value.GetString()!.EnumerateRunes().Count() >= rule.GetInt32();
            case "maxLength": return !isString || value.GetString()!.EnumerateRunes().Count() <= rule.GetInt32();
            case "pattern": return !isString || Regex.IsMatch(value.GetString()!, rule.GetString()!);
            case "prefixItems": return items is null || Schemas().Zip(items).All(pair => Fits(pair.First, pair.Second));
            case "items":
                int prefix = schema.TryGetProperty("prefixItems", out JsonElement first) ? first.GetArrayLength() : 0;
                return items is null || items.Skip(prefix).All(item => Fits(rule, item));
            case "minItems": return items is null || items.Length >= rule.GetInt32();
            case "maxItems": return items is null || items.Length <= rule.GetInt32();
            case "uniqueItems": return items is null || !rule.GetBoolean() || !items.Where((item, i) => items.Take(i).Any(other => JsonElement.DeepEquals(item, other))).Any();
            case "properties": return members is null || members.All(member => !rule.TryGetProperty(member.Name, out JsonElement inner) || Fits(inner, member.Value));
            case "patternProperties":
                return members is null || members.All(member => rule.EnumerateObject().All(inner => !Regex.IsMatch(member.Name, inner.Name) || Fits(inner.Value, member.Value)));
            case "additionalProperties": return members is null || members.All(member => IsDeclared(schema, member.Name) || Fits(rule, member.Value));
            case "propertyNames": return members is null || members.All(member => Fits(rule, JsonSerializer.SerializeToElement(member.Name, PlainSchemaJson.Default.String)));
            case "required": return members is null || Schemas().All(name => members.Any(member => member.Name == name.GetString()));
            case "minProperties": return members is null || members.Length >= rule.GetInt32();
            case "maxProperties": return members is null || members.Length <= rule.GetInt32();
            case "allOf": return Schemas().All(one => Fits(one, value));
            case "anyOf": return Schemas().Any(one => Fits(one, value));
            case "oneOf": return Schemas().Count(one => Fits(one, value)) == 1;
            case "not": return !Fits(rule, value);
            case "if": return !schema.TryGetProperty(Fits(rule, value) ? "then" : "else", out JsonElement then) || Fits(then, value);
            case "$ref": return Fits(rule.GetString() == "#" ? root : root.GetProperty("$defs").GetProperty(rule.GetString()!["#/$defs/".Length..]), value);
            default: return true;
        }
    }

    private static bool IsDeclared(JsonElement schema, string name) =>
        schema.TryGetProperty("properties", out JsonElement properties) && properties.TryGetProperty(name, out _)
        || schema.TryGetProperty("patternProperties", out JsonElement patterns) && patterns.EnumerateObject().Any(pattern => Regex.IsMatch(name, pattern.Name));

    private static bool HasType(string type, JsonElement value) => type switch
    {
        "null" => value.ValueKind == JsonValueKind.Null,
        "boolean" => value.ValueKind is JsonValueKind.True or JsonValueKind.False,
        "string" => value.ValueKind == JsonValueKind.String,
        "number" => value.ValueKind == JsonValueKind.Number,
        "integer" => value.ValueKind == JsonValueKind.Number && decimal.IsInteger(value.GetDecimal()),
        "array" => value.ValueKind == JsonValueKind.Array,
        _ => value.ValueKind == JsonValueKind.Object,
    };
}

[System.Text.Json.Serialization.JsonSerializable(typeof(string))]
internal sealed partial class PlainSchemaJson : System.Text.Json.Serialization.JsonSerializerContext;

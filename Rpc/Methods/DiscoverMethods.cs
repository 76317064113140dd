using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Schema;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using CarServer.Rpc.JsonRpc;
using CarServer.RunStore;
using CarServer.State;

namespace CarServer.Rpc.Methods;

/// <summary><c>rpc.discover</c>: the method table as an OpenRPC 1.3 document, its schemas made from the types that are really read and written.</summary>
internal static class DiscoverMethods
{
    private static readonly Lazy<RawJson> Document = new(static () => Build(AllMethods.Table));

    /// <summary>Deeper than any type of ours; a type that holds itself would end here.</summary>
    private const int MaxSchemaDepth = 64;

    public static readonly Method[] Rows =
    [
        Method.Row("rpc.discover", "{}", "This document: every method with its params and result.",
            static () => DiscoverMethodsJson.Default.NoParams, static () => DiscoverMethodsJson.Default.RawJson, static (_, _) => Document.Value),
    ];

    internal static RawJson Build(MethodTable table)
    {
        JsonArray methods = [];
        foreach (Method method in table.All) methods.Add((JsonNode)Describe(method));
        var document = new JsonObject
        {
            ["openrpc"] = "1.3.2",
            ["info"] = new JsonObject
            {
                ["title"] = "car-server",
                ["description"] = "The daemon of the Common Agent Runtime: JSON-RPC 2.0 over WebSocket.",
                ["version"] = DaemonInfo.ProductVersion,
                ["license"] = new JsonObject { ["name"] = "Apache-2.0" },
            },
            ["methods"] = methods,
        };
        return RawJson.Parse(document.ToJsonString());
    }

    private static JsonObject Describe(Method method)
    {
        JsonNode schema = Schema(method.ParamsType);
        JsonArray parameters = [];
        string structure = "by-name";
        if (schema is JsonObject shape && shape["properties"] is JsonObject properties)
        {
            HashSet<string> required = shape["required"] is JsonArray names ? [.. names.Select(n => (string)n!)] : [];
            foreach ((string name, JsonNode? property) in properties.OrderBy(p => !required.Contains(p.Key)))
            {
                parameters.Add((JsonNode)new JsonObject { ["name"] = name, ["required"] = required.Contains(name), ["schema"] = property?.DeepClone() ?? true });
            }
        }
        else if (method.ParamsType.Kind == JsonTypeInfoKind.Enumerable)
        {
            // The protocol has methods whose params are a bare array; OpenRPC can only name its elements.
            structure = "by-position";
            parameters.Add((JsonNode)new JsonObject { ["name"] = "items", ["required"] = false, ["schema"] = (schema as JsonObject)?["items"]?.DeepClone() ?? true });
        }
        return new JsonObject
        {
            ["name"] = method.Name,
            ["summary"] = method.Summary,
            ["paramStructure"] = structure,
            ["params"] = parameters,
            ["result"] = new JsonObject { ["name"] = "result", ["schema"] = Schema(method.ResultType) },
            ["x-params"] = method.Shape,
            ["x-access"] = method.Access.ToString().ToLowerInvariant(),
        };
    }

    private static JsonNode Schema(JsonTypeInfo type)
    {
        JsonNode schema = Export(type);
        return WithoutReferences(schema, schema, depth: 0);
    }

    /// <summary>A type that comes twice is a reference to the first place, which leads nowhere once the params are taken apart: so each place gets its own.</summary>
    private static JsonNode WithoutReferences(JsonNode node, JsonNode root, int depth)
    {
        if (depth > MaxSchemaDepth) return true;
        if (node is JsonObject found && found["$ref"] is JsonValue reference)
        {
            JsonNode target = root;
            foreach (string step in ((string)reference!).Split('/').Skip(1)) target = target is JsonArray array ? array[int.Parse(step, CultureInfo.InvariantCulture)]! : target[step]!;
            return WithoutReferences(target, root, depth + 1);
        }
        return node switch
        {
            JsonObject shape => new JsonObject(shape.Select(member => KeyValuePair.Create(member.Key, member.Value is null ? null : WithoutReferences(member.Value, root, depth + 1)))),
            JsonArray list => new JsonArray([.. list.Select(item => item is null ? null : WithoutReferences(item, root, depth + 1))]),
            _ => node.DeepClone(),
        };
    }

    private static JsonNode Export(JsonTypeInfo type) => type.GetJsonSchemaAsNode(new JsonSchemaExporterOptions
    {
        TreatNullObliviousAsNonNullable = true,
        TransformSchemaNode = static (context, schema) => (context.PropertyInfo?.CustomConverter ?? context.TypeInfo.Converter) is IWireWords enumeration
            ? new JsonObject { ["enum"] = new JsonArray([.. enumeration.Words.Select(word => (JsonNode)word)]) }
            : schema,
    });
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, AllowDuplicateProperties = false, MaxDepth = RawJsonConverter.MaxDepth)]
[JsonSerializable(typeof(NoParams)), JsonSerializable(typeof(RawJson))]
internal sealed partial class DiscoverMethodsJson : JsonSerializerContext;

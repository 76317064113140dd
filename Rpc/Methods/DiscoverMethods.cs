using System.Buffers;
using System.Text.Json;
using CarServer.Rpc.JsonRpc;
using CarServer.RunStore;
using CarServer.RunStore.Contracts;
using CarServer.State;

namespace CarServer.Rpc.Methods;

/// <summary><c>rpc.discover</c>: the method table as an OpenRPC 1.3 document, its schemas made from the types that are really read and written.</summary>
internal static class DiscoverMethods
{
    private static readonly Lazy<RawJson> Document = new(static () => Build(AllMethods.Table));

    public static readonly Method[] Rows =
    [
        Method.Row("rpc.discover", "{}", "This document: every method with its params and result.",
            Json.NoParams, Scalar.Raw, static (_, _) => Document.Value),
    ];

    internal static RawJson Build(MethodTable table)
    {
        var text = new ArrayBufferWriter<byte>(128 * 1024);
        using (var document = new Utf8JsonWriter(text))
        {
            document.WriteStartObject();
            document.WriteString("openrpc", "1.3.2");
            document.WriteStartObject("info");
            document.WriteString("title", "car-server");
            document.WriteString("description", "The daemon of the Common Agent Runtime: JSON-RPC 2.0 over WebSocket.");
            document.WriteString("version", DaemonInfo.ProductVersion);
            document.WriteStartObject("license");
            document.WriteString("name", "Apache-2.0");
            document.WriteEndObject();
            document.WriteEndObject();
            document.WriteStartArray("methods");
            foreach (Method method in table.All) Describe(document, method);
            document.WriteEndArray();
            document.WriteEndObject();
        }
        return RawJson.Parse(text.WrittenSpan);
    }

    private static void Describe(Utf8JsonWriter document, Method method)
    {
        using JsonDocument shape = JsonDocument.Parse(method.ParamsType.Schema());
        // The protocol has methods whose params are a bare array; OpenRPC can only name its elements.
        bool isArray = shape.RootElement.TryGetProperty("items", out JsonElement items);
        document.WriteStartObject();
        document.WriteString("name", method.Name);
        document.WriteString("summary", method.Summary);
        document.WriteString("paramStructure", isArray ? "by-position" : "by-name");
        document.WriteStartArray("params");
        if (isArray) Describe(document, "items", items, required: false);
        else
        {
            var required = new List<string?>();
            if (shape.RootElement.TryGetProperty("required", out JsonElement names))
                foreach (JsonElement name in names.EnumerateArray()) required.Add(name.GetString());
            // What has to be there comes first.
            foreach (bool isRequired in (ReadOnlySpan<bool>)[true, false])
                foreach (JsonProperty property in shape.RootElement.GetProperty("properties").EnumerateObject())
                    if (required.Contains(property.Name) == isRequired) Describe(document, property.Name, property.Value, isRequired);
        }
        document.WriteEndArray();
        document.WriteStartObject("result");
        document.WriteString("name", "result");
        document.WritePropertyName("schema");
        document.WriteRawValue(method.ResultType.Schema());
        document.WriteEndObject();
        document.WriteString("x-params", method.Shape);
        document.WriteString("x-access", method.Access.ToString().ToLowerInvariant());
        document.WriteEndObject();
    }

    private static void Describe(Utf8JsonWriter document, string name, JsonElement schema, bool required)
    {
        document.WriteStartObject();
        document.WriteString("name", name);
        document.WriteBoolean("required", required);
        document.WritePropertyName("schema");
        schema.WriteTo(document);
        document.WriteEndObject();
    }
}

using System.Text.Json.Serialization;
using CarServer.Rpc.JsonRpc;
using CarServer.RunStore;
using CarServer.State.Engine;

namespace CarServer.Rpc.Methods;

/// <summary><c>tools.*</c>: which tools the connection's proposals may call (protocol 7).</summary>
internal static class ToolsMethods
{
    public static readonly Method[] Rows =
    [
        Method.Row("tools.register", "[ { name, description?, parameters?, returns?, idempotent?, cache_ttl_secs?, rate_limit? }, … ]",
            "Registers tools that this client runs; all of them or none.",
            static () => ToolsMethodsJson.Default.ListToolDefinition, static () => ToolsMethodsJson.Default.Int32, Register),
        Method.Row("tools.list", "{}", "The registered tools, sorted by name.",
            static () => ToolsMethodsJson.Default.NoParams, static () => ToolsMethodsJson.Default.ToolsListResult, List),
        Method.Row("tools.unregister", "{ name }", "Takes a tool back; an unknown name is no error.",
            static () => ToolsMethodsJson.Default.ToolsUnregisterParams, static () => ToolsMethodsJson.Default.ToolsUnregisterResult, Unregister),
    ];

    internal static int Register(Call call, List<ToolDefinition> definitions) => call.Session.Runtime.Tools.Register(definitions);

    internal static ToolsListResult List(Call call, NoParams _)
    {
        ToolDefinition[] tools = call.Session.Runtime.Tools.List();
        return new ToolsListResult(tools, tools.Length);
    }

    internal static ToolsUnregisterResult Unregister(Call call, ToolsUnregisterParams p) =>
        new(p.Name, call.Session.Runtime.Tools.Unregister(p.Name) ? 1 : 0);
}

internal sealed record ToolsListResult(ToolDefinition[] Tools, int Count);

internal sealed record ToolsUnregisterParams(string Name);

/// <param name="Removed">1, or 0 when there was no such tool.</param>
internal sealed record ToolsUnregisterResult(string Unregistered, int Removed);

[JsonSourceGenerationOptions(GenerationMode = JsonSourceGenerationMode.Metadata, PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, RespectNullableAnnotations = true,
    RespectRequiredConstructorParameters = true, AllowDuplicateProperties = false, MaxDepth = RawJsonConverter.MaxDepth)]
[JsonSerializable(typeof(List<ToolDefinition>)), JsonSerializable(typeof(int)), JsonSerializable(typeof(NoParams))]
[JsonSerializable(typeof(ToolsListResult)), JsonSerializable(typeof(ToolsUnregisterParams)), JsonSerializable(typeof(ToolsUnregisterResult))]
internal sealed partial class ToolsMethodsJson : JsonSerializerContext;

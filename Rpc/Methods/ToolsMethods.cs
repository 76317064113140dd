using CarServer.Rpc.JsonRpc;
using CarServer.RunStore;
using CarServer.RunStore.Contracts;
using CarServer.State.Engine;
using CarServer.State.Engine.Tools;

namespace CarServer.Rpc.Methods;

/// <summary><c>tools.*</c>: which tools the connection's proposals may call (protocol 7).</summary>
internal static class ToolsMethods
{
    public static readonly Method[] Rows =
    [
        Method.Waiting("tools.register", "[ { name, description?, parameters?, returns?, idempotent?, cache_ttl_secs?, rate_limit? }, … ]",
            "Registers tools that this client runs; all of them or none.",
            Json.ListOfToolDefinition, Scalar.Int32, RegisterAsync),
        Method.Waiting("tools.list", "{}", "The registered tools, sorted by name.",
            Json.NoParams, Json.ToolsListResult, ListAsync),
        Method.Waiting("tools.unregister", "{ name }", "Takes a tool back; an unknown name is no error.",
            Json.ToolsUnregisterParams, Json.ToolsUnregisterResult, UnregisterAsync),
        Method.Row("tools.poll", "{ handle }", "What a detached tool has brought so far, or null for an unknown handle.",
            Json.ToolHandleParams, Scalar.Raw, Poll),
        Method.Row("tools.cancel", "{ handle }", "Ends a detached tool.",
            Json.ToolHandleParams, Json.ToolsCancelResult, Cancel),
        Method.Row("tools.stream.subscribe", "{}", "Follows detached tools as they go on; a second time is as good.",
            Json.NoParams, Json.ToolsSubscribeResult, Subscribe),
    ];

    private static Task<int> RegisterAsync(Call call, List<ToolDefinition> definitions)
    {
        ToolRegistry tools = call.Session.Runtime.Tools;
        return tools.InOrderAsync(() => tools.Register(definitions, call.Abandoned), call.Abandoned, ToolRegistry.AreSoon(definitions));
    }

    private static Task<ToolsListResult> ListAsync(Call call, NoParams _)
    {
        ToolRegistry tools = call.Session.Runtime.Tools;
        return tools.InOrderAsync(() =>
        {
            ToolDefinition[] all = tools.List();
            return new ToolsListResult(all, all.Length);
        }, call.Abandoned);
    }

    private static Task<ToolsUnregisterResult> UnregisterAsync(Call call, ToolsUnregisterParams p)
    {
        ToolRegistry tools = call.Session.Runtime.Tools;
        return tools.InOrderAsync(() => new ToolsUnregisterResult(p.Name, tools.Unregister(p.Name) ? 1 : 0), call.Abandoned);
    }

    // Tools of a connection cannot be detached (protocol 7.5), so there is no handle that anybody could know.
    private static RawJson Poll(Call call, ToolHandleParams p) => RawJson.Null;
    private static ToolsCancelResult Cancel(Call call, ToolHandleParams p) => new(Cancelled: false);
    private static ToolsSubscribeResult Subscribe(Call call, NoParams _) => new(Subscribed: true);
}

[ToJson]
internal sealed record ToolsListResult(ToolDefinition[] Tools, int Count);

[FromJson]
internal sealed record ToolsUnregisterParams(string Name);

/// <param name="Removed">1, or 0 when there was no such tool.</param>
[ToJson]
internal sealed record ToolsUnregisterResult(string Unregistered, int Removed);

[FromJson]
internal sealed record ToolHandleParams(string Handle);

[ToJson]
internal sealed record ToolsCancelResult(bool Cancelled);

[ToJson]
internal sealed record ToolsSubscribeResult(bool Subscribed);

using CarServer.Rpc.JsonRpc;
using CarServer.RunStore;
using CarServer.RunStore.Contracts;
using CarServer.State;
using CarServer.State.Engine;
using CarServer.State.Engine.Policies;
using CarServer.State.Engine.Tools;

namespace CarServer.Rpc.Methods;

/// <summary><c>session.init</c>: a client's tools and policies in one call (protocol 3.3).</summary>
internal static class SessionMethods
{
    public static readonly Method[] Rows =
    [
        Method.Waiting("session.init", "{ tools, policies? }", "Registers tools, and policies as `policy.register` does; all of them or none.",
            Json.SessionInitParams, Json.SessionInitResult, InitAsync),
    ];

    private static Task<SessionInitResult> InitAsync(Call call, SessionInitParams p)
    {
        // Policies first: from the moment a tool can be called, what forbids it holds.
        PolicyRegistry policies = call.Session.Runtime.Policies;
        IReadOnlyList<Policy> added = policies.Register(p.Policies ?? []);
        ToolRegistry tools = call.Session.Runtime.Tools;
        return tools.InOrderAsync(() =>
        {
            try
            {
                return new SessionInitResult(call.Session.ClientId, tools.Register(p.Tools, call.Abandoned), added.Count);
            }
            catch
            {
                policies.Withdraw(added);
                throw;
            }
        }, call.Abandoned, ToolRegistry.AreSoon(p.Tools));
    }
}

[FromJson]
internal sealed record SessionInitParams(List<ToolDefinition> Tools, List<PolicyDefinition?>? Policies = null);

/// <param name="SessionId">The connection's own id.</param>
[ToJson]
internal sealed record SessionInitResult(string SessionId, int ToolsRegistered, int PoliciesRegistered);

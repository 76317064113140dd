using System.Text.Json.Serialization;
using CarServer.Rpc.JsonRpc;
using CarServer.RunStore;
using CarServer.RunStore.Contracts;
using CarServer.State;
using CarServer.State.Sessions;

namespace CarServer.Rpc.Methods;

/// <summary><c>session.auth</c> (protocol 6.3): the one method a stranger may call.</summary>
internal static class AuthMethods
{
    private const string Shape = "{ token, agent_id? } or { host_token }, memory_namespace?";

    public static readonly Method[] Rows =
    [
        Method.Row("session.auth", Shape, "Presents a token of this launch: the auth token, an agent's own token, or the host token.",
            Json.SessionAuthParams, Json.SessionAuthResult, Authenticate, Access.Anyone),
    ];

    private static SessionAuthResult Authenticate(Call call, SessionAuthParams p)
    {
        if (p.AgentId is "") throw RpcException.BadParams("session.auth", Shape, "agent_id is empty");
        if (p.MemoryNamespace is { } wanted && (wanted.Length is 0 or > ClientSession.MaxMemoryNamespaceLength))
            throw RpcException.BadParams("session.auth", Shape, $"memory_namespace must have 1 to {ClientSession.MaxMemoryNamespaceLength} characters");
        SessionAuthResult result = Prove(call, p);
        call.Session.MemoryNamespace = p.MemoryNamespace;
        return result with { MemoryNamespace = p.MemoryNamespace };
    }

    private static SessionAuthResult Prove(Call call, SessionAuthParams p)
    {
        if (!call.State.Auth.IsEnabled)
        {
            // --no-auth declares every local caller to be the user: an agent id is taken at its word.
            if (p.AgentId is { } claimed) call.State.Auth.Attach(call.Session, claimed);
            return new SessionAuthResult(true, false) { AgentId = p.AgentId };
        }
        if (p.HostToken is not null)
        {
            if (!call.State.Auth.IsHostToken(p.HostToken)) throw new RefusedException("auth failed: token mismatch");
            call.Session.Authenticated = true;
            call.Session.IsHost = true;
            return new SessionAuthResult(true, true) { Role = "host" };
        }
        if (p.Token is null) throw RpcException.BadParams("session.auth", Shape);
        if (p.AgentId is { } agentId)
        {
            switch (call.State.Auth.Agents?.Matches(agentId, p.Token))
            {
                case null: throw new RefusedException($"auth failed: no agent '{agentId}' is supervised by this daemon");
                case false: throw new RefusedException("auth failed: token mismatch");
            }
            call.State.Auth.Attach(call.Session, agentId);
        }
        else if (!call.State.Auth.IsAuthToken(p.Token))
        {
            throw new RefusedException("auth failed: token mismatch");
        }
        call.Session.Authenticated = true;
        return new SessionAuthResult(true, true) { AgentId = p.AgentId };
    }
}

[FromJson]
internal sealed record SessionAuthParams(string? Token = null, string? AgentId = null, string? HostToken = null, string? MemoryNamespace = null);

[ToJson]
internal sealed record SessionAuthResult(bool Ok, bool AuthEnabled)
{
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Role { get; init; }
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? AgentId { get; init; }
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? MemoryNamespace { get; init; }
}

using System.Text.Json.Serialization;
using CarServer.Rpc.JsonRpc;
using CarServer.RunStore;
using CarServer.State;
using CarServer.State.Engine;

namespace CarServer.Rpc.Methods;

/// <summary><c>session.init</c>: a client's tools and policies in one call (protocol 3.3).</summary>
internal static class SessionMethods
{
    public static readonly Method[] Rows =
    [
        Method.Row("session.init", "{ tools, policies? }", "Registers tools and policies; all of them or none.",
            SessionMethodsJson.Default.SessionInitParams, SessionMethodsJson.Default.SessionInitResult, Init),
    ];

    internal static SessionInitResult Init(Call call, SessionInitParams p)
    {
        // No rule is known to this daemon, and a policy that were taken without being enforced would be worse than an error.
        if (p.Policies is [var policy, ..]) throw new RefusedException($"unknown policy rule '{policy?.Rule}'");
        return new SessionInitResult(call.Session.ClientId, call.Session.Runtime.Tools.Register(p.Tools), 0);
    }
}

internal sealed record SessionInitParams(List<ToolDefinition> Tools, List<SessionInitPolicy?>? Policies = null);

/// <summary>As much of a policy definition as it takes to name it in an error.</summary>
internal sealed record SessionInitPolicy(string Rule);

/// <param name="SessionId">The connection's own id.</param>
internal sealed record SessionInitResult(string SessionId, int ToolsRegistered, int PoliciesRegistered);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, RespectNullableAnnotations = true,
    RespectRequiredConstructorParameters = true, AllowDuplicateProperties = false, MaxDepth = RawJsonConverter.MaxDepth)]
[JsonSerializable(typeof(SessionInitParams)), JsonSerializable(typeof(SessionInitResult))]
internal sealed partial class SessionMethodsJson : JsonSerializerContext;

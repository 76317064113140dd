using System.Text.Json.Serialization;
using CarServer.Rpc.JsonRpc;
using CarServer.RunStore;
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
        Method.Row("session.init", "{ tools, policies? }", "Registers tools, and policies as `policy.register` does; all of them or none.",
            static () => SessionMethodsJson.Default.SessionInitParams, static () => SessionMethodsJson.Default.SessionInitResult, Init),
    ];

    internal static SessionInitResult Init(Call call, SessionInitParams p)
    {
        // Policies first: from the moment a tool can be called, what forbids it holds.
        PolicyRegistry policies = call.Session.Runtime.Policies;
        IReadOnlyList<Policy> added = policies.Register(p.Policies ?? []);
        try
        {
            return new SessionInitResult(call.Session.ClientId, call.Session.Runtime.Tools.Register(p.Tools), added.Count);
        }
        catch (RefusedException)
        {
            policies.Withdraw(added);
            throw;
        }
    }
}

internal sealed record SessionInitParams(List<ToolDefinition> Tools, List<PolicyDefinition?>? Policies = null);

/// <param name="SessionId">The connection's own id.</param>
internal sealed record SessionInitResult(string SessionId, int ToolsRegistered, int PoliciesRegistered);

[JsonSourceGenerationOptions(GenerationMode = JsonSourceGenerationMode.Metadata, PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, RespectNullableAnnotations = true,
    RespectRequiredConstructorParameters = true, AllowDuplicateProperties = false, MaxDepth = RawJsonConverter.MaxDepth)]
[JsonSerializable(typeof(SessionInitParams)), JsonSerializable(typeof(SessionInitResult))]
internal sealed partial class SessionMethodsJson : JsonSerializerContext;

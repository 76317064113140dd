using System.Text.Json;
using System.Text.Json.Serialization;
using CarServer.Rpc.JsonRpc;
using CarServer.RunStore;
using CarServer.RunStore.Contracts;
using CarServer.State.Engine.Policies;

namespace CarServer.Rpc.Methods;

/// <summary><c>policy.*</c> and <c>session.policy.*</c>: what the connection's proposals must not do (protocol 3.5, 8.1).</summary>
internal static class PolicyMethods
{
    public static readonly Method[] Rows =
    [
        Method.Row("policy.register", "{ name, rule, target?, key?, pattern?, value?, session_id? }",
            "Registers a policy: rule `deny_tool` (target), `deny_tool_param` (target, key, pattern) or `require_state` (key, value). Of two with one name both hold.",
            Json.PolicyDefinition, Json.PolicyRegisterResult, Register),
        Method.Row("policy.unregister", "{ name, session_id? }", "Takes back every policy of that name in its scope, but none of the operator's files.",
            Json.PolicyUnregisterParams, Json.PolicyUnregisterResult, Unregister),
        Method.Row("policy.list", "{ session_id? }", "The policies of a scope in the order they came; the global one begins with those of the operator's files.",
            Json.PolicyListParams, Json.PolicyListResult, List),
        Method.Row("session.policy.open", "{}", "Opens a scope of policies that hold, beside the global ones, for proposals that name it.",
            Json.NoParams, Json.SessionPolicyOpenResult, Open),
        Method.Row("session.policy.close", "{ session_id }", "Drops such a scope; proposals that began in it stay under its policies.",
            Json.SessionPolicyCloseParams, Json.SessionPolicyCloseResult, Close),
    ];

    internal static PolicyRegisterResult Register(Call call, PolicyDefinition definition)
    {
        call.Session.Runtime.Policies.Register([definition]);
        return new PolicyRegisterResult(definition.Name, definition.Name, new ScopeName(definition.SessionId));
    }

    internal static PolicyUnregisterResult Unregister(Call call, PolicyUnregisterParams p)
    {
        PolicyRegistry policies = call.Session.Runtime.Policies;
        return new PolicyUnregisterResult(p.Name, policies.Unregister(p.Name, policies.Scope(p.SessionId)), new ScopeName(p.SessionId));
    }

    internal static PolicyListResult List(Call call, PolicyListParams p)
    {
        PolicyRegistry policies = call.Session.Runtime.Policies;
        return new PolicyListResult([.. policies.List(policies.Scope(p.SessionId)).Select(policy => new ListedPolicy(policy.Name, policy.Description))], new ScopeName(p.SessionId));
    }

    internal static SessionPolicyOpenResult Open(Call call, NoParams _) => new(call.Session.Runtime.Policies.Open().SessionId!);

    internal static SessionPolicyCloseResult Close(Call call, SessionPolicyCloseParams p) => new(call.Session.Runtime.Policies.Close(p.SessionId));
}

/// <summary><c>"global"</c>, or <c>{"session_id": …}</c>.</summary>
[JsonConverter(typeof(ScopeNameConverter))]
internal readonly record struct ScopeName(string? SessionId);

internal sealed class ScopeNameConverter : JsonConverter<ScopeName>
{
    public override ScopeName Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) => throw new NotSupportedException();

    public override void Write(Utf8JsonWriter writer, ScopeName scope, JsonSerializerOptions options)
    {
        if (scope.SessionId is null)
        {
            writer.WriteStringValue("global"u8);
            return;
        }
        writer.WriteStartObject();
        writer.WriteString("session_id"u8, scope.SessionId);
        writer.WriteEndObject();
    }
}

/// <param name="Registered">The name, once more: two generations of clients look for it in two places.</param>
[ToJson]
internal sealed record PolicyRegisterResult(string Registered, string Name, ScopeName Scope);

[FromJson]
internal sealed record PolicyUnregisterParams(string Name, string? SessionId = null);

/// <param name="Removed">How many policies had the name; 0 is no error.</param>
[ToJson]
internal sealed record PolicyUnregisterResult(string Unregistered, int Removed, ScopeName Scope);

[FromJson]
internal sealed record PolicyListParams(string? SessionId = null);

[ToJson]
internal sealed record PolicyListResult(ListedPolicy[] Policies, ScopeName Scope);

internal sealed record ListedPolicy(string Name, string Description);

/// <param name="SessionId">For <c>policy.*</c> and <c>proposal.submit</c>; says nothing about the connection.</param>
[ToJson]
internal sealed record SessionPolicyOpenResult(string SessionId);

[FromJson]
internal sealed record SessionPolicyCloseParams(string SessionId);

/// <param name="Closed">False when there was no such session.</param>
[ToJson]
internal sealed record SessionPolicyCloseResult(bool Closed);

using System.Text.Json.Serialization;
using CarServer.Rpc.JsonRpc;
using CarServer.RunStore;

namespace CarServer.Rpc.Methods;

/// <summary><c>state.*</c>: the key/value state of the connection (protocol 9).</summary>
internal static class StateMethods
{
    public static readonly Method[] Rows =
    [
        Method.Row("state.get", "{ key, tenant_id? }", "The value of a key, or null.",
            StateMethodsJson.Default.StateKeyParams, StateMethodsJson.Default.RawJson, Get),
        Method.Row("state.set", "{ key, value?, tenant_id? }", "Writes a key; a missing value is null.",
            StateMethodsJson.Default.StateSetParams, StateMethodsJson.Default.String, Set),
        Method.Row("state.exists", "{ key, tenant_id? }", "Whether a key is there, even with the value null.",
            StateMethodsJson.Default.StateKeyParams, StateMethodsJson.Default.Boolean, Exists),
        Method.Row("state.keys", "{ tenant_id? }", "All keys, sorted.",
            StateMethodsJson.Default.StateTenantParams, StateMethodsJson.Default.StringArray, Keys),
        Method.Row("state.snapshot", "{ tenant_id? }", "All keys with their values.",
            StateMethodsJson.Default.StateTenantParams, StateMethodsJson.Default.DictionaryStringRawJson, Snapshot),
    ];

    internal static RawJson Get(Call call, StateKeyParams p) =>
        call.Session.Runtime.State.TryGet(p.TenantId, p.Key, out RawJson value) ? value : RawJson.Null;

    internal static string Set(Call call, StateSetParams p)
    {
        // The client's own writing, at its own pace: the journal holds what proposals did.
        call.Session.Runtime.State.Set(p.TenantId, p.Key, p.Value);
        return "ok";
    }

    internal static bool Exists(Call call, StateKeyParams p) => call.Session.Runtime.State.TryGet(p.TenantId, p.Key, out _);

    internal static string[] Keys(Call call, StateTenantParams p) => call.Session.Runtime.State.Keys(p.TenantId);

    internal static Dictionary<string, RawJson> Snapshot(Call call, StateTenantParams p) => call.Session.Runtime.State.Snapshot(p.TenantId);
}

/// <param name="TenantId">Whose state; blank or absent for nobody's.</param>
internal sealed record StateKeyParams(string Key, string? TenantId = null);

internal sealed record StateSetParams(string Key, RawJson Value = default, string? TenantId = null);

internal sealed record StateTenantParams(string? TenantId = null);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, RespectNullableAnnotations = true,
    RespectRequiredConstructorParameters = true, AllowDuplicateProperties = false, MaxDepth = RawJsonConverter.MaxDepth)]
[JsonSerializable(typeof(StateKeyParams)), JsonSerializable(typeof(StateSetParams)), JsonSerializable(typeof(StateTenantParams))]
[JsonSerializable(typeof(RawJson)), JsonSerializable(typeof(string)), JsonSerializable(typeof(bool)), JsonSerializable(typeof(string[]))]
[JsonSerializable(typeof(Dictionary<string, RawJson>))]
internal sealed partial class StateMethodsJson : JsonSerializerContext;

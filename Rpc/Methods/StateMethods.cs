using System.Text;
using CarServer.Rpc.JsonRpc;
using CarServer.RunStore;
using CarServer.RunStore.Contracts;
using CarServer.State.Sessions;

namespace CarServer.Rpc.Methods;

/// <summary><c>state.*</c>: the key/value state of the connection (protocol 9).</summary>
internal static class StateMethods
{
    public static readonly Method[] Rows =
    [
        Method.Row("state.get", "{ key, tenant_id? }", "The value of a key, or null.",
            Json.StateKeyParams, Scalar.Raw, Get, direct: GetDirect),
        Method.Row("state.set", "{ key, value?, tenant_id? }", "Writes a key; a missing value is null.",
            Json.StateSetParams, Scalar.Text, Set, direct: SetDirect),
        Method.Row("state.exists", "{ key, tenant_id? }", "Whether a key is there, even with the value null.",
            Json.StateKeyParams, Scalar.Boolean, Exists),
        Method.Row("state.keys", "{ tenant_id? }", "All keys, sorted.",
            Json.StateTenantParams, Json.ListOfText, Keys),
        Method.Row("state.snapshot", "{ tenant_id? }", "All keys with their values.",
            Json.StateTenantParams, Json.MapOfRaw, Snapshot),
    ];

    internal static RawJson Get(Call call, StateKeyParams p) =>
        call.Session.Runtime.State.TryGet(p.TenantId, p.Key, out RawJson value) ? value : RawJson.Null;

    internal static string Set(Call call, StateSetParams p)
    {
        // The client's own writing, at its own pace: the journal holds what proposals did.
        call.Session.Runtime.State.Set(p.TenantId, p.Key, p.Value);
        return "ok";
    }

    private static bool GetDirect(ClientSession session, ReadOnlySpan<byte> parameters, ref Answer answer)
    {
        if (!StateOperation.TryRead(parameters, out StateOperation get) || !get.Value.IsEmpty) return false;
        answer.WriteResult(session.Runtime.State.TryGet(get.Name(stackalloc char[StateOperation.MaxKeyBytes]), out RawJson value) ? value.Utf8 : "null"u8);
        return true;
    }

    private static bool SetDirect(ClientSession session, ReadOnlySpan<byte> parameters, ref Answer answer)
    {
        if (!StateOperation.TryRead(parameters, out StateOperation set) || set.Value.IsEmpty) return false;
        if (!session.Runtime.State.TryReplace(set.Name(stackalloc char[StateOperation.MaxKeyBytes]), set.Value)) return false;
        answer.WriteResult("\"ok\""u8);
        return true;
    }

    internal static bool Exists(Call call, StateKeyParams p) => call.Session.Runtime.State.TryGet(p.TenantId, p.Key, out _);

    internal static string[] Keys(Call call, StateTenantParams p) => call.Session.Runtime.State.Keys(p.TenantId);

    internal static Dictionary<string, RawJson> Snapshot(Call call, StateTenantParams p) => call.Session.Runtime.State.Snapshot(p.TenantId);
}

/// <summary>What a client asks of its own state, read where it lies in the message: a short key without escapes, and perhaps a compact value.</summary>
internal readonly ref struct StateOperation
{
    /// <summary>Most keys are shorter; longer ones take the way of all params.</summary>
    public const int MaxKeyBytes = 256;

    public ReadOnlySpan<byte> Key { get; private init; }

    /// <summary>Empty when there is none.</summary>
    public ReadOnlySpan<byte> Value { get; private init; }

    /// <summary>False for params that are anything else, right or wrong.</summary>
    public static bool TryRead(ReadOnlySpan<byte> parameters, out StateOperation operation)
    {
        operation = default;
        ReadOnlySpan<byte> key = default, value = default;
        bool isCompact = true;
        if (parameters.Length < 2 || parameters[0] != '{') return false;
        for (int at = 1; ; at++)
        {
            int name = JsonScan.Token(parameters, at);
            bool isKey = parameters[name..].StartsWith("\"key\""u8);
            if (!isKey && !parameters[name..].StartsWith("\"value\""u8)) return false;
            at = JsonScan.Token(parameters, name + (isKey ? 5 : 7));
            if ((uint)at >= (uint)parameters.Length || parameters[at] != ':') return false;
            int start = JsonScan.Token(parameters, at + 1);
            at = JsonScan.Value(parameters, start, ref isCompact);
            if (at < 0 || !isCompact) return false;
            if (!(isKey ? key : value).IsEmpty) return false;
            if (isKey) key = parameters[start..at];
            else value = parameters[start..at];
            at = JsonScan.Token(parameters, at);
            if ((uint)at >= (uint)parameters.Length) return false;
            if (parameters[at] == ',') continue;
            if (parameters[at] != '}' || at + 1 != parameters.Length) return false;
            break;
        }
        if (key.IsEmpty || key[0] != '"' || key.Length - 2 > MaxKeyBytes || key.Contains((byte)'\\')) return false;
        operation = new StateOperation { Key = key[1..^1], Value = value };
        return true;
    }

    /// <param name="room">Of <see cref="MaxKeyBytes"/> characters.</param>
    public ReadOnlySpan<char> Name(Span<char> room) => room[..Encoding.UTF8.GetChars(Key, room)];
}

/// <param name="TenantId">Whose state; blank or absent for nobody's.</param>
[FromJson]
internal sealed record StateKeyParams(string Key, string? TenantId = null);

[FromJson]
internal sealed record StateSetParams(string Key, RawJson Value = default, string? TenantId = null);

[FromJson]
internal sealed record StateTenantParams(string? TenantId = null);

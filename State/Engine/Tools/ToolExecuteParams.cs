using System.Text.Json.Serialization;
using CarServer.RunStore;
using CarServer.RunStore.Contracts;

namespace CarServer.State.Engine.Tools;

/// <summary>Params of <c>tools.execute</c>, server to client (protocol 4.1).</summary>
/// <param name="TimeoutMs">Left out when the action has none.</param>
/// <param name="Attempt">Counted from 1.</param>
/// <param name="RequestId">The callback's own id once more, for clients whose JSON-RPC library hides it.</param>
[ToJson]
internal sealed record ToolExecuteParams(string ActionId, string Tool, RawJson Parameters,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] ulong? TimeoutMs, uint Attempt, string RequestId);

/// <summary>Params of <c>tools.cancel</c>, server to client (protocol 4.5).</summary>
[ToJson]
internal sealed record ToolCancelParams(string RequestId, string ActionId, string Reason);

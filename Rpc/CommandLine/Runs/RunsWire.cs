using System.Text.Json;
using CarServer.Rpc.Client;
using CarServer.RunStore;
using CarServer.RunStore.Contracts;

namespace CarServer.Rpc.CommandLine.Runs;

/// <param name="NextBefore">Where the next page begins; null when there is none.</param>
[FromJson]
internal sealed record RunsPage(string AgentId, IReadOnlyList<RawJson> Runs, string? NextBefore = null);

/// <param name="NotFound">No such run, or none this caller may read.</param>
[FromJson]
internal sealed record TracePart(string RunId, string? AgentId = null, IReadOnlyList<RawJson>? Records = null, long? NextCursor = null, bool NotFound = false);

[FromJson]
internal sealed record Subscribed(string RunId, string AgentId, IReadOnlyList<RawJson> TurnsSoFar, int Cursor, RunStatus Status);

/// <summary><c>runs.trace.event</c>. A turn's cursor counts it in; the other records do not move it.</summary>
[FromJson]
internal sealed record TraceEvent(string RunId, RawJson Record, int Cursor, RunStatus Status);

/// <summary><c>runs.trace.lagged</c>: turns up to the cursor were dropped, and nothing newer will tell.</summary>
[FromJson]
internal sealed record TraceLagged(string RunId, int Cursor, RunStatus Status, bool Subscribed);

/// <param name="Removed">Some of them when they are too many for an answer.</param>
[FromJson]
internal sealed record CollectedRuns(
    bool DryRun, IReadOnlyList<CollectedRun> Removed, int MaxPerAgent, int MaxAgeDays, int RemovedCount = 0, int JournalsRemoved = 0);

internal sealed record CollectedRun(string RunId, string AgentId, RunStatus Status, DateTime StartedAt, string Reason);

/// <summary>What the daemon says in <c>runs.*</c>, read from the other end of the wire: only what the verbs need.</summary>
internal static class RunsWire
{
    /// <exception cref="RpcErrorException">What it says in <paramref name="method"/> has another form: the daemon is not one of ours.</exception>
    public static T Read<T>(string method, RawJson said, IReads<T> contract)
        where T : class
    {
        try { return contract.Parse(said.Utf8) ?? throw new JsonException(); }
        catch (JsonException)
        {
            throw new RpcErrorException(-32603, $"what the daemon says in {method} cannot be understood");
        }
    }
}

using System.Runtime.CompilerServices;
using System.Text.Json;
using CarServer.Rpc.Client;
using CarServer.RunStore;
using CarServer.RunStore.Contracts;

namespace CarServer.Rpc.CommandLine.Runs;

/// <summary>Reads the trace of a run in pages, so that neither side ever holds a long one whole.</summary>
internal sealed class TraceReader(RpcClient client, string runId)
{
    /// <summary>Records in one answer. A record has at most 256 KiB, so an answer stays below half of what the daemon lets pile up.</summary>
    public const int PageRecords = 64;

    /// <summary>The records from a position on, byte for byte; the <c>started</c> record has position 0.</summary>
    /// <exception cref="RpcErrorException">No such run, or none that this caller may read.</exception>
    public async IAsyncEnumerable<RawJson> RecordsAsync(long from, [EnumeratorCancellation] CancellationToken abandoned)
    {
        for (long? cursor = from; cursor is { } position;)
        {
            TracePart part = await PartAsync(position, PageRecords, abandoned);
            foreach (RawJson record in part.Records ?? []) yield return record;
            cursor = part.NextCursor;
        }
    }

    /// <exception cref="RpcErrorException">No such run, or none that this caller may read.</exception>
    public async Task<TracePart> PartAsync(long cursor, int limit, CancellationToken abandoned)
    {
        RawJson asked = RawJson.Parse($"{{\"run_id\":{RawJson.FromString(runId)},\"cursor\":{cursor},\"limit\":{limit}}}");
        TracePart part = RunsWire.Read("runs.get_trace", await client.CallAsync("runs.get_trace", asked, abandoned), Json.TracePart);
        // A result, not an error; here it is said as runs.subscribe says it.
        return part.NotFound ? throw new RpcErrorException(-32603, $"unknown run_id `{runId}`") : part;
    }

    /// <summary>Null for a line that this version cannot read, another version's perhaps.</summary>
    public static RunRecord? Parse(RawJson record)
    {
        try { return Json.RunRecord.Parse(record.Utf8); }
        catch (JsonException) { return null; }
    }
}

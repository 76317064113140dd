using System.Text.Json;
using CarServer.RunStore;

namespace CarServer.Tests.Support;

/// <summary>A slice of a trace, read to its end in small pieces and taken apart.</summary>
internal sealed record TracePage(IReadOnlyList<string> Records, long? Next, int DamagedLines)
{
    public static TracePage Read(string path, long from = 0, long limit = long.MaxValue, long maxBytes = long.MaxValue, bool turnsOnly = false)
    {
        using TraceSlice slice = TraceSlice.Open(path, new TraceQuery(from, Limit: limit, MaxBytes: maxBytes, TurnsOnly: turnsOnly));
        return Of(slice);
    }

    public static TracePage Of(TraceSlice slice)
    {
        var text = new MemoryStream();
        text.WriteByte((byte)'[');
        slice.CopyTo(text, 1_000);
        if (text.Length != slice.Length + 1) throw new InvalidOperationException($"{slice.Length} bytes announced, {text.Length - 1} came");
        text.WriteByte((byte)']');
        using JsonDocument records = JsonDocument.Parse(text.ToArray(), new JsonDocumentOptions { MaxDepth = RawJsonConverter.MaxWrappedDepth + 1 });
        if (records.RootElement.GetArrayLength() != slice.Count) throw new InvalidOperationException($"{slice.Count} records announced");
        return new TracePage([.. records.RootElement.EnumerateArray().Select(record => record.GetRawText())], slice.Next, slice.DamagedLines);
    }
}

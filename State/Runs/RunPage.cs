using System.Text;
using CarServer.RunStore;

namespace CarServer.State.Runs;

/// <summary>Some runs of a list, in its order.</summary>
/// <param name="Next">Where to go on; null at the end of the list.</param>
internal sealed record RunPage(IReadOnlyList<RunSummary> Runs, string? Next)
{
    /// <summary>Bytes of the texts in one page, and so of the whole within a small factor: a larger answer would close the client.</summary>
    public const int MaxBytes = 16 * 1024 * 1024;

    /// <summary>What a run takes on the wire beside its texts.</summary>
    private const int BytesBesideTexts = 256;

    /// <param name="limit">Most runs; null for as many as <see cref="MaxBytes"/> lets in.</param>
    public static RunPage Of(IEnumerable<RunSummary> runs, int? limit)
    {
        var page = new List<RunSummary>();
        long bytes = 0;
        foreach (RunSummary run in runs)
        {
            bytes += BytesBesideTexts + Encoding.UTF8.GetByteCount(run.Intent);
            if (page.Count == limit || (bytes > MaxBytes && page.Count > 0)) return new RunPage(page, RunPlace.Of(page[^1]).ToString());
            page.Add(run);
        }
        return new RunPage(page, null);
    }
}

using System.Globalization;

namespace CarServer.RunStore;

/// <summary>A run's place in a list: the newest start first and, since starts may tie, then by id. It stays a place when the run is gone.</summary>
internal readonly record struct RunPlace(DateTime StartedAt, string RunId) : IComparable<RunPlace>
{
    private const string TimeFormat = "yyyy-MM-ddTHH:mm:ss.fffffffZ";
    private const int TimeLength = 28;

    public static RunPlace Of(RunSummary run) => new(run.StartedAt, run.RunId);

    public static readonly Comparison<RunSummary> NewestFirst = static (a, b) => Of(a).CompareTo(Of(b));

    public int CompareTo(RunPlace other) =>
        StartedAt != other.StartedAt ? other.StartedAt.CompareTo(StartedAt) : string.CompareOrdinal(RunId, other.RunId);

    /// <summary>What a client passes back to go on from here.</summary>
    public override string ToString() => StartedAt.ToString(TimeFormat, CultureInfo.InvariantCulture) + "/" + RunId;

    public static bool TryParse(string text, out RunPlace place)
    {
        place = default;
        if (text.Length <= TimeLength || text[TimeLength] != '/') return false;
        if (!DateTime.TryParseExact(text.AsSpan(0, TimeLength), TimeFormat, CultureInfo.InvariantCulture,
            DateTimeStyles.AdjustToUniversal | DateTimeStyles.AssumeUniversal, out DateTime startedAt)) return false;
        place = new RunPlace(startedAt, text[(TimeLength + 1)..]);
        return true;
    }
}

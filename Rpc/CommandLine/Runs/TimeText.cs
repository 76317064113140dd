using System.Globalization;

namespace CarServer.Rpc.CommandLine.Runs;

/// <summary>Times and durations in the words of a person, the times in the zone of this machine.</summary>
internal static class TimeText
{
    public static string Of(DateTime utc) => utc.ToLocalTime().ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture);

    /// <summary>Two units at most: nobody compares days by their seconds.</summary>
    public static string Of(TimeSpan duration) => duration switch
    {
        { Ticks: < 0 } => "0 ms",   // a clock that was set back in between
        { TotalMilliseconds: < 10 } => Number(duration.TotalMilliseconds, "0.#", "ms"),
        { TotalMilliseconds: < 999.5 } => Number(duration.TotalMilliseconds, "0", "ms"),
        { TotalSeconds: < 60 } => Number(duration.TotalSeconds, "0.#", "s"),
        { TotalHours: < 1 } => $"{duration.Minutes} min {duration.Seconds} s",
        { TotalDays: < 1 } => $"{duration.Hours} h {duration.Minutes} min",
        _ => $"{duration.Days} d {duration.Hours} h",
    };

    /// <remarks>Whatever a client wrote: it may be no length of time at all.</remarks>
    public static string OfMilliseconds(double milliseconds) =>
        milliseconds is >= 0 and < 1e14 ? Of(TimeSpan.FromMilliseconds(milliseconds)) : Number(milliseconds, "g", "ms");

    private static string Number(double value, string format, string unit) => value.ToString(format, CultureInfo.InvariantCulture) + " " + unit;
}

using System.Diagnostics;

namespace CarServer.Tests.Bench;

/// <summary>Works for about <paramref name="window"/> and returns the seconds that one operation took.</summary>
internal delegate double Measure(TimeSpan window);

/// <summary>One row of the table: something the daemon does, beside the least that this machine could do it in.</summary>
/// <param name="Name">What the daemon does.</param>
/// <param name="LimitName">What it is held against: work that cannot be left out.</param>
/// <param name="Show">Seconds of one operation as a person wants to read them.</param>
/// <param name="Allocated">Managed bytes of one operation, where that is worth a figure.</param>
internal sealed record Case(string Name, string LimitName, Func<double, string> Show, Measure Ours, Measure Limit, Func<double>? Allocated = null);

internal static class Timed
{
    /// <summary>Repeats <paramref name="work"/>, which does as many operations as it is told, until the window is full.</summary>
    public static Measure Loop(Action<int> work) => window =>
    {
        long operations = 0;
        int batch = 1;
        long started = Stopwatch.GetTimestamp();
        while (true)
        {
            work(batch);
            operations += batch;
            double spent = Stopwatch.GetElapsedTime(started).TotalSeconds;
            if (spent >= window.TotalSeconds) return spent / operations;
            // The clock is read some hundred times a window, whatever an operation costs.
            if (spent < window.TotalSeconds / 100 && batch < 1 << 20) batch *= 2;
        }
    };

    /// <summary>Managed bytes that one operation allocates on this thread.</summary>
    public static double AllocatedBy(Action<int> work)
    {
        const int Operations = 2_000;
        work(Operations);   // what is made once, on first use, is no part of it
        long before = GC.GetAllocatedBytesForCurrentThread();
        work(Operations);
        return (GC.GetAllocatedBytesForCurrentThread() - before) / (double)Operations;
    }
}

/// <summary>How a time is shown.</summary>
internal static class Shown
{
    public static string Nanoseconds(double seconds) => $"{seconds * 1e9:0.0} ns";
    public static string Microseconds(double seconds) => $"{seconds * 1e6:0.0} µs";
    public static string Milliseconds(double seconds) => $"{seconds * 1e3:0.0} ms";
    public static string PerSecond(double seconds) => $"{1 / seconds:#,0}/s";
    public static string Mebibytes(double bytes) => $"{bytes / 1024 / 1024:0.00} MiB";
    public static Func<double, string> Throughput(long bytes) => seconds => $"{bytes / seconds / 1e9:0.00} GB/s";
    public static Func<double, string> Each(int operations, Func<double, string> show) => seconds => show(seconds / operations);
}

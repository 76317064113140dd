using System.Diagnostics;

namespace CarServer.Tests.Support;

/// <summary>Waits with a deadline. A test never sleeps: it awaits the event itself, or asks here until the fact is there.</summary>
internal static class Eventually
{
    /// <summary>How long a test waits for what should come at once. Long, because two processors serve everybody; it costs only a failing test.</summary>
    public static readonly TimeSpan Deadline = TimeSpan.FromSeconds(20);

    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(10);

    /// <summary>Asks until <paramref name="fact"/> holds.</summary>
    /// <exception cref="TimeoutException">It did not within <see cref="Deadline"/>; <paramref name="what"/> is in the message.</exception>
    public static Task TrueAsync(string what, Func<bool> fact) => TrueAsync(what, () => Task.FromResult(fact()));

    /// <param name="within">For what takes its time by design; null for <see cref="Deadline"/>.</param>
    public static async Task TrueAsync(string what, Func<Task<bool>> fact, TimeSpan? within = null)
    {
        long start = Stopwatch.GetTimestamp();
        TimeSpan deadline = within ?? Deadline;
        while (!await fact())
        {
            if (Stopwatch.GetElapsedTime(start) > deadline) throw new TimeoutException($"not within {deadline.TotalSeconds:0} s: {what}");
            await Task.Delay(Pause);
        }
    }

    /// <summary>Awaits an event that should come at once.</summary>
    public static async Task<T> Soon<T>(this Task<T> task, string what)
    {
        try { return await task.WaitAsync(Deadline); }
        catch (TimeoutException) when (!task.IsCompleted) { throw new TimeoutException($"not within {Deadline.TotalSeconds:0} s: {what}"); }
    }

    public static async Task Soon(this Task task, string what)
    {
        try { await task.WaitAsync(Deadline); }
        catch (TimeoutException) when (!task.IsCompleted) { throw new TimeoutException($"not within {Deadline.TotalSeconds:0} s: {what}"); }
    }
}

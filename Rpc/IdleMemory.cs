using System.Runtime.InteropServices;
using Microsoft.Extensions.Logging;

namespace CarServer.Rpc;

/// <summary>Gives memory back to the system once the daemon has gone quiet after work.</summary>
/// <remarks>
/// The collector runs when something allocates, so what the last burst of traffic left behind would stay resident for as long as
/// nothing happens; for a daemon that people forget is running that is most of the time. One collection after the burst, when nobody
/// waits for anything, and none while nothing was allocated: a sleeping daemon sleeps on.
/// </remarks>
internal static partial class IdleMemory
{
    /// <summary>Less than this is not worth a collection.</summary>
    private const long WorthCollecting = 8 * 1024 * 1024;

    /// <summary>Growth during the wait that still counts as quiet: a stray ping, not traffic.</summary>
    private const long Stray = 256 * 1024;

    /// <summary>Buffers outside the managed heap below this size are not counted: the C library keeps them at hand with good reason.</summary>
    private const int LargeBuffer = 256 * 1024;

    private static long s_outside;      // octets of large buffers outside the managed heap that were given back
    private static long s_collected;    // what was used when memory was last given back

    /// <summary>A mark of all that was ever used, to compare with later: see <see cref="TryGiveBack"/>.</summary>
    public static long Used => GC.GetTotalAllocatedBytes(precise: false) + Volatile.Read(ref s_outside);

    /// <summary>Counts a buffer outside the managed heap that is given back to the C library.</summary>
    public static void Count(int octets)
    {
        if (octets >= LargeBuffer) Interlocked.Add(ref s_outside, octets);
    }

    /// <summary>Collects, if it is worth it and nothing has gone on since the mark was taken.</summary>
    public static void TryGiveBack(long mark, ILogger log)
    {
        long total = Used;
        long collected = Volatile.Read(ref s_collected);
        if (total - collected < WorthCollecting || total - mark > Stray || Interlocked.CompareExchange(ref s_collected, total, collected) != collected) return;
        long before = Environment.WorkingSet;
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        try
        {
            if (OperatingSystem.IsLinux()) _ = malloc_trim(0);
        }
        catch (EntryPointNotFoundException)
        {
            // A C library other than glibc has its own ways.
        }
        log.LogDebug("memory given back before={Before} after={After}", before, Environment.WorkingSet);
    }

    [LibraryImport("libc")] private static partial int malloc_trim(nuint keep);
}

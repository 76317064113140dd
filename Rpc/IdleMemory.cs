using System.Runtime.InteropServices;
using Microsoft.Extensions.Logging;

namespace CarServer.Rpc;

/// <summary>Gives memory back to the system once the daemon has gone quiet after work.</summary>
/// <remarks>
/// The collector runs when something allocates, so what the last burst of traffic left behind would stay resident for as long as
/// nothing happens; for a daemon that people forget is running that is most of the time. One collection after the burst, and none
/// while nothing was allocated: a sleeping daemon sleeps on.
/// </remarks>
internal static partial class IdleMemory
{
    /// <summary>Less than this is not worth a collection.</summary>
    private const long WorthCollecting = 8 * 1024 * 1024;

    /// <summary>What may be asked for between two looks and still be quiet: a dashboard that polls, not traffic.</summary>
    private const long Stray = 256 * 1024;

    /// <summary>Less than this at a time is not counted: small blocks are used again at once.</summary>
    private const int Large = 256 * 1024;

    /// <summary>Two of the largest messages, on their way in and out.</summary>
    private const int KeptWhileBusy = 128 * 1024 * 1024;

    private const int TrimThreshold = -1, MmapThreshold = -3, ArenaMax = -8;   // glibc's malloc.h

    private static long s_outside;      // what became free without an allocation
    private static long s_collected;    // what was used when memory was last given back
    private static readonly Lock s_trimming = new();

    /// <summary>The collection after which this thread gave back what it alone can.</summary>
    [ThreadStatic] private static long t_trimmedAfter;

    /// <summary>Octets that were ever asked for.</summary>
    public static long Used => GC.GetTotalAllocatedBytes(precise: false) + Volatile.Read(ref s_outside);

    /// <summary>Counts what has become free without an allocation: a buffer outside the managed heap, the state of a session.</summary>
    public static void Count(int octets)
    {
        if (octets >= Large) Interlocked.Add(ref s_outside, octets);
    }

    /// <summary>Lets the C library keep what large messages took while more of them may come. Once, at the start.</summary>
    /// <remarks>
    /// It would ask the system for each such buffer and give it back, page by page: that more than halved the rate of 16 MiB answers.
    /// Only glibc has these settings; another library keeps its own habits.
    /// </remarks>
    public static void KeepWhileBusy()
    {
        if (!OperatingSystem.IsLinux()) return;
        try
        {
            _ = mallopt(ArenaMax, 1);                        // threads share what is free
            _ = mallopt(MmapThreshold, 32 * 1024 * 1024);    // its maximum
            _ = mallopt(TrimThreshold, KeptWhileBusy);
        }
        catch (EntryPointNotFoundException)
        {
        }
    }

    /// <summary>Collects, if that is worth it and hardly anything was asked for between two looks.</summary>
    /// <remarks>
    /// One thread collects, and each that looks trims: those that the runtime started before us may have brought the C library to a second
    /// arena, and the end of an arena is given back by its own threads only.
    /// </remarks>
    /// <param name="earlier"><see cref="Used"/> at the look before.</param>
    public static void GiveBackIfQuiet(long earlier, long now, ILogger log)
    {
        if (now - earlier > Stray) return;
        long collected = Volatile.Read(ref s_collected);
        bool collects = now - collected >= WorthCollecting && Interlocked.CompareExchange(ref s_collected, now, collected) == collected;
        collected = Volatile.Read(ref s_collected);
        if (t_trimmedAfter == collected) return;
        t_trimmedAfter = collected;
        long before = Environment.WorkingSet;
        if (collects) GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        try
        {
            if (OperatingSystem.IsLinux()) Trim();
        }
        catch (EntryPointNotFoundException)
        {
            // A C library other than glibc has its own ways.
        }
        log.LogDebug("memory given back before={Before} after={After}", before, Environment.WorkingSet);
    }

    /// <summary>All that is free goes back, also the end of this thread's arena: only a free of some size looks at that.</summary>
    private static unsafe void Trim()
    {
        lock (s_trimming)
        {
            _ = mallopt(TrimThreshold, 0);
            NativeMemory.Free(NativeMemory.Alloc(Large));
            _ = malloc_trim(0);
            _ = mallopt(TrimThreshold, KeptWhileBusy);
        }
    }

    [LibraryImport("libc")] private static partial int mallopt(int parameter, int value);
    [LibraryImport("libc")] private static partial int malloc_trim(nuint keep);
}

using System.Diagnostics;

namespace CarServer.Tests.Bench;

/// <summary>Keeps the daemon and its clients from each other's processor: without that the scheduler decides by turns who waits for whom.</summary>
internal static class Processors
{
    private static bool CanShareOut => Environment.ProcessorCount > 1 && OperatingSystem.IsLinux();

    /// <summary>What the shell has to do before a daemon that has the first processor for itself; null where that can't be had.</summary>
    public static string? DaemonHasTheFirst => CanShareOut ? "taskset -cp 0 $$ >/dev/null" : null;

    /// <summary>This process keeps to the others from now on.</summary>
    public static void LeaveTheFirst()
    {
        if (CanShareOut) Process.GetCurrentProcess().ProcessorAffinity = (1 << Math.Min(Environment.ProcessorCount, 30)) - 2;
    }
}

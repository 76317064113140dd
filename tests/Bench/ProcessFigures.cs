using System.Globalization;

namespace CarServer.Tests.Bench;

/// <summary>What Linux tells about another process at one moment. Memory in KiB, processor time in seconds.</summary>
internal sealed record ProcessFigures(long Resident, long Anonymous, int Threads, int Handles, double Processor, long Switches)
{
    /// <summary>Ticks of the processor times in <c>stat</c>, the same on every Linux of today.</summary>
    private const double TicksPerSecond = 100;

    public static bool Available => Directory.Exists("/proc/self/fd");

    public static ProcessFigures Of(int process)
    {
        string directory = string.Create(CultureInfo.InvariantCulture, $"/proc/{process}");
        string[] status = File.ReadAllLines(directory + "/status");
        string stat = File.ReadAllText(directory + "/stat");
        string[] fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');   // a program's name may hold anything
        long switches = 0;
        foreach (string task in Directory.GetDirectories(directory + "/task"))
        {
            string[] lines = File.ReadAllLines(task + "/status");
            switches += Number(lines, "voluntary_ctxt_switches:") + Number(lines, "nonvoluntary_ctxt_switches:");
        }
        return new ProcessFigures(Number(status, "VmRSS:"), Number(status, "RssAnon:"), (int)Number(status, "Threads:"),
            Directory.GetFileSystemEntries(directory + "/fd").Length,
            (long.Parse(fields[11], CultureInfo.InvariantCulture) + long.Parse(fields[12], CultureInfo.InvariantCulture)) / TicksPerSecond, switches);
    }

    private static long Number(string[] lines, string name)
    {
        string line = Array.Find(lines, line => line.StartsWith(name, StringComparison.Ordinal)) ?? throw new InvalidOperationException($"the system does not tell {name}");
        string value = line[name.Length..].Trim();
        int end = value.IndexOf(' ');
        return long.Parse(end < 0 ? value : value[..end], CultureInfo.InvariantCulture);
    }
}

using System.Globalization;

namespace CarServer.Tests.Bench;

/// <summary>What Linux tells about another process at one moment. Memory in KiB, processor time, of the threads it still has, in seconds.</summary>
internal sealed record ProcessFigures(long Resident, long Anonymous, int Threads, int Handles, double Processor, long Switches)
{
    public static bool Available => Directory.Exists("/proc/self/fd");

    public static ProcessFigures Of(int process)
    {
        string directory = string.Create(CultureInfo.InvariantCulture, $"/proc/{process}");
        string[] status = File.ReadAllLines(directory + "/status");
        long switches = 0, nanoseconds = 0;
        foreach (string task in Directory.GetDirectories(directory + "/task"))
        {
            string[] lines, times;
            try { (lines, times) = (File.ReadAllLines(task + "/status"), File.ReadAllText(task + "/schedstat").Split(' ')); }
            catch (IOException) { continue; }   // it has ended since it was listed
            nanoseconds += long.Parse(times[0], CultureInfo.InvariantCulture);   // "stat" counts in hundredths of a second
            switches += Number(lines, "voluntary_ctxt_switches:") + Number(lines, "nonvoluntary_ctxt_switches:");
        }
        return new ProcessFigures(Number(status, "VmRSS:"), Number(status, "RssAnon:"), (int)Number(status, "Threads:"),
            Directory.GetFileSystemEntries(directory + "/fd").Length,
            nanoseconds / 1e9, switches);
    }

    private static long Number(string[] lines, string name)
    {
        string line = Array.Find(lines, line => line.StartsWith(name, StringComparison.Ordinal)) ?? throw new InvalidOperationException($"the system does not tell {name}");
        string value = line[name.Length..].Trim();
        int end = value.IndexOf(' ');
        return long.Parse(end < 0 ? value : value[..end], CultureInfo.InvariantCulture);
    }
}

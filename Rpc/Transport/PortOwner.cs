using System.Globalization;

namespace CarServer.Rpc.Transport;

/// <summary>Linux: which process listens on a port, as far as we may see it. For an error message only.</summary>
internal static class PortOwner
{
    /// <summary><c> (by name, pid 1234)</c>, or nothing when the system does not say.</summary>
    public static string Describe(int port)
    {
        if (!OperatingSystem.IsLinux()) return "";
        try
        {
            string? inode = Inode("/proc/net/tcp", port) ?? Inode("/proc/net/tcp6", port);
            if (inode is null) return "";
            string wanted = $"socket:[{inode}]";
            foreach (string process in Directory.EnumerateDirectories("/proc"))
                if (int.TryParse(Path.GetFileName(process), CultureInfo.InvariantCulture, out int pid) && Holds(process, wanted))
                    return $" (by {File.ReadAllText(process + "/comm").Trim()}, pid {pid})";
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return "";
        }
        return "";
    }

    private static string? Inode(string table, int port)
    {
        if (!File.Exists(table)) return null;
        string end = $":{port:X4}";
        foreach (string line in File.ReadLines(table).Skip(1))
        {
            string[] fields = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (fields.Length > 9 && fields[1].EndsWith(end, StringComparison.Ordinal) && fields[3] == "0A") return fields[9];   // 0A: LISTEN
        }
        return null;
    }

    private static bool Holds(string process, string socket)
    {
        try
        {
            return Directory.EnumerateFiles(process + "/fd").Any(fd => new FileInfo(fd).LinkTarget == socket);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;   // another user's process, or one that has just ended
        }
    }
}

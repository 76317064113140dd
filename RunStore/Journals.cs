using System.Buffers;
using Microsoft.Extensions.Logging;

namespace CarServer.RunStore;

/// <summary>The event journals of connections, one file each, which nobody adds to once the connection is gone.</summary>
internal static class Journals
{
    private const int ClientIdLength = 12;
    private static readonly TimeSpan CopyAge = TimeSpan.FromHours(1);
    private static readonly SearchValues<char> Hex = SearchValues.Create("0123456789abcdef");

    public static string PathOf(string directory, string clientId) => Path.Combine(directory, clientId + RunPath.Extension);

    /// <summary>Removes the journals that were last written to too long ago, by the same measure as runs. Only what is named as a connection is.</summary>
    /// <param name="isLive">Asked about a connection; a journal that somebody still writes to stays.</param>
    /// <returns>How many.</returns>
    public static int Collect(string directory, Retention retention, DateTime now, Func<string, bool> isLive, bool dryRun, ILogger log)
    {
        if (!Directory.Exists(directory)) return 0;   // no connection has left an event yet
        int removed = 0;
        try
        {
            foreach (FileInfo file in new DirectoryInfo(directory).EnumerateFiles("*" + RunPath.Extension))
            {
                string clientId = Path.GetFileNameWithoutExtension(file.Name);
                if (!IsClientId(clientId) || !retention.IsTooOld(file.LastWriteTimeUtc, now) || isLive(clientId)) continue;
                if (dryRun || PrivateFiles.TryDelete(file.FullName)) removed++;
                else log.LogWarning("could not remove {Path}", file.FullName);
            }
            if (!dryRun) RemoveCopies(directory, now);
        }
        catch (DirectoryNotFoundException)
        {
            // Gone meanwhile.
        }
        return removed;
    }

    /// <summary>Removes what compactions left behind that did not come to their end. Even another daemon's do within <see cref="CopyAge"/>.</summary>
    private static void RemoveCopies(string directory, DateTime now)
    {
        foreach (FileInfo copy in new DirectoryInfo(directory).EnumerateFiles("*" + RunPath.Extension + JournalCompaction.CopyExtension))
        {
            string clientId = Path.GetFileNameWithoutExtension(Path.GetFileNameWithoutExtension(copy.Name));
            if (IsClientId(clientId) && now - copy.LastWriteTimeUtc > CopyAge) PrivateFiles.TryDelete(copy.FullName);
        }
    }

    private static bool IsClientId(string name) => name.Length == ClientIdLength && !name.AsSpan().ContainsAnyExcept(Hex);
}

using CarServer.RunStore;

namespace CarServer.Rpc.CommandLine.Runs;

/// <summary>A file that only its owner may read, and that nobody ever sees half written.</summary>
internal static class PrivateOutput
{
    public const int BufferBytes = 64 * 1024;

    /// <summary>Refuses what a new file must not take the place of. A device would be lost: what is renamed onto its name replaces it.</summary>
    /// <exception cref="UsageException">It is no place for a file.</exception>
    public static string Check(string path)
    {
        string directory = Path.GetDirectoryName(path) ?? "/";
        if (!Directory.Exists(directory)) throw new UsageException($"--output: there is no directory {directory}");
        bool isFile = File.Exists(path) && (File.GetAttributes(path) & FileAttributes.ReparsePoint) == 0 && !path.StartsWith("/dev/", StringComparison.Ordinal);
        return isFile || !Path.Exists(path) ? path : throw new UsageException($"--output: {path} exists and is no regular file");
    }

    /// <summary>Writes a new file beside the old one and lets it take its name at the end. After a failure the old one is still there.</summary>
    public static async Task WriteAsync(string path, Func<Stream, Task> body)
    {
        string unfinished = $"{path}.{Guid.NewGuid():N}.tmp";   // a name that nobody can have taken before
        try
        {
            await using (FileStream file = PrivateFiles.Open(unfinished))
            await using (var buffered = new BufferedStream(file, BufferBytes))
                await body(buffered);
            File.Move(unfinished, path, overwrite: true);
        }
        catch
        {
            PrivateFiles.TryDelete(unfinished);
            throw;
        }
    }
}

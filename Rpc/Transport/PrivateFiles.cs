namespace CarServer.Rpc.Transport;

/// <summary>Directories only their owner may enter and files only their owner may read, whatever the umask says.</summary>
internal static class PrivateFiles
{
    private const UnixFileMode DirectoryMode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
    private const UnixFileMode FileMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    /// <summary>Creates what is missing with mode 0700. A directory that was there before keeps its mode: it may not be ours to change.</summary>
    public static void CreateDirectory(string path)
    {
        try
        {
            if (Directory.Exists(path)) return;
            if (Path.GetDirectoryName(path) is { Length: > 0 } parent && !Directory.Exists(parent)) CreateDirectory(parent);
            Directory.CreateDirectory(path, DirectoryMode);
            File.SetUnixFileMode(path, DirectoryMode);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new DaemonStartException($"cannot create the directory {path}: {e.Message}");
        }
    }

    /// <summary>Creates our own directory, or tightens it to 0700 where an older build left it open.</summary>
    public static void CreateOwnDirectory(string path)
    {
        CreateDirectory(path);
        if (File.GetUnixFileMode(path) != DirectoryMode) File.SetUnixFileMode(path, DirectoryMode);
    }

    /// <summary>Writes a secret so that a reader sees the old text or the new one, never a part, and nobody else sees either.</summary>
    public static void WriteSecret(string path, string text)
    {
        string temporary = $"{path}.{Environment.ProcessId}.tmp";
        var options = new FileStreamOptions { Mode = System.IO.FileMode.Create, Access = FileAccess.Write, UnixCreateMode = FileMode };
        try
        {
            File.Delete(temporary);   // one that another user left here would keep its own mode
            using (var file = new FileStream(temporary, options))
            {
                File.SetUnixFileMode(file.SafeFileHandle, FileMode);
                file.Write(System.Text.Encoding.UTF8.GetBytes(text));
                file.Flush(flushToDisk: true);
            }
            File.Move(temporary, path, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new DaemonStartException($"cannot write {path}: {e.Message}");
        }
    }
}

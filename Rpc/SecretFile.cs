namespace CarServer.Rpc;

/// <summary>A file with a secret in it, mode 0600 from its first moment.</summary>
internal static class SecretFile
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    /// <summary>Writes so that a reader sees the old text or the new one, never a part, and nobody but the owner sees either.</summary>
    public static void Write(string path, string text)
    {
        string temporary = $"{path}.{Environment.ProcessId}.tmp";
        File.Delete(temporary);   // one that an earlier process left here would keep its own mode
        var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, UnixCreateMode = OwnerOnly };
        using (var file = new FileStream(temporary, options))
        {
            File.SetUnixFileMode(file.SafeFileHandle, OwnerOnly);
            file.Write(System.Text.Encoding.UTF8.GetBytes(text));
            file.Flush(flushToDisk: true);
        }
        File.Move(temporary, path, overwrite: true);
    }
}

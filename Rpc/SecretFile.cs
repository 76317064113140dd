namespace CarServer.Rpc;

/// <summary>A file with a secret in it, mode 0600 from its first moment.</summary>
internal static class SecretFile
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    /// <summary>Writes so that a reader sees the old text or the new one, never a part, and nobody but the owner sees either.</summary>
    /// <remarks>Not flushed to the disk: the secret is of this launch, and what a loss of power leaves is written anew by the next one.</remarks>
    public static void Write(string path, string text)
    {
        string temporary = $"{path}.{Environment.ProcessId}.tmp";
        File.Delete(temporary);   // one that an earlier process left here would keep its own mode
        var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, UnixCreateMode = OwnerOnly };
        using (var file = new FileStream(temporary, options))
        {
            File.SetUnixFileMode(file.SafeFileHandle, OwnerOnly);
            file.Write(System.Text.Encoding.UTF8.GetBytes(text));
        }
        File.Move(temporary, path, overwrite: true);
    }
}

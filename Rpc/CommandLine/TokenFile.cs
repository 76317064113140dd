using System.Text;

namespace CarServer.Rpc.CommandLine;

/// <summary>Files that hold one token.</summary>
internal static class TokenFile
{
    /// <summary>Any token is shorter; more is some other file, and must not be deleted.</summary>
    private const int MaxBytes = 4096;

    /// <summary>Reads a token that was left for this launch and deletes the file (protocol 1.5).</summary>
    /// <exception cref="UsageException">It cannot be read, holds no token, or cannot be deleted; nothing of it is in the message.</exception>
    public static string Take(string path)
    {
        string token = Settings.CheckToken(Read(path), rule => new UsageException($"the token in {path} {rule}"));
        try { File.Delete(path); }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UsageException($"cannot delete the token file {path} after reading it");
        }
        return token;
    }

    /// <summary>The token in a file of a running daemon; null when there is none that this user may read.</summary>
    public static string? TryRead(string path)
    {
        try { return Read(path).Trim() is { Length: > 0 } token ? token : null; }
        catch (UsageException) { return null; }
    }

    private static string Read(string path)
    {
        try
        {
            using FileStream file = File.OpenRead(path);
            byte[] bytes = new byte[MaxBytes + 1];
            int length = file.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
            return length <= MaxBytes ? Encoding.UTF8.GetString(bytes, 0, length) : throw new UsageException($"{path} is too long for a token file");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UsageException($"cannot read the token file {path}: {(e is UnauthorizedAccessException ? "permission denied" : "no such file")}");
        }
    }
}

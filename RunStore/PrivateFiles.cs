using System.Runtime.InteropServices;

namespace CarServer.RunStore;

/// <summary>Makes directories (0700) and files (0600) that only their owner can read, whatever the umask (protocol 14.1).</summary>
/// <remarks>The mode is given to the system call that creates, so nobody can look in between, and set again afterwards, because
/// the umask may have taken bits away from the owner. What exists already keeps its mode.</remarks>
internal static class PrivateFiles
{
    private const UnixFileMode DirectoryMode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
    private const UnixFileMode OwnFileMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    /// <summary>Creates the directory and every missing one above it.</summary>
    /// <returns>The one that was there already and now has a new entry; null when nothing was missing.</returns>
    public static string? CreateDirectory(string path)
    {
        if (Directory.Exists(path)) return null;
        // One level at a time: with a umask like 0777 the framework's own recursion could not enter what it has just made.
        string? parent = Path.GetDirectoryName(path) is { Length: > 0 } above ? above : null;
        string? newBelow = parent is null ? null : CreateDirectory(parent);
        Directory.CreateDirectory(path, DirectoryMode);
        File.SetUnixFileMode(path, DirectoryMode);
        return newBelow ?? parent;
    }

    /// <summary>Deletes a file at the end of its use. False when it is still there; one that is gone, with its directory or without, is what was wanted.</summary>
    public static bool TryDelete(string path)
    {
        try
        {
            File.Delete(path);
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return !File.Exists(path);
        }
    }

    /// <summary>The system's own words for why a file or directory could not be used; this build has no texts for the framework's exceptions.</summary>
    public static string Reason(Exception e) => e switch
    {
        UnauthorizedAccessException => "permission denied",
        FileNotFoundException or DirectoryNotFoundException => "no such file or directory",
        PathTooLongException => "its name is too long",
        ArgumentOutOfRangeException => "file too large",   // how the framework tells of EFBIG
        EndOfStreamException => "it became shorter meanwhile",
        IOException { HResult: > 0 and < 256 } failed => Lower(Marshal.GetPInvokeErrorMessage(failed.HResult)),   // errno
        _ => e.GetType().Name,
    };

    /// <summary>The system begins its words as a sentence; ours go on in the middle of one.</summary>
    private static string Lower(string text) => text.Length == 0 ? text : char.ToLowerInvariant(text[0]) + text[1..];

    /// <summary>Takes the directory away from everybody but its owner.</summary>
    public static void Tighten(string directory)
    {
        if (File.GetUnixFileMode(directory) != DirectoryMode) File.SetUnixFileMode(directory, DirectoryMode);
    }

    /// <summary>Takes the file away from everybody but its owner.</summary>
    public static void TightenFile(string path)
    {
        if (File.GetUnixFileMode(path) != OwnFileMode) File.SetUnixFileMode(path, OwnFileMode);
    }

    /// <summary>Replaces a file so that a reader finds the old content or the new one, never a part, and nobody but the owner finds either.</summary>
    /// <param name="durable">Whether the content has to outlive a loss of power.</param>
    public static void Replace(string path, ReadOnlySpan<byte> content, bool durable)
    {
        string temporary = $"{path}.{Environment.ProcessId}.tmp";
        File.Delete(temporary);   // one that an earlier process left here would keep its own mode
        FileStreamOptions options = OpenOptions(FileMode.CreateNew);
        options.UnixCreateMode = OwnFileMode;
        using (var file = new FileStream(temporary, options))
        {
            File.SetUnixFileMode(file.SafeFileHandle, OwnFileMode);
            file.Write(content);
            if (durable) StableStorage.Sync(file.SafeFileHandle);
        }
        File.Move(temporary, path, overwrite: true);
    }

    /// <summary>Opens a file that is there to be locked, flock(2): together with others or alone, until it is disposed or the process dies.</summary>
    /// <exception cref="IOException">Others are in the way, or it can't be opened. The file stays; only the lock counts.</exception>
    public static FileStream OpenLock(string path, bool alone)
    {
        var file = new FileStream(path, new FileStreamOptions
        {
            Mode = FileMode.OpenOrCreate,
            Access = FileAccess.ReadWrite,
            Share = alone ? FileShare.None : FileShare.ReadWrite,
            UnixCreateMode = OwnFileMode,
            BufferSize = 0,
        });
        File.SetUnixFileMode(file.SafeFileHandle, OwnFileMode);
        return file;
    }

    /// <summary>Opens for reading and writing, creating file and directories when they are missing. Others may read, rename and delete meanwhile.</summary>
    public static FileStream Open(string path) => Open(path, out _);

    /// <param name="newBelow">The highest directory that has a new entry because of this; null when the file was there.</param>
    public static FileStream Open(string path, out string? newBelow)
    {
        newBelow = null;
        if (File.Exists(path)) return new FileStream(path, OpenOptions(FileMode.Open));
        string? directory = Path.GetDirectoryName(path) is { Length: > 0 } above ? above : null;
        FileStreamOptions options = OpenOptions(FileMode.CreateNew);
        options.UnixCreateMode = OwnFileMode;
        FileStream file;
        if (directory is not null) newBelow = CreateDirectory(directory) ?? directory;
        try
        {
            file = new FileStream(path, options);
        }
        catch (DirectoryNotFoundException) when (directory is not null)
        {
            newBelow = CreateDirectory(directory) ?? newBelow;   // it was empty, and somebody tidied it away in between
            file = new FileStream(path, options);
        }
        File.SetUnixFileMode(file.SafeFileHandle, OwnFileMode);
        return file;
    }

    private static FileStreamOptions OpenOptions(FileMode mode) => new()
    {
        Mode = mode,
        Access = FileAccess.ReadWrite,
        Share = FileShare.ReadWrite | FileShare.Delete,
        BufferSize = 0,
    };
}

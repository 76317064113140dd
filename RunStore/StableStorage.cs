using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace CarServer.RunStore;

/// <summary>Getting bytes past every cache, the drive's own too.</summary>
/// <remarks>A failure is told once: the system then takes the lost pages for written, and a second call would return well.</remarks>
internal static partial class StableStorage
{
    private const int EINTR = 4;

    /// <summary>Older kernels do not say from <c>syncfs</c> that data could not be written.</summary>
    private static readonly bool FileSystemTellsOfFailures = OperatingSystem.IsLinux() && Environment.OSVersion.Version >= new Version(5, 8);

    /// <summary>Returns when the file's bytes, and its length, are on stable storage.</summary>
    /// <exception cref="IOException">Some of them may be lost.</exception>
    public static void Sync(SafeFileHandle file)
    {
        if (OperatingSystem.IsMacOS()) FullSync(file);
        else Check(fdatasync, file);
    }

    /// <summary>Returns when the names in a directory are on stable storage.</summary>
    /// <exception cref="IOException">Some of them may be lost.</exception>
    public static void SyncDirectory(string path)
    {
        using SafeFileHandle directory = open(path, 0);   // O_RDONLY
        if (directory.IsInvalid) throw Failure();
        // Not fdatasync: a new name need not change what that calls data.
        if (OperatingSystem.IsMacOS()) FullSync(directory);
        else Check(fsync, directory);
    }

    /// <summary>Brings everything on the file's file system to stable storage: for many files much cheaper than one after another.</summary>
    /// <returns>False when this system cannot, or when something, perhaps a file of somebody else, could not be written.</returns>
    public static bool TrySyncFileSystem(SafeFileHandle file) => FileSystemTellsOfFailures && syncfs(file) == 0;

    /// <summary>For directories above the store, which may be another's: what cannot be opened was not made by us either.</summary>
    public static void SyncUpwards(string directory)
    {
        for (string? above = directory; above is { Length: > 0 }; above = Path.GetDirectoryName(above))
        {
            using SafeFileHandle handle = open(above, 0);
            if (!handle.IsInvalid) _ = fsync(handle);
        }
    }

    private static void FullSync(SafeFileHandle file)
    {
        const int FullFsync = 51;
        if (fcntl(file, FullFsync) == -1) Check(fsync, file);   // a network share knows only the latter
    }

    private static void Check(Func<SafeFileHandle, int> call, SafeFileHandle file)
    {
        while (call(file) != 0)
            if (Marshal.GetLastPInvokeError() != EINTR) throw Failure();
    }

    private static IOException Failure()
    {
        int error = Marshal.GetLastPInvokeError();
        return new IOException(Marshal.GetPInvokeErrorMessage(error), error);
    }

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)] private static partial SafeFileHandle open(string path, int flags);
    [LibraryImport("libc", SetLastError = true)] private static partial int fsync(SafeFileHandle file);
    [LibraryImport("libc", SetLastError = true)] private static partial int fdatasync(SafeFileHandle file);
    [LibraryImport("libc", SetLastError = true)] private static partial int syncfs(SafeFileHandle file);
    [LibraryImport("libc", SetLastError = true)] private static partial int fcntl(SafeFileHandle file, int command);
}

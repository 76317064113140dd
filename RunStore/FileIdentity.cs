using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace CarServer.RunStore;

/// <summary>Which file it is, whatever its name. Where the system has no call that we know to ask it by, all files are alike.</summary>
/// <param name="FileSystem">The one it is on.</param>
internal readonly partial record struct FileIdentity(ulong FileSystem, ulong Number)
{
    private const int EmptyPath = 0x1000;
    private const int CurrentDirectory = -100;

    public static FileIdentity Of(SafeFileHandle file)
    {
        bool added = false;
        file.DangerousAddRef(ref added);
        try { return Ask((int)file.DangerousGetHandle(), "", EmptyPath) ?? default; }
        finally { file.DangerousRelease(); }
    }

    /// <summary>Null when there is no such file. A link is the file that it leads to.</summary>
    public static FileIdentity? Of(string path)
    {
        if (OperatingSystem.IsLinux()) return Ask(CurrentDirectory, path, 0);
        return File.Exists(path) ? default(FileIdentity) : null;
    }

    /// <summary>When anything about the file changed last, which nobody can set: its content, name, mode or times. Where the system has no
    /// call that we know, when its content did.</summary>
    public static unsafe DateTime LastChange(FileInfo file)
    {
        const uint ChangeTime = 0x80;   // STATX_CTIME
        byte* status = stackalloc byte[256];
        if (!OperatingSystem.IsLinux() || statx(CurrentDirectory, file.FullName, 0, ChangeTime, status) != 0) return file.LastWriteTimeUtc;
        return DateTime.UnixEpoch.AddSeconds(*(long*)(status + 96)).AddTicks(*(uint*)(status + 104) / 100);   // stx_ctime
    }

    private static unsafe FileIdentity? Ask(int directory, string path, int flags)
    {
        const uint NumberOnly = 0x100;   // STATX_INO
        byte* status = stackalloc byte[256];
        if (!OperatingSystem.IsLinux() || statx(directory, path, flags, NumberOnly, status) != 0) return null;
        return new FileIdentity(*(ulong*)(status + 136), *(ulong*)(status + 32));   // stx_dev_major and stx_dev_minor, stx_ino
    }

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static unsafe partial int statx(int directory, string path, int flags, uint mask, byte* status);
}

using System.Runtime.InteropServices;
using CarServer.RunStore;
using Microsoft.Win32.SafeHandles;

namespace CarServer.State.Engine.Basics;

/// <summary>What a name is.</summary>
internal enum FileKind { Missing, File, Directory, Link, Other }

/// <summary>The calls of the C library that work below an open directory; the framework has none of them, and paths alone can be swapped under it.</summary>
/// <remarks>The numbers differ between Linux and macOS, some of them also between processors.</remarks>
internal static unsafe partial class FileCalls
{
    private static readonly bool Mac = OperatingSystem.IsMacOS();
    private static readonly bool Arm = RuntimeInformation.ProcessArchitecture == Architecture.Arm64;

    public static readonly int Create = Mac ? 0x200 : 0x40;
    public static readonly int Exclusive = Mac ? 0x800 : 0x80;
    public static readonly int NonBlock = Mac ? 0x4 : 0x800;
    public static readonly int NoFollow = Mac ? 0x100 : Arm ? 0x8000 : 0x20000;
    public static readonly int Directory = Mac ? 0x100000 : Arm ? 0x4000 : 0x10000;
    public const int Write = 1;
    private static readonly int CloseOnExec = Mac ? 0x1000000 : 0x80000;
    private static readonly int NoTerminal = Mac ? 0x20000 : 0x100;

    private const int EPERM = 1, ENOENT = 2, EINTR = 4, EEXIST = 17, EXDEV = 18;
    private static readonly int EAGAIN = Mac ? 35 : 11;
    private static readonly int ENOSYS = Mac ? 78 : 38;
    private static readonly int ELOOP = Mac ? 62 : 40;

    /// <summary>Opens one name in a directory. Null when there is none.</summary>
    /// <param name="name">A single step; only <see cref="OpenBeneath"/> takes more.</param>
    public static SafeFileHandle? Open(SafeFileHandle directory, string name, int flags, uint mode = 0)
    {
        flags |= CloseOnExec | NoTerminal;
        while (true)
        {
            SafeFileHandle opened = Mac && Arm ? openatArm64(directory, name, flags, 0, 0, 0, 0, 0, mode) : openat(directory, name, flags, mode);
            if (!opened.IsInvalid) return opened;
            int error = Marshal.GetLastPInvokeError();
            if (error == ENOENT) return null;
            if (error != EINTR) throw Failure(error);
        }
    }

    /// <summary>Opens a directory by its whole path, which is trusted.</summary>
    public static SafeFileHandle OpenRoot(string path)
    {
        SafeFileHandle opened = open(path, Directory | CloseOnExec);
        return opened.IsInvalid ? throw Failure(Marshal.GetLastPInvokeError()) : opened;
    }

    /// <summary>Has the kernel resolve a path of several steps, links too, without ever leaving the directory. Null when there is no such file.</summary>
    /// <param name="isKnown">False on a system that cannot do this.</param>
    public static SafeFileHandle? OpenBeneath(SafeFileHandle directory, string path, int flags, out bool isKnown)
    {
        const nint OpenAt2 = 437;
        const ulong NoMagicLinks = 0x02, Beneath = 0x08;
        isKnown = !Mac;
        if (Mac) return null;
        OpenHow how = new() { Flags = (uint)(flags | CloseOnExec | NoTerminal), Resolve = NoMagicLinks | Beneath };
        for (int attempt = 0; ; attempt++)
        {
            nint opened = syscall(OpenAt2, directory, path, &how, (nuint)sizeof(OpenHow));
            if (opened >= 0) return new SafeFileHandle(opened, ownsHandle: true);
            int error = Marshal.GetLastPInvokeError();
            if (error == EINTR || error == EAGAIN && attempt < 100) continue;   // EAGAIN: something was renamed on the way
            if (error == ENOENT) return null;
            isKnown = error != ENOSYS && error != EPERM;   // EPERM: some container's filter does not know the call either
            return isKnown ? throw Failure(error) : null;
        }
    }

    /// <summary>What a name in a directory is, without following it; <paramref name="permissions"/> and size are those of a file.</summary>
    public static FileKind Look(SafeFileHandle directory, string name, out uint permissions, out long size)
    {
        byte* status = stackalloc byte[512];   // struct statx has 256 octets, macOS's struct stat 144
        int result = Mac
            ? Arm ? fstatat(directory, name, status, 0x20) : fstatat64(directory, name, status, 0x20)   // AT_SYMLINK_NOFOLLOW
            : statx(directory, name, name.Length == 0 ? 0x1000 : 0x100, 0x203, status);                 // AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW; STATX_TYPE, STATX_MODE, STATX_SIZE
        if (result != 0)
        {
            int error = Marshal.GetLastPInvokeError();
            (permissions, size) = (0, 0);
            return error == ENOENT ? FileKind.Missing : throw Failure(error);
        }
        return Read(status, out permissions, out size);
    }

    /// <summary>What an open file is.</summary>
    public static FileKind Look(SafeFileHandle file, out long size)
    {
        if (!Mac) return Look(file, "", out _, out size);
        byte* status = stackalloc byte[512];
        if ((Arm ? fstat(file, status) : fstat64(file, status)) != 0) throw Failure(Marshal.GetLastPInvokeError());
        return Read(status, out _, out size);
    }

    private static FileKind Read(byte* status, out uint permissions, out long size)
    {
        uint mode = *(ushort*)(status + (Mac ? 4 : 28));
        size = *(long*)(status + (Mac ? 96 : 40));
        permissions = mode & 0x1FF;
        return (mode & 0xF000) switch { 0x8000 => FileKind.File, 0x4000 => FileKind.Directory, 0xA000 => FileKind.Link, _ => FileKind.Other };
    }

    /// <summary>The names in a directory, but for itself and the one above, in no order; at most so many.</summary>
    /// <returns>False when there are more.</returns>
    public static bool List(SafeFileHandle directory, int most, List<string> names)
    {
        // Opened anew: a stream takes the descriptor's place in the directory with it, and closes it.
        SafeFileHandle own = Open(directory, ".", Directory) ?? throw Failure(ENOENT);
        nint stream = Mac && !Arm ? fdopendir64(own.DangerousGetHandle()) : fdopendir(own.DangerousGetHandle());
        if (stream == 0)
        {
            own.Dispose();
            throw Failure(Marshal.GetLastPInvokeError());
        }
        own.SetHandleAsInvalid();
        try
        {
            while (true)
            {
                byte* entry = Mac && !Arm ? readdir64(stream) : readdir(stream);
                if (entry is null) return true;
                string name = Marshal.PtrToStringUTF8((nint)(entry + (Mac ? 21 : 19)))!;
                if (name is "." or "..") continue;
                if (names.Count == most) return false;
                names.Add(name);
            }
        }
        finally
        {
            _ = closedir(stream);
        }
    }

    /// <summary>Makes a directory; one that is there already is as good.</summary>
    public static void MakeDirectory(SafeFileHandle directory, string name)
    {
        if (mkdirat(directory, name, 0x1FF) == 0) return;   // 0777, less what the umask takes
        int error = Marshal.GetLastPInvokeError();
        if (error != EEXIST) throw Failure(error);
    }

    public static void SetPermissions(SafeFileHandle file, uint permissions) => Check(fchmod(file, permissions));
    public static void Rename(SafeFileHandle directory, string from, string to) => Check(renameat(directory, from, directory, to));
    public static void Remove(SafeFileHandle directory, string name) => _ = unlinkat(directory, name, 0);

    private static void Check(int result)
    {
        if (result != 0) throw Failure(Marshal.GetLastPInvokeError());
    }

    private static BasicException Failure(int error) => new(
        error == EXDEV ? "it leads out of the workspace"
        : error == ELOOP ? "it is a symbolic link that may not be followed"
        : PrivateFiles.Reason(new IOException(null, error)));

    [StructLayout(LayoutKind.Sequential)]
    private struct OpenHow
    {
        public ulong Flags, Mode, Resolve;
    }

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)] private static partial SafeFileHandle open(string path, int flags);
    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)] private static partial SafeFileHandle openat(SafeFileHandle directory, string path, int flags, uint mode);
    // Apple's ABI for arm64 has arguments behind an ellipsis on the stack: behind as many as there are registers they lie right.
    [LibraryImport("libc", EntryPoint = "openat", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)] private static partial SafeFileHandle openatArm64(SafeFileHandle directory, string path, int flags, nint r3, nint r4, nint r5, nint r6, nint r7, uint mode);
    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)] private static partial nint syscall(nint number, SafeFileHandle directory, string path, OpenHow* how, nuint size);
    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)] private static partial int statx(SafeFileHandle directory, string path, int flags, uint mask, byte* status);
    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)] private static partial int fstatat(SafeFileHandle directory, string path, byte* status, int flags);
    [LibraryImport("libc", EntryPoint = "fstatat$INODE64", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)] private static partial int fstatat64(SafeFileHandle directory, string path, byte* status, int flags);
    [LibraryImport("libc", SetLastError = true)] private static partial int fstat(SafeFileHandle file, byte* status);
    [LibraryImport("libc", EntryPoint = "fstat$INODE64", SetLastError = true)] private static partial int fstat64(SafeFileHandle file, byte* status);
    [LibraryImport("libc", SetLastError = true)] private static partial nint fdopendir(nint descriptor);
    [LibraryImport("libc", EntryPoint = "fdopendir$INODE64", SetLastError = true)] private static partial nint fdopendir64(nint descriptor);
    [LibraryImport("libc")] private static partial byte* readdir(nint stream);
    [LibraryImport("libc", EntryPoint = "readdir$INODE64")] private static partial byte* readdir64(nint stream);
    [LibraryImport("libc")] private static partial int closedir(nint stream);
    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)] private static partial int mkdirat(SafeFileHandle directory, string name, uint mode);
    [LibraryImport("libc", SetLastError = true)] private static partial int fchmod(SafeFileHandle file, uint mode);
    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)] private static partial int renameat(SafeFileHandle from, string oldName, SafeFileHandle to, string newName);
    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)] private static partial int unlinkat(SafeFileHandle directory, string name, int flags);
}

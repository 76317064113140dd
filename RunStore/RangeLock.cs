using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace CarServer.RunStore;

/// <summary>A lock on one byte of a file, whether or not the file has it: as many locks as there are numbers, and nothing on the disk.</summary>
internal static partial class RangeLock
{
    private const int EAGAIN = 11, EACCES = 13;

    /// <summary>Until the handle is closed or the process dies. Another handle of this process is somebody else. Linux only.</summary>
    /// <exception cref="IOException">The file system has no locks, or too many.</exception>
    public static unsafe bool TryTake(SafeFileHandle file, ulong number)
    {
        const int SetOwnedByHandle = 37;   // F_OFD_SETLK
        var range = new Range { Type = 1, Start = (long)(number >> 1), Length = 1 };   // F_WRLCK, from the file's beginning
        if (fcntl(file, SetOwnedByHandle, &range) == 0) return true;
        int error = Marshal.GetLastPInvokeError();
        return error is EAGAIN or EACCES ? false : throw new IOException(Marshal.GetPInvokeErrorMessage(error), error);
    }

    /// <summary>struct flock of 64-bit Linux.</summary>
    private struct Range
    {
        public short Type, Whence;
        public long Start, Length;
        public int Process;
    }

    [LibraryImport("libc", SetLastError = true)] private static unsafe partial int fcntl(SafeFileHandle file, int command, Range* range);
}

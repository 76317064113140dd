using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace CarServer.Rpc;

/// <summary>The pages of the program that only its start has touched.</summary>
/// <remarks>
/// The system keeps a page resident from its first touch on, and its neighbours with it: after the start that is most of the executable,
/// though a daemon that waits needs little of it. Two of fourteen MiB. Only parts of the file that nobody can write to: what is needed again
/// comes back from the system's cache.
/// </remarks>
internal static unsafe partial class StartPages
{
    private const nuint PhdrOf = 3, PhdrCount = 5;         // AT_PHDR, AT_PHNUM of Linux' auxvec.h
    private const uint TypeLoad = 1, TypePhdr = 6;         // elf.h
    private const uint Writable = 2;
    private const int DontNeed = 4;                        // mman.h

    /// <summary>Elf64_Phdr.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct Segment
    {
        public uint Type, Flags;
        public ulong Offset, Address, PhysicalAddress, FileSize, MemorySize, Alignment;
    }

    /// <summary>Lets go of them. Once, when the daemon is ready.</summary>
    public static void Forget()
    {
        if (!OperatingSystem.IsLinux() || RuntimeFeature.IsDynamicCodeSupported) return;   // elsewhere, and under a host that compiles, the file is not the program
        try
        {
            var segments = new ReadOnlySpan<Segment>((void*)getauxval(PhdrOf), (int)getauxval(PhdrCount));
            nuint shift = 0, page = (nuint)Environment.SystemPageSize;
            foreach (ref readonly Segment segment in segments)
                if (segment.Type == TypePhdr) shift = getauxval(PhdrOf) - (nuint)segment.Address;
            foreach (ref readonly Segment segment in segments)
            {
                // What the loader has written to and then locked lies in a writable segment, too.
                if (segment.Type != TypeLoad || (segment.Flags & Writable) != 0) continue;
                nuint start = (shift + (nuint)segment.Address) & ~(page - 1);
                _ = madvise(start, shift + (nuint)(segment.Address + segment.MemorySize) - start, DontNeed);
            }
        }
        catch (EntryPointNotFoundException)
        {
            // A C library without getauxval: the pages stay.
        }
    }

    [LibraryImport("libc")] private static partial nuint getauxval(nuint type);
    [LibraryImport("libc")] private static partial int madvise(nuint address, nuint length, int advice);
}

using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace CarServer.RunStore;

/// <summary>Removes the lines at the front of a journal that are kept no longer, while it is being written to (protocol 12.2).</summary>
/// <remarks>
/// <para>What stays is copied into a file beside the journal and made durable, away from the writing thread. That thread then adds only what
/// was appended meanwhile and renames the copy over the journal, so that no append falls between the two. Before the rename the journal is
/// as it was, whatever dies; a copy that is left over is removed by <see cref="Journals.Collect"/>.</para>
/// <para>Only whole lines at the front go. A line is never changed, and one that stays keeps its place among the others.</para>
/// </remarks>
internal static class JournalCompaction
{
    /// <summary>Below this many lines it isn't worth a new file (protocol 12.2).</summary>
    public const int MinSurplusLines = 1_024;

    /// <summary>Nor when less than one byte in this many would go (protocol 12.2: 25 %).</summary>
    public const int MinSurplusShare = 4;

    public const string CopyExtension = ".new";

    /// <param name="maxLines">Lines that may stay, counted from the end of the file.</param>
    /// <param name="isKept">Asked about those, the oldest first, until it says yes; that one and all behind it stay.</param>
    /// <returns>Lines that are gone. A failure is logged, and none are.</returns>
    public static async Task<long> RunAsync(Appender appender, AppendFile journal, long maxLines, Func<ReadOnlyMemory<byte>, bool> isKept)
    {
        string copy = journal.Path + CopyExtension;
        try
        {
            long settled = 0;
            await appender.BetweenAppendsAsync(journal, () => settled = new FileInfo(journal.Path).Length);
            using SafeFileHandle source = File.OpenHandle(journal.Path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            (long lines, long bytes) = Surplus(source, settled, maxLines, isKept);
            if (lines < MinSurplusLines || bytes < settled / MinSurplusShare) return 0;

            using FileStream target = appender.Disk.Open(copy, out _);
            appender.Disk.SetLength(target.SafeFileHandle, 0);
            long end = Copy(appender.Disk, source, bytes, settled, target.SafeFileHandle, 0);
            // Whatever the durability: what was on stable storage already must not get lost because the system wrote the new name first.
            appender.Disk.Sync(target.SafeFileHandle);
            await appender.BetweenAppendsAsync(journal, () => Replace(appender, journal.Path, source, settled, target.SafeFileHandle, end));
            return lines;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            PrivateFiles.TryDelete(copy);
            appender.Log.LogWarning("{Path}: not compacted: {Reason}", journal.Path, e is IOException { InnerException: not null } ? e.Message : PrivateFiles.Reason(e));
            return 0;
        }
    }

    /// <summary>On the writing thread.</summary>
    private static void Replace(Appender appender, string path, SafeFileHandle source, long settled, SafeFileHandle target, long end)
    {
        long length = RandomAccess.GetLength(source);
        // Somebody removed, replaced or shortened the journal: what is there now is not ours to overwrite.
        if (new FileInfo(path) is not { Exists: true } now || now.Length != length || length < settled) throw new EndOfStreamException();
        Copy(appender.Disk, source, settled, length, target, end);
        bool isDurable = appender.Durability == Durability.Fsync;
        if (isDurable) appender.Disk.Sync(target);
        appender.Disk.Rename(path + CopyExtension, path);
        if (isDurable) appender.Disk.SyncDirectory(Path.GetDirectoryName(path)!);
    }

    /// <summary>The lines at the front that may go, and their bytes.</summary>
    private static (long Lines, long Bytes) Surplus(SafeFileHandle source, long settled, long maxLines, Func<ReadOnlyMemory<byte>, bool> isKept)
    {
        long total = 0;
        using (var counting = new LineReader(source, settled))
            while (counting.TryRead()) total++;

        long lines = 0;
        using var reader = new LineReader(source, settled);
        while (reader.TryRead())
        {
            if (lines >= total - maxLines && isKept(reader.Line)) return (lines, reader.LineStart);
            lines++;
        }
        return (lines, settled);
    }

    /// <returns>Where the target ends now.</returns>
    private static long Copy(Disk disk, SafeFileHandle source, long from, long until, SafeFileHandle target, long to)
    {
        byte[] buffer = new byte[64 * 1024];
        while (from < until)
        {
            int read = RandomAccess.Read(source, buffer.AsSpan(0, (int)Math.Min(buffer.Length, until - from)), from);
            if (read == 0) throw new EndOfStreamException();
            disk.Write(target, [buffer.AsMemory(0, read)], to);
            from += read;
            to += read;
        }
        return to;
    }
}

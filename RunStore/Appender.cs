using System.Runtime.InteropServices;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace CarServer.RunStore;

/// <summary>The one writer of every append-only file: run traces and event journals.</summary>
/// <remarks>
/// <para>Format: UTF-8 JSON Lines. A record exists if and only if its '\n' is in the file; bytes after the last '\n' are a torn write
/// and are cut when the file is opened. Nothing before the last '\n' is ever rewritten; a journal
/// can be replaced by its own end (<see cref="JournalCompaction"/>).</para>
/// <para>Appends are queued to one thread, in order. What has gathered for a file while the thread was busy goes out in one system
/// call, so that a hundred small appends cost about as much as one. A write that fails is taken back: the file ends where it ended
/// before, and the next append tries anew.</para>
/// <para>What an append that is complete survives is <see cref="Durability"/>'s matter. With <see cref="Durability.Fsync"/> the thread writes
/// a round, makes it durable as a whole, and only then tells anybody; what nobody waits for is not made durable.</para>
/// <para>Any thread may call. The bytes given must not change until the append is complete. The thread starts with the first append.</para>
/// </remarks>
internal sealed class Appender(ILogger log, Durability durability = Durability.Os, Disk? disk = null, TimeProvider? clock = null) : IAsyncDisposable
{
    /// <summary>Bytes that may wait for the disk before <see cref="Append"/> drops: one largest batch of turns (256 of 256 KiB).
    /// Nobody who awaits is dropped: he is held back by the task itself, and his bytes are in memory either way.</summary>
    public const int MaxQueuedBytes = 64 * 1024 * 1024;

    /// <summary>Files kept open between appends: enough that the busy runs stay open, far below the usual limit of 1,024 descriptors.</summary>
    public const int MaxOpenFiles = 64;

    /// <summary>The loop below needs a few hundred bytes of stack; the usual 8 MiB would be address space for nothing.</summary>
    private const int StackBytes = 256 * 1024;

    /// <summary>Files and directories of a round that are made durable one by one. Beyond that the whole file system is, for the price of
    /// about three of them; few are spared what other programs have left to write there.</summary>
    public const int MaxSyncedSingly = 4;

    private readonly Disk _disk = disk ?? new Disk();
    private readonly RefusalLog _refusals = new(log, clock ?? TimeProvider.System);

    private readonly object _gate = new();
    private List<QueuedLines> _queue = [];
    private long _queuedBytes;
    private bool _writing;
    private bool _stopping;
    private Thread? _thread;
    private long _dropped;
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // What follows belongs to the writing thread.
    private readonly LinkedList<OpenFile> _open = [];              // the most recently used first
    private readonly List<AppendFile> _touched = [];
    private readonly Stack<List<QueuedLines>> _spareGroups = [];
    private readonly HashSet<ulong> _synced = [];                  // file systems of the current round

    public Durability Durability => durability;
    internal Disk Disk => _disk;
    internal ILogger Log => log;

    /// <summary>A handle for the file; nothing is created on disk before the first append. One handle for one path.</summary>
    public AppendFile File(string path) => new(path);

    /// <summary>Completes when the lines are where <see cref="Durability"/> wants them.</summary>
    /// <param name="lines">Whole lines, each with its '\n'. They appear together or, after a failure, not at all.</param>
    /// <exception cref="IOException">From the task, with the reason in words: nothing of this append is in the file. The file can be appended to again.</exception>
    public Task AppendAsync(AppendFile file, ReadOnlyMemory<byte> lines)
    {
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        if (!Enqueue(new QueuedLines(file, lines, done))) done.SetException(Stopped());
        return done.Task;
    }

    /// <summary>Appends without waiting. What fails, or finds more than <see cref="MaxQueuedBytes"/> queued, is a log line.</summary>
    public void Append(AppendFile file, ReadOnlyMemory<byte> lines)
    {
        if (!Enqueue(new QueuedLines(file, lines, null))) Interlocked.Increment(ref _dropped);
    }

    /// <summary>Completes when everything queued before is with the operating system or has failed.</summary>
    public Task FlushAsync()
    {
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_gate)
        {
            if (_queue.Count == 0 && !_writing) return Task.CompletedTask;
        }
        return Enqueue(new QueuedLines(null, default, done)) ? done.Task : _ended.Task;
    }

    /// <summary>
    /// Does some work on the writing thread, where nothing of the file is half written and the file is closed. Whatever was appended before
    /// is in it; the next append opens what lies at its path by then. Everybody's appends wait meanwhile.
    /// </summary>
    /// <exception cref="IOException">From the task, with the reason in words: the work could not be done to its end, or not be begun.</exception>
    public Task BetweenAppendsAsync(AppendFile file, Action work)
    {
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        if (!Enqueue(new QueuedLines(null, default, done, () => CloseFor(file, work)))) done.SetException(Stopped());
        return done.Task;
    }

    /// <summary>Writes what is queued, then closes the files. Appends that come later fail.</summary>
    public async ValueTask DisposeAsync()
    {
        lock (_gate)
        {
            _stopping = true;
            if (_thread is null) _ended.TrySetResult();
            Monitor.Pulse(_gate);
        }
        await _ended.Task;
        ReportDropped();
        _refusals.Dispose();
    }

    private bool Enqueue(QueuedLines lines)
    {
        Thread? fresh = null;
        lock (_gate)
        {
            if (_stopping) return false;
            if (lines.Done is null && _queuedBytes > 0 && _queuedBytes + lines.Lines.Length > MaxQueuedBytes) return false;
            _queue.Add(lines);
            _queuedBytes += lines.Lines.Length;
            if (_thread is null) _thread = fresh = new Thread(WriteLoop, StackBytes) { IsBackground = true, Name = "appender" };
            else if (_queue.Count == 1) Monitor.Pulse(_gate);
        }
        fresh?.UnsafeStart();
        return true;
    }

    private void WriteLoop()
    {
        List<QueuedLines> round = [];
        while (true)
        {
            lock (_gate)
            {
                _writing = false;
                while (_queue.Count == 0 && !_stopping) Monitor.Wait(_gate);
                if (_queue.Count == 0) break;
                (_queue, round) = (round, _queue);
                _writing = true;
            }
            long bytes = WriteRound(CollectionsMarshal.AsSpan(round));
            round.Clear();
            lock (_gate) _queuedBytes -= bytes;
            ReportDropped();
        }
        while (_open.First is { } node) Close(node.Value.Owner);
        _ended.SetResult();
    }

    /// <summary>Writes what one turn of the queue brought, file by file, each file's lines in the order they came.</summary>
    private long WriteRound(ReadOnlySpan<QueuedLines> round)
    {
        long bytes = 0;
        foreach (QueuedLines lines in round)
        {
            bytes += lines.Lines.Length;
            if (lines.File is not { } file) continue;
            if (file.Group is null)
            {
                file.Group = _spareGroups.TryPop(out List<QueuedLines>? spare) ? spare : [];
                file.RoundStart = null;
                _touched.Add(file);
            }
            file.Group.Add(lines);
        }
        if (durability == Durability.Os) WriteFiles(CollectionsMarshal.AsSpan(_touched));
        else WriteFilesDurably(CollectionsMarshal.AsSpan(_touched));
        _touched.Clear();
        foreach (QueuedLines lines in round)
        {
            if (lines.File is null) Finish(lines);
        }
        return bytes;
    }

    private static void Finish(QueuedLines nothingToWrite)
    {
        try
        {
            nothingToWrite.Work?.Invoke();
            nothingToWrite.Done!.SetResult();
        }
        catch (Exception e)
        {
            nothingToWrite.Done!.SetException(InWords(e));   // as with a write: the thread goes on
        }
    }

    private void CloseFor(AppendFile file, Action work)
    {
        if (file.CutTo is not null) Open(file);   // repairs it, or fails
        Close(file);
        work();
    }

    private void WriteFiles(ReadOnlySpan<AppendFile> files)
    {
        foreach (AppendFile file in files)
        {
            WriteGroup(file, file.Group!);
            Settle(file);
        }
    }

    private void WriteFilesDurably(ReadOnlySpan<AppendFile> files)
    {
        while (!files.IsEmpty)
        {
            // No more than stay open: a file that is closed in between may lose the news of a write that failed.
            ReadOnlySpan<AppendFile> some = files[..Math.Min(files.Length, MaxOpenFiles)];
            files = files[some.Length..];
            foreach (AppendFile file in some) WriteGroup(file, file.Group!);
            MakeDurable(some);
            foreach (AppendFile file in some) Settle(file);
        }
    }

    /// <summary>Tells everybody whose lines are written, and gives the group back.</summary>
    private void Settle(AppendFile file)
    {
        List<QueuedLines> group = file.Group!;
        file.Group = null;
        foreach (QueuedLines lines in group) lines.Done?.SetResult();
        group.Clear();
        _spareGroups.Push(group);
    }

    /// <summary>Writes a group. What the disk refuses is told, and then gone from the group.</summary>
    private void WriteGroup(AppendFile file, List<QueuedLines> group)
    {
        if (TryWrite(file, CollectionsMarshal.AsSpan(group)) is not { } failure) return;
        int written = 0;
        // The group was our idea. Each member gets its own try, so that one too big for the disk does not take the others with it.
        for (int i = 0; i < group.Count && group.Count > 1; i++)
        {
            QueuedLines lines = group[i];
            if (TryWrite(file, CollectionsMarshal.AsSpan(group).Slice(i, 1)) is { } own)
            {
                failure = own;
                lines.Done?.SetException(own);
            }
            else
            {
                (group[i], group[written]) = (group[written], lines);
                written++;
            }
        }
        Refuse(file, written, failure);
    }

    /// <summary>Tells the members of a file's group from <paramref name="first"/> on, and removes them from it.</summary>
    private void Refuse(AppendFile file, int first, IOException failure)
    {
        List<QueuedLines> group = file.Group!;
        if (group.Count == first) return;
        _refusals.Report(file.Path, group.Count - first, failure.Message);
        foreach (QueuedLines lines in CollectionsMarshal.AsSpan(group)[first..]) lines.Done?.TrySetException(failure);
        group.RemoveRange(first, group.Count - first);
    }

    private IOException? TryWrite(AppendFile file, ReadOnlySpan<QueuedLines> group)
    {
        try
        {
            SafeFileHandle handle = Open(file);
            OpenFile open = file.Open!.Value;
            // Asked each time, so that a file which somebody shortened gets no hole of zeros, and nothing is glued to half a line.
            if (RandomAccess.GetLength(handle) != open.End) open.End = Repair(file, handle);
            long end = open.End;
            file.RoundStart ??= end;
            var lines = new ReadOnlyMemory<byte>[group.Length];
            for (int i = 0; i < lines.Length; i++) lines[i] = group[i].Lines;
            try
            {
                _disk.Write(handle, lines, end);
                foreach (ReadOnlyMemory<byte> line in lines) open.End += line.Length;
            }
            catch
            {
                TakeBack(file, end);
                throw;
            }
            return null;
        }
        catch (Exception e)
        {
            // Whatever it is, others still want to write: the thread goes on, and the one concerned hears of it.
            return InWords(e);
        }
    }

    /// <summary>Makes durable what was written to these files and is waited for. What is not is taken back: nobody knows what became of it.</summary>
    private void MakeDurable(ReadOnlySpan<AppendFile> files)
    {
        int targets = 0;
        foreach (AppendFile file in files)
            if (IsAwaited(file)) targets += 1 + file.UnsyncedDirectories.Length;
        if (targets > MaxSyncedSingly && TrySyncFileSystems(files)) return;
        foreach (AppendFile file in files)
        {
            if (!IsAwaited(file) || TrySync(file) is not { } failure) continue;
            TakeBack(file, file.RoundStart!.Value);
            Refuse(file, 0, failure);
        }
    }

    /// <summary>False when they have to be asked one by one: it can't be done here, or something failed that need not be one of them.</summary>
    private bool TrySyncFileSystems(ReadOnlySpan<AppendFile> files)
    {
        _synced.Clear();
        foreach (AppendFile file in files)
        {
            if (!IsAwaited(file)) continue;
            // The first of its file system was opened before any of this was written, so it is told of every failure.
            if (file.Open is not { Value: { } open }) return false;
            if (_synced.Add(open.Identity.FileSystem) && !_disk.TrySyncFileSystem(open.Stream.SafeFileHandle)) return false;
        }
        foreach (AppendFile file in files)
            if (IsAwaited(file)) file.UnsyncedDirectories = [];
        return true;
    }

    private IOException? TrySync(AppendFile file)
    {
        try
        {
            _disk.Sync(file.Open?.Value.Stream.SafeFileHandle ?? Open(file));
            foreach (string directory in file.UnsyncedDirectories) _disk.SyncDirectory(directory);
            file.UnsyncedDirectories = [];
            return null;
        }
        catch (Exception e)
        {
            return InWords(e);
        }
    }

    private static bool IsAwaited(AppendFile file)
    {
        foreach (QueuedLines lines in CollectionsMarshal.AsSpan(file.Group))
            if (lines.Done is not null) return true;
        return false;
    }

    private static IOException Stopped() => new("the appender has stopped");

    private static IOException InWords(Exception e) => new(PrivateFiles.Reason(e), e);

    /// <summary>Removes what was refused, at once or, if the disk refuses even that, when the file is next opened.</summary>
    private void TakeBack(AppendFile file, long end)
    {
        file.CutTo = end;
        try
        {
            if (file.Open is { Value.Stream.SafeFileHandle: { } handle })
            {
                if (RandomAccess.GetLength(handle) > end) _disk.SetLength(handle, end);
                file.CutTo = null;
            }
        }
        catch (Exception e)
        {
            log.LogWarning("what a failed write left in {Path} could not be removed yet: {Reason}", file.Path, PrivateFiles.Reason(e));
        }
        Close(file);
    }

    private SafeFileHandle Open(AppendFile file)
    {
        // A file that somebody removed or replaced still takes what is written to it, and loses it with the last handle.
        if (file.Open is { } held && FileIdentity.Of(file.Path) != held.Value.Identity) Close(file);
        if (file.Open is { } known)
        {
            _open.Remove(known);
            _open.AddFirst(known);
            return known.Value.Stream.SafeFileHandle;
        }

        file.BeforeCreation?.Invoke();
        FileStream stream = _disk.Open(file.Path, out string? newBelow);
        file.BeforeCreation = null;
        long end;
        try
        {
            if (durability == Durability.Fsync && newBelow is not null) file.UnsyncedDirectories = Between(file.Path, newBelow);
            end = Repair(file, stream.SafeFileHandle);
        }
        catch
        {
            stream.Dispose();
            throw;
        }
        file.Open = _open.AddFirst(new OpenFile(file, stream, FileIdentity.Of(stream.SafeFileHandle)) { End = end });
        if (_open.Count > MaxOpenFiles) Close(_open.Last!.Value.Owner);
        return stream.SafeFileHandle;
    }

    /// <summary>The directories above a file, up to <paramref name="top"/>.</summary>
    private static string[] Between(string path, string top)
    {
        var directories = new List<string>();
        for (string? above = Path.GetDirectoryName(path); above is { Length: > 0 }; above = Path.GetDirectoryName(above))
        {
            directories.Add(above);
            if (above == top) break;
        }
        return [.. directories];
    }

    /// <summary>Cuts what is no whole line, or was refused. Returns where the file then ends.</summary>
    private long Repair(AppendFile file, SafeFileHandle handle)
    {
        long length = RandomAccess.GetLength(handle);
        long end = JsonLines.EndOfLastLine(handle, Math.Min(length, file.CutTo ?? length));
        if (end < length)
        {
            _disk.SetLength(handle, end);
            log.LogWarning("{Path}: cut {Bytes} bytes of a write that did not finish", file.Path, length - end);
        }
        file.CutTo = null;
        return end;
    }

    private void Close(AppendFile file)
    {
        if (file.Open is not { } node) return;
        _open.Remove(node);
        file.Open = null;
        node.Value.Stream.Dispose();
    }

    private void ReportDropped()
    {
        long dropped = Interlocked.Exchange(ref _dropped, 0);
        if (dropped > 0) log.LogError("{Count} appends were dropped: the disk is too slow, or the daemon is stopping", dropped);
    }
}

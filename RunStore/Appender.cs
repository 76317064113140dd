using System.Runtime.InteropServices;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace CarServer.RunStore;

/// <summary>The one writer of every append-only file: run traces and event journals.</summary>
/// <remarks>
/// <para>Format: UTF-8 JSON Lines. A record exists if and only if its '\n' is in the file; bytes after the last '\n' are a torn write
/// and are cut when the file is opened. Nothing before the last '\n' is ever rewritten.</para>
/// <para>Appends are queued to one thread, in order. What has gathered for a file while the thread was busy goes out in one system
/// call, so that a hundred small appends cost about as much as one. A write that fails is taken back: the file ends where it ended
/// before, and the next append tries anew.</para>
/// <para>An append is complete when its bytes are with the operating system: they survive the death of this process, and not the
/// loss of power.</para>
/// <para>Any thread may call. The bytes given must not change until the append is complete. The thread starts with the first append.</para>
/// </remarks>
/// <param name="write">Writes all lines at an offset or throws; tests put a failing disk here.</param>
internal sealed class Appender(ILogger log, Appender.GatherWrite? write = null) : IAsyncDisposable
{
    internal delegate void GatherWrite(SafeFileHandle file, IReadOnlyList<ReadOnlyMemory<byte>> lines, long offset);

    /// <summary>Bytes that may wait for the disk before <see cref="Append"/> drops: one largest batch of turns (256 of 256 KiB).
    /// Nobody who awaits is dropped: he is held back by the task itself, and his bytes are in memory either way.</summary>
    public const int MaxQueuedBytes = 64 * 1024 * 1024;

    /// <summary>Files kept open between appends: enough that the busy runs stay open, far below the usual limit of 1,024 descriptors.</summary>
    public const int MaxOpenFiles = 64;

    /// <summary>The loop below needs a few hundred bytes of stack; the usual 8 MiB would be address space for nothing.</summary>
    private const int StackBytes = 256 * 1024;

    private readonly GatherWrite _write = write ?? RandomAccess.Write;

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

    /// <summary>A handle for the file; nothing is created on disk before the first append. One handle for one path.</summary>
    public AppendFile File(string path) => new(path);

    /// <summary>Completes when the lines are with the operating system.</summary>
    /// <param name="lines">Whole lines, each with its '\n'. They appear together or, after a failure, not at all.</param>
    /// <exception cref="IOException">From the task: nothing of this append is in the file. The file can be appended to again.</exception>
    public Task AppendAsync(AppendFile file, ReadOnlyMemory<byte> lines)
    {
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        if (!Enqueue(new QueuedLines(file, lines, done))) done.SetException(new IOException("the appender has stopped"));
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
                _touched.Add(file);
            }
            file.Group.Add(lines);
        }
        foreach (AppendFile file in _touched)
        {
            List<QueuedLines> group = file.Group!;
            file.Group = null;
            WriteGroup(file, group);
            group.Clear();
            _spareGroups.Push(group);
        }
        _touched.Clear();
        foreach (QueuedLines lines in round)
        {
            if (lines.File is null) lines.Done!.SetResult();
        }
        return bytes;
    }

    private void WriteGroup(AppendFile file, List<QueuedLines> group)
    {
        IOException? failure = TryWrite(file, CollectionsMarshal.AsSpan(group));
        if (failure is null)
        {
            foreach (QueuedLines lines in group) lines.Done?.SetResult();
            return;
        }
        // The group was our idea. Each member gets its own try, so that one too big for the disk does not take the others with it.
        int unheard = 0;
        for (int i = 0; i < group.Count; i++)
        {
            IOException? own = group.Count == 1 ? failure : TryWrite(file, CollectionsMarshal.AsSpan(group).Slice(i, 1));
            if (own is null) group[i].Done?.SetResult();
            else if (group[i].Done is { } done) done.SetException(own);
            else unheard++;
        }
        if (unheard > 0) log.LogError("{Count} appends to {Path} were refused by the disk: {Reason}", unheard, file.Path, failure.Message);
    }

    private IOException? TryWrite(AppendFile file, ReadOnlySpan<QueuedLines> group)
    {
        try
        {
            SafeFileHandle handle = Open(file);
            // Asked each time, so that a file which somebody shortened gets no hole of zeros.
            long end = RandomAccess.GetLength(handle);
            var lines = new ReadOnlyMemory<byte>[group.Length];
            for (int i = 0; i < lines.Length; i++) lines[i] = group[i].Lines;
            try
            {
                _write(handle, lines, end);
            }
            catch
            {
                TakeBack(file, handle, end);
                throw;
            }
            return null;
        }
        catch (IOException e)
        {
            return e;
        }
        catch (Exception e)
        {
            // Whatever it is, others still want to write: the thread goes on, and the one concerned hears of it.
            return new IOException(e.Message, e);
        }
    }

    /// <summary>Removes what a failed write left behind, at once or, if the disk refuses even that, when the file is next opened.</summary>
    private void TakeBack(AppendFile file, SafeFileHandle handle, long end)
    {
        try
        {
            if (RandomAccess.GetLength(handle) > end)
            {
                file.CutTo = end;
                RandomAccess.SetLength(handle, end);
                file.CutTo = null;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            log.LogWarning("what a failed write left in {Path} could not be removed yet: {Reason}", file.Path, e.Message);
        }
        Close(file);
    }

    private SafeFileHandle Open(AppendFile file)
    {
        // A file that somebody removed still takes what is written to it, and loses it with the last handle.
        if (file.Open is not null && !System.IO.File.Exists(file.Path)) Close(file);
        if (file.Open is { } known)
        {
            _open.Remove(known);
            _open.AddFirst(known);
            return known.Value.Stream.SafeFileHandle;
        }

        FileStream stream = PrivateFiles.Open(file.Path);
        try
        {
            Repair(file, stream.SafeFileHandle);
        }
        catch
        {
            stream.Dispose();
            throw;
        }
        file.Open = _open.AddFirst(new OpenFile(file, stream));
        if (_open.Count > MaxOpenFiles) Close(_open.Last!.Value.Owner);
        return stream.SafeFileHandle;
    }

    private void Repair(AppendFile file, SafeFileHandle handle)
    {
        long length = RandomAccess.GetLength(handle);
        long end = JsonLines.EndOfLastLine(handle, Math.Min(length, file.CutTo ?? length));
        if (end < length)
        {
            RandomAccess.SetLength(handle, end);
            log.LogWarning("{Path}: cut {Bytes} bytes of a write that did not finish", file.Path, length - end);
        }
        file.CutTo = null;
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

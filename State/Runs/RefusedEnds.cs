using CarServer.RunStore;
using Microsoft.Extensions.Logging;

namespace CarServer.State.Runs;

/// <summary>The <c>ended</c> records that the disk refused: kept here until it takes them. Any thread.</summary>
/// <remarks>What is still here when the daemon goes is adopted by the next one as incomplete, like any run without an end.</remarks>
internal sealed class RefusedEnds(ILogger log)
{
    /// <summary>Bytes of the records that wait: some ten thousand usual ones. What finds no place waits for the next start.</summary>
    public const int MaxBytes = 4 * 1024 * 1024;

    private readonly Lock _lock = new();
    private Queue<(AppendFile File, ReadOnlyMemory<byte> Line)> _waiting = [];
    private int _bytes;

    public int Count
    {
        get { lock (_lock) return _waiting.Count; }
    }

    /// <param name="file">The run's own: one handle for one path.</param>
    public void RetryLater(AppendFile file, ReadOnlyMemory<byte> line)
    {
        lock (_lock)
        {
            if (_bytes + line.Length <= MaxBytes)
            {
                _waiting.Enqueue((file, line));
                _bytes += line.Length;
                return;
            }
        }
        log.LogWarning("{Path}: its end can't be stored, and too many wait already: the next start ends it as incomplete", file.Path);
    }

    /// <summary>Offers them to the disk once more. Those it refuses again stay.</summary>
    public async Task RetryAsync(Appender appender)
    {
        Queue<(AppendFile File, ReadOnlyMemory<byte> Line)> waiting;
        lock (_lock)
        {
            (waiting, _waiting) = (_waiting, []);
            _bytes = 0;
        }
        foreach ((AppendFile file, ReadOnlyMemory<byte> line) in waiting)
        {
            try
            {
                if (IsOpenOnDisk(file.Path)) await appender.AppendAsync(file, line);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                RetryLater(file, line);
            }
        }
    }

    /// <summary>A trace that is gone, or has its end after all, needs none.</summary>
    private static bool IsOpenOnDisk(string path)
    {
        try
        {
            return RunTrace.Summarise(path, "", "") is { Status: RunStatus.InProgress };
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return false;
        }
    }
}

using CarServer.RunStore;
using Microsoft.Win32.SafeHandles;

namespace CarServer.Tests.Support;

/// <summary>A real disk that fails where a test says so, and keeps what it was asked to make durable.</summary>
internal sealed class FaultyDisk : Disk
{
    private const int ENOSPC = 28;

    internal delegate void GatherWrite(SafeFileHandle file, IReadOnlyList<ReadOnlyMemory<byte>> lines, long offset);

    private readonly List<string> _synced = [];

    /// <summary>In place of the write.</summary>
    public GatherWrite? OnWrite { get; set; }

    // Before the real thing; what they throw is the disk's failure.
    public Action<string>? OnOpen { get; set; }
    public Action? OnSetLength { get; set; }
    public Action? OnRename { get; set; }
    public Action? OnSync { get; set; }
    public Action<string>? OnSyncDirectory { get; set; }

    /// <summary>What a call for the whole file system comes to.</summary>
    public Func<bool>? OnSyncFileSystem { get; set; }

    /// <summary>"file", "file system", and paths of directories, in order.</summary>
    public string[] Synced
    {
        get { lock (_synced) return [.. _synced]; }
    }

    public static IOException Full() => new("in words that only a test has", ENOSPC);

    public override FileStream Open(string path, out string? newBelow)
    {
        OnOpen?.Invoke(path);
        return base.Open(path, out newBelow);
    }

    public override void Write(SafeFileHandle file, IReadOnlyList<ReadOnlyMemory<byte>> lines, long offset)
    {
        if (OnWrite is { } instead) instead(file, lines, offset);
        else base.Write(file, lines, offset);
    }

    public override void SetLength(SafeFileHandle file, long length)
    {
        OnSetLength?.Invoke();
        base.SetLength(file, length);
    }

    public override void Rename(string path, string newPath)
    {
        OnRename?.Invoke();
        base.Rename(path, newPath);
    }

    public override void Sync(SafeFileHandle file)
    {
        OnSync?.Invoke();
        base.Sync(file);
        Keep("file");
    }

    public override void SyncDirectory(string path)
    {
        OnSyncDirectory?.Invoke(path);
        base.SyncDirectory(path);
        Keep(path);
    }

    public override bool TrySyncFileSystem(SafeFileHandle file)
    {
        Keep("file system");
        return OnSyncFileSystem?.Invoke() ?? base.TrySyncFileSystem(file);
    }

    private void Keep(string what)
    {
        lock (_synced) _synced.Add(what);
    }
}

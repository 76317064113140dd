using Microsoft.Win32.SafeHandles;

namespace CarServer.RunStore;

/// <summary>When an append counts as done.</summary>
internal enum Durability
{
    /// <summary>Its bytes are with the operating system: they survive the death of this process, and not the loss of power.</summary>
    Os,
    /// <summary>Its bytes are on stable storage: they survive the loss of power.</summary>
    Fsync,
}

/// <summary>What the appender asks of the operating system. Tests put a disk here that refuses.</summary>
internal class Disk
{
    /// <summary>See <see cref="PrivateFiles.Open(string, out string)"/>.</summary>
    public virtual FileStream Open(string path, out string? newBelow) => PrivateFiles.Open(path, out newBelow);

    /// <summary>Writes all lines or throws; then some of the bytes may be in the file.</summary>
    public virtual void Write(SafeFileHandle file, IReadOnlyList<ReadOnlyMemory<byte>> lines, long offset) => RandomAccess.Write(file, lines, offset);

    public virtual void SetLength(SafeFileHandle file, long length) => RandomAccess.SetLength(file, length);

    /// <summary>Puts a file in the place of another, if there is one; never is there none.</summary>
    public virtual void Rename(string path, string newPath) => File.Move(path, newPath, overwrite: true);

    /// <summary>See <see cref="StableStorage.Sync"/>.</summary>
    public virtual void Sync(SafeFileHandle file) => StableStorage.Sync(file);

    /// <summary>See <see cref="StableStorage.SyncDirectory"/>.</summary>
    public virtual void SyncDirectory(string path) => StableStorage.SyncDirectory(path);

    /// <summary>See <see cref="StableStorage.TrySyncFileSystem"/>.</summary>
    public virtual bool TrySyncFileSystem(SafeFileHandle file) => StableStorage.TrySyncFileSystem(file);
}

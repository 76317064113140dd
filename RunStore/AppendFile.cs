namespace CarServer.RunStore;

/// <summary>One append-only file, as a handle for <see cref="Appender"/>. Costs two references until something is appended.</summary>
internal sealed class AppendFile
{
    internal AppendFile(string path) => Path = path;

    public string Path { get; }

    // What follows belongs to the appender's thread.

    /// <summary>What has to be there before the file is. It does not throw.</summary>
    internal Action? BeforeCreation { get; set; }

    /// <summary>The open file and its place in the order of last use; null while closed.</summary>
    internal LinkedListNode<OpenFile>? Open { get; set; }

    /// <summary>Where the file ended before the current round; null until the round has come to it.</summary>
    internal long? RoundStart { get; set; }

    /// <summary>Directories that may not name this file, or each other, on stable storage yet.</summary>
    internal string[] UnsyncedDirectories { get; set; } = [];

    /// <summary>Set when a failed write left bytes behind that could not be taken back at once: where the good part ends.</summary>
    internal long? CutTo { get; set; }

    /// <summary>What the current round appends; null between rounds.</summary>
    internal List<QueuedLines>? Group { get; set; }
}

/// <param name="Identity">See <see cref="FileIdentity"/>.</param>
internal sealed record OpenFile(AppendFile Owner, FileStream Stream, FileIdentity Identity)
{
    /// <summary>Where we left its end.</summary>
    public long End { get; set; }
}

/// <param name="File">Null when there is nothing to write: a flush, or work to be done between appends.</param>
/// <param name="Done">Null when nobody waits.</param>
/// <param name="Work">Done on the writing thread when all lines queued before are settled.</param>
internal readonly record struct QueuedLines(AppendFile? File, ReadOnlyMemory<byte> Lines, TaskCompletionSource? Done, Action? Work = null);

using CarServer.RunStore;

namespace CarServer.State.Engine;

/// <summary>What one proposal has to put back if it aborts. For one store and one tenant; only touched under the store's lock.</summary>
/// <param name="keys">How many keys it will probably write.</param>
internal sealed class StateUndo(int keys = 0)
{
    /// <param name="Before">What the key held before this proposal's writes; absent when the key was new.</param>
    /// <param name="Version">Of this proposal's last write: a key with another version was written by somebody else since.</param>
    internal readonly record struct Mark(RawJson Before, long Version);

    internal Dictionary<string, Mark> Marks { get; } = new(keys, StringComparer.Ordinal);

    /// <summary>How many keys the proposal wrote.</summary>
    public int Keys => Marks.Count;

    /// <summary>Remembers a write.</summary>
    /// <param name="before">The entry it replaced: version 0 when there was none.</param>
    internal void Note(string key, RawJson before, long versionBefore, long version)
    {
        // Somebody else's write between two of ours is what an abort must bring back, not what stood before our first one.
        bool ownBefore = Marks.TryGetValue(key, out Mark mark) && mark.Version == versionBefore;
        Marks[key] = new Mark(ownBefore ? mark.Before : before, version);
    }
}

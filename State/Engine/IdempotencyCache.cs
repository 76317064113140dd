using CarServer.RunStore;

namespace CarServer.State.Engine;

/// <summary>Outputs of idempotent tool calls that succeeded, per tenant and across the proposals of one session (protocol 10.3). Any thread.</summary>
internal sealed class IdempotencyCache
{
    /// <summary>An agent repeats what it did lately; a thousand calls back is further than its own context reaches.</summary>
    public const int MaxEntries = 1_024;

    /// <summary>Parameters and outputs together. Whatever does not fit is simply run again.</summary>
    public const int MaxBytes = 8 * 1024 * 1024;

    /// <param name="Parameters">Compared as they were written: another key order is another call.</param>
    internal readonly record struct Key(string? Tenant, string Tool, RawJson Parameters);

    private sealed record Entry(Key Key, RawJson Output)
    {
        public int Bytes => Key.Parameters.Utf8.Length + Output.Utf8.Length;
    }

    private readonly Lock _lock = new();
    private readonly Dictionary<Key, LinkedListNode<Entry>> _entries = [];
    private readonly LinkedList<Entry> _oldestFirst = [];
    private long _bytes;

    public bool TryGet(Key key, out RawJson output)
    {
        lock (_lock)
        {
            bool hit = _entries.TryGetValue(key, out LinkedListNode<Entry>? node);
            output = hit ? node!.Value.Output : default;
            return hit;
        }
    }

    /// <summary>Keeps an output; the oldest ones make room for it.</summary>
    public void Keep(Key key, RawJson output)
    {
        var entry = new Entry(key, output);
        if (entry.Bytes > MaxBytes) return;
        lock (_lock)
        {
            Drop(key);
            _entries[key] = _oldestFirst.AddLast(entry);
            _bytes += entry.Bytes;
            while (_entries.Count > MaxEntries || _bytes > MaxBytes) Drop(_oldestFirst.First!.Value.Key);
        }
    }

    /// <summary>The calls run again the next time they are asked for.</summary>
    public void Forget(IEnumerable<Key> keys)
    {
        lock (_lock)
        {
            foreach (Key key in keys) Drop(key);
        }
    }

    private void Drop(Key key)
    {
        if (!_entries.Remove(key, out LinkedListNode<Entry>? node)) return;
        _oldestFirst.Remove(node);
        _bytes -= node.Value.Bytes;
    }
}

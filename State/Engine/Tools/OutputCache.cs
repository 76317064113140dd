using System.Buffers;
using CarServer.RunStore;

namespace CarServer.State.Engine.Tools;

/// <summary>Outputs that are answered again without their tool, across the proposals of one session. Any thread.</summary>
/// <remarks>A session has two: successes of idempotent actions (protocol 10.3), and results of tools with <c>cache_ttl_secs</c> (7.4).</remarks>
/// <param name="clock">Its monotonic time counts: setting the wall clock neither ages an entry nor makes it young.</param>
internal sealed class OutputCache(TimeProvider clock)
{
    /// <summary>An agent repeats what it did lately; a thousand calls back is further than its own context reaches.</summary>
    public const int MaxEntries = 1_024;

    /// <summary>Parameters and outputs together: some files and searches of the usual size. Whatever does not fit is simply asked again.</summary>
    public const int MaxBytes = 8 * 1024 * 1024;

    /// <param name="Registration">Of a result, which is kept for as long as this says, and only under this: a tool that is registered anew begins without results.</param>
    internal readonly record struct Key(string Tool, string? Tenant, RawJson Parameters, RegisteredTool? Registration = null)
    {
        /// <summary>Null for an action that is not to be remembered. Parameters count as they were written: another order of names is another call.</summary>
        public static Key? OfSuccess(AgentAction action, string? tenant) =>
            action is { Idempotent: true, Type: ActionType.ToolCall, Tool: { } tool } ? new Key(tool, tenant, action.Parameters) : null;

        /// <summary>Null for a call whose result is not to be kept. Parameters are sorted: another order of names is the same call.</summary>
        public static Key? OfResult(AgentAction action, string? tenant, RegisteredTool? tool)
        {
            if (tool is not { Definition.CacheTtlSecs: > 0 } || action.InvocationMode != InvocationMode.OneShot) return null;
            var sorted = new ArrayBufferWriter<byte>(action.Parameters.Utf8.Length);
            SortedJson.Write(action.Parameters.Memory, sorted);
            return new Key(tool.Definition.Name, tenant, RawJson.FromCompact(sorted.WrittenSpan.ToArray()), tool);
        }
    }

    /// <param name="Source">Whose success it is, for one who may have to take it back.</param>
    internal sealed record Entry(Key Key, RawJson Output, object? Source, long Since)
    {
        public int Bytes => Key.Parameters.Utf8.Length + Output.Utf8.Length;
    }

    private readonly Lock _lock = new();
    private readonly Dictionary<Key, LinkedListNode<Entry>> _entries = [];
    private readonly LinkedList<Entry> _oldestFirst = [];
    private long _bytes;
    private long _forgotten;

    /// <summary>How often something was forgotten; to be asked before a call whose output forgetting may concern.</summary>
    public long Forgotten => Interlocked.Read(ref _forgotten);

    /// <summary>An entry whose time is over is dropped.</summary>
    public bool TryGet(Key key, out RawJson output)
    {
        output = default;
        lock (_lock)
        {
            if (!_entries.TryGetValue(key, out LinkedListNode<Entry>? node)) return false;
            if (key.Registration is { } tool && clock.GetElapsedTime(node.Value.Since).TotalSeconds >= tool.Definition.CacheTtlSecs)
            {
                Drop(node);
                return false;
            }
            output = node.Value.Output;
            return true;
        }
    }

    /// <summary>Keeps an output; the oldest ones make room for it.</summary>
    /// <param name="forgotten">As it was before the call: what changed since may not be in the output. Null when that does not matter.</param>
    public void Keep(Key key, RawJson output, object? source = null, long? forgotten = null)
    {
        var entry = new Entry(key, output, source, clock.GetTimestamp());
        if (entry.Bytes > MaxBytes) return;
        lock (_lock)
        {
            if (forgotten is { } before && before != _forgotten) return;
            if (_entries.TryGetValue(key, out LinkedListNode<Entry>? old)) Drop(old);
            _entries[key] = _oldestFirst.AddLast(entry);
            _bytes += entry.Bytes;
            while (_entries.Count > MaxEntries || _bytes > MaxBytes) Drop(_oldestFirst.First!);
        }
    }

    /// <summary>Their calls run again the next time they are asked for.</summary>
    public void Forget(Predicate<Entry> which)
    {
        lock (_lock)
        {
            _forgotten++;
            for (LinkedListNode<Entry>? node = _oldestFirst.First, next; node is not null; node = next)
            {
                next = node.Next;
                if (which(node.Value)) Drop(node);
            }
        }
    }

    private void Drop(LinkedListNode<Entry> node)
    {
        _entries.Remove(node.Value.Key);
        _oldestFirst.Remove(node);
        _bytes -= node.Value.Bytes;
    }
}

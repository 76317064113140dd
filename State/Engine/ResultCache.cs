using System.Buffers;
using CarServer.RunStore;

namespace CarServer.State.Engine;

/// <summary>Outputs of tools that asked for it with <c>cache_ttl_secs</c>, for as long as they said, per tenant and across the proposals of one session (protocol 7.4). Any thread.</summary>
/// <remarks>Time is the monotonic clock's: setting the wall clock neither ages an entry nor makes it young.</remarks>
internal sealed class ResultCache(TimeProvider clock)
{
    /// <summary>For the reason of <see cref="IdempotencyCache.MaxEntries"/>.</summary>
    public const int MaxEntries = 1_024;

    /// <summary>Parameters and outputs together: some files and searches of the usual size. Whatever does not fit is simply asked again.</summary>
    public const int MaxBytes = 8 * 1024 * 1024;

    /// <param name="Tool">Not its name: a tool that is registered anew begins without results.</param>
    /// <param name="Parameters">In sorted form: another order of keys is the same call.</param>
    internal readonly record struct Key(RegisteredTool Tool, string? Tenant, RawJson Parameters);

    private sealed record Entry(Key Key, RawJson Output, long Since)
    {
        public int Bytes => Key.Parameters.Utf8.Length + Output.Utf8.Length;
    }

    private readonly Lock _lock = new();
    private readonly Dictionary<Key, LinkedListNode<Entry>> _entries = [];
    private readonly LinkedList<Entry> _oldestFirst = [];
    private long _bytes;
    private long _forgotten;

    /// <summary>How often something was forgotten; to be asked before the call whose output is going to be kept.</summary>
    public long Forgotten => Interlocked.Read(ref _forgotten);

    /// <summary>Null for a call whose result is not to be kept.</summary>
    public static Key? KeyOf(RegisteredTool? tool, string? tenant, AgentAction action)
    {
        if (tool is not { Definition.CacheTtlSecs: > 0 } || action.InvocationMode != InvocationMode.OneShot) return null;
        var sorted = new ArrayBufferWriter<byte>(action.Parameters.Utf8.Length);
        SortedJson.Write(action.Parameters.Memory, sorted);
        return new Key(tool, tenant, RawJson.FromCompact(sorted.WrittenSpan.ToArray()));
    }

    /// <summary>An entry whose time is over is dropped.</summary>
    public bool TryGet(Key key, out RawJson output)
    {
        output = default;
        lock (_lock)
        {
            if (!_entries.TryGetValue(key, out LinkedListNode<Entry>? node)) return false;
            if (clock.GetElapsedTime(node.Value.Since).TotalSeconds >= key.Tool.Definition.CacheTtlSecs)
            {
                Drop(node);
                return false;
            }
            output = node.Value.Output;
            return true;
        }
    }

    /// <summary>Keeps an output; the oldest ones make room for it.</summary>
    /// <param name="forgotten">As it was before the call: what changed since may not be in the output.</param>
    public void Keep(Key key, RawJson output, long forgotten)
    {
        var entry = new Entry(key, output, clock.GetTimestamp());
        if (entry.Bytes > MaxBytes) return;
        lock (_lock)
        {
            if (forgotten != _forgotten) return;
            if (_entries.TryGetValue(key, out LinkedListNode<Entry>? old)) Drop(old);
            _entries[key] = _oldestFirst.AddLast(entry);
            _bytes += entry.Bytes;
            while (_entries.Count > MaxEntries || _bytes > MaxBytes) Drop(_oldestFirst.First!);
        }
    }

    /// <summary>What tools of these names answered is asked again.</summary>
    public void Forget(Predicate<string> tools)
    {
        lock (_lock)
        {
            _forgotten++;
            for (LinkedListNode<Entry>? node = _oldestFirst.First, next; node is not null; node = next)
            {
                next = node.Next;
                if (tools(node.Value.Key.Tool.Definition.Name)) Drop(node);
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

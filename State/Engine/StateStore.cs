using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using CarServer.RunStore;

namespace CarServer.State.Engine;

/// <summary>The key/value state of one session, in memory only (protocol 9). Any thread; one lock, never held for longer than the maps need.</summary>
/// <remarks>
/// Each tenant has a map of its own, so that listing a tenant's keys costs what that tenant holds. Where a stored key is shown outside,
/// in an event, it reads <c>tenant:&lt;id&gt;:&lt;key&gt;</c>; without a tenant that prefix is out of reach.
/// </remarks>
internal sealed class StateStore
{
    /// <summary>A session that remembers a fact a second for a working day stays below half of it.</summary>
    public const int MaxKeys = 65_536;

    /// <summary>UTF-8 bytes of a key, and of a tenant id: the longest path name of the operating systems we run on.</summary>
    public const int MaxKeyBytes = 4_096;

    /// <summary>Keys and values of all tenants together: a snapshot then still fits, twice, into what a client may have unread.</summary>
    public const int MaxTotalBytes = 32 * 1024 * 1024;

    /// <summary>What belongs to tenants.</summary>
    public const string ReservedPrefix = "tenant:";

    private readonly record struct Entry(RawJson Value, long Version);

    private readonly Lock _lock = new();
    private readonly Dictionary<string, Entry> _unscoped = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Dictionary<string, Entry>> _tenants = new(StringComparer.Ordinal);
    private int _keys;
    private long _bytes;
    private long _version;

    /// <summary>A blank tenant is none.</summary>
    public static string? Tenant(string? tenant) => string.IsNullOrWhiteSpace(tenant) ? null : tenant;

    /// <summary>The key with its tenant, as events show it.</summary>
    public static string StoredKey(string? tenant, string key) => Tenant(tenant) is { } id ? $"{ReservedPrefix}{id}:{key}" : key;

    /// <summary>False when the key is not there, or out of reach without a tenant.</summary>
    public bool TryGet(string? tenant, string key, out RawJson value)
    {
        lock (_lock)
        {
            // A key with the reserved prefix cannot be written without a tenant, so it is not in the map either.
            if (TryMap(tenant, out Dictionary<string, Entry>? map) && map.TryGetValue(key, out Entry entry))
            {
                value = entry.Value;
                return true;
            }
        }
        value = default;
        return false;
    }

    /// <summary>The same for nobody's state, without a string for the key.</summary>
    public bool TryGet(ReadOnlySpan<char> key, out RawJson value)
    {
        lock (_lock)
        {
            bool found = _unscoped.GetAlternateLookup<ReadOnlySpan<char>>().TryGetValue(key, out Entry entry);
            value = entry.Value;
            return found;
        }
    }

    /// <summary>Gives a key that is there, in nobody's state, another value. False when it is not there, or there is no room: nothing was written.</summary>
    /// <param name="value">Compact JSON; copied, but for the value that the key has already.</param>
    public bool TryReplace(ReadOnlySpan<char> key, ReadOnlySpan<byte> value)
    {
        lock (_lock)
        {
            ref Entry entry = ref CollectionsMarshal.GetValueRefOrNullRef(_unscoped.GetAlternateLookup<ReadOnlySpan<char>>(), key);
            if (Unsafe.IsNullRef(ref entry)) return false;
            ReadOnlySpan<byte> before = entry.Value.Utf8;
            long bytes = _bytes + value.Length - before.Length;
            if (bytes > MaxTotalBytes) return false;
            _bytes = bytes;
            entry = new Entry(before.SequenceEqual(value) ? entry.Value : RawJson.FromCompact(value.ToArray()), ++_version);
            return true;
        }
    }

    /// <summary>In ordinal order, without the tenant's prefix.</summary>
    public string[] Keys(string? tenant)
    {
        string[] keys;
        lock (_lock) keys = TryMap(tenant, out Dictionary<string, Entry>? map) ? [.. map.Keys] : [];
        Array.Sort(keys, StringComparer.Ordinal);
        return keys;
    }

    /// <summary>A copy; later writes do not show in it.</summary>
    public Dictionary<string, RawJson> Snapshot(string? tenant)
    {
        lock (_lock)
        {
            if (!TryMap(tenant, out Dictionary<string, Entry>? map)) return [];
            var copy = new Dictionary<string, RawJson>(map.Count, StringComparer.Ordinal);
            foreach ((string key, Entry entry) in map) copy.Add(key, entry.Value);
            return copy;
        }
    }

    /// <summary>Keys and values of all tenants together.</summary>
    public long Bytes
    {
        get { lock (_lock) return _bytes; }
    }

    /// <summary>How many keys <paramref name="tenant"/> holds.</summary>
    public int Count(string? tenant)
    {
        lock (_lock) return TryMap(tenant, out Dictionary<string, Entry>? map) ? map.Count : 0;
    }

    /// <summary>Why nobody may write this key for this tenant, or null.</summary>
    public static string? KeyProblem(string? tenant, string key)
    {
        tenant = Tenant(tenant);
        if (tenant is null && key.StartsWith(ReservedPrefix, StringComparison.Ordinal))
            return Reserved;
        if (IsTooLong(key)) return KeyTooLong;
        if (tenant is not null && IsTooLong(tenant)) return TenantTooLong;
        return null;
    }

    private const string Reserved = $"state keys that start with '{ReservedPrefix}' belong to tenants: give the tenant's id instead";
    private static readonly string KeyTooLong = $"a state key may have at most {MaxKeyBytes} bytes", TenantTooLong = $"a tenant id may have at most {MaxKeyBytes} bytes";

    /// <summary>Whether an error is one of <see cref="KeyProblem"/>.</summary>
    internal static bool IsKeyProblem(string error) => error == Reserved || error == KeyTooLong || error == TenantTooLong;

    /// <summary>Writes one key.</summary>
    /// <exception cref="RefusedException">The key is not allowed, or a limit would be passed; nothing was written.</exception>
    public StateTransition Set(string? tenant, string key, RawJson value)
    {
        StateTransition transition = default;
        Apply(tenant, [new StateWrite(key, value)], undo: null, new Span<StateTransition>(ref transition));
        return transition;
    }

    /// <summary>Writes all of them at once or, when one is refused, none.</summary>
    /// <param name="writes">No key twice.</param>
    /// <param name="undo">Where to note what an abort has to put back; null when nobody will ask.</param>
    /// <param name="transitions">As long as <paramref name="writes"/>; takes what happened to each.</param>
    /// <exception cref="RefusedException">A key is not allowed, or a limit would be passed; nothing was written.</exception>
    public void Apply(string? tenant, ReadOnlySpan<StateWrite> writes, StateUndo? undo, Span<StateTransition> transitions)
    {
        tenant = Tenant(tenant);
        foreach (StateWrite write in writes)
        {
            if (KeyProblem(tenant, write.Key) is { } problem) throw new RefusedException(problem, Refusal.Invalid);
        }
        if (writes.IsEmpty) return;

        lock (_lock)
        {
            bool known = TryMap(tenant, out Dictionary<string, Entry>? map);
            int keys = _keys;
            long bytes = _bytes;
            foreach (StateWrite write in writes)
            {
                if (known && map!.TryGetValue(write.Key, out Entry old))
                {
                    bytes += write.Value.Utf8.Length - old.Value.Utf8.Length;
                    continue;
                }
                keys++;
                bytes += KeyBytes(tenant, write.Key) + write.Value.Utf8.Length;
            }
            if (keys > MaxKeys) throw new RefusedException($"the state of a session may have at most {MaxKeys} keys");
            if (bytes > MaxTotalBytes) throw new RefusedException($"the state of a session may have at most {MaxTotalBytes} bytes");
            _keys = keys;
            _bytes = bytes;

            map ??= _tenants[tenant!] = new Dictionary<string, Entry>(StringComparer.Ordinal);
            for (int i = 0; i < writes.Length; i++)
            {
                StateWrite write = writes[i];
                map.TryGetValue(write.Key, out Entry before);
                long version = ++_version;
                map[write.Key] = new Entry(write.Value.IsAbsent ? RawJson.Null : write.Value, version);
                undo?.Note(write.Key, before.Value, before.Version, version);
                transitions[i] = new StateTransition(write.Key, before.Value, write.Value);
            }
        }
    }

    /// <summary>Puts back the keys that nobody else has written since.</summary>
    /// <remarks>Passes over the limits on purpose: what it brings back was within them once, and an abort must not fail.</remarks>
    public List<StateTransition> Rollback(string? tenant, StateUndo undo)
    {
        tenant = Tenant(tenant);
        var restored = new List<StateTransition>(undo.Keys);
        lock (_lock)
        {
            if (!TryMap(tenant, out Dictionary<string, Entry>? map)) return restored;
            foreach ((string key, StateUndo.Mark mark) in undo.Marks)
            {
                if (!map.TryGetValue(key, out Entry now) || now.Version != mark.Version) continue;
                if (mark.Before.IsAbsent)
                {
                    map.Remove(key);
                    _keys--;
                    _bytes -= KeyBytes(tenant, key) + now.Value.Utf8.Length;
                }
                else
                {
                    map[key] = new Entry(mark.Before, ++_version);
                    _bytes += mark.Before.Utf8.Length - now.Value.Utf8.Length;
                }
                restored.Add(new StateTransition(key, now.Value, mark.Before));
            }
            if (tenant is not null && map.Count == 0) _tenants.Remove(tenant);
        }
        return restored;
    }

    private bool TryMap(string? tenant, [NotNullWhen(true)] out Dictionary<string, Entry>? map)
    {
        if (Tenant(tenant) is { } id) return _tenants.TryGetValue(id, out map);
        map = _unscoped;
        return true;
    }

    private static bool IsTooLong(string name) =>
        name.Length > MaxKeyBytes || (name.Length > MaxKeyBytes / 3 && Encoding.UTF8.GetByteCount(name) > MaxKeyBytes);

    private static int KeyBytes(string? tenant, string key) =>
        Encoding.UTF8.GetByteCount(key) + (tenant is null ? 0 : Encoding.UTF8.GetByteCount(tenant));
}

using System.Text;

namespace CarServer.Rpc.JsonRpc;

/// <summary>All methods, found by the UTF-8 of their name as it stands in the message: no string is made for a call.</summary>
internal sealed class MethodTable
{
    private readonly Entry[] _slots;   // open addressing, at most half full
    private readonly int _mask;

    public MethodTable(IEnumerable<Method> methods)
    {
        All = [.. methods.OrderBy(m => m.Name, StringComparer.Ordinal)];
        int size = 16;
        while (size < All.Count * 2) size *= 2;
        _slots = new Entry[size];
        _mask = size - 1;
        foreach (Method method in All)
        {
            byte[] name = Encoding.UTF8.GetBytes(method.Name);
            int at = Hash(name) & _mask;
            while (_slots[at].Method is { } taken)
            {
                if (taken.Name == method.Name) throw new ArgumentException($"method '{method.Name}' has two rows");
                at = (at + 1) & _mask;
            }
            _slots[at] = new Entry(name, method);
        }
    }

    /// <summary>Sorted by name.</summary>
    public IReadOnlyList<Method> All { get; }

    public Method? Find(ReadOnlySpan<byte> name)
    {
        for (int at = Hash(name) & _mask; _slots[at].Method is { } method; at = (at + 1) & _mask)
            if (name.SequenceEqual(_slots[at].Name)) return method;
        return null;
    }

    public Method? Find(string name) => Find(Encoding.UTF8.GetBytes(name));

    /// <summary>FNV-1a. The names are ours, so nobody can choose them to collide; a lookup of a foreign name meets few slots in any case.</summary>
    private static int Hash(ReadOnlySpan<byte> name)
    {
        uint hash = 2166136261;
        foreach (byte b in name) hash = (hash ^ b) * 16777619;
        return (int)(hash & int.MaxValue);
    }

    private readonly record struct Entry(byte[] Name, Method? Method);
}

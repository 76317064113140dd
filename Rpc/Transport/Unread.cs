namespace CarServer.Rpc.Transport;

/// <summary>What all clients together have not read yet. Touched only when the kernel took less than was sent. Any thread.</summary>
/// <param name="most">See <see cref="Limits.MaxUnreadBytes"/>.</param>
internal sealed class Unread(long most = Limits.MaxUnreadBytes)
{
    private long _octets;

    public long Octets => Volatile.Read(ref _octets);

    /// <summary>False, and nothing is counted, when one connection would hold too much: beyond its own limit, or beyond its share while all
    /// of them together are at theirs.</summary>
    /// <param name="held">What the connection holds already.</param>
    public bool TryAdd(int octets, int held)
    {
        long its = (long)held + octets;
        if (its > Limits.MaxOutboxBytes) return false;
        if (Interlocked.Add(ref _octets, octets) <= most || its <= Limits.OutboxShare) return true;
        Remove(octets);
        return false;
    }

    public void Remove(int octets) => Interlocked.Add(ref _octets, -octets);
}

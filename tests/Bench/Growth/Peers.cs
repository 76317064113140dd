using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;

namespace CarServer.Tests.Bench;

/// <summary>WebSocket connections with one buffer between them, so that ten thousand cost their sockets and no more.</summary>
internal sealed class Peers : IDisposable
{
    private readonly List<Socket> _sockets = [];
    private readonly byte[] _buffer = new byte[64 * 1024];

    /// <param name="isEcho">The other end is no daemon.</param>
    public Peers(EndPoint address, int count, bool isEcho = false)
    {
        try
        {
            while (_sockets.Count < count) _sockets.Add(WireClient.Open(address, isEcho));
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public int Count => _sockets.Count;

    public void Send(int peer, ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty) bytes = bytes[_sockets[peer].Send(bytes)..];
    }

    /// <summary>The next frame whole, with its header.</summary>
    public byte[] Hear(int peer)
    {
        byte[] header = Receive(peer, 2);
        byte[] extended = Receive(peer, header[1] switch { 126 => 2, 127 => 8, _ => 0 });
        int length = extended.Length switch { 2 => BinaryPrimitives.ReadUInt16BigEndian(extended), 8 => checked((int)BinaryPrimitives.ReadUInt64BigEndian(extended)), _ => header[1] };
        return [.. header, .. extended, .. Receive(peer, length)];
    }

    /// <summary>Reads as many bytes as are expected; they have to be these.</summary>
    public void Expect(int peer, ReadOnlySpan<byte> expected)
    {
        while (!expected.IsEmpty)
        {
            int n = Some(_sockets[peer].Receive(_buffer.AsSpan(0, Math.Min(expected.Length, _buffer.Length))));
            if (!_buffer.AsSpan(0, n).SequenceEqual(expected[..n])) throw new InvalidOperationException($"connection {peer} got something else than the first one");
            expected = expected[n..];
        }
    }

    /// <summary>Each sends the same and gets an answer that has <paramref name="part"/> in it.</summary>
    public void AskAll(byte[] request, ReadOnlySpan<byte> part)
    {
        for (int peer = 0; peer < Count; peer++) Send(peer, request);
        for (int peer = 0; peer < Count; peer++)
            if (Hear(peer) is var answer && answer.AsSpan().IndexOf(part) < 0) throw new InvalidOperationException(System.Text.Encoding.UTF8.GetString(answer));
    }

    public void Dispose()
    {
        foreach (Socket socket in _sockets) socket.Dispose();
    }

    private byte[] Receive(int peer, int count)
    {
        byte[] bytes = new byte[count];
        for (int had = 0; had < count;) had += Some(_sockets[peer].Receive(bytes.AsSpan(had)));
        return bytes;
    }

    private static int Some(int received) => received > 0 ? received : throw new EndOfStreamException("the daemon closed the connection");
}

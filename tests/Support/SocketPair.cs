using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace CarServer.Tests.Support;

/// <summary>Two connected sockets: a bare descriptor for the daemon's code, which closes it, and the peer's end for the test.</summary>
internal sealed class SocketPair : IDisposable
{
    public SocketPair()
    {
        int[] ends = new int[2];
        if (socketpair(1, 1, 0, ends) != 0) throw new InvalidOperationException($"socketpair: errno {Marshal.GetLastPInvokeError()}");   // AF_UNIX, SOCK_STREAM
        Descriptor = ends[0];
        Peer = new Socket(new SafeSocketHandle(ends[1], ownsHandle: true)) { ReceiveTimeout = (int)Eventually.Deadline.TotalMilliseconds };
    }

    public int Descriptor { get; }
    public Socket Peer { get; }

    /// <summary>Reads exactly so many octets.</summary>
    public byte[] Read(int count)
    {
        byte[] octets = new byte[count];
        for (int at = 0; at < count;)
        {
            int received = Peer.Receive(octets.AsSpan(at));
            if (received == 0) throw new EndOfStreamException($"{count - at} octets short");
            at += received;
        }
        return octets;
    }

    /// <summary>Reads up to the end of the stream.</summary>
    public byte[] ReadToEnd()
    {
        var octets = new MemoryStream();
        byte[] buffer = new byte[65536];
        for (int received; (received = Peer.Receive(buffer)) > 0;) octets.Write(buffer, 0, received);
        return octets.ToArray();
    }

    public void Dispose() => Peer.Dispose();

    [DllImport("libc", SetLastError = true)]
    private static extern int socketpair(int domain, int type, int protocol, [Out] int[] ends);
}

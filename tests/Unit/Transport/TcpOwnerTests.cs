using System.Net;
using System.Net.Sockets;
using CarServer.Rpc.Transport.Native;

namespace CarServer.Tests.Unit.Transport;

public sealed class TcpOwnerTests
{
    [Test]
    public async Task The_owner_of_a_peer_is_known_while_it_holds_the_socket_and_nobody_afterwards()
    {
        if (!OperatingSystem.IsLinux()) Skip.Test("the owner of a TCP peer is known on Linux only");
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var client = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await client.ConnectAsync(listener.LocalEndpoint);
        using Socket accepted = await listener.AcceptSocketAsync();
        var (peer, ours) = ((IPEndPoint)accepted.RemoteEndPoint!, (IPEndPoint)accepted.LocalEndPoint!);

        await Assert.That(TcpOwner.Find(peer, ours)).IsEqualTo(Posix.EffectiveUser());

        // The kernel goes on with the connection and shows it as root's, whoever it was.
        client.Dispose();
        await Assert.That(TcpOwner.Find(peer, ours)).IsNull();
    }
}

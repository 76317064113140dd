using System.Net;
using System.Net.Sockets;
using CarServer.Rpc.Transport;
using CarServer.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;

namespace CarServer.Tests.Unit.Transport;

public sealed class EventLoopTests
{
    [Test]
    public async Task Reading_allocates_nothing()
    {
        (Socket ours, Socket theirs) = await PairAsync();
        using var loop = new EventLoop(0, NullLogger.Instance);
        var protocol = new Measuring();
        var connection = new Connection((int)ours.Handle, loop, protocol, "test", static () => { }, NullLogger.Instance);
        loop.Start();
        loop.Post(() => loop.Add(connection));

        for (int i = 0; i < 20; i++)
        {
            await theirs.SendAsync(new byte[] { 1 });
            await protocol.Read.WaitAsync().Soon("the loop has read it");
        }

        // The first ones may still set things up.
        await Assert.That(protocol.Allocated[^1] - protocol.Allocated[10]).IsEqualTo(0);
        theirs.Dispose();
        loop.Dispose();
        GC.KeepAlive(ours);
    }

    [Test]
    public async Task What_is_posted_to_a_loop_that_has_ended_touches_no_descriptor()
    {
        using var home = new TempHome();
        var loop = new EventLoop(0, NullLogger.Instance);
        loop.Start();
        loop.Post(static () => { });
        loop.Dispose();
        // These get the numbers that the loop's own descriptors had.
        List<FileStream> files = [.. Enumerable.Range(0, 16).Select(i => new FileStream(home.In($"{i}"), FileMode.CreateNew, FileAccess.Write, FileShare.ReadWrite))];

        loop.Post(static () => { });

        foreach (FileStream file in files)
        {
            await Assert.That(new FileInfo(file.Name).Length).IsEqualTo(0);
            await file.DisposeAsync();
        }
    }

    private static async Task<(Socket Ours, Socket Theirs)> PairAsync()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var theirs = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await theirs.ConnectAsync(listener.LocalEndpoint);
        return (await listener.AcceptSocketAsync(), theirs);
    }

    private sealed class Measuring : IProtocol
    {
        public SemaphoreSlim Read { get; } = new(0);
        public List<long> Allocated { get; } = new(capacity: 64);

        public void OnBytes(Connection connection, Span<byte> bytes)
        {
            Allocated.Add(GC.GetAllocatedBytesForCurrentThread());
            Read.Release();
        }

        public void OnDeadline(Connection connection) { }
        public void OnClosed(Connection connection, string reason) { }
    }
}

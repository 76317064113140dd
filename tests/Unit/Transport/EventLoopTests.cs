using System.Net;
using System.Net.Sockets;
using System.Text;
using CarServer.Rpc.Transport;
using CarServer.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;

namespace CarServer.Tests.Unit.Transport;

public sealed class EventLoopTests
{
    [Test]
    public async Task Reading_allocates_nothing()
    {
        await using Pair pair = await Pair.OpenAsync();
        using var read = new SemaphoreSlim(0);
        var allocated = new List<long>(capacity: 64);
        long before = 0;
        pair.Protocol.OnRead = _ =>
        {
            // From one read to the next; what the test does in between does not count.
            allocated.Add(GC.GetAllocatedBytesForCurrentThread() - before);
            read.Release();
            before = GC.GetAllocatedBytesForCurrentThread();
        };

        for (int i = 0; i < 20; i++)
        {
            await pair.Peer.SendAsync(new byte[] { 1 });
            await read.WaitAsync().Soon("the loop has read it");
        }

        // The first ones may still set things up.
        await Assert.That(allocated[10..].Max()).IsEqualTo(0);
    }

    [Test]
    public async Task What_another_thread_sends_does_not_overtake_what_set_it_off()
    {
        await using Pair pair = await Pair.OpenAsync();
        // Such as a callback whose time is up before the batch with the callback has left: its cancel must not come first.
        pair.Protocol.OnRead = connection =>
        {
            connection.Batch.Append("cause "u8);
            var other = new Thread(() =>
            {
                connection.Send("effect "u8);
                connection.Send("more "u8);
            });
            other.Start();
            other.Join();
        };

        await pair.Peer.SendAsync(new byte[] { 1 });

        await Assert.That(await pair.ReadAsync("cause effect more ".Length)).IsEqualTo("cause effect more ");
    }

    [Test]
    public async Task A_send_that_fails_ends_the_connection_only_after_it_has_returned()
    {
        await using Pair pair = await Pair.OpenAsync();
        bool? sent = null, closedInside = null;

        pair.Loop.Post(() =>
        {
            pair.Ours.Shutdown(SocketShutdown.Send);   // from now on the kernel takes nothing
            sent = pair.Connection.Send("nobody hears this"u8);
            closedInside = pair.Protocol.Closed.Task.IsCompleted;
        });

        await pair.Protocol.Closed.Task.Soon("the end of the connection");
        await Assert.That(sent).IsFalse();
        await Assert.That(closedInside).IsFalse();
    }

    [Test]
    public async Task A_loop_whose_handler_never_ends_does_not_keep_the_daemon_from_ending()
    {
        var loop = new EventLoop(0, NullLogger.Instance);
        using var never = new ManualResetEventSlim();
        loop.Start();
        loop.Post(never.Wait);

        await Task.Run(loop.Dispose).Soon("the end of the loop, whose thread is left to the process");

        never.Set();
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

    /// <summary>A connection on a loop of its own, and the socket at its other end.</summary>
    private sealed class Pair : IAsyncDisposable
    {
        private Pair(Socket ours, Socket peer)
        {
            (Ours, Peer) = (ours, peer);
            Connection = new Connection((int)ours.Handle, Loop, Protocol, "test", static () => { }, NullLogger.Instance);
        }

        public EventLoop Loop { get; } = new(0, NullLogger.Instance);
        public Told Protocol { get; } = new();
        public Connection Connection { get; }
        public Socket Ours { get; }
        public Socket Peer { get; }

        public static async Task<Pair> OpenAsync()
        {
            using var listener = new TcpListener(IPAddress.Loopback, 0);
            listener.Start();
            var peer = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            await peer.ConnectAsync(listener.LocalEndpoint);
            var pair = new Pair(await listener.AcceptSocketAsync(), peer);
            pair.Loop.Start();
            pair.Loop.Post(() => pair.Loop.Add(pair.Connection));
            return pair;
        }

        public async Task<string> ReadAsync(int length)
        {
            byte[] bytes = new byte[length];
            for (int at = 0; at < length;)
            {
                int n = await Peer.ReceiveAsync(bytes.AsMemory(at)).AsTask().Soon("bytes from the loop");
                if (n == 0) break;
                at += n;
            }
            return Encoding.UTF8.GetString(bytes);
        }

        public async ValueTask DisposeAsync()
        {
            Peer.Dispose();
            await Protocol.Closed.Task.Soon("the end of the connection");
            Ours.SafeHandle.SetHandleAsInvalid();   // the connection has closed the descriptor
            await Task.Run(Loop.Dispose);
        }
    }

    private sealed class Told : IProtocol
    {
        public Action<Connection>? OnRead { get; set; }
        public TaskCompletionSource Closed { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public int OnBytes(Connection connection, Span<byte> bytes)
        {
            OnRead?.Invoke(connection);
            return bytes.Length;
        }

        public void OnDeadline(Connection connection) { }
        public void OnClosed(Connection connection, string reason) => Closed.SetResult();
    }
}

using System.Runtime.InteropServices;
using System.Text;
using CarServer.Rpc.Transport;
using CarServer.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;

namespace CarServer.Tests.Unit.Transport;

public sealed class BatchFailureTests
{
    [Test]
    [Arguments(false)]   // at the end of the loop's turn
    [Arguments(true)]    // when the next connection is written to
    public async Task A_batch_of_posted_work_that_cannot_be_sent_costs_its_own_connection_alone(bool neighbourFollows)
    {
        using var loop = new EventLoop(0, NullLogger.Instance);
        using var pair = new SocketPair();
        using var neighbourPair = new SocketPair();
        using var deaf = new SocketPair();
        var failing = new Connection(pair.Descriptor, loop, new Nobody(), "test", () => { }, NullLogger.Instance);
        var neighbour = new Connection(neighbourPair.Descriptor, loop, new Nobody(), "test", () => { }, NullLogger.Instance);
        loop.Start();
        await loop.RunAsync(() =>
        {
            loop.Add(failing);
            loop.Add(neighbour);
        });
        // The poller does not know this one, so asking it to watch for room to write fails.
        if (dup2(deaf.Descriptor, pair.Descriptor) < 0) throw new InvalidOperationException($"dup2: errno {Marshal.GetLastPInvokeError()}");

        Task turn = loop.RunAsync(() =>
        {
            if (failing.IsBatchedHere) failing.Batch.Append(new byte[8 << 20]);
            if (neighbourFollows && neighbour.IsBatchedHere) neighbour.Batch.Append("hello"u8);
        });
        await turn.Soon("the loop's turn");
        if (!neighbourFollows) await loop.RunAsync(() => neighbour.Send("hello"u8)).Soon("the loop's next turn");

        await Assert.That(Encoding.ASCII.GetString(neighbourPair.Read(5))).IsEqualTo("hello");
        await Assert.That(failing.IsClosed).IsTrue();
        await Assert.That(neighbour.IsClosed).IsFalse();
    }

    private sealed class Nobody : IProtocol
    {
        public int OnBytes(Connection connection, Span<byte> bytes) => bytes.Length;
        public void OnDeadline(Connection connection) { }
        public void OnClosed(Connection connection, string reason) { }
    }

    [DllImport("libc", SetLastError = true)]
    private static extern int dup2(int from, int to);
}

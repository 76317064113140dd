using System.Text;
using CarServer.Rpc.Transport;
using CarServer.Rpc.WebSocket;
using CarServer.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;

namespace CarServer.Tests.Unit.Transport;

/// <summary>A message that is sent in parts, beside everything else that one connection is sent.</summary>
public sealed class MessageInPartsTests
{
    [Test]
    public async Task It_does_not_follow_the_close_frame()
    {
        using var wire = new Wire();
        wire.OnLoop(() => wire.Messages.Close(CloseCode.GoingAway, "bye"));

        await wire.Messages.SendInPartsAsync("["u8.ToArray(), new MemoryStream(new byte[200_000]), "]"u8.ToArray()).Soon("the end of the message");

        wire.End();
        await Assert.That(Convert.ToHexString(wire.Pair.ReadToEnd())).IsEqualTo("880503E9627965");
    }

    [Test]
    public async Task It_does_not_overtake_what_the_loop_has_in_its_batch()
    {
        using var wire = new Wire();
        Task parts = Task.CompletedTask;
        wire.OnLoop(() =>
        {
            wire.Say("before");
            var other = new Thread(() => parts = wire.Messages.SendInPartsAsync("["u8.ToArray(), new MemoryStream("after"u8.ToArray()), "]"u8.ToArray()));
            other.Start();
            other.Join();
        });
        await parts.Soon("the end of the message");

        wire.End();
        await Assert.That(Encoding.Latin1.GetString(wire.Pair.ReadToEnd())).IsEqualTo("\u0081\u0006before\u0081\u0007[after]");
    }

    [Test]
    public async Task When_it_breaks_off_nothing_fills_up_what_is_missing()
    {
        using var wire = new Wire();
        var body = new Broken(() => wire.Say("a neighbour"));

        await wire.Messages.SendInPartsAsync("["u8.ToArray(), body, "]"u8.ToArray()).Soon("the end of the message");

        await Assert.That(Encoding.Latin1.GetString(wire.Pair.ReadToEnd())).EndsWith("[half");
    }

    /// <summary>A body of ten octets that breaks off after four.</summary>
    private sealed class Broken(Action between) : MemoryStream(new byte[10])
    {
        private bool _begun;

        public override int Read(byte[] buffer, int offset, int count)
        {
            if (_begun)
            {
                between();
                throw new IOException("gone");
            }
            _begun = true;
            "half"u8.CopyTo(buffer.AsSpan(offset));
            return 4;
        }
    }

    private sealed class Wire : IMessageHandler, IDisposable
    {
        private readonly EventLoop _loop = new(0, NullLogger.Instance);
        private readonly Connection _connection;

        public Wire()
        {
            _connection = new Connection(Pair.Descriptor, _loop, new Nobody(), "test", () => { }, NullLogger.Instance);
            Messages = new MessageConnection(_connection, NullLogger.Instance);
            _loop.Start();
            OnLoop(() =>
            {
                _loop.Add(_connection);
                Messages.Start(this);
            });
        }

        public SocketPair Pair { get; } = new();
        public MessageConnection Messages { get; }

        int IMessageHandler.MessageLimit => 1 << 20;
        TimeSpan? IMessageHandler.Probation => null;
        void IMessageHandler.OnText(Span<byte> message) { }
        void IMessageHandler.OnClosed(string reason) { }

        public void OnLoop(Action work) => _loop.RunAsync(work).Soon("the loop's turn").GetAwaiter().GetResult();

        public void End() => _connection.Abort("the test is over");

        public void Say(string text)
        {
            FrameBuffer frames = Messages.BeginSend();
            frames.AppendFrame(Opcode.Text, Encoding.UTF8.GetBytes(text));
            Messages.EndSend(frames);
        }

        public void Dispose()
        {
            End();
            _loop.Dispose();
            Pair.Dispose();
        }

        private sealed class Nobody : IProtocol
        {
            public int OnBytes(Connection connection, Span<byte> bytes) => bytes.Length;
            public void OnDeadline(Connection connection) { }
            public void OnClosed(Connection connection, string reason) { }
        }
    }
}

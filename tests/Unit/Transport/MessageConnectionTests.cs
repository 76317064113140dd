using System.Text;
using CarServer.Rpc.Transport;
using CarServer.Rpc.WebSocket;
using CarServer.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;

namespace CarServer.Tests.Unit.Transport;

/// <summary>Decisions whose real timeouts are too long for a test, and what happens between connections of one loop.</summary>
public sealed class MessageConnectionTests
{
    [Test]
    public async Task A_message_that_brings_too_little_in_its_window_ends_the_connection()
    {
        using var wire = new Wire();
        byte[] announced = Drawing.Octets("81 FE FFFF 00000000");
        await wire.OnLoopAsync(() => wire.Hear(announced));
        await wire.OnLoopAsync(() => wire.Hear(new byte[Limits.SlowMessageBytes - announced.Length - 1]));
        await wire.OnLoopAsync(wire.WindowPasses);
        await Assert.That(wire.ReadClose()).IsEqualTo("1008 message comes too slowly");
    }

    [Test]
    public async Task A_message_that_brings_enough_in_its_window_goes_on_and_the_next_window_counts_anew()
    {
        using var wire = new Wire();
        byte[] announced = Drawing.Octets("81 FE FFFF 00000000");
        await wire.OnLoopAsync(() => wire.Hear(announced));
        await wire.OnLoopAsync(() => wire.Hear(new byte[Limits.SlowMessageBytes - announced.Length]));
        await wire.OnLoopAsync(wire.WindowPasses);
        await Assert.That(wire.Pair.Peer.Available).IsEqualTo(0);
        await wire.OnLoopAsync(() => wire.Hear(new byte[Limits.SlowMessageBytes - 1]));
        await wire.OnLoopAsync(wire.WindowPasses);
        await Assert.That(wire.ReadClose()).IsEqualTo("1008 message comes too slowly");
    }

    [Test]
    public async Task Between_messages_a_connection_may_be_silent_for_ever()
    {
        using var wire = new Wire();
        await wire.OnLoopAsync(() => wire.Hear(Drawing.Octets(Drawing.Text("hi"))));
        await wire.OnLoopAsync(wire.WindowPasses);
        await wire.OnLoopAsync(() => wire.Hear(Drawing.Octets("89 81 00000000 'p'")));
        await Assert.That(Convert.ToHexString(wire.Pair.Read(3))).IsEqualTo("8A0170");
        await Assert.That(wire.Heard).IsEqualTo("hi");
    }

    [Test]
    public async Task Who_does_not_make_itself_known_in_time_is_told_so()
    {
        using var wire = new Wire(TimeSpan.FromHours(1));
        await wire.OnLoopAsync(wire.WindowPasses);
        await Assert.That(wire.ReadClose()).IsEqualTo("1008 no session.auth in time");
    }

    [Test]
    public async Task What_a_failed_send_sets_off_reaches_the_other_connection_alone()
    {
        using var loop = new Loop();
        using var deaf = new Wire(loop: loop);
        using var neighbour = new Wire(loop: loop);
        deaf.WhenClosed = () => neighbour.Say("farewell");

        await loop.RunAsync(() => deaf.Say(new string('x', Limits.MaxOutboxBytes + (16 << 20))));   // more than fits beside what the kernel takes

        await Assert.That(Convert.ToHexString(neighbour.Pair.Read(10))).IsEqualTo("8108" + Convert.ToHexString("farewell"u8));
        await Assert.That(neighbour.Pair.Peer.Available).IsEqualTo(0);
        await loop.RunAsync(() => neighbour.Say("and on"));
        await Assert.That(Convert.ToHexString(neighbour.Pair.Read(8))).IsEqualTo("8106" + Convert.ToHexString("and on"u8));
    }

    /// <summary>An event loop and a way to do something on its thread.</summary>
    private sealed class Loop : IDisposable
    {
        public Loop() => Events.Start();

        public EventLoop Events { get; } = new(0, NullLogger.Instance);

        public async Task RunAsync(Action work)
        {
            var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            Events.Post(() =>
            {
                try
                {
                    work();
                    done.SetResult();
                }
                catch (Exception e)
                {
                    done.SetException(e);
                }
            });
            await done.Task.Soon("the loop's turn");
        }

        public void Dispose() => Events.Dispose();
    }

    /// <summary>A message connection on one end of a socket pair. Its input is handed to it, so that the test decides how it is cut.</summary>
    private sealed class Wire : IMessageHandler, IDisposable
    {
        private readonly Loop _loop;
        private readonly bool _ownsLoop;
        private readonly Connection _connection;
        private readonly MessageConnection _messages;
        private readonly TimeSpan? _probation;
        private readonly StringBuilder _heard = new();

        public Wire(TimeSpan? probation = null, Loop? loop = null)
        {
            _probation = probation;
            _ownsLoop = loop is null;
            _loop = loop ?? new Loop();
            _connection = new Connection(Pair.Descriptor, _loop.Events, new Nobody(), "test", () => { }, NullLogger.Instance);
            _messages = new MessageConnection(_connection, NullLogger.Instance);
            _loop.RunAsync(() =>
            {
                _loop.Events.Add(_connection);
                _messages.Start(this);
            }).GetAwaiter().GetResult();
        }

        public SocketPair Pair { get; } = new();
        public string Heard => _heard.ToString();
        public Action WhenClosed { get; set; } = () => { };

        int IMessageHandler.MessageLimit => 1 << 20;
        TimeSpan? IMessageHandler.Probation => _probation;
        void IMessageHandler.OnText(Span<byte> message) => _heard.Append(Encoding.UTF8.GetString(message));
        void IMessageHandler.OnClosed(string reason) => WhenClosed();

        public Task OnLoopAsync(Action work) => _loop.RunAsync(work);
        public void Hear(byte[] octets) => ((IProtocol)_messages).OnBytes(_connection, octets);
        public void WindowPasses() => ((IProtocol)_messages).OnDeadline(_connection);

        public void Say(string text)
        {
            FrameBuffer frames = _messages.BeginSend();
            frames.AppendFrame(Opcode.Text, Encoding.UTF8.GetBytes(text));
            _messages.EndSend(frames);
        }

        public string ReadClose()
        {
            byte[] header = Pair.Read(2);
            if (header[0] != 0x88) throw new InvalidDataException($"a frame {header[0]:X2} instead of a close");
            byte[] payload = Pair.Read(header[1]);
            return $"{payload[0] << 8 | payload[1]} {Encoding.UTF8.GetString(payload, 2, payload.Length - 2)}";
        }

        public void Dispose()
        {
            _loop.RunAsync(() => _connection.Abort("the test is over")).GetAwaiter().GetResult();
            if (_ownsLoop) _loop.Dispose();
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

using System.Net.Sockets;
using CarServer.Rpc.Transport;
using CarServer.Rpc.Transport.Native;
using CarServer.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;

namespace CarServer.Tests.Unit.Transport;

/// <summary>Octets that are dealt with while they still lie in the socket: each counts once, whatever becomes of the connection.</summary>
public sealed class SeenThenTakenTests
{
    private const int Long = 4096;

    [Test]
    [Arguments(1)]
    [Arguments(2)]
    [Arguments(3)]
    public async Task Every_octet_is_heard_once_and_in_order_however_the_stream_is_cut(int seed)
    {
        using var wire = new Wire();
        var random = new Random(seed);
        byte[] stream = new byte[2 << 20];
        random.NextBytes(stream);

        Task writing = Task.Run(() =>
        {
            for (int at = 0; at < stream.Length;)
            {
                int piece = Math.Min(random.Next(8) == 0 ? 1 : random.Next(1, 3 * Long), stream.Length - at);
                at += wire.Pair.Peer.Send(stream.AsSpan(at, piece));
            }
        });
        byte[] echo = await Task.Run(() => wire.Pair.Read(stream.Length));
        await writing;

        await Assert.That(echo.AsSpan().SequenceEqual(stream)).IsTrue();
        await Assert.That(wire.Seen).IsGreaterThan(0);
        await Assert.That(await wire.IsDrainedAsync()).IsTrue();
    }

    [Test]
    public async Task What_comes_while_the_seen_is_dealt_with_is_left_for_the_next_read()
    {
        using var wire = new Wire();
        wire.Exchange(Long);
        byte[] next = new byte[2 * Long];
        new Random(5).NextBytes(next);
        wire.WhenHeard = () =>
        {
            wire.WhenHeard = () => { };
            wire.Pair.Peer.Send(next);
        };

        wire.Exchange(Long);

        await Assert.That(wire.Pair.Read(next.Length).AsSpan().SequenceEqual(next)).IsTrue();
        await Assert.That(wire.Seen).IsGreaterThan(0);
    }

    [Test]
    public async Task What_has_no_room_for_its_answers_is_kept_and_taken_all_the_same()
    {
        const int Times = 16;
        using var wire = new Wire { Times = Times };
        byte[] stream = new byte[1 << 20];
        new Random(4).NextBytes(stream);
        wire.Exchange(Long);

        Task writing = Task.Run(() => wire.Pair.Peer.Send(stream));
        await Eventually.TrueAsync("too many answers wait", () => wire.Connection.IsBackedUp);
        byte[] echo = await Task.Run(() => wire.Pair.Read(stream.Length * Times));
        await writing;

        await Assert.That(Enumerable.Range(0, stream.Length).All(i => echo.AsSpan(i * Times, Times).IndexOfAnyExcept(stream[i]) < 0)).IsTrue();
        await Assert.That(wire.Seen).IsGreaterThan(0);
    }

    [Test]
    [Arguments(true)]
    [Arguments(false)]
    public async Task A_connection_that_fails_over_what_was_seen_has_taken_it(bool throws)
    {
        using var wire = new Wire();
        wire.Exchange(Long);
        wire.WhenHeard = () =>
        {
            if (throws) throw new InvalidOperationException("a defect in a handler");
            wire.Connection.Abort("the handler has had enough");
        };

        wire.Pair.Peer.Send(new byte[Long]);

        // What a socket still holds when it is closed reaches the other end as a reset.
        byte[] answers = await Task.Run(wire.Pair.ReadToEnd);
        await Assert.That(answers.Length).IsEqualTo(throws ? 0 : Long / 2);
        await Assert.That(wire.Seen).IsEqualTo(1);
        await Assert.That(wire.Heard).IsEqualTo(Long + Long / 2);
    }

    [Test]
    [Arguments(true)]
    [Arguments(false)]
    public async Task The_first_half_of_a_long_read_is_answered_before_the_second_is_heard(bool takingWakes)
    {
        using var wire = new Wire(takingWakes: takingWakes);
        wire.Exchange(Long);
        var waiting = new List<int>();
        wire.WhenHeard = () => waiting.Add(wire.Pair.Peer.Available);

        wire.Pair.Peer.Send(new byte[Long]);
        await Eventually.TrueAsync("all of it is answered", () => wire.Pair.Peer.Available == Long);   // after the last look

        await Assert.That(string.Join(' ', waiting)).IsEqualTo($"0 {Long / 2}");
    }

    /// <summary>It would come in pieces, and each piece for nothing.</summary>
    [Test]
    public async Task One_long_message_is_not_cut()
    {
        using var wire = new Wire { MessageLength = Long };
        wire.Exchange(Long);
        var pieces = new List<int>();
        int heard = wire.Heard;
        wire.WhenHeard = () =>
        {
            pieces.Add(wire.Heard - heard);
            heard = wire.Heard;
        };

        for (int i = 0; i < 5; i++) wire.Exchange(Long);

        await Assert.That(string.Join(' ', pieces)).IsEqualTo(string.Join(' ', Enumerable.Repeat(Long, 5)));
    }

    [Test]
    public async Task A_client_that_is_kept_busy_is_read_again_at_once_but_others_have_their_turn()
    {
        using var wire = new Wire();
        const int Turns = 20;
        var turns = new List<int> { 0 };
        var over = new TaskCompletionSource();
        wire.Exchange(Long);
        wire.WhenHeard = () =>
        {
            if (turns[^1]++ == 0) wire.Post(EndTurn);
            wire.Drain();
            if (turns.Count <= Turns) wire.Pair.Peer.Send(new byte[Long]);   // there before this is answered
        };

        wire.Pair.Peer.Send(new byte[Long]);
        await over.Task.WaitAsync(TimeSpan.FromSeconds(20));

        // The halves of the first read and up to four more; from then on what counts is how the turn before ended.
        await Assert.That(turns.Take(Turns).Max()).IsLessThanOrEqualTo(6);
        await Assert.That(turns.Take(Turns).Min()).IsGreaterThanOrEqualTo(4);

        void EndTurn()
        {
            turns.Add(0);
            if (turns.Count == Turns + 1) over.SetResult();
        }
    }

    [Test]
    public async Task What_is_not_answered_at_once_or_is_short_is_taken_when_it_is_read()
    {
        using var wire = new Wire { Times = 0 };
        for (int i = 1; i <= 5; i++)
        {
            int sent = i * Long;
            wire.Pair.Peer.Send(new byte[Long]);
            await Eventually.TrueAsync("all of it is heard", () => wire.Heard == sent);
        }
        wire.Times = 1;
        for (int i = 0; i < 5; i++) wire.Exchange(100);

        await Assert.That(wire.Seen).IsEqualTo(0);
    }

    [Test]
    public async Task In_a_crowd_what_is_read_is_taken()
    {
        using var loop = new EventLoop(0, NullLogger.Instance);
        using var one = new Wire(loop);
        using var other = new Wire(loop);
        loop.Start();
        one.Exchange(Long);
        other.Exchange(Long);
        using var written = new ManualResetEventSlim();

        loop.Post(written.Wait);
        one.Pair.Peer.Send(new byte[Long]);
        other.Pair.Peer.Send(new byte[Long]);
        written.Set();
        one.Pair.Read(Long);
        other.Pair.Read(Long);

        await Assert.That(one.Seen + other.Seen).IsEqualTo(0);
    }

    /// <summary>A connection whose protocol says everything back, so many times.</summary>
    private sealed class Wire : IProtocol, IDisposable
    {
        private readonly EventLoop _loop;
        private readonly bool _ownsLoop;

        public Wire(EventLoop? loop = null, bool takingWakes = true)
        {
            _ownsLoop = loop is null;
            _loop = loop ?? new EventLoop(0, NullLogger.Instance);
            Connection = new Connection(Pair.Descriptor, _loop, this, "test", () => { }, NullLogger.Instance, takingWakes);
            _loop.Post(() => _loop.Add(Connection));
            if (_ownsLoop) _loop.Start();
        }

        public SocketPair Pair { get; } = new();
        public Connection Connection { get; }
        public int Times { get; set; } = 1;

        /// <summary>Octets that belong together.</summary>
        public int MessageLength { get; init; } = 1;

        public Action WhenHeard { get; set; } = () => { };

        /// <summary>How often octets lay in the socket while they were dealt with.</summary>
        public int Seen { get; private set; }

        /// <summary>Octets that were dealt with.</summary>
        public int Heard { get; private set; }

        /// <summary>Says something and waits for the answer.</summary>
        public void Exchange(int length)
        {
            Pair.Peer.Send(new byte[length]);
            Pair.Read(length * Times);
        }

        /// <summary>Reads what has been said back so far.</summary>
        public void Drain()
        {
            if (Pair.Peer.Available is > 0 and var there) Pair.Read(there);
        }

        public void Post(Action work) => _loop.Post(work);

        public async Task<bool> IsDrainedAsync()
        {
            bool drained = false;
            await _loop.RunAsync(() => drained = Posix.Receive(Pair.Descriptor, new byte[1], peek: true) == -Posix.EAGAIN);
            return drained;
        }

        int IProtocol.OnBytes(Connection connection, Span<byte> bytes)
        {
            Span<byte> there = stackalloc byte[16];
            if (Posix.Receive(Pair.Descriptor, there, peek: true) == there.Length && bytes.StartsWith(there)) Seen++;
            Span<byte> answer = stackalloc byte[Times];
            if (Times > 0) _ = connection.Batch;   // begun: what is sent from here on goes there
            int taken = 0;
            while (taken < bytes.Length && !connection.IsBackedUp && !(taken % MessageLength == 0 && connection.PausesAt(bytes.Length - taken)))
            {
                answer.Fill(bytes[taken++]);
                if (Times > 0) connection.Send(answer);
            }
            Heard += taken;
            WhenHeard();
            return taken;
        }

        void IProtocol.OnDeadline(Connection connection) { }
        void IProtocol.OnClosed(Connection connection, string reason) { }

        public void Dispose()
        {
            _loop.RunAsync(() => Connection.Abort("the test is over")).GetAwaiter().GetResult();
            if (_ownsLoop) _loop.Dispose();
            Pair.Dispose();
        }
    }
}

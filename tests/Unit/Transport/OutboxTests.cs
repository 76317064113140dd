using CarServer.Rpc.Transport;
using CarServer.Tests.Support;

namespace CarServer.Tests.Unit.Transport;

public sealed class OutboxTests
{
    [Test]
    public async Task It_takes_exactly_its_limit_and_not_one_octet_more()
    {
        using var pair = new SocketPair();
        var outbox = new Outbox(pair.Descriptor);
        Fill(outbox);

        await Assert.That(outbox.Send(new byte[Limits.MaxOutboxBytes - outbox.Waiting + 1])).IsEqualTo(SendOutcome.Full);
        await Assert.That(outbox.Send(new byte[Limits.MaxOutboxBytes - outbox.Waiting])).IsEqualTo(SendOutcome.Queued);
        await Assert.That(outbox.Waiting).IsEqualTo(Limits.MaxOutboxBytes);
        await Assert.That(outbox.Send([1])).IsEqualTo(SendOutcome.Full);
        await Assert.That(outbox.Close()).IsTrue();
        await Assert.That(outbox.Waiting).IsEqualTo(0);
    }

    [Test]
    public async Task When_all_together_are_at_their_limit_nobody_gets_beyond_his_share()
    {
        using var one = new SocketPair();
        using var two = new SocketPair();
        var unread = new Unread(most: 4 * Limits.OutboxShare);
        var greedy = new Outbox(one.Descriptor, unread);
        var modest = new Outbox(two.Descriptor, unread);
        Fill(greedy);
        Fill(modest);

        int room = (int)(4 * Limits.OutboxShare - unread.Octets);
        await Assert.That(greedy.Send(new byte[room])).IsEqualTo(SendOutcome.Queued);
        await Assert.That(greedy.Send([1])).IsEqualTo(SendOutcome.Full);
        await Assert.That(modest.Send(new byte[Limits.OutboxShare - modest.Waiting])).IsEqualTo(SendOutcome.Queued);
        await Assert.That(modest.Send([1])).IsEqualTo(SendOutcome.Full);

        greedy.Close();
        await Assert.That(modest.Send([1])).IsEqualTo(SendOutcome.Queued);
        modest.Close();
        await Assert.That(unread.Octets).IsEqualTo(0L);
    }

    [Test]
    public async Task What_waits_leaves_in_order_when_the_peer_reads()
    {
        using var pair = new SocketPair();
        var outbox = new Outbox(pair.Descriptor);
        int before = Fill(outbox);
        outbox.Send([1, 2, 3]);
        outbox.Send([4, 5], last: true);
        await Assert.That(outbox.Send([6])).IsEqualTo(SendOutcome.TooLate);

        Task<byte[]> reading = Task.Factory.StartNew(() => pair.Read(before + 5), TaskCreationOptions.LongRunning);   // it blocks its thread
        var outcome = SendOutcome.Queued;
        await Eventually.TrueAsync("an empty outbox", () => (outcome = outbox.Flush()) != SendOutcome.Queued);
        await Assert.That(outcome).IsEqualTo(SendOutcome.Sent);
        byte[] read = await reading.Soon("what was sent");
        await Assert.That(Convert.ToHexString(read.AsSpan(before))).IsEqualTo("0102030405");
        await Assert.That(outbox.Progress).IsEqualTo(before + 5);
        outbox.Close();
    }

    [Test]
    public async Task A_closed_one_sends_nothing_and_closes_once()
    {
        using var pair = new SocketPair();
        var outbox = new Outbox(pair.Descriptor);
        await Assert.That(outbox.Close()).IsTrue();
        await Assert.That(outbox.Close()).IsFalse();
        await Assert.That(outbox.Send([1])).IsEqualTo(SendOutcome.Broken);
        await Assert.That(outbox.Flush()).IsEqualTo(SendOutcome.Broken);
        await Assert.That(pair.ReadToEnd().Length).IsEqualTo(0);
    }

    /// <summary>Sends until something waits; returns how much was sent.</summary>
    private static int Fill(Outbox outbox)
    {
        int sent = 0;
        do
        {
            outbox.Send(new byte[64 * 1024]);
            sent += 64 * 1024;
        }
        while (outbox.Waiting == 0);
        return sent;
    }
}

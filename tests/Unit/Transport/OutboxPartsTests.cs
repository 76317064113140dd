using CarServer.Rpc.Transport;
using CarServer.Tests.Support;

namespace CarServer.Tests.Unit.Transport;

/// <summary>One frame is sent in parts while others send as well.</summary>
public sealed class OutboxPartsTests
{
    private static readonly byte[] Piece = new byte[64 * 1024];

    [Test]
    public async Task What_others_send_meanwhile_stands_behind_the_last_part()
    {
        using var pair = new SocketPair();
        var outbox = new Outbox(pair.Descriptor);

        await Assert.That(outbox.Send([1])).IsEqualTo(SendOutcome.Sent);
        outbox.BeginParts();
        await Assert.That(outbox.SendPart([2])).IsEqualTo(SendOutcome.Sent);
        await Assert.That(outbox.Send([4])).IsEqualTo(SendOutcome.Queued);
        await Assert.That(outbox.Send([5])).IsEqualTo(SendOutcome.Queued);
        await Assert.That(outbox.SendPart([3])).IsEqualTo(SendOutcome.Sent);
        await Assert.That((outbox.Waiting, outbox.IsIdle, outbox.IsBlocked)).IsEqualTo((2, false, false));   // nothing that the peer's reading holds up
        await Assert.That(outbox.EndParts()).IsEqualTo(SendOutcome.Sent);
        await Assert.That((outbox.Waiting, outbox.IsIdle)).IsEqualTo((0, true));
        await Assert.That(outbox.Send([6])).IsEqualTo(SendOutcome.Sent);

        await Assert.That(Convert.ToHexString(pair.Read(6))).IsEqualTo("010203040506");
        await Assert.That(outbox.Progress).IsEqualTo(6);
        outbox.Close();
    }

    [Test]
    public async Task The_order_holds_when_the_peer_reads_late()
    {
        using var pair = new SocketPair();
        var outbox = new Outbox(pair.Descriptor);
        outbox.BeginParts();
        int sent = Fill(outbox);
        outbox.Send([2]);
        outbox.SendPart([1]);
        await Assert.That(outbox.EndParts()).IsEqualTo(SendOutcome.Queued);
        outbox.Send([3]);

        byte[] read = await ReadAsync(pair, outbox, sent + 3);

        await Assert.That(Convert.ToHexString(read.AsSpan(sent))).IsEqualTo("010203");
        outbox.Close();
    }

    [Test]
    public async Task The_last_frame_waits_for_the_parts_and_nothing_comes_after_it()
    {
        using var pair = new SocketPair();
        var outbox = new Outbox(pair.Descriptor);
        outbox.BeginParts();
        outbox.SendPart([1]);
        await Assert.That(outbox.Send([3], last: true)).IsEqualTo(SendOutcome.Queued);
        await Assert.That(outbox.Send([9])).IsEqualTo(SendOutcome.TooLate);
        await Assert.That(outbox.SendPart([2])).IsEqualTo(SendOutcome.Sent);
        outbox.EndParts();
        await Assert.That(outbox.Send([9])).IsEqualTo(SendOutcome.TooLate);
        outbox.Close();
        await Assert.That(Convert.ToHexString(pair.ReadToEnd())).IsEqualTo("010203");
    }

    [Test]
    public async Task Closing_in_the_middle_ends_the_parts_and_whoever_waits_for_room()
    {
        using var pair = new SocketPair();
        var outbox = new Outbox(pair.Descriptor);
        outbox.BeginParts();
        while (outbox.Waiting <= Limits.OutboxLowWater) outbox.SendPart(Piece);
        outbox.Send([1]);
        Task<bool> part = outbox.RoomAsync(forPart: true), other = outbox.RoomAsync(forPart: false);
        await Assert.That(part.IsCompleted || other.IsCompleted).IsFalse();

        outbox.Close();

        await Assert.That((await part.Soon("the end"), await other.Soon("the end"))).IsEqualTo((false, false));
        await Assert.That(outbox.Waiting).IsEqualTo(0);
        await Assert.That((outbox.SendPart([1]), outbox.Send([1]), outbox.EndParts(), outbox.Flush()))
            .IsEqualTo((SendOutcome.Broken, SendOutcome.Broken, SendOutcome.Broken, SendOutcome.Broken));
        await Assert.That(await outbox.RoomAsync(forPart: true)).IsFalse();
    }

    [Test]
    public async Task Room_is_there_at_the_low_water_and_the_parts_do_not_wait_for_what_waits_for_them()
    {
        using var pair = new SocketPair();
        var outbox = new Outbox(pair.Descriptor);
        outbox.BeginParts();
        await Assert.That(outbox.RoomAsync(forPart: true).IsCompletedSuccessfully).IsTrue();
        int sent = Fill(outbox);
        sent += Limits.OutboxLowWater - outbox.Waiting;
        outbox.SendPart(new byte[Limits.OutboxLowWater - outbox.Waiting]);   // exactly as much as leaves room
        await Assert.That(outbox.RoomAsync(forPart: true).IsCompletedSuccessfully).IsTrue();
        await Assert.That(outbox.RoomAsync(forPart: false).IsCompletedSuccessfully).IsTrue();

        outbox.Send([1]);
        await Assert.That(outbox.RoomAsync(forPart: true).IsCompletedSuccessfully).IsTrue();
        Task<bool> behind = outbox.RoomAsync(forPart: false);
        outbox.SendPart([0]);
        Task<bool> part = outbox.RoomAsync(forPart: true);
        await Assert.That(behind.IsCompleted || part.IsCompleted).IsFalse();

        await ReadAsync(pair, outbox, sent + 1);
        await Assert.That(await part.Soon("room for a part")).IsTrue();
        await Assert.That(await behind.Soon("room for others")).IsTrue();
        outbox.EndParts();
        await Assert.That(pair.Read(1)[0]).IsEqualTo((byte)1);
        outbox.Close();
    }

    /// <summary>Who sent the parts is through; the others have no room before what piled up behind has left.</summary>
    [Test]
    public async Task Whoever_waits_for_room_hears_of_it_when_what_was_behind_the_parts_has_left()
    {
        using var pair = new SocketPair();
        var outbox = new Outbox(pair.Descriptor);
        outbox.BeginParts();
        outbox.Send(new byte[Limits.OutboxLowWater + 1]);
        Task<bool> room = outbox.RoomAsync(forPart: false);
        await Assert.That(room.IsCompleted).IsFalse();

        outbox.EndParts();   // the kernel takes some of it at once

        await Assert.That(await room.Soon("room")).IsTrue();
        await ReadAsync(pair, outbox, Limits.OutboxLowWater + 1);
        outbox.Close();
    }

    [Test]
    public async Task The_limit_counts_the_parts_and_what_waits_behind_them_together()
    {
        using var pair = new SocketPair();
        var outbox = new Outbox(pair.Descriptor);
        outbox.BeginParts();
        Fill(outbox);
        await Assert.That(outbox.Send(new byte[Limits.MaxOutboxBytes - outbox.Waiting + 1])).IsEqualTo(SendOutcome.Full);
        await Assert.That(outbox.Send(new byte[Limits.MaxOutboxBytes - outbox.Waiting])).IsEqualTo(SendOutcome.Queued);
        await Assert.That(outbox.Send([1])).IsEqualTo(SendOutcome.Full);
        await Assert.That(outbox.SendPart([1])).IsEqualTo(SendOutcome.Full);
        await Assert.That(outbox.Waiting).IsEqualTo(Limits.MaxOutboxBytes);
        outbox.Close();
    }

    /// <summary>Frames of two threads, each with its sender's number in every octet; one of them sends some in parts.</summary>
    [Test]
    public async Task No_frame_is_ever_cut_by_another_whoever_sends_and_however_it_is_flushed()
    {
        const int Frames = 2_000, FrameBytes = 900, PartBytes = 300;
        using var pair = new SocketPair();
        var outbox = new Outbox(pair.Descriptor);
        Task inParts = Task.Run(async () =>
        {
            for (int i = 0; i < Frames; i++)
            {
                outbox.BeginParts();
                for (int part = 0; part < FrameBytes / PartBytes; part++)
                {
                    outbox.SendPart(Enumerable.Repeat((byte)1, PartBytes).ToArray());
                    await outbox.RoomAsync(forPart: true);
                }
                outbox.EndParts();
            }
        });
        Task whole = Task.Run(async () =>
        {
            for (int i = 0; i < Frames; i++)
            {
                outbox.Send(Enumerable.Repeat((byte)2, FrameBytes).ToArray());
                await outbox.RoomAsync(forPart: false);
            }
        });

        byte[] read = await ReadAsync(pair, outbox, 2 * Frames * FrameBytes);

        await Task.WhenAll(inParts, whole).Soon("both senders");
        int[] frames = [.. Enumerable.Range(0, 2 * Frames).Select(i => read.AsSpan(i * FrameBytes, FrameBytes).IndexOfAnyExcept(read[i * FrameBytes]) < 0 ? read[i * FrameBytes] : -1)];
        await Assert.That(frames.Count(sender => sender == 1)).IsEqualTo(Frames);
        await Assert.That(frames.Count(sender => sender == 2)).IsEqualTo(Frames);
        outbox.Close();
    }

    /// <summary>Sends parts until something waits; returns how much was sent.</summary>
    private static int Fill(Outbox outbox)
    {
        int sent = 0;
        for (; outbox.Waiting == 0; sent += Piece.Length) outbox.SendPart(Piece);
        return sent;
    }

    /// <summary>Reads while the outbox is flushed as its loop does.</summary>
    private static async Task<byte[]> ReadAsync(SocketPair pair, Outbox outbox, int count)
    {
        Task<byte[]> reading = Task.Factory.StartNew(() => pair.Read(count), TaskCreationOptions.LongRunning);   // it blocks its thread
        await Eventually.TrueAsync("all of it", () =>
        {
            while (outbox.IsBlocked && outbox.Flush() == SendOutcome.Queued && !reading.IsCompleted) Thread.Yield();
            return reading.IsCompleted;
        });
        return await reading;
    }
}

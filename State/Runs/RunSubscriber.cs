using System.Buffers;
using System.Threading.Channels;
using CarServer.RunStore;
using CarServer.State.Sessions;
using Microsoft.Extensions.Logging;

namespace CarServer.State.Runs;

/// <summary>One client that follows one run (protocol 13.8): the pieces of the live trace on their way to it, and the task that alone sends them.</summary>
/// <remarks>The run offers under its lock and never waits; a piece that finds no place is dropped for this subscriber alone.</remarks>
internal sealed class RunSubscriber(Run run, RunSubscriptions owner, IClientChannel channel, TimeProvider clock, ILogger log)
{
    /// <summary>Small pieces that leave with one write.</summary>
    private const int MaxPiecesInWrite = 64;

    private readonly Channel<ReadOnlyMemory<byte>> _pieces =
        System.Threading.Channels.Channel.CreateBounded<ReadOnlyMemory<byte>>(new BoundedChannelOptions(RunLimits.MaxPiecesWaiting) { SingleReader = true });
    private readonly Lock _sending = new();
    private bool _stopped;
    private int _dropped;

    public Run Run => run;
    public IClientChannel Channel => channel;

    /// <summary>Encoded events, to be sent after those offered before. Under the run's lock.</summary>
    public void Offer(ReadOnlyMemory<byte> piece)
    {
        if (owner.TryReserve(piece.Length))
        {
            if (_pieces.Writer.TryWrite(piece)) return;
            owner.Release(piece.Length);
        }
        if (Interlocked.Increment(ref _dropped) > 1) return;
        log.LogDebug("run {RunId}: events dropped for a slow subscriber", run.RunId);
        // Nothing may be waiting here, when it is the connection's other subscriptions that left no room: the task has to wake up to tell.
        _pieces.Writer.TryWrite(default);
    }

    /// <summary>The run has ended: what was offered is still sent, then the task ends.</summary>
    public void Complete() => _pieces.Writer.TryComplete();

    /// <summary>Nothing is sent any more once this has returned.</summary>
    public void Stop()
    {
        lock (_sending) _stopped = true;
        run.Remove(this);
        Complete();
    }

    /// <summary>Sends until the run ends, the subscription does, or the client takes nothing for <see cref="RunLimits.SubscriberWriteTimeout"/>.</summary>
    public async Task DrainAsync()
    {
        try
        {
            while (await _pieces.Reader.WaitToReadAsync())
            {
                while (TrySendSome())
                {
                    if (!await RoomAsync()) return;
                }
                TellIfLagging(subscribed: true);
            }
            TellIfLagging(subscribed: false);   // the end of the run may be what was dropped
        }
        catch (TimeoutException)
        {
            log.LogInformation("run {RunId}: a subscriber that does not read is let go", run.RunId);
            Interlocked.Increment(ref _dropped);
            TellIfLagging(subscribed: false);
        }
        finally
        {
            owner.Forget(this);
            Discard();
        }
    }

    /// <summary>Gives back what was offered and is not going to be sent. After <see cref="Stop"/>, when there is no task or it has ended.</summary>
    public void Discard()
    {
        while (_pieces.Reader.TryRead(out ReadOnlyMemory<byte> piece)) owner.Release(piece.Length);
    }

    /// <summary>Waits until the client has read so much that more may follow. False: it is gone.</summary>
    /// <exception cref="TimeoutException">It took nothing for <see cref="RunLimits.SubscriberWriteTimeout"/>.</exception>
    private async Task<bool> RoomAsync()
    {
        Task<bool> room = channel.RoomAsync();
        while (!room.IsCompleted)
        {
            long taken = channel.Taken;
            try
            {
                await room.WaitAsync(RunLimits.SubscriberWriteTimeout, clock);
            }
            catch (TimeoutException) when (channel.Taken != taken)
            {
                // It reads, but something long comes first.
            }
        }
        return await room;
    }

    /// <summary>False when nothing waits, or nothing may be sent any more.</summary>
    private bool TrySendSome()
    {
        ReadOnlyMemory<byte>[] pieces = ArrayPool<ReadOnlyMemory<byte>>.Shared.Rent(MaxPiecesInWrite);
        int count = 0, bytes = 0;
        while (count < MaxPiecesInWrite && bytes < RunLimits.MaxPieceBytes && _pieces.Reader.TryRead(out ReadOnlyMemory<byte> piece))
        {
            pieces[count++] = piece;
            bytes += piece.Length;
        }
        bool sent = count > 0;
        if (sent)
        {
            lock (_sending) sent = !_stopped && channel.Send(pieces.AsSpan(0, count));
            owner.Release(bytes);
        }
        ArrayPool<ReadOnlyMemory<byte>>.Shared.Return(pieces, clearArray: true);
        return sent;
    }

    private void TellIfLagging(bool subscribed)
    {
        if (Interlocked.Exchange(ref _dropped, 0) == 0) return;
        (int cursor, RunStatus status) = run.Position;
        lock (_sending)
        {
            if (!_stopped) channel.Notify(RunTraceLagged.Method, new RunTraceLagged(run.RunId, cursor, status, subscribed), Json.RunTraceLagged);
        }
    }
}

using CarServer.RunStore;
using CarServer.State.Runs;
using CarServer.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;

namespace CarServer.Tests.Unit.Runs;

/// <summary>Subscribers whose client is slow for reasons that have nothing to do with their run.</summary>
public sealed class SlowSubscriberTests
{
    [Test]
    public async Task A_client_that_reads_something_long_first_is_not_let_go()
    {
        await using var house = new House();
        var room = new TaskCompletionSource<bool>();
        house.Channel.Room = room.Task;
        Task drain = house.Follow();
        await house.RecordAsync();

        for (int i = 0; i < 3; i++)
        {
            await Assert.That(await house.Clock.NextTimerAsync()).IsEqualTo(RunLimits.SubscriberWriteTimeout);
            house.Channel.Taken++;
            house.Clock.Advance(RunLimits.SubscriberWriteTimeout);
        }
        await house.Clock.NextTimerAsync();
        await Assert.That(drain.IsCompleted).IsFalse();
        room.SetResult(true);
        await house.RecordAsync();
        await Eventually.TrueAsync("the next event", () => house.Channel.Received.Count == 3);   // and the start before both
        await Assert.That(house.Channel.Notified).IsEmpty();
    }

    /// <summary>The bound on waiting bytes is the connection's: what another run left there may keep an event from a subscriber that has none waiting.</summary>
    [Test]
    public async Task What_the_other_subscriptions_left_no_room_for_is_told_at_once()
    {
        await using var house = new House();
        Task drain = house.Follow();
        await house.RecordAsync();
        await Eventually.TrueAsync("the first event", () => house.Channel.Received.Count > 0);

        await Assert.That(house.Subscriptions.TryReserve(RunLimits.MaxWaitingBytes)).IsTrue();
        await house.RecordAsync();

        await Eventually.TrueAsync("the news", () => house.Channel.Notified.Count > 0);
        await Assert.That(house.Channel.Notified.Single()).IsEqualTo("""runs.trace.lagged {"run_id":"r","cursor":2,"status":"in_progress","subscribed":true}""");
        await Assert.That(drain.IsCompleted).IsFalse();
    }

    private sealed class House : IAsyncDisposable
    {
        private readonly TempHome _home = new();
        private readonly Appender _appender = new(NullLogger.Instance);
        private readonly Run _run;

        public House()
        {
            _run = new Run(new RunStarted("r", "a", "", null, DateTime.UnixEpoch), "c", _appender, _home.In("r.jsonl"));
            Subscriptions = new RunSubscriptions(Channel, Clock, NullLogger.Instance);
        }

        public ManualClock Clock { get; } = new();
        public FakeChannel Channel { get; } = new();
        public RunSubscriptions Subscriptions { get; }

        public Task Follow()
        {
            RunSubscriber subscriber = Subscriptions.Open(_run);
            _run.Add(subscriber);
            return subscriber.DrainAsync();
        }

        public Task RecordAsync() => _run.RecordAsync(Turns.Of(1), whatFits: false);

        public async ValueTask DisposeAsync()
        {
            Subscriptions.CloseAll();
            await _appender.DisposeAsync();
            _home.Dispose();
        }
    }
}

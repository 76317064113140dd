using System.Globalization;
using CarServer.RunStore;
using CarServer.State.Runs;
using CarServer.State;
using CarServer.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using TUnit.Core;

namespace CarServer.Tests.Unit.Runs;

public sealed class RunSubscriberTests
{
    [Test]
    public async Task A_record_is_encoded_once_for_all_who_follow_the_run()
    {
        await using var house = new House();
        FakeChannel[] channels = [.. Enumerable.Range(0, 20).Select(_ => new FakeChannel())];
        RunSubscriber[] subscribers = [.. channels.Select(channel => new RunSubscriptions(channel, house.Clock, NullLogger.Instance).Open(house.Run))];
        foreach (RunSubscriber subscriber in subscribers) house.Run.Add(subscriber);
        Task[] drains = [.. subscribers.Select(subscriber => subscriber.DrainAsync())];

        for (int i = 0; i < 10; i++) await house.RecordAsync(10);
        await house.EndAsync();
        await Task.WhenAll(drains).Soon("the end of all subscriptions");

        await Assert.That(channels.Sum(channel => channel.Encoded)).IsEqualTo(1 + 100 + 1);
        foreach (FakeChannel channel in channels)
        {
            await Assert.That(channel.Received.Count).IsEqualTo(1 + 100 + 1);
            await Assert.That(channel.Received[0]).Contains("\"record\":\"started\"").And.Contains("\"cursor\":0,");
            for (int i = 0; i < 100; i++) await Assert.That(channel.Received[i + 1]).Contains($"\"index\":{i},").And.Contains($"\"cursor\":{i + 1},");
            await Assert.That(channel.Received[^1]).Contains("\"record\":\"ended\"").And.Contains("\"cursor\":100,\"status\":\"incomplete\"");
        }
    }

    [Test]
    public async Task A_subscriber_that_does_not_read_holds_up_nobody_is_let_go_and_told()
    {
        await using var house = new House();
        var stuck = new TaskCompletionSource<bool>();
        var channel = new FakeChannel { Room = stuck.Task };
        RunSubscriber subscriber = new RunSubscriptions(channel, house.Clock, NullLogger.Instance).Open(house.Run);
        house.Run.Add(subscriber);
        Task drain = subscriber.DrainAsync();

        for (int i = 0; i < RunLimits.MaxPiecesWaiting + 10; i++) await house.RecordAsync(1);
        await Eventually.TrueAsync("the first event", () => channel.Received.Count > 0);
        house.Clock.Advance(RunLimits.SubscriberWriteTimeout);
        await drain.Soon("the end of the subscription");

        await Assert.That(channel.Notified.Single()).IsEqualTo(
            $$"""runs.trace.lagged {"run_id":"r","cursor":{{RunLimits.MaxPiecesWaiting + 10}},"status":"in_progress","subscribed":false}""");
        int received = channel.Received.Count;
        await house.RecordAsync(1);
        await Assert.That(channel.Received.Count).IsEqualTo(received);
    }

    [Test]
    public async Task What_finds_no_place_is_dropped_for_this_subscriber_alone_and_its_cursor_shows_it()
    {
        await using var house = new House();
        var stuck = new TaskCompletionSource<bool>();
        var slow = new FakeChannel { Room = stuck.Task };
        var quick = new FakeChannel();
        (RunSubscriber subscriber, Task drain) = house.Follow(slow);
        (_, Task quickDrain) = house.Follow(quick);
        await house.RecordAsync(1);
        await Eventually.TrueAsync("the first event", () => slow.Count > 0);   // it is in the middle of sending now

        for (int i = 0; i < RunLimits.MaxPiecesWaiting + 50; i++)
        {
            await house.RecordAsync(1);
            if (i % 64 == 0) await Eventually.TrueAsync("the event of the quick one", () => quick.Count == i + 3);
        }
        slow.Room = Task.FromResult(true);
        stuck.SetResult(true);
        await Eventually.TrueAsync("what was kept", () => slow.Notified.Count > 0);
        await house.RecordAsync(1);
        await house.EndAsync();
        await Task.WhenAll(drain, quickDrain).Soon("the end of both");

        await Assert.That(quick.Notified.Count).IsEqualTo(0);
        await Assert.That(Cursors(quick).SequenceEqual([.. Enumerable.Range(0, RunLimits.MaxPiecesWaiting + 53), RunLimits.MaxPiecesWaiting + 52])).IsTrue();
        await Assert.That(slow.Notified.Single()).IsEqualTo(
            $$"""runs.trace.lagged {"run_id":"r","cursor":{{RunLimits.MaxPiecesWaiting + 51}},"status":"in_progress","subscribed":true}""");
        int[] seen = [.. Cursors(slow)];
        await Assert.That(seen.Zip(seen.Skip(1), (a, b) => b - a).Count(step => step is < 0 or > 1)).IsEqualTo(1);   // one jump, nothing twice
        await Assert.That(subscriber.Run.Position.Turns).IsEqualTo(RunLimits.MaxPiecesWaiting + 52);
    }

    [Test]
    public async Task A_stopped_subscriber_is_sent_nothing_more_and_nothing_is_encoded_for_nobody()
    {
        await using var house = new House();
        var channel = new FakeChannel();
        (RunSubscriber subscriber, Task drain) = house.Follow(channel);
        await house.RecordAsync(1);
        await Eventually.TrueAsync("the first turn", () => channel.Count == 2);

        subscriber.Stop();
        await drain.Soon("the end of the subscription");
        await house.RecordAsync(5);
        await house.EndAsync();

        await Assert.That((channel.Count, channel.Encoded, channel.Notified.Count)).IsEqualTo((2, 2, 0));
    }

    [Test]
    public async Task A_connection_that_has_gone_follows_nothing_and_cannot_begin_to()
    {
        await using var house = new House();
        var channel = new FakeChannel();
        var subscriptions = new RunSubscriptions(channel, house.Clock, NullLogger.Instance);
        RunSubscriber subscriber = subscriptions.Open(house.Run);
        house.Run.Add(subscriber);
        Task drain = subscriber.DrainAsync();

        subscriptions.CloseAll();

        await drain.Soon("the end of the subscription");
        await house.RecordAsync(3);
        await Assert.That((channel.Encoded, channel.Count)).IsEqualTo((0, 0));
        await Assert.That(() => subscriptions.Open(house.Run)).Throws<RefusedException>().WithMessage("connection is closed");
        await Assert.That(subscriptions.Close("r")).IsFalse();
    }

    [Test]
    public async Task A_channel_that_is_closed_ends_the_subscription()
    {
        await using var house = new House();
        var channel = new FakeChannel { Room = Task.FromResult(false) };
        (_, Task drain) = house.Follow(channel);
        await house.RecordAsync(1);
        await drain.Soon("the end of the subscription");
        int encoded = channel.Encoded;
        await house.RecordAsync(1);
        await Assert.That(channel.Encoded).IsEqualTo(encoded);
    }

    [Test]
    public async Task A_second_subscription_takes_the_place_of_the_first()
    {
        await using var house = new House();
        var channel = new FakeChannel();
        var subscriptions = new RunSubscriptions(channel, house.Clock, NullLogger.Instance);
        RunSubscriber first = subscriptions.Open(house.Run);
        house.Run.Add(first);
        Task firstDrain = first.DrainAsync();
        RunSubscriber second = subscriptions.Open(house.Run);
        house.Run.Add(second);
        Task secondDrain = second.DrainAsync();
        await firstDrain.Soon("the end of the first");   // and its end does not take the second with it

        await house.RecordAsync(3);
        await house.EndAsync();
        await secondDrain.Soon("the end of the second");

        await Assert.That(channel.Count).IsEqualTo(1 + 3 + 1);
        await Assert.That(subscriptions.Close("r")).IsFalse();
    }

    [Test]
    public async Task An_ended_run_takes_no_subscriber()
    {
        await using var house = new House();
        await house.RecordAsync(2);
        await house.EndAsync();
        var subscriptions = new RunSubscriptions(new FakeChannel(), house.Clock, NullLogger.Instance);
        await Assert.That(house.Run.Add(subscriptions.Open(house.Run))).IsNull();
    }

    /// <summary>All subscriptions of a connection share its bytes; what is given back can be used again.</summary>
    [Test]
    public async Task What_waits_for_one_connection_is_bounded_in_bytes()
    {
        var subscriptions = new RunSubscriptions(new FakeChannel(), TimeProvider.System, NullLogger.Instance);
        await Assert.That(subscriptions.TryReserve(RunLimits.MaxWaitingBytes - 1)).IsTrue();
        await Assert.That(subscriptions.TryReserve(2)).IsFalse();
        await Assert.That(subscriptions.TryReserve(1)).IsTrue();
        await Assert.That(subscriptions.TryReserve(1)).IsFalse();
        subscriptions.Release(1);
        await Assert.That(subscriptions.TryReserve(1)).IsTrue();
    }

    /// <summary>Whatever way it ended, nothing of what was offered stays reserved.</summary>
    [Test]
    [Arguments("ended")]
    [Arguments("stopped")]
    [Arguments("timed out")]
    [Arguments("never drained")]
    public async Task Its_bytes_are_given_back(string end)
    {
        await using var house = new House();
        var channel = new FakeChannel();
        if (end != "ended") channel.Room = new TaskCompletionSource<bool>().Task;
        var subscriptions = new RunSubscriptions(channel, house.Clock, NullLogger.Instance);
        RunSubscriber subscriber = subscriptions.Open(house.Run);
        house.Run.Add(subscriber);
        Task drain = end == "never drained" ? Task.CompletedTask : subscriber.DrainAsync();
        await house.RecordAsync(1);
        if (end != "never drained") await Eventually.TrueAsync("the first event", () => channel.Count > 0);
        for (int i = 0; i < 20; i++) await house.RecordAsync(100);

        if (end == "ended") await house.EndAsync();
        else if (end == "timed out") house.Clock.Advance(RunLimits.SubscriberWriteTimeout);
        else subscriber.Stop();
        if (end == "stopped") house.Clock.Advance(RunLimits.SubscriberWriteTimeout);
        await drain.Soon("the end of the subscription");
        if (end == "never drained") subscriber.Discard();

        await Assert.That(subscriptions.TryReserve(RunLimits.MaxWaitingBytes)).IsTrue();
    }

    private static IEnumerable<int> Cursors(FakeChannel channel) => channel.Received.Select(message =>
    {
        int at = message.IndexOf("\"cursor\":", StringComparison.Ordinal) + "\"cursor\":".Length;
        return int.Parse(message.AsSpan(at, message.IndexOf(',', at) - at), CultureInfo.InvariantCulture);
    });

    private sealed class House : IAsyncDisposable
    {
        private readonly TempHome _home = new();
        private readonly Appender _appender = new(NullLogger.Instance);

        public House() => Run = new Run(new RunStarted("r", "a", "", null, DateTime.UnixEpoch), "c", _appender, _home.In("r.jsonl"));

        public ManualClock Clock { get; } = new();
        public Run Run { get; }

        public Task RecordAsync(int turns) => Run.RecordAsync(Turns.Of(turns), whatFits: false);

        public (RunSubscriber Subscriber, Task Drain) Follow(FakeChannel channel)
        {
            RunSubscriber subscriber = new RunSubscriptions(channel, Clock, NullLogger.Instance).Open(Run);
            Run.Add(subscriber);
            return (subscriber, subscriber.DrainAsync());
        }

        public async Task EndAsync()
        {
            Run.TryEnd(new RunIncomplete(), DateTime.UnixEpoch, mayFail: false, out Task? stored);
            await stored!;
        }

        public async ValueTask DisposeAsync()
        {
            await _appender.DisposeAsync();
            _home.Dispose();
        }
    }
}

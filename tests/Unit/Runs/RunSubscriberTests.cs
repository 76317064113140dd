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

    private sealed class House : IAsyncDisposable
    {
        private readonly TempHome _home = new();
        private readonly Appender _appender = new(NullLogger.Instance);

        public House() => Run = new Run(new RunStarted("r", "a", "", null, DateTime.UnixEpoch), "c", _appender, _home.In("r.jsonl"));

        public ManualClock Clock { get; } = new();
        public Run Run { get; }

        public Task RecordAsync(int turns) => Run.RecordAsync(Turns.Of(turns), whatFits: false);

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

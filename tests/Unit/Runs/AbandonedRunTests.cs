using CarServer.RunStore;
using CarServer.State;
using CarServer.State.Runs;
using CarServer.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;

namespace CarServer.Tests.Unit.Runs;

/// <summary>Ends of runs whose client has gone, on a disk that refuses them.</summary>
public sealed class AbandonedRunTests
{
    [Test]
    public async Task An_outcome_that_is_refused_after_the_client_has_gone_leaves_the_run_incomplete()
    {
        await using var house = new House();
        Run run = await house.Runs.StartAsync("c1", "a", "", null);
        using var refuse = new ManualResetEventSlim();
        house.Disk = () =>
        {
            refuse.Wait(Eventually.Deadline);
            house.Disk = () => { };
            throw FaultyDisk.Full();
        };

        Task complete = house.Runs.CompleteAsync(run.RunId, new AgentOutcome(OutcomeStatus.Done));
        Task sweep = house.Runs.SweepForDisconnectAsync("c1");
        house.Clock.Advance(RunLimits.CompleteGrace);
        refuse.Set();

        await Assert.That(async () => await complete.Soon("the refusal")).Throws<RefusedException>();
        await sweep.Soon("the end of the sweep");
        await Assert.That(run.Status).IsEqualTo(RunStatus.Incomplete);
        await Assert.That(house.Lines(run)[^1]).Contains("\"termination\":{\"kind\":\"incomplete\"}");
    }

    [Test]
    public async Task The_end_that_is_stored_later_is_the_one_that_was_shown()
    {
        await using var house = new House();
        Run run = await house.Runs.StartAsync("c1", "a", "", null);
        var channel = new FakeChannel();
        RunSubscriber subscriber = new RunSubscriptions(channel, house.Clock, NullLogger.Instance).Open(run);
        run.Add(subscriber);
        house.Disk = () =>
        {
            house.Clock.Advance(TimeSpan.FromSeconds(5));
            house.Disk = () => { };
            throw FaultyDisk.Full();
        };

        await house.Runs.MarkIncompleteAsync(run.RunId);
        await subscriber.DrainAsync().Soon("the end of the subscription");
        await house.Runs.RefusedEnds.RetryAsync(house.Appender);

        await Assert.That(channel.Received[^1]).Contains(house.Lines(run)[^1]);
    }

    private sealed class House : IAsyncDisposable
    {
        private readonly TempHome _home = new();

        public House()
        {
            Appender = new Appender(NullLogger.Instance, disk: new FaultyDisk
            {
                OnWrite = (file, lines, offset) =>
                {
                    Disk();
                    RandomAccess.Write(file, lines, offset);
                },
            });
            Runs = new RunRegistry(RunCatalog.ForJournalDirectory(_home.Journals), Appender, NullLogger.Instance, Clock);
        }

        /// <summary>What happens before each write.</summary>
        public Action Disk { get; set; } = () => { };

        public Appender Appender { get; }
        public ManualClock Clock { get; } = new();
        public RunRegistry Runs { get; }

        public string[] Lines(Run run)
        {
            RunCatalog.ForJournalDirectory(_home.Journals).TryGetPath(run.AgentId, run.RunId, out string path);
            return File.ReadAllLines(path);
        }

        public async ValueTask DisposeAsync()
        {
            await Appender.DisposeAsync();
            Runs.Dispose();
            _home.Dispose();
        }
    }
}

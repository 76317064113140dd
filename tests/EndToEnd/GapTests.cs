using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Text;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>Whoever follows a run has its trace, whenever they came and however often they left (protocol 13.8).</summary>
public sealed class GapTests
{
    private const int Subscribers = 50;

    /// <summary>A run has at most 2,000 turns (protocol 13.7).</summary>
    private const int Runs = 50, TurnsOfRun = 2_000;

    /// <summary>Some do not read while one run in so many is recorded, a large turn at a time: they lose events, and their cursor has to show it.</summary>
    private const int Dreamers = 6, DreamRuns = 25;

    [Test]
    public async Task Snapshot_and_events_are_the_trace_for_fifty_who_come_and_go_during_a_hundred_thousand_turns()
    {
        int seed = Environment.GetEnvironmentVariable("CAR_SEED") is { } given ? int.Parse(given, CultureInfo.InvariantCulture) : Random.Shared.Next();
        try
        {
            await PlayAsync(seed);
        }
        catch (Exception e)
        {
            throw new InvalidOperationException($"CAR_SEED={seed}: {e.Message}", e);
        }
    }

    private static async Task PlayAsync(int seed)
    {
        long start = Stopwatch.GetTimestamp();
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer agent = await daemon.ConnectAsync();
        Guest[] guests = [.. Enumerable.Range(0, Subscribers).Select(i => new Guest(daemon, new Random(seed + i)))];
        try
        {
            for (int run = 0; run < Runs; run++)
            {
                await agent.CallAsync("runs.start", $$"""{"intent":"test","agent_id":"a","idempotency_key":"r{{run}}"}""");
                var recorded = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                bool large = run % DreamRuns == 0;
                Task[] following = [.. guests.Select((guest, i) => Task.Run(() => guest.FollowAsync($"r{run}", large && i < Dreamers ? recorded.Task : null)))];
                await RecordAsync(agent, run, large, new Random(seed - run - 1));
                recorded.SetResult();
                await agent.CallAsync("runs.complete", $$$"""{"run_id":"r{{{run}}}","outcome":{"status":"done"}}""");
                await Task.WhenAll(following).WaitAsync(TimeSpan.FromMinutes(2));

                byte[][] turns = Follower.Turns(daemon.Home.Trace("a", $"r{run}"));
                await Assert.That(turns.Length).IsEqualTo(TurnsOfRun);
                for (int i = 0; i < turns.Length; i++)
                    if (!turns[i].AsSpan().StartsWith(Encoding.UTF8.GetBytes($"{{\"record\":\"turn\",\"index\":{i},\"prompt\":\"{run}/{i} "))) throw new InvalidDataException($"turn {i} of the trace is not the one recorded as number {i}");
                foreach (Guest guest in guests) guest.Check(turns, mayMiss: large);
            }

            // Or nothing was tested: most came in the middle, some lost events, and all came to the end of every run.
            await Assert.That(guests.Sum(guest => guest.Ended)).IsEqualTo(Subscribers * Runs);
            await Assert.That(guests.Sum(guest => guest.BegunInside)).IsGreaterThan(Subscribers * Runs / 4);
            await Assert.That(guests.Sum(guest => guest.Events)).IsGreaterThan(Runs * TurnsOfRun);
            await Assert.That(guests.Sum(guest => guest.Gaps)).IsGreaterThan(0);
            FuzzReport.Print($"gap test: {guests.Sum(guest => guest.Events):N0} events of {guests.Sum(guest => guest.Subscriptions):N0} subscriptions, {guests.Sum(guest => guest.BegunInside):N0} begun inside a run, {guests.Sum(guest => guest.Gaps):N0} gaps, {Stopwatch.GetElapsedTime(start).TotalSeconds:0.0} s");
        }
        finally
        {
            foreach (Guest guest in guests) await guest.DisposeAsync();
        }
    }

    private static async Task RecordAsync(RpcPeer agent, int run, bool large, Random random)
    {
        string padding = new('p', large ? 3_000 : 0);
        var underWay = new Queue<Task>();
        for (int turn = 0, batch; turn < TurnsOfRun; turn += batch)
        {
            batch = large ? 1 : Math.Min(random.Next(1, random.Next(2, 257)), TurnsOfRun - turn);
            string turns = string.Join(',', Enumerable.Range(turn, batch).Select(i => $$"""{"prompt":"{{run}}/{{i}} {{padding}}"}"""));
            underWay.Enqueue(agent.CallAsync("runs.record_turns", $$"""{"run_id":"r{{run}}","turns":[{{turns}}]}"""));
            if (underWay.Count >= 4) await underWay.Dequeue();
        }
        await Task.WhenAll(underWay);
    }

    /// <summary>Comes, follows for a while, leaves in one of four ways, comes again; until the run has ended under its eyes.</summary>
    private sealed class Guest(TestDaemon daemon, Random random) : IAsyncDisposable
    {
        private readonly List<Follower> _past = [];
        private RawPeer? _peer;

        public int Ended { get; private set; }
        public int BegunInside { get; private set; }
        public int Subscriptions { get; private set; }
        public int Gaps { get; private set; }
        public long Events { get; private set; }

        /// <param name="dream">Reads nothing before this has ended.</param>
        public async Task FollowAsync(string run, Task? dream)
        {
            while (true)
            {
                // The kernel keeps little for a Unix socket whose peer does not read; for TCP it may be megabytes.
                RawPeer peer = _peer ??= await daemon.ConnectRawAsync(dream is null && random.Next(2) == 0 ? daemon.Tcp : daemon.Unix);
                var follower = new Follower(peer, run);
                await follower.SubscribeAsync();
                _past.Add(follower);
                if (dream is not null) await dream;
                await follower.FollowAsync(follower.Begin + random.Next(1, 4 * TurnsOfRun / 3));
                if (follower.HasEnded && !follower.HasGap)
                {
                    Ended++;
                    return;
                }
                switch (follower.HasGap ? 0 : random.Next(4))
                {
                    case 0: break;   // subscribes again, as one does after a gap
                    case 1:
                        await follower.LeaveAsync();
                        break;
                    case 2:
                        await follower.LeaveAsync();
                        goto case 3;
                    case 3:
                        await peer.DisposeAsync();
                        _peer = null;
                        break;
                }
            }
        }

        /// <summary>Compares all that it was told of a run with the run.</summary>
        /// <param name="mayMiss">The run's turns came in more pieces than are kept for one who does not keep up.</param>
        public void Check(byte[][] turns, bool mayMiss)
        {
            foreach (Follower follower in _past)
            {
                follower.Check(turns);
                Subscriptions++;
                Events += follower.Events;
                if (follower is { Begin: > 0 and < TurnsOfRun }) BegunInside++;
                if (!follower.HasGap) continue;
                if (!mayMiss) throw new InvalidDataException($"a gap after the cursor {follower.Cursor}, and nothing had to be dropped");
                Gaps++;
            }
            if (_past[^1].Cursor != turns.Length) throw new InvalidDataException($"a run of {turns.Length} turns ended with the cursor {_past[^1].Cursor}");
            _past.Clear();
        }

        public async ValueTask DisposeAsync()
        {
            if (_peer is not null) await _peer.DisposeAsync();
        }
    }
}

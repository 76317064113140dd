using System.Text;
using System.Text.Json;
using CarServer.RunStore;
using CarServer.State;
using CarServer.State.Engine;
using CarServer.State.Runs;
using CarServer.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using TUnit.Core;

namespace CarServer.Tests.Unit.Runs;

public sealed class RunRegistryTests
{
    [Test]
    public async Task A_run_is_on_disk_before_its_start_is_acknowledged()
    {
        await using var house = new House();
        Run run = await house.Runs.StartAsync("c1", "name:a", "do it", "done");
        await Assert.That(Guid.TryParse(run.RunId, out _)).IsTrue();
        await Assert.That(house.Lines(run).Single()).IsEqualTo(
            $$"""{"record":"started","run_id":"{{run.RunId}}","agent_id":"name:a","intent":"do it","outcome_description":"done","started_at":"2026-01-02T03:04:05Z"}""");
        await Assert.That(File.Exists(house.Home.In("runs", ".nobackup"))).IsTrue();
    }

    [Test]
    public async Task Concurrent_batches_are_numbered_without_gap_each_in_one_piece_and_the_end_is_last()
    {
        await using var house = new House();
        Run run = await house.Runs.StartAsync("c1", "a", "", null);
        var batches = Enumerable.Range(0, 64).Select(batch => Task.Run(async () =>
        {
            TurnsRecorded recorded = await run.RecordAsync(Bodies(5, $"batch {batch}"), whatFits: false);
            return (batch, recorded);
        })).ToArray();
        (int Batch, TurnsRecorded Recorded)[] results = await Task.WhenAll(batches);
        Task last = run.RecordAsync(Bodies(1, "last"), whatFits: false);
        Task complete = house.Runs.CompleteAsync(run.RunId, new AgentOutcome(OutcomeStatus.Success));
        await Task.WhenAll(last, complete);

        string[] lines = house.Lines(run);
        await Assert.That(lines.Length).IsEqualTo(1 + 320 + 1 + 1);
        for (int i = 0; i < 321; i++) await Assert.That(JsonElement.Parse(lines[i + 1]).GetProperty("index").GetInt32()).IsEqualTo(i);
        await Assert.That(lines[^2]).Contains("last");
        await Assert.That(lines[^1]).StartsWith("{\"record\":\"ended\"");
        foreach ((int batch, TurnsRecorded recorded) in results)
            foreach (string line in lines.Skip(1 + recorded.BaseIndex).Take(recorded.Count)) await Assert.That(line).Contains($"\"batch {batch}\"");
    }

    [Test]
    public async Task A_run_takes_2000_turns_and_refuses_the_batch_that_passes_that()
    {
        await using var house = new House();
        Run run = await house.Runs.StartAsync("c1", "a", "", null);
        await run.RecordAsync(Bodies(1_998), whatFits: false);
        await Assert.That(await run.RecordAsync(Bodies(3), whatFits: false)).IsEqualTo(new TurnsRecorded(0, 0, TurnDrop.RunTurnLimit));
        await Assert.That(await run.RecordAsync(Bodies(2), whatFits: false)).IsEqualTo(new TurnsRecorded(1_998, 2, null));
        await Assert.That(await run.RecordAsync(Bodies(1), whatFits: false)).IsEqualTo(new TurnsRecorded(0, 0, TurnDrop.RunTurnLimit));
        await Assert.That(house.Lines(run).Length).IsEqualTo(2_001);
    }

    [Test]
    public async Task Of_a_proposals_turns_those_that_fit_are_recorded_and_the_rest_is_counted_and_logged()
    {
        await using var house = new House();
        Run run = await house.Runs.StartAsync("c1", "a", "", null);
        await run.RecordAsync(Bodies(1_999), whatFits: false);
        (ActionProposal proposal, ProposalResult result) = Proposal(3);
        await house.Runs.RecordProposalAsync(run.RunId, proposal, result);
        await Assert.That(run.Position.Turns).IsEqualTo(2_000);
        await Assert.That(run.TurnsDropped).IsEqualTo(2);
        await house.Runs.RecordProposalAsync(run.RunId, proposal, result);
        await Assert.That(run.TurnsDropped).IsEqualTo(5);
        await Assert.That(house.Log.All.Count(line => line.Contains("were not recorded"))).IsEqualTo(2);
    }

    [Test]
    public async Task A_proposal_of_an_unknown_or_ended_run_is_dropped_in_silence()
    {
        await using var house = new House();
        (ActionProposal proposal, ProposalResult result) = Proposal(1);
        await house.Runs.RecordProposalAsync("nowhere", proposal, result);
        Run run = await house.Runs.StartAsync("c1", "a", "", null);
        await house.Runs.MarkIncompleteAsync(run.RunId);
        await house.Runs.RecordProposalAsync(run.RunId, proposal, result);
        await Assert.That(house.Lines(run).Length).IsEqualTo(2);
        await Assert.That(house.Log.All).IsEmpty();
    }

    [Test]
    public async Task Completing_has_the_protocols_error_texts()
    {
        await using var house = new House();
        var outcome = new AgentOutcome(OutcomeStatus.Timeout);
        await Assert.That(async () => await house.Runs.CompleteAsync("nope", outcome)).Throws<RefusedException>().WithMessage("unknown run_id `nope`");
        Run run = await house.Runs.StartAsync("c1", "a", "", null);
        await house.Runs.CompleteAsync(run.RunId, outcome);
        await Assert.That(async () => await house.Runs.CompleteAsync(run.RunId, outcome)).Throws<RefusedException>()
            .WithMessage($"run `{run.RunId}` is already terminal — cannot record another outcome");
        await Assert.That(run.Status).IsEqualTo(RunStatus.Completed);
        await Assert.That(await house.Runs.MarkIncompleteAsync(run.RunId)).IsFalse();
        await Assert.That(await run.RecordAsync(Bodies(1), whatFits: false)).IsEqualTo(new TurnsRecorded(0, 0, TurnDrop.RunTerminal));
        await Assert.That(house.Lines(run).Length).IsEqualTo(2);
    }

    [Test]
    public async Task An_ended_run_keeps_its_header()
    {
        await using var house = new House();
        Run run = await house.Runs.StartAsync("c1", "a", "", null);
        await run.RecordAsync(Bodies(3), whatFits: false);
        await house.Runs.CompleteAsync(run.RunId, new AgentOutcome(OutcomeStatus.Done));
        await Assert.That(house.Runs.Find(run.RunId)).IsSameReferenceAs(run);
        await Assert.That(house.Lines(run).Length).IsEqualTo(5);
    }

    [Test]
    public async Task Headers_of_ended_runs_are_kept_up_to_a_bound()
    {
        await using var house = new House();
        for (int i = 0; i <= RunLimits.MaxEndedRuns; i++)
        {
            await house.Runs.StartAsync("c1", "a", "", null, $"r{i}");
            await house.Runs.MarkIncompleteAsync($"r{i}");
        }
        await Assert.That(house.Runs.Find("r0")).IsNull();
        await Assert.That(house.Runs.Find("r1")).IsNotNull();
    }

    [Test]
    public async Task A_refused_batch_is_nowhere_and_the_next_one_takes_its_numbers()
    {
        bool full = false;
        await using var house = new House((file, lines, offset) =>
        {
            if (full) throw FaultyDisk.Full();
            RandomAccess.Write(file, lines, offset);
        });
        Run run = await house.Runs.StartAsync("c1", "a", "", null);
        await run.RecordAsync(Bodies(2, "before"), whatFits: false);
        full = true;
        await Assert.That(async () => await run.RecordAsync(Bodies(2, "refused"), whatFits: false)).Throws<IOException>();
        (ActionProposal proposal, ProposalResult result) = Proposal(1);
        await house.Runs.RecordProposalAsync(run.RunId, proposal, result);
        await Assert.That(run.TurnsDropped).IsEqualTo(1);
        await Assert.That(run.Position.Turns).IsEqualTo(2);
        full = false;
        await Assert.That(await run.RecordAsync(Bodies(1, "after"), whatFits: false)).IsEqualTo(new TurnsRecorded(2, 1, null));
        string[] lines = house.Lines(run);
        await Assert.That(lines.Length).IsEqualTo(4);
        await Assert.That(string.Concat(lines)).DoesNotContain("refused");
        await Assert.That(lines[3]).StartsWith("{\"record\":\"turn\",\"index\":2,");
    }

    [Test]
    public async Task A_refused_batch_gives_its_places_back()
    {
        bool full = false;
        await using var house = new House((file, lines, offset) =>
        {
            if (full) throw FaultyDisk.Full();
            RandomAccess.Write(file, lines, offset);
        });
        Run run = await house.Runs.StartAsync("c1", "a", "", null);
        full = true;
        await Assert.That(async () => await run.RecordAsync(Bodies(RunLimits.MaxTurns), whatFits: false)).Throws<IOException>();
        full = false;
        await Assert.That((await run.RecordAsync(Bodies(RunLimits.MaxTurns), whatFits: false)).Count).IsEqualTo(RunLimits.MaxTurns);
    }

    [Test]
    public async Task A_batch_too_big_for_the_disk_does_not_take_the_others_of_its_write_with_it()
    {
        using var release = new ManualResetEventSlim();
        using var reached = new ManualResetEventSlim();
        int room = int.MaxValue;
        await using var house = new House((file, lines, offset) =>
        {
            reached.Set();
            release.Wait();
            if (lines.Sum(line => line.Length) > room) throw FaultyDisk.Full();
            RandomAccess.Write(file, lines, offset);
        });
        Task<Run> starting = house.Runs.StartAsync("c1", "a", "", null, "r");
        reached.Wait();
        Run run = house.Runs.Find("r")!;
        Task<TurnsRecorded> small = run.RecordAsync(Bodies(1, "small"), whatFits: false);
        Task<TurnsRecorded> big = run.RecordAsync(Bodies(1, new string('b', 1_000)), whatFits: false);
        Task<TurnsRecorded> last = run.RecordAsync(Bodies(2, "last"), whatFits: false);
        Task complete = house.Runs.CompleteAsync("r", new AgentOutcome(OutcomeStatus.Done));
        room = 500;
        release.Set();
        await starting;
        await Assert.That(async () => await big).Throws<IOException>();
        await complete;
        await Assert.That(await small).IsEqualTo(new TurnsRecorded(0, 1, null));
        await Assert.That(await last).IsEqualTo(new TurnsRecorded(1, 2, null));
        await Assert.That(house.Lines(run).Length).IsEqualTo(5);
        await Assert.That(house.Lines(run)[^1]).StartsWith("{\"record\":\"ended\"");
    }

    [Test]
    public async Task A_run_that_starts_on_a_full_disk_goes_on_and_its_first_line_comes_later()
    {
        await using var house = new House();
        await File.WriteAllTextAsync(house.Home.In("runs"), "a file where the directory should be");
        Run run = await house.Runs.StartAsync("c1", "a", "x", null);
        await Assert.That(run.IsOpen).IsTrue();
        await Assert.That(house.Log.All.Any(line => line.Contains("its start could not be stored yet"))).IsTrue();
        File.Delete(house.Home.In("runs"));
        await run.RecordAsync(Bodies(1), whatFits: false);
        string[] lines = house.Lines(run);
        await Assert.That(lines[0]).StartsWith("{\"record\":\"started\"");
        await Assert.That(lines[1]).StartsWith("{\"record\":\"turn\",\"index\":0,");
    }

    [Test]
    public async Task A_run_whose_outcome_the_disk_refuses_stays_open_and_can_be_completed_later()
    {
        bool full = false;
        await using var house = new House((file, lines, offset) =>
        {
            if (full) throw FaultyDisk.Full();
            RandomAccess.Write(file, lines, offset);
        });
        Run run = await house.Runs.StartAsync("c1", "a", "x", null);
        full = true;
        await Assert.That(async () => await house.Runs.CompleteAsync(run.RunId, new AgentOutcome(OutcomeStatus.Done)))
            .Throws<RefusedException>().WithMessage("run store: no space left on device");
        await Assert.That(run.IsOpen).IsTrue();
        full = false;
        await run.RecordAsync(Bodies(1), whatFits: false);
        await house.Runs.CompleteAsync(run.RunId, new AgentOutcome(OutcomeStatus.Done));
        await Assert.That(run.Status).IsEqualTo(RunStatus.Completed);
        await Assert.That(house.Lines(run).Length).IsEqualTo(3);
    }

    [Test]
    public async Task An_abandoned_run_ends_even_when_the_disk_refuses_its_last_line()
    {
        await using var house = new House();
        await File.WriteAllTextAsync(house.Home.In("runs"), "a file where the directory should be");
        Run run = await house.Runs.StartAsync("c1", "a", "x", null);
        await house.Runs.MarkIncompleteAsync(run.RunId);
        await Assert.That(run.Status).IsEqualTo(RunStatus.Incomplete);
        await Assert.That(house.Log.All.Any(line => line.Contains("its end could not be stored"))).IsTrue();
    }

    [Test]
    public async Task A_disconnect_ends_open_runs_after_the_grace_and_not_before()
    {
        await using var house = new House();
        Run mine = await house.Runs.StartAsync("c1", "a", "", null);
        Run completing = await house.Runs.StartAsync("c1", "a", "", null);
        Run theirs = await house.Runs.StartAsync("c2", "b", "", null);
        Task sweep = house.Runs.SweepForDisconnectAsync("c1");
        house.Clock.Advance(RunLimits.CompleteGrace - TimeSpan.FromTicks(1));
        await Assert.That(mine.IsOpen).IsTrue();
        await house.Runs.CompleteAsync(completing.RunId, new AgentOutcome(OutcomeStatus.Success));
        house.Clock.Advance(TimeSpan.FromTicks(1));
        await sweep;
        await Assert.That(mine.Status).IsEqualTo(RunStatus.Incomplete);
        await Assert.That(completing.Status).IsEqualTo(RunStatus.Completed);
        await Assert.That(theirs.IsOpen).IsTrue();
        await Assert.That(house.Lines(mine)[^1]).Contains("\"termination\":{\"kind\":\"incomplete\"}");
    }

    [Test]
    public async Task A_disconnect_without_open_runs_waits_for_nothing()
    {
        await using var house = new House();
        await house.Runs.SweepForDisconnectAsync("c1");
        await Assert.That(house.Clock.TimersSet).IsEqualTo(0);
    }

    [Test]
    public async Task A_stop_ends_everything_open_at_once()
    {
        await using var house = new House();
        Run[] runs = [await house.Runs.StartAsync("c1", "a", "", null), await house.Runs.StartAsync("c2", "b", "", null)];
        await house.Runs.MarkAllOpenAsync();
        await Assert.That(runs.All(run => run.Status == RunStatus.Incomplete)).IsTrue();
    }

    [Test]
    public async Task A_key_finds_its_run_again_and_takes_it_over()
    {
        await using var house = new House();
        Run first = await house.Runs.StartAsync("c1", "a", "", null, "job 7");
        await first.RecordAsync(Bodies(1), whatFits: false);
        Task sweep = house.Runs.SweepForDisconnectAsync("c1");
        Run again = await house.Runs.StartAsync("c2", "a", "", null, "job 7");
        house.Clock.Advance(RunLimits.CompleteGrace);
        await sweep;
        await Assert.That(again).IsSameReferenceAs(first);
        await Assert.That(again.IsOpen).IsTrue();
        await Assert.That(house.Lines(first).Length).IsEqualTo(2);
        await Assert.That(async () => await house.Runs.StartAsync("c3", "b", "", null, "job 7")).Throws<RefusedException>()
            .WithMessage("idempotency_key `job 7` belongs to a run of another agent");
    }

    [Test]
    public async Task The_same_key_at_the_same_time_is_one_run()
    {
        await using var house = new House();
        Run[] runs = await Task.WhenAll(Enumerable.Range(0, 16).Select(i => Task.Run(() => house.Runs.StartAsync($"c{i}", "a", "", null, "key"))));
        await Assert.That(runs.Distinct().Count()).IsEqualTo(1);
        await Assert.That(house.Lines(runs[0]).Length).IsEqualTo(1);
    }

    [Test]
    public async Task A_key_of_an_earlier_daemon_finds_the_ended_run_on_disk()
    {
        using var home = new TempHome();
        await using (var before = new House(home)) await before.Runs.StartAsync("c1", "a", "", null, "key");
        await using var house = new House(home);
        await house.RecoverAsync();
        Run run = await house.Runs.StartAsync("c1", "a", "", null, "key");
        await Assert.That(run.IsOpen).IsFalse();
        await Assert.That(await run.RecordAsync(Bodies(1), whatFits: false)).IsEqualTo(new TurnsRecorded(0, 0, TurnDrop.RunTerminal));
        await Assert.That(house.Lines(run).Length).IsEqualTo(2);
        await Assert.That(async () => await house.Runs.StartAsync("c3", "b", "", null, "key")).Throws<RefusedException>();
    }

    /// <summary>A secondary outlives its primary, and the next primary starts beside it.</summary>
    [Test]
    public async Task Recovery_leaves_the_open_runs_of_another_living_daemon_alone()
    {
        using var home = new TempHome();
        Run run;
        await using (var other = new House(home))
        {
            run = await other.Runs.StartAsync("c1", "a", "", null);
            await using (var next = new House(home))
            {
                await next.RecoverAsync();
                await Assert.That(next.Log.All.Single()).Contains("another daemon");
            }
            await run.RecordAsync(Bodies(1), whatFits: false);
            await Assert.That(other.Lines(run).Length).IsEqualTo(2);
        }
        await using var last = new House(home);
        await last.RecoverAsync();
        await Assert.That(last.Lines(run)[^1]).Contains("\"incomplete\"");
        await last.Runs.StartAsync("c1", "a", "", null);   // its own recovery is not in its way
    }

    [Test]
    [Arguments("")]
    [Arguments("..")]
    [Arguments("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")]   // 67 times three bytes: one past 200
    public async Task Ids_that_cannot_be_file_names_are_invalid_params(string id)
    {
        await using var house = new House();
        foreach (Func<Task> call in (Func<Task>[])[
            () => house.Runs.StartAsync("c", id, "", null),
            () => house.Runs.StartAsync("c", "a", "", null, id),
            () => house.Runs.ListAsync(id),
            () => Task.FromResult(house.Runs.ReadTrace(id, new TraceQuery(), _ => true))])
        {
            RefusedException? refused = await Assert.That(async () => await call()).Throws<RefusedException>();
            await Assert.That(refused!.Refusal).IsEqualTo(Refusal.Invalid);
            await Assert.That(refused.Message).Contains("200 bytes");
        }
        await Assert.That(house.Home.Files()).IsEmpty();
    }

    [Test]
    public async Task Intent_and_description_have_a_limit()
    {
        await using var house = new House();
        string atLimit = new('x', RunLimits.MaxIntentBytes);
        Run run = await house.Runs.StartAsync("c", "a", atLimit, atLimit);
        await Assert.That(house.Lines(run).Length).IsEqualTo(1);
        await Assert.That(async () => await house.Runs.StartAsync("c", "a", atLimit + "x", null)).Throws<RefusedException>();
        await Assert.That(async () => await house.Runs.StartAsync("c", "a", "", atLimit + "x")).Throws<RefusedException>();
    }

    [Test]
    public async Task Lists_go_on_after_the_run_that_before_names()
    {
        await using var house = new House();
        foreach (string id in (string[])["r1", "r2", "r3"])
        {
            await house.Runs.StartAsync("c", "a", "", null, id);
            house.Clock.Advance(TimeSpan.FromSeconds(1));
        }
        await Assert.That(await ListAsync()).IsEqualTo("r3 r2 r1");
        await Assert.That(await ListAsync(before: "r2")).IsEqualTo("r1");
        await Assert.That(await ListAsync(limit: 3)).IsEqualTo("r3 r2 r1");
        RunPage page = await house.Runs.ListAsync("a", limit: 2);
        await Assert.That(string.Join(' ', page.Runs.Select(run => run.RunId))).IsEqualTo("r3 r2");
        File.Delete(house.Home.Trace("a", "r2"));   // collected in between
        await Assert.That(await ListAsync(before: page.Next)).IsEqualTo("r1");
        await Assert.That(async () => await house.Runs.ListAsync("a", before: "r2")).Throws<RefusedException>().WithMessage("before: agent 'a' has no run 'r2'");

        async Task<string> ListAsync(int? limit = null, string? before = null)
        {
            RunPage listed = await house.Runs.ListAsync("a", limit, before);
            await Assert.That(listed.Next).IsNull();
            return string.Join(' ', listed.Runs.Select(run => run.RunId));
        }
    }

    [Test]
    public async Task Runs_that_start_at_the_same_time_have_one_order_and_a_page_may_end_between_them()
    {
        await using var house = new House();
        foreach (string id in (string[])["c", "a", "e", "b", "d"]) await house.Runs.StartAsync("c", "a", "", null, id);
        await house.Runs.MarkIncompleteAsync("b");
        await house.Runs.MarkIncompleteAsync("d");
        await Assert.That(await PagesAsync(null)).IsEqualTo("ab|cd|e");
        await Assert.That(await PagesAsync(RunStatus.InProgress)).IsEqualTo("ac|e");
        await Assert.That(await PagesAsync(RunStatus.Incomplete)).IsEqualTo("bd");
        await Assert.That(await PagesAsync(RunStatus.Completed)).IsEqualTo("");

        async Task<string> PagesAsync(RunStatus? status)
        {
            var pages = new List<string>();
            string? before = null;
            do
            {
                RunPage page = await house.Runs.ListAsync("a", 2, before, status);
                pages.Add(string.Concat(page.Runs.Select(run => run.RunId)));
                before = page.Next;
            }
            while (before is not null);
            return string.Join('|', pages);
        }
    }

    [Test]
    public async Task A_list_tells_of_open_runs_what_was_acknowledged_and_what_was_dropped()
    {
        await using var house = new House();
        Run run = await house.Runs.StartAsync("c", "a", "", null, "r");
        await run.RecordAsync(Bodies(2), whatFits: false);
        await File.AppendAllTextAsync(house.Home.Trace("a", "r"), """{"record":"turn","index":2,"tool":"on the way"}""" + "\n");
        run.CountDropped(3);
        await Assert.That((await house.Runs.ListAsync("a")).Runs.Single()).IsEqualTo(
            new RunSummary("r", "a", "", house.Clock.GetUtcNow().UtcDateTime, null, RunStatus.InProgress, 2, TurnsDropped: 3));
    }

    [Test]
    public async Task A_list_that_would_not_fit_into_a_message_goes_on_where_it_ends()
    {
        RunSummary[] runs = [.. Enumerable.Range(0, 1_000).Select(i => new RunSummary($"{i}", "a", new string('x', RunLimits.MaxIntentBytes), DateTime.UnixEpoch, null, RunStatus.InProgress, 0))];
        RunPage page = RunPage.Of(runs, null);
        await Assert.That(page.Runs.Count).IsEqualTo(255);
        await Assert.That(page.Next).IsEqualTo(RunPlace.Of(runs[254]).ToString());
        await Assert.That(RunPage.Of(runs[..10], null).Next).IsNull();
    }

    [Test]
    public async Task A_trace_is_shown_to_those_who_may_read_it()
    {
        await using var house = new House();
        await house.Runs.StartAsync("c", "a", "", null, "r");
        await File.AppendAllTextAsync(house.Home.Trace("a", "r"), "damage\n");
        (string AgentId, TraceSlice Slice)? found = house.Runs.ReadTrace("r", new TraceQuery(), agentId => agentId == "a");
        await Assert.That(found!.Value.AgentId).IsEqualTo("a");
        using (found.Value.Slice) await Assert.That(TracePage.Of(found.Value.Slice).Records.Count).IsEqualTo(1);
        await Assert.That(house.Log.All.Single()).Contains("1 damaged lines");
        await Assert.That(house.Runs.ReadTrace("r", new TraceQuery(), _ => false)).IsNull();
        await Assert.That(house.Runs.ReadTrace("q", new TraceQuery(), _ => true)).IsNull();
    }

    private static TurnBatch Bodies(int count, string tool = "t") => Turns.Of(count, tool);

    private static (ActionProposal Proposal, ProposalResult Result) Proposal(int actions) => TurnRecorderTests.Proposal(
        [.. Enumerable.Range(0, actions).Select(i => (TurnRecorderTests.Action($"a{i}", "{}"), TurnRecorderTests.Succeeded($"a{i}", "1")))]);

    /// <summary>A registry with a disk of its own.</summary>
    private sealed class House : IAsyncDisposable
    {
        private readonly Appender _appender;
        private readonly bool _ownsHome;

        public House(FaultyDisk.GatherWrite? disk = null) : this(new TempHome(), disk) => _ownsHome = true;

        public House(TempHome home, FaultyDisk.GatherWrite? disk = null)
        {
            Home = home;
            _appender = new Appender(NullLogger.Instance, disk: new FaultyDisk { OnWrite = disk });
            Runs = new RunRegistry(RunCatalog.ForJournalDirectory(home.Journals), _appender, Log, Clock);
        }

        public TempHome Home { get; }
        public LogLines Log { get; } = new();
        public ManualClock Clock { get; } = new();
        public RunRegistry Runs { get; }

        public async Task RecoverAsync()
        {
            await using var keeper = new Housekeeping(Runs, RunCatalog.ForJournalDirectory(Home.Journals), _appender, Home.Journals, _ => false, Log, Clock);
            await keeper.RecoverAsync();
        }

        public string[] Lines(Run run)
        {
            RunCatalog.ForJournalDirectory(Home.Journals).TryGetPath(run.AgentId, run.RunId, out string path);
            return File.ReadAllLines(path);
        }

        public async ValueTask DisposeAsync()
        {
            await _appender.DisposeAsync();
            Runs.Dispose();
            if (_ownsHome) Home.Dispose();
        }
    }
}

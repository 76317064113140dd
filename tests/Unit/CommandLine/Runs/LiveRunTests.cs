using CarServer.Rpc.CommandLine.Runs;
using CarServer.RunStore;

namespace CarServer.Tests.Unit.CommandLine.Runs;

/// <summary>Each turn is shown once and in order, whatever way and however often it comes; a gap is seen, and the end waits for it.</summary>
internal sealed class LiveRunTests
{
    private static readonly RunEnded End = new("r", "a", new RunIncomplete(), DateTime.UnixEpoch);

    [Test]
    public async Task Turns_in_order_are_shown_at_once()
    {
        var run = new LiveRun();
        await Assert.That(Event(run, 0)).IsTrue();
        await Assert.That(Event(run, 1)).IsTrue();
        await Assert.That(run.IsBehind).IsFalse();
        await Assert.That(run.Next).IsEqualTo(2);
    }

    [Test]
    public async Task A_turn_that_comes_again_is_not_shown_again()
    {
        var run = new LiveRun();
        Event(run, 0);
        await Assert.That(Event(run, 0)).IsFalse();
        await Assert.That(run.TakeStored(Turn(0))).IsFalse();
        await Assert.That(run.IsBehind).IsFalse();
    }

    [Test]
    public async Task A_jump_is_a_gap_until_the_trace_has_filled_it()
    {
        var run = new LiveRun();
        Event(run, 0);
        await Assert.That(Event(run, 3)).IsFalse();
        await Assert.That(run.IsBehind).IsTrue();
        await Assert.That(Stored(run, 1, 2)).IsEqualTo("1 2");
        await Assert.That(run.IsBehind).IsTrue();
        await Assert.That(Stored(run, 3)).IsEqualTo("3");
        await Assert.That(run.IsBehind).IsFalse();
        await Assert.That(Event(run, 4)).IsTrue();
    }

    [Test]
    public async Task What_came_before_the_answer_to_the_subscription_is_no_second_turn()
    {
        var run = new LiveRun();
        Event(run, 2);
        await Assert.That(Stored(run, 0, 1)).IsEqualTo("0 1");
        run.Hear(2, RunStatus.InProgress);
        await Assert.That(run.IsBehind).IsTrue();
        await Assert.That(Stored(run, 0, 1, 2)).IsEqualTo("2");
        await Assert.That(run.IsBehind).IsFalse();
    }

    [Test]
    public async Task The_end_waits_for_the_turns_before_it()
    {
        var run = new LiveRun();
        run.Hear(2, RunStatus.Completed);
        await Assert.That(run.TakeLive(End)).IsFalse();
        await Assert.That(run.IsOver).IsFalse();
        await Assert.That(Stored(run, 0, 1)).IsEqualTo("0 1");
        await Assert.That(run.IsBehind).IsTrue();
        await Assert.That(run.TakeStored(End)).IsTrue();
        await Assert.That(run.TakeStored(End)).IsFalse();
        await Assert.That(run.IsOver).IsTrue();
        await Assert.That(run.IsBehind).IsFalse();
    }

    [Test]
    public async Task An_end_that_comes_in_its_turn_is_shown_at_once()
    {
        var run = new LiveRun();
        Event(run, 0);
        run.Hear(1, RunStatus.Incomplete);
        await Assert.That(run.TakeLive(End)).IsTrue();
        await Assert.That(run.IsOver).IsTrue();
    }

    [Test]
    public async Task A_notice_of_dropped_turns_is_a_gap()
    {
        var run = new LiveRun();
        run.Hear(7, RunStatus.InProgress);
        await Assert.That(run.IsBehind).IsTrue();
    }

    [Test]
    public async Task A_turn_that_the_trace_has_lost_is_passed_over()
    {
        var run = new LiveRun();
        run.Hear(3, RunStatus.InProgress);
        await Assert.That(Stored(run, 0, 2)).IsEqualTo("0 2");
        await Assert.That(run.IsBehind).IsFalse();
    }

    [Test]
    public async Task What_never_comes_is_given_up()
    {
        var run = new LiveRun();
        run.Hear(3, RunStatus.InProgress);
        run.GiveUp();
        await Assert.That(run.IsBehind).IsFalse();
        await Assert.That(Event(run, 3)).IsTrue();
        run.Hear(4, RunStatus.Completed);
        run.GiveUp();
        await Assert.That(run.IsOver).IsTrue();
    }

    /// <summary>Any delivery that loses, repeats and reorders, with the trace read when there is a gap, shows what there is once and in order.</summary>
    [Test]
    public async Task Any_delivery_shows_every_turn_once_and_in_order()
    {
        var random = new Random(13);
        for (int round = 0; round < 2_000; round++)
        {
            int turns = random.Next(12), stored = 0;
            var run = new LiveRun();
            var shown = new List<int>();
            for (int step = 0; step < 60; step++)
            {
                stored = Math.Min(turns, stored + random.Next(3));
                if (stored > 0 && random.Next(3) > 0)
                {
                    int index = random.Next(stored);
                    if (Event(run, index)) shown.Add(index);
                }
                else run.Hear(stored, RunStatus.InProgress);
                if (run.IsBehind) CatchUp();
            }
            run.Hear(turns, RunStatus.Completed);
            stored = turns;
            CatchUp();
            if (!run.IsOver) run.TakeStored(End);
            await Assert.That(string.Join(' ', shown)).IsEqualTo(string.Join(' ', Enumerable.Range(0, turns)));
            await Assert.That(run.IsOver).IsTrue();

            void CatchUp()
            {
                for (int index = 0; index < stored; index++)
                    if (run.TakeStored(Turn(index))) shown.Add(index);
            }
        }
    }

    private static RunTurn Turn(int index) => new(index);

    private static bool Event(LiveRun run, int index)
    {
        run.Hear(index + 1, RunStatus.InProgress);
        return run.TakeLive(Turn(index));
    }

    private static string Stored(LiveRun run, params int[] indices) => string.Join(' ', indices.Where(index => run.TakeStored(Turn(index))));
}

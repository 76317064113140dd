using System.Text;
using System.Text.Json;
using CarServer.RunStore;
using CarServer.State.Engine;
using CarServer.State.Events;
using CarServer.Tests.Unit.Engine;

namespace CarServer.Tests.Unit.Events;

public class EventLogTests
{
    [Test]
    public async Task A_line_has_the_fields_of_the_protocol_and_null_for_missing_ids()
    {
        await using var engine = new TestEngine();
        engine.Runtime.Events.Log(EventKind.ActionSucceeded, "a1", "p1", new("tool", "ä\"\n"), new("error", (string?)null), new("n", 3), new("value", RawJson.Parse("[1]")));
        engine.Runtime.Events.Log(EventKind.VoiceFastTurnStarted, null, null);
        string[] journal = await engine.JournalAsync();

        await Assert.That(journal[0]).IsEqualTo(
            """{"kind":"action_succeeded","action_id":"a1","proposal_id":"p1","data":{"tool":"ä\"\n","n":3,"value":[1]},"timestamp":"2026-01-02T03:04:05Z"}""");
        await Assert.That(journal[1]).IsEqualTo(
            """{"kind":"voice_fast_turn_started","action_id":null,"proposal_id":null,"data":{},"timestamp":"2026-01-02T03:04:05Z"}""");
        await Assert.That(engine.Runtime.Events.Latest().Select(line => Encoding.UTF8.GetString(line.Span))).IsEquivalentTo(journal);
    }

    [Test]
    public async Task The_journal_is_made_with_the_first_event()
    {
        await using var engine = new TestEngine();
        await Assert.That(await engine.JournalAsync()).IsEmpty();
        await Assert.That(File.Exists(engine.JournalPath)).IsFalse();
    }

    [Test]
    public async Task Every_kind_has_its_word()
    {
        await Assert.That(string.Join(' ', Enum.GetValues<EventKind>().Select(kind => kind.Word().ToString()))).IsEqualTo(
            "proposal_received action_validated action_rejected action_executing action_succeeded action_failed action_skipped action_retrying "
            + "action_deduplicated policy_violation state_changed state_snapshot state_rollback skill_distilled skill_evolved skill_deprecated "
            + "evolution_triggered consolidated replan_attempted replan_proposal_received replan_rejected replan_exhausted voice_fast_turn_started "
            + "voice_fast_turn_ended voice_sidecar_resolved voice_sidecar_failed voice_sidecar_timed_out voice_turn_cancelled voice_bridge_played session_scope "
            + "run_started run_cancellation_requested run_cancellation_result proposal_completed state_committed candidate_promoted candidate_rejected "
            + "proactive_memory_maintained proactive_memory_intervention gate_accepted gate_rejected model_fallback permission_decision approval_recorded "
            + "branch_decision alternative_rejected inference_metered transaction_conflict admission_gate_decision tool_receipt_hallucination "
            + "goal_evaluated turn_completed run_completed");
    }

    [Test]
    public async Task Memory_keeps_the_latest_and_the_journal_all()
    {
        await using var engine = new TestEngine();
        for (int i = 0; i < EventMemory.MaxEvents + 5; i++) engine.Runtime.Events.Record(EventKind.Consolidated, $"a{i}", null);
        engine.Runtime.Events.Flush();
        await Assert.That(engine.Runtime.Events.Count).IsEqualTo(EventMemory.MaxEvents);
        await Assert.That(engine.Events()[0]).IsEqualTo("consolidated a5");
        string[] journal = await engine.JournalAsync();
        await Assert.That(journal.Length).IsEqualTo(EventMemory.MaxEvents + 5);
        for (int i = 0; i < journal.Length; i++) await Assert.That(journal[i]).StartsWith($$"""{"kind":"consolidated","action_id":"a{{i}}",""");
    }

    [Test]
    public async Task Memory_is_bounded_in_bytes_too()
    {
        await using var engine = new TestEngine();
        string text = new('x', 1_000);
        for (int i = 0; i < 5_000; i++) engine.Runtime.Events.Record(EventKind.Consolidated, text, null);
        await Assert.That(engine.Runtime.Events.Latest().Sum(line => line.Length + 1)).IsLessThanOrEqualTo(EventMemory.MaxBytes);
        await Assert.That(engine.Runtime.Events.Count).IsGreaterThan(1_500);
    }

    [Test]
    public async Task Long_values_are_named_by_their_size_and_long_texts_cut()
    {
        await using var engine = new TestEngine();
        engine.Runtime.Events.Log(EventKind.StateChanged, null, null,
            new("new_value", RawJson.FromString(new string('x', 5_000))), new("error", new string('x', 1_364) + "😀" + new string('x', 5_000)));
        using JsonDocument json = JsonDocument.Parse(engine.Runtime.Events.Latest()[0]);
        JsonElement data = json.RootElement.GetProperty("data");
        await Assert.That(data.GetProperty("new_value_bytes").GetInt32()).IsEqualTo(5_002);
        await Assert.That(data.GetProperty("error").GetString()).IsEqualTo(new string('x', 1_364));
    }

    [Test]
    public async Task A_proposal_tells_its_story_in_order()
    {
        await using var engine = new TestEngine("good", "bad");
        await engine.SubmitAsync("""
            {"id":"w","type":"state_write","parameters":{"key":"k","value":1}},
            {"id":"a","type":"tool_call","tool":"good","dependencies":["w"]},
            {"id":"r","type":"tool_call","tool":"none","failure_behavior":"skip","dependencies":["a"]},
            {"id":"b","type":"tool_call","tool":"bad","dependencies":["r"]},
            {"id":"s","type":"tool_call","tool":"good","dependencies":["b"]}
            """);
        await Assert.That(string.Join(", ", engine.Events())).IsEqualTo("proposal_received, action_validated w, action_executing w, action_succeeded w, "
            + "state_changed w, action_validated a, action_executing a, action_succeeded a, action_rejected r, action_validated b, action_executing b, "
            + "action_failed b, action_skipped s, state_snapshot, state_rollback, proposal_completed");
        await Assert.That((await engine.JournalAsync()).Length).IsEqualTo(engine.Runtime.Events.Count);
    }

    [Test]
    public async Task Every_action_event_of_a_tool_call_carries_its_tool_and_failures_their_error()
    {
        await using var engine = new TestEngine("bad", "good");
        Task<ProposalResult> running = engine.SubmitAsync("""
            {"id":"a","type":"tool_call","tool":"bad","failure_behavior":"retry","max_retries":1},
            {"id":"b","type":"tool_call","tool":"good","dependencies":["a"]}
            """);
        engine.Clock.Advance(await engine.Clock.NextTimerAsync());
        await running;
        foreach (ReadOnlyMemory<byte> line in engine.Runtime.Events.Latest())
        {
            using JsonDocument json = JsonDocument.Parse(line);
            string kind = json.RootElement.GetProperty("kind").GetString()!;
            JsonElement data = json.RootElement.GetProperty("data");
            if (kind.StartsWith("action_", StringComparison.Ordinal)) await Assert.That(data.TryGetProperty("tool", out _)).IsTrue();
            if (kind is "action_failed" or "action_retrying") await Assert.That(data.GetProperty("error").GetString()).IsEqualTo("broken");
            if (kind is "action_retrying") await Assert.That(data.GetProperty("attempt").GetInt32()).IsEqualTo(2);
        }
        await Assert.That(engine.Events()).Contains("action_retrying a");
    }

    [Test]
    public async Task The_journal_shows_that_a_tool_runs_while_it_runs()
    {
        await using var engine = new TestEngine("slow");
        Task<ProposalResult> running = engine.SubmitAsync("""{"id":"a","type":"tool_call","tool":"slow"}""");
        SlowCall call = await engine.Tools.NextAsync();
        await Assert.That((await engine.JournalAsync())[^1]).Contains("action_executing");
        call.Succeed();
        await running;
    }

    [Test]
    public async Task A_tenants_key_is_shown_as_it_is_stored()
    {
        await using var engine = new TestEngine();
        await engine.SubmitAsync("""{"id":"a","type":"state_write","parameters":{"key":"k","value":1}}""", tenant: "t");
        await Assert.That((await engine.JournalAsync()).Single(line => line.Contains("state_changed"))).Contains(
            "\"data\":{\"key\":\"tenant:t:k\",\"tenant\":\"t\",\"new_value\":1}");
    }

    [Test]
    public async Task Events_of_many_threads_are_whole_lines()
    {
        await using var engine = new TestEngine();
        await Task.WhenAll(Enumerable.Range(0, 4).Select(thread => Task.Run(() =>
        {
            for (int i = 0; i < 1_000; i++) engine.Runtime.Events.Log(EventKind.Consolidated, $"{thread}-{i}", null);
        })));
        string[] journal = await engine.JournalAsync();
        await Assert.That(journal.Length).IsEqualTo(4_000);
        foreach (string line in journal) JsonDocument.Parse(line).Dispose();
    }
}

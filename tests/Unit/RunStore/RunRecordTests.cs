using System.Text;
using System.Text.Json;
using CarServer.RunStore.Contracts;
using CarServer.RunStore;
using TUnit.Core;
using CarServer.Tests.Support;

namespace CarServer.Tests.Unit.RunStore;

public sealed class RunRecordTests
{
    private static readonly DateTime When = new(2026, 1, 2, 3, 4, 5, DateTimeKind.Utc);

    private static string Text(RunRecord record) => Encoding.UTF8.GetString(record.ToLine());

    [Test]
    public async Task Started_is_written_as_the_protocol_shows_it() =>
        await Assert.That(Text(new RunStarted("r", "a", "größer & <b>", null, When))).IsEqualTo(
            """{"record":"started","run_id":"r","agent_id":"a","intent":"größer & <b>","outcome_description":null,"started_at":"2026-01-02T03:04:05Z"}""" + "\n");

    [Test]
    public async Task A_turn_leaves_out_what_it_does_not_have_and_keeps_a_given_null()
    {
        await Assert.That(Text(new RunTurn())).IsEqualTo("""{"record":"turn","index":0,"verifier_verdict":"not_run"}""" + "\n");
        var full = new RunTurn(7, "p", "shell", RawJson.Parse("""{ "a": 1.0 }"""), RawJson.Null,
            new CliOutcome(CliOutcomeKind.TimedOut, 1, 2.5), VerifierVerdict.Inconclusive, true);
        await Assert.That(Text(full)).IsEqualTo(
            """{"record":"turn","index":7,"prompt":"p","tool":"shell","parameters":{"a":1.0},"output":null,"cli_outcome":{"kind":"timed_out","exit_code":1,"duration_ms":2.5},"verifier_verdict":"inconclusive","policy_rejected":true}""" + "\n");
    }

    [Test]
    public async Task Ended_carries_the_outcome_with_every_default()
    {
        AgentOutcome outcome = Json.RunRecord.Parse(
            """{"run_id":"r","agent_id":"a","ended_at":"2026-01-02T04:04:05+01:00","termination":{"outcome":{"status":"partial_success","evidence":[{"kind":"stop_reason"}],"metrics":{"turns":3},"new":1},"kind":"outcome"},"record":"ended"}""") is RunEnded { Termination: RunOutcome read } ? read.Outcome : throw new InvalidOperationException();
        string line = Text(new RunEnded("r", "a", new RunOutcome(outcome.WithDefaults(When)), When));
        await Assert.That(line).IsEqualTo(
            """{"record":"ended","run_id":"r","agent_id":"a","termination":{"kind":"outcome","outcome":{"status":"partial_success","summary":"","evidence":[{"kind":"stop_reason","description":"","data":null}],"metrics":{"turns":3,"tool_calls":0,"duration_ms":0,"retries":0,"actions_succeeded":0,"actions_failed":0},"timestamp":"2026-01-02T03:04:05Z"}},"ended_at":"2026-01-02T03:04:05Z"}""" + "\n");
        await Assert.That(Text(new RunEnded("r", "a", new RunIncomplete(), When))).Contains("""
            "termination":{"kind":"incomplete"},
            """.Trim());
    }

    [Test]
    [Arguments("""{"record":"turn","index":0,"verifier_verdict":"maybe"}""")]
    [Arguments("""{"record":"turn","index":0,"cli_outcome":{"kind":"1"}}""")]
    [Arguments("""{"record":"turn","index":0,"cli_outcome":{}}""")]
    [Arguments("""{"record":"started","run_id":"r","agent_id":"a","intent":null,"outcome_description":null,"started_at":"2026-01-02T03:04:05Z"}""")]
    public async Task Unknown_words_and_missing_fields_are_refused(string json) =>
        await Assert.That(() => Json.RunRecord.Parse(json)).Throws<JsonException>();

    [Test]
    [Arguments("2026-01-02T03:04:05Z")]
    [Arguments("2026-01-02T03:04:05.000000000Z")]
    [Arguments("2026-01-02T05:04:05+02:00")]
    [Arguments("2026-01-02T03:04:05")]
    public async Task Times_are_read_with_any_offset_and_any_precision(string time)
    {
        string json = $$"""{"record":"started","run_id":"r","agent_id":"a","intent":"","outcome_description":null,"started_at":"{{time}}"}""";
        var started = (RunStarted)Json.RunRecord.Parse(json)!;
        await Assert.That(started.StartedAt).IsEqualTo(When);
        await Assert.That(Text(started)).Contains("\"2026-01-02T03:04:05Z\"");
    }
}

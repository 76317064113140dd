using System.Text;
using CarServer.Rpc.CommandLine;
using CarServer.Rpc.CommandLine.Runs;
using CarServer.RunStore;
using CarServer.Tests.Unit.Client;

namespace CarServer.Tests.Unit.CommandLine.Runs;

/// <summary>What the lines for people look like, on a terminal and elsewhere.</summary>
internal sealed class RunViewTests
{
    private static readonly DateTime Began = new(2026, 1, 2, 3, 4, 5, DateTimeKind.Utc);

    private readonly MemoryStream _out = new();
    private readonly StringWriter _error = new();

    [Test]
    [Arguments(null, "", false)]
    [Arguments(80, "", true)]
    [Arguments(80, "NO_COLOR=1", false)]
    [Arguments(80, "NO_COLOR=", true)]
    [Arguments(80, "TERM=dumb", false)]
    public async Task Colours_are_for_terminals_that_want_them(int? columns, string variable, bool coloured)
    {
        RunView view = View(columns, variable);
        view.Add(Record(new RunTurn(0, Tool: "t")));
        await Assert.That(Shown.Contains('\e')).IsEqualTo(coloured);
    }

    [Test]
    public async Task Nothing_of_a_trace_reaches_the_terminal_raw()
    {
        RunView view = View(null);
        const string steer = "\e]0;owned\a\u009b2J\u202e";
        var outcome = new AgentOutcome(OutcomeStatus.Failure, steer, [new Evidence(EvidenceKind.StopReason, steer, RawJson.FromString(steer))]);
        view.Add(Record(new RunStarted(steer, steer, steer, steer, Began)));
        view.Add(Record(new RunTurn(0, steer, steer, RawJson.FromString(steer), RawJson.FromString(steer), new CliOutcome(CliOutcomeKind.Failed, 1, 2, steer, steer))));
        view.Add(RawJson.Parse("""{"record":"later","text":"\u001b[2J"}"""));
        view.Add(Record(new RunEnded(steer, steer, new RunOutcome(outcome.WithDefaults(Began)), Began)));
        await Assert.That(Shown.Any(character => char.IsControl(character) && character != '\n')).IsFalse();
        await Assert.That(Shown.Contains('\u202e')).IsFalse();
        await Assert.That(Shown).Contains(@"\u001b]0;owned");
    }

    [Test]
    public async Task Long_values_are_cut_with_a_note_and_shown_in_full_on_demand()
    {
        RawJson turn = Record(new RunTurn(0, Output: RawJson.FromString(string.Join('\n', Enumerable.Range(0, 100)))));
        RawJson wide = Record(new RunTurn(1, Output: RawJson.FromString(new string('x', 5_000))));
        RunView view = View(null);
        view.Add(turn);
        view.Add(wide);
        await Assert.That(Shown).Contains("              23\n              … 76 lines, 152 characters more, --full shows all\n");
        await Assert.That(Shown).Contains("x…\n              … 3400 characters more, --full shows all\n");

        RunView full = View(null, full: true);
        full.Add(turn);
        full.Add(wide);
        await Assert.That(Shown).Contains("              99\n");
        await Assert.That(Shown).Contains(new string('x', 5_000));
    }

    [Test]
    [Arguments("""{"record":"turn","index":0,"output":{"error":"no disk"}}""", "failed")]
    [Arguments("""{"record":"turn","index":0,"output":{"error":"no disk","more":1}}""", "ok")]
    [Arguments("""{"record":"turn","index":0,"output":{"error":null}}""", "ok")]
    [Arguments("""{"record":"turn","index":0,"output":{"error":"by policy"},"policy_rejected":true}""", "rejected")]
    [Arguments("""{"record":"turn","index":0,"cli_outcome":{"kind":"failed","exit_code":2},"verifier_verdict":"passed"}""", "exit 2")]
    [Arguments("""{"record":"turn","index":0,"cli_outcome":{"kind":"timed_out"}}""", "timed out")]
    [Arguments("""{"record":"turn","index":0,"verifier_verdict":"failed"}""", "not verified")]
    [Arguments("""{"record":"turn","index":0,"verifier_verdict":"passed"}""", "verified")]
    [Arguments("""{"record":"turn","index":0}""", "ok")]
    public async Task A_turn_has_one_outcome(string record, string word) =>
        await Assert.That(TurnGlance.Of((RunTurn)TraceReader.Parse(RawJson.Parse(record))!).Word).IsEqualTo(word);

    [Test]
    public async Task A_live_turn_is_one_line_that_fits()
    {
        var lines = new RunLines(new Screen(Around(60, "NO_COLOR=1")));
        var turn = new RunTurn(7, Tool: "shell", Parameters: RawJson.Parse("""{"command":"ls\n-la 漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢"}"""), CliOutcome: new CliOutcome(CliOutcomeKind.Succeeded, 0, 12));
        lines.Show(Record(turn), turn);
        await Assert.That(Shown).StartsWith("#7    ok           shell  12 ms  command: ls -la 漢");
        await Assert.That(TerminalText.Width(Shown.TrimEnd('\n'))).IsLessThanOrEqualTo(60);
        await Assert.That(Shown.Count(character => character == '\n')).IsEqualTo(1);
    }

    [Test]
    [Arguments("--dry-run", "would remove r-1  a  completed  started ")]
    [Arguments(null, "removed r-1  a  completed  started ")]
    public async Task Gc_tells_what_goes_and_why(string? option, string line)
    {
        using var server = FakeServer.Tcp();
        Task<int> running = CarCommand.RunAsync(["runs", "gc", "--url", server.Address.ToString(), .. option is null ? (string[])[] : [option]], Around(null));
        using FakePeer peer = await server.AcceptAsync();
        string asked = await peer.ReadTextAsync();
        await Assert.That(asked).Contains("\"method\":\"runs.gc\",\"params\":{" + (option is null ? "}" : "\"dry_run\":true}"));
        await peer.SendTextAsync($$"""
            {"jsonrpc":"2.0","id":1,"result":{"dry_run":{{(option is null ? "false" : "true")}},"removed":[
              {"run_id":"r-1","agent_id":"a","status":"completed","started_at":"2026-01-02T03:04:05Z","ended_at":"2026-01-02T03:04:06Z","reason":"max_age_days"}],
              "removed_count":3,"journals_removed":1,"max_per_agent":50,"max_age_days":30} }
            """.ReplaceLineEndings(""));
        await peer.ReadCloseAsync();
        peer.Dispose();
        await Assert.That(await running).IsEqualTo(0).Because(_error.ToString());
        await Assert.That(Shown).StartsWith(line);
        string done = line[..line.IndexOf(" r-1", StringComparison.Ordinal)];
        await Assert.That(Shown).EndsWith($"  older than 30 days\n{done} 2 more runs\n{done} 1 journal of connections\n");
    }

    private string Shown => Encoding.UTF8.GetString(_out.ToArray());

    private RunView View(int? columns, string variable = "", bool full = false) => new(new Screen(Around(columns, variable)), full);

    private Surroundings Around(int? columns, string variable = "") =>
        new(TestLayers.Environment(variable.Length > 0 ? ["CAR_HOME=/nowhere", variable] : ["CAR_HOME=/nowhere"]), Platform.Linux, "/here", Stream.Null, _out, _error)
        {
            Columns = () => columns,
        };

    private static RawJson Record(RunRecord record) => RawJson.Parse(record.ToLine());
}

using System.Diagnostics;
using System.Text.Json;
using System.Threading.Channels;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>The verb <c>runs</c> of the executable against a daemon of the same.</summary>
public sealed class RunsCommandTests
{
    [Test]
    public async Task List_shows_an_agents_runs_newest_first_over_several_pages()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer agent = await daemon.ConnectAsync();
        for (int run = 0; run < 5; run++) await CompleteAsync(agent, await StartAsync(agent, $"r{run}", $"intent {run}"));

        CommandOutcome all = await daemon.CommandAsync("runs", "list", "--agent", "a");
        CommandOutcome some = await daemon.CommandAsync("runs", "list", "--agent", "a", "--limit", "2");
        CommandOutcome variable = await CarProcess.RunAsync(daemon.Home.Path, ["runs", "list", "--json"], new Dictionary<string, string> { ["CAR_AGENT_ID"] = "a" });

        await Assert.That(all.ExitCode).IsEqualTo(0).Because(all.ToString());
        string[] lines = all.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        await Assert.That(lines[0].Split(' ', StringSplitOptions.RemoveEmptyEntries)).IsEquivalentTo((string[])["RUN", "STATUS", "TURNS", "STARTED", "DURATION", "INTENT"]);
        await Assert.That(string.Join(' ', lines.Skip(1).Select(line => line.Split(' ')[0]))).IsEqualTo("r4 r3 r2 r1 r0");
        await Assert.That(lines[1]).EndsWith("  intent 4");
        await Assert.That(some.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length).IsEqualTo(3);
        await Assert.That(some.Errors).Contains("older ones are not shown");
        using JsonDocument json = JsonDocument.Parse(variable.Output);
        await Assert.That(json.RootElement.GetProperty("runs").GetArrayLength()).IsEqualTo(5);
    }

    [Test]
    [Arguments("list", 2, "whose runs? Give --agent ID, or set CAR_AGENT_ID")]
    [Arguments("list --agent a --limit 0", 2, "--limit must be a number from 1 on, got '0'")]
    [Arguments("list --agent a --status done", 2, "--status must be in_progress, completed, incomplete, got 'done'")]
    [Arguments("export r --format pdf", 2, "--format must be jsonl or html, got 'pdf'")]
    [Arguments("export r --format html --output /no/such/place", 2, "--output: there is no directory /no/such")]
    [Arguments("export r --format html --output /dev/null", 2, "--output: /dev/null exists and is no regular file")]
    [Arguments("export r --format html --output /", 2, "--output: / exists and is no regular file")]
    [Arguments("export r", 2, "'--format'")]
    [Arguments("show", 2, "'show'")]
    [Arguments("dance", 2, "'dance'")]
    [Arguments("--timeout 3", 2, "'--timeout'")]
    [Arguments("show no-such-run", 1, "unknown run_id `no-such-run`")]
    [Arguments("watch no-such-run", 1, "unknown run_id `no-such-run`")]
    [Arguments("export no-such-run --format html", 1, "unknown run_id `no-such-run`")]
    public async Task A_mistake_is_named(string command, int exitCode, string sentence)
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        CommandOutcome outcome = await daemon.CommandAsync(["runs", .. command.Split(' ')]);
        await Assert.That(outcome.ExitCode).IsEqualTo(exitCode).Because(outcome.ToString());
        await Assert.That(outcome.Errors).Contains(sentence);
        await Assert.That(outcome.Output).IsEqualTo("");
    }

    [Test]
    public async Task Without_the_host_token_an_agents_runs_stay_hidden()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer agent = await daemon.ConnectAsync();
        await StartAsync(agent, "r", "secret");

        CommandOutcome list = await daemon.CommandAsync("runs", "list", "--agent", "a", "--token", daemon.AuthToken);
        CommandOutcome show = await daemon.CommandAsync("runs", "show", "r", "--token", daemon.AuthToken);

        await Assert.That(list.ToString()).Contains("not authorized to read runs of agent 'a'");
        await Assert.That(show.ToString()).Contains("unknown run_id `r`");
        await Assert.That((list.ExitCode, show.ExitCode)).IsEqualTo((1, 1));
    }

    [Test]
    public async Task Show_tells_the_run_and_json_has_every_record()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer agent = await daemon.ConnectAsync();
        await StartAsync(agent, "r", "say \\u001b[2J where we are");
        await RecordAsync(agent, "r", """{"tool":"shell","parameters":{"command":"ls"},"output":{"stdout":"one\ntwo\n"},"cli_outcome":{"kind":"failed","exit_code":2,"duration_ms":12}}""");
        CommandOutcome open = await daemon.CommandAsync("runs", "show", "r");
        await CompleteAsync(agent, "r");

        CommandOutcome shown = await daemon.CommandAsync("runs", "show", "r");
        CommandOutcome json = await daemon.CommandAsync("runs", "show", "r", "--json");

        await Assert.That(open.Output).Contains("in progress, 1 turn so far");
        await Assert.That(shown.Output).Contains(@"  intent      say \u001b[2J where we are");
        await Assert.That(shown.Output).Contains("#0  shell  exit 2  12 ms\n  parameters  command: ls\n  output      stdout:\n                one\n                two\n  program     failed, exit code 2\n");
        await Assert.That(shown.Output).Contains("completed: success  1 turn in ");
        await Assert.That(shown.Output).Contains("  summary     told");
        using JsonDocument records = JsonDocument.Parse(json.Output);
        await Assert.That(records.RootElement.GetProperty("records").GetArrayLength()).IsEqualTo(3);
    }

    [Test]
    public async Task Export_writes_the_trace_byte_for_byte_into_a_private_file()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer agent = await daemon.ConnectAsync();
        await StartAsync(agent, "r", "i");
        for (int turn = 0; turn < 150; turn++) await RecordAsync(agent, "r", """{"tool":"é","output":["<é>","\ud83d\ude00",1.0]}""");
        await CompleteAsync(agent, "r");
        string file = daemon.Home.In("out.jsonl");
        await File.WriteAllTextAsync(file, "what was there before");

        CommandOutcome printed = await daemon.CommandAsync("runs", "export", "r", "--format", "jsonl");
        CommandOutcome written = await daemon.CommandAsync("runs", "export", "r", "--format", "jsonl", "--output", file);
        CommandOutcome unknown = await daemon.CommandAsync("runs", "export", "unknown", "--format", "jsonl", "--output", daemon.Home.In("none.jsonl"));

        string trace = await File.ReadAllTextAsync(daemon.Home.Trace("a", "r"));
        await Assert.That(printed.Output).IsEqualTo(trace);
        await Assert.That(written.ToString()).IsEqualTo("exit 0\n\n");
        await Assert.That(await File.ReadAllTextAsync(file)).IsEqualTo(trace);
        await Assert.That(File.GetUnixFileMode(file)).IsEqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite);
        await Assert.That(unknown.ExitCode).IsEqualTo(1);
        await Assert.That(daemon.Home.Files().Where(name => name.Contains("none") || name.EndsWith(".tmp"))).IsEmpty();
    }

    [Test]
    public async Task Watch_follows_each_turn_and_ends_with_the_run()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer agent = await daemon.ConnectAsync();
        await StartAsync(agent, "r", "watched");
        await RecordAsync(agent, "r", """{"tool":"before"}""");

        await using var watch = new Watching(daemon, "r");
        await watch.NextAsync("watched");
        await watch.NextAsync("#0    ok           before");
        await RecordAsync(agent, "r", """{"tool":"after","cli_outcome":{"kind":"timed_out","duration_ms":2500}}""");
        await watch.NextAsync("#1    timed out    after  2.5 s");
        await CompleteAsync(agent, "r");
        await watch.NextAsync("completed: success  2 turns in ");
        await watch.NextAsync("told");
        await Assert.That(await watch.ExitedAsync()).IsEqualTo(0);
        await Assert.That(watch.Errors).IsEqualTo("");
    }

    [Test]
    public async Task Watch_survives_a_daemon_that_is_killed_and_started_again()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer agent = await daemon.ConnectAsync();
        await StartAsync(agent, "r", "watched");
        await using var watch = new Watching(daemon, "r", "--json");
        await watch.NextAsync("\"intent\":\"watched\"");
        await RecordAsync(agent, "r", """{"tool":"t"}""", """{"tool":"t"}""");
        await watch.NextAsync("\"index\":0");
        await watch.NextAsync("\"index\":1");

        await daemon.KillAsync();
        await daemon.RestartAsync();

        await watch.NextAsync("\"record\":\"ended\"");
        await Assert.That(await watch.ExitedAsync()).IsEqualTo(0);
        await Assert.That(watch.Errors).Contains("connection lost (");
        await Assert.That(watch.Errors).Contains("connected again");
        await Assert.That(watch.Lines).IsEqualTo(4);
    }

    /// <summary>More than the daemon lets wait for a client that does not read: what it drops is read from the trace.</summary>
    [Test]
    public async Task A_watch_that_could_not_read_for_a_while_heals_the_gap()
    {
        const int turns = 1_200;
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer agent = await daemon.ConnectAsync();
        await StartAsync(agent, "r", "watched");
        await using var watch = new Watching(daemon, "r", "--json");
        await watch.NextAsync("\"intent\":\"watched\"");
        await RecordAsync(agent, "r", """{"tool":"t"}""");
        await watch.NextAsync("\"index\":0,");
        string turn = $$"""{"tool":"t","output":"{{new string('x', 12_000)}}"}""";

        CarProcess.Signal(watch.Process, CarProcess.SigStop);
        for (int sent = 1; sent < turns; sent++) await RecordAsync(agent, "r", turn);
        CarProcess.Signal(watch.Process, CarProcess.SigContinue);

        for (int index = 1; index < turns; index++) await watch.NextAsync($"\"index\":{index},");
        await CompleteAsync(agent, "r");
        await watch.NextAsync("\"record\":\"ended\"");
        await Assert.That(await watch.ExitedAsync()).IsEqualTo(0);
        await Assert.That(watch.Errors).Contains("gap healed: turns ");
    }

    [Test]
    public async Task Ctrl_C_ends_a_watch_with_130()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer agent = await daemon.ConnectAsync();
        await StartAsync(agent, "r", "watched");
        await using var watch = new Watching(daemon, "r");
        await watch.NextAsync("watched");

        CarProcess.Signal(watch.Process, CarProcess.SigInt);

        await Assert.That(await watch.ExitedAsync()).IsEqualTo(130);
    }

    private static async Task<string> StartAsync(RpcPeer agent, string runId, string intent)
    {
        await agent.CallAsync("runs.start", $$"""{"intent":"{{intent}}","agent_id":"a","idempotency_key":"{{runId}}"}""");
        return runId;
    }

    private static async Task RecordAsync(RpcPeer agent, string runId, params string[] turns)
    {
        JsonElement recorded = await agent.CallAsync("runs.record_turns", $$"""{"run_id":"{{runId}}","turns":[{{string.Join(',', turns)}}]}""");
        if (!recorded.GetProperty("ok").GetBoolean()) throw new InvalidOperationException(recorded.GetRawText());
    }

    private static Task CompleteAsync(RpcPeer agent, string runId) =>
        agent.CallAsync("runs.complete", $$"""{"run_id":"{{runId}}","outcome":{"status":"success","summary":"told"} }""");

    /// <summary>'runs watch' as it runs, line by line.</summary>
    private sealed class Watching : IAsyncDisposable
    {
        private readonly Channel<string> _lines = Channel.CreateUnbounded<string>();
        private readonly Task _reading;
        private readonly Task<string> _errors;

        public Watching(TestDaemon daemon, string runId, params string[] options)
        {
            Process = CarProcess.Start(daemon.Home.Path, ["runs", "watch", runId, .. options], null, redirectInput: false);
            _reading = ReadAsync();
            _errors = Process.StandardError.ReadToEndAsync();
        }

        public Process Process { get; }
        public int Lines { get; private set; }

        /// <summary>All of it, once the process has ended.</summary>
        public string Errors => _errors.Result;

        /// <summary>The next line that holds the text; every line before it must be the header's.</summary>
        public async Task NextAsync(string part)
        {
            string line = await _lines.Reader.ReadAsync().AsTask().Soon($"a line with {part}");
            if (line.StartsWith("run ", StringComparison.Ordinal)) line = await _lines.Reader.ReadAsync().AsTask().Soon($"a line with {part}");
            await Assert.That(line).Contains(part);
        }

        public async Task<int> ExitedAsync()
        {
            await Process.WaitForExitAsync().Soon("the end of the watch");
            await Task.WhenAll(_reading, _errors).Soon("the end of its outputs");
            return Process.ExitCode;
        }

        public async ValueTask DisposeAsync()
        {
            if (!Process.HasExited) Process.Kill();
            await ExitedAsync();
            Process.Dispose();
        }

        private async Task ReadAsync()
        {
            while (await Process.StandardOutput.ReadLineAsync() is { } line)
            {
                Lines++;
                _lines.Writer.TryWrite(line);
            }
            _lines.Writer.TryComplete();
        }
    }
}

using System.Text.Json;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>Every verb of the executable, and its exit codes: 0 done, 1 the daemon said no, 2 usage, 3 nobody answers.</summary>
public sealed class CommandLineTests
{
    [Test]
    public async Task Call_prints_the_result_as_one_line_of_JSON()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();

        CommandOutcome outcome = await daemon.CommandAsync("call", "state.set", """{"key":"k","value":1}""");

        await Assert.That(outcome.ExitCode).IsEqualTo(0).Because(outcome.ToString());
        await Assert.That(outcome.Output).IsEqualTo("\"ok\"\n");
        await Assert.That(outcome.Errors).IsEqualTo("");
    }

    [Test]
    public async Task Call_takes_params_from_standard_input_and_from_a_file()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        string file = daemon.Home.In("params.json");
        await File.WriteAllTextAsync(file, """{"key":"k"}""" + "\n");

        CommandOutcome input = await CarProcess.RunAsync(daemon.Home.Path, ["call", "state.exists", "-"], input: """{"key":"k"}""" + "\n");
        CommandOutcome named = await daemon.CommandAsync("call", "state.exists", "@" + file);

        await Assert.That(input.Output).IsEqualTo("false\n").Because(input.ToString());
        await Assert.That(named.Output).IsEqualTo("false\n").Because(named.ToString());
    }

    [Test]
    public async Task Call_pretty_prints_over_several_lines()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();

        CommandOutcome plain = await daemon.CommandAsync("call", "tools.list");
        CommandOutcome pretty = await daemon.CommandAsync("call", "tools.list", "--pretty");

        await Assert.That(plain.Output.Count(c => c == '\n')).IsEqualTo(1);
        await Assert.That(pretty.Output.Count(c => c == '\n')).IsGreaterThan(1);
        using JsonDocument one = JsonDocument.Parse(plain.Output), other = JsonDocument.Parse(pretty.Output);
        await Assert.That(JsonElement.DeepEquals(one.RootElement, other.RootElement)).IsTrue();
    }

    [Test]
    public async Task An_error_of_the_daemon_goes_to_stderr_with_its_code_and_exit_1()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();

        CommandOutcome outcome = await daemon.CommandAsync("call", "no.such.method");

        await Assert.That(outcome.ExitCode).IsEqualTo(1);
        await Assert.That(outcome.Output).IsEqualTo("");
        await Assert.That(outcome.Errors).Contains("-32601");
        await Assert.That(outcome.Errors).Contains("unknown method: no.such.method");
    }

    [Test]
    public async Task A_notification_prints_nothing()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();

        CommandOutcome outcome = await daemon.CommandAsync("call", "ping", "--notify");

        await Assert.That(outcome.ExitCode).IsEqualTo(0).Because(outcome.ToString());
        await Assert.That(outcome.Output).IsEqualTo("");
    }

    [Test]
    public async Task A_call_goes_where_url_or_socket_say()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        using var elsewhere = new TempHome();
        string token = daemon.AuthToken;

        CommandOutcome url = await CarProcess.RunAsync(elsewhere.Path, ["call", "ping", "--url", daemon.Url, "--token", token]);
        CommandOutcome socket = await CarProcess.RunAsync(elsewhere.Path, ["call", "ping", "--socket", daemon.Socket!, "--token", token]);
        CommandOutcome variable = await CarProcess.RunAsync(elsewhere.Path, ["call", "ping"],
            new Dictionary<string, string> { ["CAR_DAEMON_URL"] = daemon.Url, ["CAR_AUTH_TOKEN"] = token });

        foreach (CommandOutcome outcome in (CommandOutcome[])[url, socket, variable])
            await Assert.That(outcome.Output).IsEqualTo("\"pong\"\n").Because(outcome.ToString());
    }

    [Test]
    public async Task A_wrong_token_is_an_error_of_the_daemon()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();

        CommandOutcome outcome = await daemon.CommandAsync("call", "ping", "--token", "wrong");

        await Assert.That(outcome.ExitCode).IsEqualTo(1);
        await Assert.That(outcome.Errors).Contains("auth failed: token mismatch");
    }

    [Test]
    [Arguments("ping")]
    [Arguments("call ping")]
    [Arguments("stop")]
    public async Task Without_a_daemon_a_client_verb_exits_with_3(string command)
    {
        using var home = new TempHome();

        CommandOutcome outcome = await CarProcess.RunAsync(home.Path, command.Split(' '), NobodyThere(home));

        await Assert.That(outcome.ExitCode).IsEqualTo(3).Because(outcome.ToString());
        await Assert.That(outcome.Errors).IsNotEmpty();
    }

    [Test]
    public async Task Ping_exits_with_0_while_the_daemon_answers()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();

        await Assert.That((await daemon.CommandAsync("ping")).ExitCode).IsEqualTo(0);
    }

    [Test]
    public async Task Wait_ready_returns_when_a_daemon_that_starts_later_answers()
    {
        using var home = new TempHome();
        Task<CommandOutcome> waiting = CarProcess.RunAsync(home.Path, ["wait-ready", "--timeout", "20"]);
        await using TestDaemon daemon = await TestDaemon.StartAsync(new DaemonStart { Home = home });

        CommandOutcome outcome = await waiting;
        await Assert.That(outcome.ExitCode).IsEqualTo(0).Because(outcome.ToString());
    }

    [Test]
    public async Task Wait_ready_gives_up_after_its_timeout()
    {
        using var home = new TempHome();

        CommandOutcome outcome = await CarProcess.RunAsync(home.Path, ["wait-ready", "--timeout", "1"], NobodyThere(home));

        await Assert.That(outcome.ExitCode).IsEqualTo(3).Because(outcome.ToString());
    }

    [Test]
    public async Task When_stop_returns_the_next_daemon_of_the_root_may_start_as_its_primary()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();

        await Assert.That((await daemon.CommandAsync("stop")).ExitCode).IsEqualTo(0);
        await Assert.That(daemon.Home.Files().Where(file => file.EndsWith("-token") || file.EndsWith(".sock"))).IsEmpty();
        await using TestDaemon next = await TestDaemon.StartAsync(new DaemonStart { Home = daemon.Home });

        await using RpcPeer peer = await next.ConnectAsync();
        await Assert.That((await peer.CallAsync("server.info")).GetProperty("role").GetString()).IsEqualTo("primary");
    }

    [Test]
    public async Task Stop_ends_the_daemon_in_order()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();

        CommandOutcome outcome = await daemon.CommandAsync("stop");

        await Assert.That(outcome.ExitCode).IsEqualTo(0).Because(outcome.ToString());
        await Assert.That(await daemon.ExitedAsync()).IsEqualTo(0);
        await Assert.That(File.Exists(daemon.Home.AuthTokenFile)).IsFalse();
    }

    [Test]
    public async Task Methods_shows_one_method_with_its_params()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();

        CommandOutcome outcome = await daemon.CommandAsync("methods", "state.set");

        await Assert.That(outcome.ExitCode).IsEqualTo(0).Because(outcome.ToString());
        await Assert.That(outcome.Output).Contains("state.set");
        await Assert.That(outcome.Output).Contains("key, value");
    }

    [Test]
    public async Task Version_names_the_version_of_the_project()
    {
        string project = await File.ReadAllTextAsync(Path.Combine(Repository.Root, "car-server.csproj"));
        string version = project.Split("<Version>")[1].Split("</Version>")[0];

        CommandOutcome outcome = await CarProcess.RunAsync(null, ["version"]);

        await Assert.That(outcome.ExitCode).IsEqualTo(0);
        await Assert.That(outcome.Output).Contains(version);
    }

    [Test]
    public async Task Config_tells_each_value_and_where_it_comes_from()
    {
        using var home = new TempHome();
        await File.WriteAllTextAsync(home.In("config.toml"), "[server]\nlog_level = \"error\"\nmax_connections = 7\n");

        CommandOutcome outcome = await CarProcess.RunAsync(home.Path, ["config", "--max-connections", "9"], new Dictionary<string, string> { ["CAR_NO_AUTH"] = "1" });

        await Assert.That(outcome.ExitCode).IsEqualTo(0).Because(outcome.ToString());
        await Assert.That(LineOf("log_level")).Contains("error");
        await Assert.That(LineOf("log_level")).Contains("config.toml");
        await Assert.That(LineOf("max_connections")).Contains("9");
        await Assert.That(LineOf("max_connections")).Contains("--max-connections");
        await Assert.That(LineOf("no_auth")).Contains("CAR_NO_AUTH");
        await Assert.That(LineOf("journal_dir")).Contains("default");

        string LineOf(string name) => outcome.Output.Split('\n').SingleOrDefault(l => l.Trim().Split(' ', '=')[0] == name) ?? throw new InvalidDataException($"no {name} in\n{outcome.Output}");
    }

    [Test]
    [Arguments("serve --no-such-option", "--no-such-option")]
    [Arguments("dance", "dance")]
    [Arguments("serve --bind 127.0.0.1:70000", "70000")]
    [Arguments("serve --bind nonsense", "nonsense")]
    [Arguments("serve --log-level loud", "loud")]
    [Arguments("serve --bind 0.0.0.0:0 --no-auth", "--i-know-this-is-reachable")]
    [Arguments("call", "call")]
    [Arguments("call ping {not-json", "JSON")]
    public async Task A_mistake_in_the_command_line_exits_with_2_and_names_it(string command, string named)
    {
        using var home = new TempHome();

        CommandOutcome outcome = await CarProcess.RunAsync(home.Path, command.Split(' '));

        await Assert.That(outcome.ExitCode).IsEqualTo(2).Because(outcome.ToString());
        await Assert.That(outcome.Errors).Contains(named);
    }

    [Test]
    public async Task A_relative_CAR_HOME_exits_with_2_and_names_it()
    {
        CommandOutcome outcome = await CarProcess.RunAsync("some/where", ["serve", "--bind", "127.0.0.1:0"]);

        await Assert.That(outcome.ExitCode).IsEqualTo(2).Because(outcome.ToString());
        await Assert.That(outcome.Errors).Contains("some/where");
    }

    [Test]
    [Arguments("--help")]
    [Arguments("serve --help")]
    [Arguments("call --help")]
    public async Task Help_goes_to_standard_output_and_exits_with_0(string command)
    {
        CommandOutcome outcome = await CarProcess.RunAsync(null, command.Split(' '));

        await Assert.That(outcome.ExitCode).IsEqualTo(0).Because(outcome.ToString());
        await Assert.That(outcome.Output).Contains("car-server");
        await Assert.That(outcome.Errors).IsEqualTo("");
    }

    /// <summary>A machine may run a daemon on the default port; this address has none.</summary>
    private static Dictionary<string, string> NobodyThere(TempHome home) => new() { ["CAR_DAEMON_URL"] = "unix:" + home.In("nobody.sock") };
}

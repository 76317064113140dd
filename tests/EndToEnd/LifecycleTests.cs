using System.Net;
using System.Net.Sockets;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>Starting, stopping, and two daemons on one home: protocol 1.2 to 1.4 and 21.</summary>
public sealed class LifecycleTests
{
    private const UnixFileMode Mode700 = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
    private const UnixFileMode Mode600 = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    [Test]
    [Arguments(CarProcess.SigTerm)]
    [Arguments(CarProcess.SigInt)]
    public async Task A_signal_closes_with_1001_removes_tokens_and_socket_and_exits_with_0(int signal)
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer tcp = await daemon.ConnectAsync();
        await using RpcPeer unix = await daemon.ConnectAsync(daemon.Unix);

        int exitCode = await daemon.TerminateAsync(signal);

        await Assert.That(exitCode).IsEqualTo(0);
        await Assert.That(await tcp.Closed.Soon("the end of the TCP connection")).IsEqualTo(1001);
        await Assert.That(await unix.Closed.Soon("the end of the Unix connection")).IsEqualTo(1001);
        await Assert.That(File.Exists(daemon.Home.AuthTokenFile)).IsFalse();
        await Assert.That(File.Exists(daemon.Home.HostTokenFile)).IsFalse();
        await Assert.That(File.Exists(daemon.Socket)).IsFalse();
    }

    [Test]
    public async Task An_orderly_stop_marks_the_open_run()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        string run = (await peer.CallAsync("runs.start", """{"intent":"test","agent_id":"a"}""")).GetProperty("run_id").GetString()!;

        await Assert.That(await daemon.TerminateAsync()).IsEqualTo(0);

        string[] lines = await File.ReadAllLinesAsync(daemon.Home.Trace("a", run));
        await Assert.That(lines[^1]).Contains("\"incomplete\"");
    }

    [Test]
    public async Task A_proposal_in_flight_is_recorded_before_a_stop_ends_its_run()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.RegisterToolsAsync("slow");
        string run = (await peer.CallAsync("runs.start", """{"intent":"test","agent_id":"a"}""")).GetProperty("run_id").GetString()!;
        _ = peer.SendAsync("proposal.submit", """
            {"proposal":{"actions":[{"type":"state_write","parameters":{"key":"k"},"failure_behavior":"skip"},{"type":"tool_call","tool":"slow"}]} }
            """);
        await peer.NextToolCallAsync();

        await Assert.That(await daemon.TerminateAsync()).IsEqualTo(0);

        string[] lines = await File.ReadAllLinesAsync(daemon.Home.Trace("a", run));
        await Assert.That(lines.Length).IsEqualTo(4);
        await Assert.That(lines[2]).Contains("callback channel closed");
        await Assert.That(lines[3]).Contains("\"incomplete\"");
    }

    [Test]
    public async Task A_pending_proposal_does_not_keep_a_stop_from_ending()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.RegisterToolsAsync("slow");
        Task<System.Text.Json.JsonElement> submitted = peer.SendAsync("proposal.submit", """{"proposal":{"actions":[{"type":"tool_call","tool":"slow"}]} }""");
        await peer.NextToolCallAsync();

        await Assert.That(await daemon.TerminateAsync()).IsEqualTo(0);

        try { await submitted.Soon("the end of the proposal"); }
        catch (PeerClosedException) { }   // answered or not: both are an orderly end
        await Assert.That(await peer.Closed.Soon("the end of the connection")).IsEqualTo(1001);
    }

    [Test]
    public async Task The_host_may_shut_the_daemon_down()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer host = await daemon.ConnectHostAsync();

        await host.CallAsync("server.shutdown");

        await Assert.That(await daemon.ExitedAsync()).IsEqualTo(0);
        await Assert.That(await host.Closed.Soon("the end of the connection")).IsEqualTo(1001);
        await Assert.That(File.Exists(daemon.Home.AuthTokenFile)).IsFalse();
    }

    [Test]
    public async Task A_client_without_the_host_role_may_not_shut_the_daemon_down()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();

        await peer.CallFailsAsync("server.shutdown");

        await Assert.That((await peer.CallAsync("ping")).GetString()).IsEqualTo("pong");
        await Assert.That(daemon.HasExited).IsFalse();
    }

    [Test]
    public async Task Without_auth_anybody_may_shut_the_daemon_down()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer peer = await daemon.ConnectAsync();

        await peer.CallAsync("server.shutdown");

        await Assert.That(await daemon.ExitedAsync()).IsEqualTo(0);
    }

    [Test]
    public async Task A_home_that_does_not_exist_is_made_and_everything_in_it_is_private()
    {
        using var home = new TempHome();
        Directory.Delete(home.Path);
        await using TestDaemon daemon = await TestDaemon.StartAsync(new DaemonStart { Home = home });
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.CallAsync("runs.start", """{"intent":"test","agent_id":"a"}""");
        await peer.CallAsync("proposal.submit", """{"proposal":{"actions":[{"type":"state_read","parameters":{"key":"k"} }]} }""");

        foreach (string directory in (string[])[home.Path, .. Directory.GetDirectories(home.Path, "*", SearchOption.AllDirectories)])
            await Assert.That(File.GetUnixFileMode(directory)).IsEqualTo(Mode700).Because(directory);
        // A link has no mode of its own that would count; those of the run index lead nowhere.
        foreach (string file in Directory.GetFiles(home.Path, "*", SearchOption.AllDirectories).Where(file => new FileInfo(file).LinkTarget is null))
            await Assert.That(File.GetUnixFileMode(file)).IsEqualTo(Mode600).Because(file);
        await Assert.That(File.Exists(home.Socket)).IsTrue();
    }

    [Test]
    public async Task A_home_with_loose_modes_is_tightened()
    {
        using var home = new TempHome();
        File.SetUnixFileMode(home.Path, Mode700 | UnixFileMode.GroupRead | UnixFileMode.GroupExecute | UnixFileMode.OtherRead | UnixFileMode.OtherExecute);
        Directory.CreateDirectory(home.TokenDirectory);
        await File.WriteAllTextAsync(home.AuthTokenFile, "of an older build");
        File.SetUnixFileMode(home.AuthTokenFile, Mode600 | UnixFileMode.GroupRead | UnixFileMode.OtherRead);

        await using TestDaemon daemon = await TestDaemon.StartAsync(new DaemonStart { Home = home });

        await Assert.That(File.GetUnixFileMode(home.Path)).IsEqualTo(Mode700);
        await Assert.That(File.GetUnixFileMode(home.TokenDirectory)).IsEqualTo(Mode700);
        await Assert.That(File.GetUnixFileMode(home.AuthTokenFile)).IsEqualTo(Mode600);
    }

    [Test]
    public async Task A_second_daemon_on_the_same_home_leaves_the_firsts_token_and_socket_alone()
    {
        using var home = new TempHome();
        await using TestDaemon primary = await TestDaemon.StartAsync(new DaemonStart { Home = home });
        string token = primary.AuthToken;

        await using (TestDaemon secondary = await TestDaemon.StartAsync(new DaemonStart { Home = home, Arguments = ["--auth-token", "second"] }))
        {
            await Assert.That(primary.AuthToken).IsEqualTo(token);
            await Assert.That(secondary.Socket).IsEqualTo(home.In("run", $"car-server-{secondary.Port}.sock"));
            await using RpcPeer second = await secondary.ConnectUnauthenticatedAsync(secondary.Unix);
            await second.AuthenticateAsync("second");

            await Assert.That(await secondary.TerminateAsync()).IsEqualTo(0);
        }

        await Assert.That(primary.AuthToken).IsEqualTo(token);
        await using RpcPeer first = await primary.ConnectAsync(primary.Unix);
        await Assert.That((await first.CallAsync("ping")).GetString()).IsEqualTo("pong");
    }

    [Test]
    public async Task A_second_daemon_does_not_adopt_the_firsts_open_runs()
    {
        using var home = new TempHome();
        await using TestDaemon primary = await TestDaemon.StartAsync(new DaemonStart { Home = home });
        await using RpcPeer peer = await primary.ConnectAsync();
        string run = (await peer.CallAsync("runs.start", """{"intent":"test","agent_id":"a"}""")).GetProperty("run_id").GetString()!;

        await using (TestDaemon secondary = await TestDaemon.StartAsync(new DaemonStart { Home = home })) await secondary.TerminateAsync();

        await Assert.That((await File.ReadAllLinesAsync(home.Trace("a", run))).Length).IsEqualTo(1);
    }

    [Test]
    public async Task A_port_in_use_is_told_in_a_sentence_with_the_port_and_exit_code_2()
    {
        using var home = new TempHome();
        using var taken = new TcpListener(IPAddress.Loopback, 0);
        taken.Start();
        int port = ((IPEndPoint)taken.LocalEndpoint).Port;

        CommandOutcome outcome = await CarProcess.RunAsync(home.Path, ["serve", "--bind", $"127.0.0.1:{port}"]);

        await Assert.That(outcome.ExitCode).IsEqualTo(2);
        await Assert.That(outcome.Errors).Contains($"port {port}");
        await Assert.That(File.Exists(home.AuthTokenFile)).IsFalse();
        await Assert.That(File.Exists(home.Socket)).IsFalse();
    }

    [Test]
    public async Task A_socket_that_kill_9_left_behind_is_replaced()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        string socket = daemon.Socket!;
        await daemon.KillAsync();
        await Assert.That(File.Exists(socket)).IsTrue();

        await daemon.RestartAsync();

        await Assert.That(daemon.Socket).IsEqualTo(socket);
        await using RpcPeer peer = await daemon.ConnectAsync(daemon.Unix);
        await Assert.That((await peer.CallAsync("ping")).GetString()).IsEqualTo("pong");
    }

    [Test]
    public async Task A_file_in_the_sockets_place_that_is_no_socket_is_not_deleted()
    {
        using var home = new TempHome();
        string path = home.In("precious");
        await File.WriteAllTextAsync(path, "somebody's text");

        CommandOutcome outcome = await CarProcess.RunAsync(home.Path, ["serve", "--bind", "127.0.0.1:0", "--socket", path]);

        await Assert.That(outcome.ExitCode).IsEqualTo(2);
        await Assert.That(outcome.Errors).Contains(path);
        await Assert.That(await File.ReadAllTextAsync(path)).IsEqualTo("somebody's text");
    }

    [Test]
    public async Task A_socket_that_another_daemon_answers_on_is_not_taken_over()
    {
        await using TestDaemon first = await TestDaemon.StartAsync();
        using var home = new TempHome();

        CommandOutcome outcome = await CarProcess.RunAsync(home.Path, ["serve", "--bind", "127.0.0.1:0", "--socket", first.Socket!]);

        await Assert.That(outcome.ExitCode).IsEqualTo(2);
        await Assert.That(outcome.Errors).Contains(first.Socket!);
        await using RpcPeer peer = await first.ConnectAsync(first.Unix);
        await Assert.That((await peer.CallAsync("ping")).GetString()).IsEqualTo("pong");
    }

    [Test]
    public async Task The_socket_serves_without_any_TCP_listener()
    {
        using var home = new TempHome();
        string path = home.In("s");
        await using TestDaemon daemon = await TestDaemon.StartAsync(new DaemonStart { Home = home, Bind = null, Arguments = ["--bind", $"unix:{path}"] });

        await Assert.That(daemon.Port).IsEqualTo(0);
        await Assert.That(daemon.Socket).IsEqualTo(path);
        await using RpcPeer peer = await daemon.ConnectAsync(daemon.Unix);
        await Assert.That((await peer.CallAsync("ping")).GetString()).IsEqualTo("pong");
    }

    [Test]
    public async Task Without_a_socket_no_socket_file_appears()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-socket");

        await Assert.That(daemon.Socket).IsNull();
        await Assert.That(Directory.EnumerateFiles(daemon.Home.Path, "*.sock", SearchOption.AllDirectories)).IsEmpty();
    }

    [Test]
    public async Task A_stop_ends_well_when_the_home_was_deleted_meanwhile()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        Directory.Delete(daemon.Home.Path, recursive: true);

        await Assert.That(await daemon.TerminateAsync()).IsEqualTo(0);
        await Assert.That(await peer.Closed.Soon("the end of the connection")).IsEqualTo(1001);
    }

    [Test]
    public async Task A_client_that_shakes_hands_while_the_daemon_stops_is_turned_away()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer told = await daemon.ConnectAsync();
        await using RawPeer silent = await daemon.ConnectRawAsync();   // does not answer the close: the stop waits for it
        await using RawPeer late = await daemon.OpenAsync();
        await late.SendAsync("GET / HTTP/1.1\r\n");
        await told.CallAsync("ping");   // sent later, so the daemon has accepted the late one

        Task<int> stopped = daemon.TerminateAsync();
        await told.Closed.Soon("the daemon's goodbye");
        await late.SendAsync($"Host: {late.HostHeader}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {RawPeer.SampleKey}\r\nSec-WebSocket-Version: 13\r\n\r\n");

        await Assert.That((await late.ReadHttpAsync()).Status).IsEqualTo(503);
        await Assert.That(await stopped).IsEqualTo(0);
    }

    [Test]
    public async Task A_token_directory_that_cannot_be_made_is_told_in_a_sentence_with_exit_code_2()
    {
        using var home = new TempHome();
        await File.WriteAllTextAsync(home.TokenDirectory, "in the way");

        CommandOutcome outcome = await CarProcess.RunAsync(home.Path, ["serve", "--bind", "127.0.0.1:0"]);

        await Assert.That(outcome.ExitCode).IsEqualTo(2).Because(outcome.Errors);
        await Assert.That(outcome.Errors).Contains(home.TokenDirectory);
        await Assert.That(outcome.Errors).Contains("file exists");
        await Assert.That(outcome.Errors.TrimEnd().Split('\n').Length).IsEqualTo(1).Because(outcome.Errors);
        await Assert.That(await File.ReadAllTextAsync(home.TokenDirectory)).IsEqualTo("in the way");
    }

    [Test]
    public async Task A_lock_file_that_cannot_be_opened_is_a_failed_start_and_no_second_daemon()
    {
        using var home = new TempHome();
        Directory.CreateDirectory(home.In("run"));
        File.CreateSymbolicLink(home.In("run", "daemon.lock"), home.In("nowhere", "daemon.lock"));

        CommandOutcome outcome = await CarProcess.RunAsync(home.Path, ["serve", "--bind", "127.0.0.1:0"]);

        await Assert.That(outcome.ExitCode).IsEqualTo(2);
        await Assert.That(outcome.Errors).Contains("daemon.lock: no such file or directory");
    }

    [Test]
    public async Task An_empty_file_in_the_sockets_place_is_no_socket_either()
    {
        using var home = new TempHome();
        string path = home.In("empty");
        await File.WriteAllTextAsync(path, "");

        CommandOutcome outcome = await CarProcess.RunAsync(home.Path, ["serve", "--bind", "127.0.0.1:0", "--socket", path]);

        await Assert.That(outcome.ExitCode).IsEqualTo(2);
        await Assert.That(outcome.Errors).Contains("not a socket");
        await Assert.That((await File.ReadAllBytesAsync(path)).Length).IsEqualTo(0);
    }

    [Test]
    public async Task Logs_go_to_stderr_and_hold_no_token()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--log-level", "trace");
        string auth = daemon.AuthToken, host = daemon.HostToken;
        await using (RpcPeer peer = await daemon.ConnectUnauthenticatedAsync())
        {
            await peer.CallFailsAsync("session.auth", """{"token":"a-wrong-secret"}""");
            await peer.AuthenticateAsync(auth);
        }
        await using (RpcPeer peer = await daemon.ConnectHostAsync()) await peer.CallAsync("ping");
        await daemon.TerminateAsync();

        await Assert.That(daemon.Errors).IsNotEmpty();
        foreach (string secret in (string[])[auth, host, "a-wrong-secret"])
        {
            await Assert.That(daemon.Errors).DoesNotContain(secret);
            await Assert.That(string.Join('\n', daemon.Output)).DoesNotContain(secret);
        }
    }

    [Test]
    public async Task What_a_client_chose_cannot_start_a_line_of_the_log_or_steer_a_terminal()
    {
        using var home = new TempHome();
        await File.WriteAllTextAsync(home.In("runs"), "in the way, so that the run's name comes into the log");
        await using TestDaemon daemon = await TestDaemon.StartAsync(new DaemonStart { Home = home });
        await using RpcPeer peer = await daemon.ConnectAsync();

        await peer.CallAsync("runs.start", """{"intent":"test","agent_id":"a","idempotency_key":"only\u009b31mC1"}""");
        await peer.CallAsync("runs.start", """{"intent":"test","agent_id":"a","idempotency_key":"a\nforged\u001b[31m"}""");
        await daemon.TerminateAsync();

        await Assert.That(daemon.Errors).Contains("C1");
        await Assert.That(daemon.Errors.Any(c => char.IsControl(c) && c != '\n')).IsFalse();
        await Assert.That(daemon.Errors.Split('\n').Any(line => line.StartsWith("forged", StringComparison.Ordinal))).IsFalse();
    }

    [Test]
    public async Task A_thousand_connections_that_come_and_go_leave_the_daemon_as_it_was()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await RoundAsync(daemon, 200);   // what is made once, is made now
        long before = daemon.ResidentBytes;

        await RoundAsync(daemon, 1_000);

        await using RpcPeer peer = await daemon.ConnectAsync();
        await Assert.That((await peer.CallAsync("ping")).GetString()).IsEqualTo("pong");
        await Eventually.TrueAsync($"resident memory is back near {before} bytes", () => daemon.ResidentBytes < before + 4 * 1024 * 1024);

        static async Task RoundAsync(TestDaemon daemon, int count)
        {
            for (int i = 0; i < count; i++)
            {
                await using RpcPeer peer = await daemon.ConnectAsync(i % 2 == 0 ? daemon.Tcp : daemon.Unix);
                await peer.CallAsync("ping");
                if (i % 3 == 0) await peer.CloseAsync();
            }
        }
    }
}

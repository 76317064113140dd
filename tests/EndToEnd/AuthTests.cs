using System.Net;
using System.Text.Json;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>Protocol 6 and checks 3 and 4 of section 24.</summary>
public sealed class AuthTests
{
    private const int AuthRequired = -32001, HandlerFailed = -32603;

    [Test]
    public async Task A_call_before_session_auth_is_refused_and_the_connection_closes()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectUnauthenticatedAsync();

        RpcFailure failure = await peer.CallFailsAsync("ping");

        await Assert.That(failure.Code).IsEqualTo(AuthRequired);
        await Assert.That(failure.Text).StartsWith("auth required: ");
        await peer.Closed.Soon("the end of the connection");
    }

    [Test]
    public async Task A_wrong_token_keeps_the_connection_and_the_right_one_then_opens_it()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectUnauthenticatedAsync();

        RpcFailure failure = await peer.CallFailsAsync("session.auth", """{"token":"not it"}""");
        await Assert.That(failure.Code).IsEqualTo(HandlerFailed);
        await Assert.That(failure.Text).IsEqualTo("auth failed: token mismatch");

        await peer.AuthenticateAsync(daemon.AuthToken);
        await Assert.That((await peer.CallAsync("ping")).GetString()).IsEqualTo("pong");
    }

    [Test]
    public async Task After_a_wrong_token_any_other_call_closes_the_connection()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectUnauthenticatedAsync();

        await peer.CallFailsAsync("session.auth", """{"token":"not it"}""");
        RpcFailure failure = await peer.CallFailsAsync("state.keys");

        await Assert.That(failure.Code).IsEqualTo(AuthRequired);
        await peer.Closed.Soon("the end of the connection");
    }

    [Test]
    public async Task The_gate_stands_before_methods_that_do_not_exist()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectUnauthenticatedAsync();

        await Assert.That((await peer.CallFailsAsync("no.such.method")).Code).IsEqualTo(AuthRequired);
    }

    [Test]
    public async Task The_auth_token_gives_the_plain_form()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectUnauthenticatedAsync();

        JsonElement result = await peer.CallAsync("session.auth", $$"""{"token":"{{daemon.AuthToken}}"}""");

        await Assert.That(result.GetRawText()).IsEqualTo("""{"ok":true,"auth_enabled":true}""");
    }

    [Test]
    public async Task A_memory_namespace_is_echoed()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectUnauthenticatedAsync();

        JsonElement result = await peer.CallAsync("session.auth", $$"""{"token":"{{daemon.AuthToken}}","memory_namespace":"team"}""");

        await Assert.That(result.GetRawText()).IsEqualTo("""{"ok":true,"auth_enabled":true,"memory_namespace":"team"}""");
    }

    [Test]
    [Arguments(0)]
    [Arguments(65)]
    public async Task A_memory_namespace_without_a_sensible_length_is_refused(int length)
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectUnauthenticatedAsync();

        RpcFailure failure = await peer.CallFailsAsync("session.auth", $$"""{"token":"{{daemon.AuthToken}}","memory_namespace":"{{new string('n', length)}}"}""");

        await Assert.That(failure.Code).IsEqualTo(-32602);
        await Assert.That((await peer.CallFailsAsync("ping")).Code).IsEqualTo(AuthRequired);
    }

    [Test]
    public async Task The_host_token_gives_the_host_role()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectUnauthenticatedAsync();

        JsonElement result = await peer.CallAsync("session.auth", $$"""{"host_token":"{{daemon.HostToken}}"}""");

        await Assert.That(result.GetRawText()).IsEqualTo("""{"ok":true,"auth_enabled":true,"role":"host"}""");
        await Assert.That((await peer.CallAsync("ping")).GetString()).IsEqualTo("pong");
    }

    [Test]
    [Arguments("""{"token":"HOST"}""")]
    [Arguments("""{"host_token":"AUTH"}""")]
    [Arguments("""{"host_token":""}""")]
    [Arguments("""{"token":""}""")]
    public async Task Neither_token_does_for_the_other(string parameters)
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectUnauthenticatedAsync();

        RpcFailure failure = await peer.CallFailsAsync("session.auth", parameters.Replace("HOST", daemon.HostToken).Replace("AUTH", daemon.AuthToken));

        await Assert.That(failure.Code).IsEqualTo(HandlerFailed);
        await Assert.That((await peer.CallFailsAsync("ping")).Code).IsEqualTo(AuthRequired);
    }

    [Test]
    [Arguments("{}")]
    [Arguments("[]")]
    [Arguments("""{"token":7}""")]
    [Arguments("null")]
    public async Task An_auth_without_a_token_is_refused_and_can_be_repeated(string parameters)
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectUnauthenticatedAsync();

        await peer.CallFailsAsync("session.auth", parameters);

        await peer.AuthenticateAsync(daemon.AuthToken);
    }

    [Test]
    public async Task An_agent_that_nobody_supervises_cannot_authenticate()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectUnauthenticatedAsync();

        RpcFailure failure = await peer.CallFailsAsync("session.auth", $$"""{"token":"{{daemon.AuthToken}}","agent_id":"ghost"}""");

        await Assert.That(failure.Code).IsEqualTo(HandlerFailed);
        await Assert.That(failure.Text).Contains("ghost");
        await Assert.That((await peer.CallFailsAsync("ping")).Code).IsEqualTo(AuthRequired);
    }

    [Test]
    public async Task A_batch_is_never_a_way_to_authenticate()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RawPeer peer = await daemon.ConnectRawAsync();

        await peer.SendTextAsync($$"""[{"jsonrpc":"2.0","id":1,"method":"session.auth","params":{"token":"{{daemon.AuthToken}}"} },{"jsonrpc":"2.0","id":2,"method":"ping"}]""");

        string answer = await peer.ReadTextAsync();
        await Assert.That(answer).Contains("-32001");
        await Assert.That(answer).DoesNotContain("pong");
        await Assert.That(answer).DoesNotContain("auth_enabled");
        await Assert.That(await peer.TryReadTextAsync()).IsNull();
    }

    [Test]
    public async Task Without_auth_everybody_is_served_and_no_token_file_is_written()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer peer = await daemon.ConnectUnauthenticatedAsync();

        await Assert.That((await peer.CallAsync("ping")).GetString()).IsEqualTo("pong");
        JsonElement result = await peer.CallAsync("session.auth", """{"token":"anything"}""");
        await Assert.That(result.GetRawText()).IsEqualTo("""{"ok":true,"auth_enabled":false}""");
        await Assert.That(File.Exists(daemon.Home.AuthTokenFile)).IsFalse();
        await Assert.That(File.Exists(daemon.Home.HostTokenFile)).IsFalse();
    }

    [Test]
    public async Task Without_auth_an_agent_is_one_connection_at_a_time()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer second = await daemon.ConnectUnauthenticatedAsync();
        await using (RpcPeer first = await daemon.ConnectUnauthenticatedAsync())
        {
            JsonElement result = await first.CallAsync("session.auth", """{"agent_id":"a"}""");
            await Assert.That(result.GetRawText()).IsEqualTo("""{"ok":true,"auth_enabled":false,"agent_id":"a"}""");

            RpcFailure failure = await second.CallFailsAsync("session.auth", """{"agent_id":"a"}""");
            await Assert.That(failure.Text).Contains("already attached on another connection");

            await first.CloseAsync();
        }

        // The farewell lets go of the agent before its grace begins; only the news of the end has to arrive.
        await Eventually.TrueAsync("the agent is free again", async () => !(await second.SendAsync("session.auth", """{"agent_id":"a"}""")).TryGetProperty("error", out _));
    }

    [Test]
    public async Task Tokens_are_private_files_of_43_characters_and_new_for_every_start()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        string auth = daemon.AuthToken, host = daemon.HostToken;

        await Assert.That(auth).Matches("^[A-Za-z0-9_-]{43}$");
        await Assert.That(host).Matches("^[A-Za-z0-9_-]{43}$");
        await Assert.That(host).IsNotEqualTo(auth);
        await Assert.That(File.GetUnixFileMode(daemon.Home.AuthTokenFile)).IsEqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite);
        await Assert.That(File.GetUnixFileMode(daemon.Home.HostTokenFile)).IsEqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite);

        await daemon.KillAsync();
        await daemon.RestartAsync();
        await Assert.That(daemon.AuthToken).IsNotEqualTo(auth);
        await Assert.That(daemon.HostToken).IsNotEqualTo(host);
    }

    [Test]
    public async Task A_token_given_by_variable_is_the_token_of_this_launch()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync(new DaemonStart { Environment = new Dictionary<string, string> { ["CAR_AUTH_TOKEN"] = "of-my-own-making" } });
        await using RpcPeer peer = await daemon.ConnectUnauthenticatedAsync();

        await peer.AuthenticateAsync("of-my-own-making");
    }

    [Test]
    public async Task A_token_given_by_file_is_trimmed_and_the_file_deleted()
    {
        using var home = new TempHome();
        string file = home.In("given");
        await File.WriteAllTextAsync(file, " from-a-file \n");
        await using TestDaemon daemon = await TestDaemon.StartAsync(new DaemonStart { Home = home, Arguments = ["--auth-token-file", file] });
        await using RpcPeer peer = await daemon.ConnectUnauthenticatedAsync();

        await peer.AuthenticateAsync("from-a-file");
        await Assert.That(File.Exists(file)).IsFalse();
    }

    [Test]
    public async Task The_dashboard_serves_the_auth_token_and_never_the_host_token()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();

        HttpAnswer answer = await GetAsync(daemon, "/auth-token");
        await Assert.That(answer.Status).IsEqualTo(200);
        await Assert.That(answer.Body).IsEqualTo(daemon.AuthToken);
        await Assert.That(answer.Headers["Content-Type"]).StartsWith("text/plain");
        await Assert.That(answer.Headers["Cache-Control"]).IsEqualTo("no-store");
        await Assert.That((await GetAsync(daemon, "/host-token")).Status).IsEqualTo(404);
    }

    [Test]
    public async Task Without_auth_there_is_no_token_to_serve()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");

        await Assert.That((await GetAsync(daemon, "/auth-token")).Status).IsEqualTo(404);
    }

    [Test]
    [Arguments("Host", "foreign.example")]
    [Arguments("Origin", "http://foreign.example")]
    public async Task The_token_is_not_served_to_a_page_from_elsewhere(string header, string value)
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();

        HttpAnswer answer = await GetAsync(daemon, "/auth-token", header, value);

        await Assert.That(answer.Status).IsEqualTo(403);
        await Assert.That(answer.Body).DoesNotContain(daemon.AuthToken);
    }

    [Test]
    public async Task Health_tells_version_process_connections_and_readiness()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();

        HttpAnswer answer = await GetAsync(daemon, "/health");
        await Assert.That(answer.Status).IsEqualTo(200);
        using JsonDocument health = JsonDocument.Parse(answer.Body);
        await Assert.That(health.RootElement.GetProperty("pid").GetInt32()).IsEqualTo(daemon.ProcessId);
        await Assert.That(health.RootElement.GetProperty("ready").GetBoolean()).IsTrue();
        await Assert.That(health.RootElement.GetProperty("version").GetString()).IsNotEmpty();

        await using RpcPeer peer = await daemon.ConnectAsync();
        using JsonDocument later = JsonDocument.Parse((await GetAsync(daemon, "/health")).Body);
        await Assert.That(Connections(later) - Connections(health)).IsEqualTo(1);

        static int Connections(JsonDocument health) => health.RootElement.GetProperty("connections").GetInt32();
    }

    private static async Task<HttpAnswer> GetAsync(TestDaemon daemon, string path, string header = "Accept", string value = "*/*")
    {
        await using RawPeer peer = await RawPeer.ConnectAsync(new IPEndPoint(IPAddress.Loopback, daemon.Port + 1));
        string host = header == "Host" ? "" : $"Host: {peer.HostHeader}\r\n";
        await peer.SendAsync($"GET {path} HTTP/1.1\r\n{host}{header}: {value}\r\n\r\n");
        return await peer.ReadHttpAsync();
    }
}

using System.Text.Json;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>What one connection has, may and leaves behind: protocol 2, 3, 6.5 and 7.</summary>
public sealed class SessionTests
{
    [Test]
    public async Task Session_init_registers_tools_and_names_the_session()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();

        JsonElement result = await peer.CallAsync("session.init", """{"tools":[{"name":"a"},{"name":"b"}]}""");

        await Assert.That(result.GetProperty("session_id").GetString()!).Matches("^[0-9a-f]{12}$");
        await Assert.That(result.GetProperty("tools_registered").GetInt32()).IsEqualTo(2);
        await Assert.That(result.GetProperty("policies_registered").GetInt32()).IsEqualTo(0);
        await Assert.That(await ToolNamesAsync(peer)).IsEqualTo("a,b");
    }

    [Test]
    public async Task Tools_are_listed_by_name_and_replaced_by_a_second_registration()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();

        JsonElement count = await peer.CallAsync("tools.register", """[{"name":"z","description":"first"},{"name":"a","parameters":{"type":"object"} }]""");
        await Assert.That(count.GetInt32()).IsEqualTo(2);
        await peer.CallAsync("tools.register", """[{"name":"z","description":"second"}]""");

        JsonElement list = await peer.CallAsync("tools.list");
        await Assert.That(list.GetProperty("count").GetInt32()).IsEqualTo(list.GetProperty("tools").GetArrayLength());
        await Assert.That(await ToolNamesAsync(peer)).IsEqualTo("a,z");
        JsonElement z = list.GetProperty("tools").EnumerateArray().Single(t => t.GetProperty("name").GetString() == "z");
        await Assert.That(z.GetProperty("description").GetString()).IsEqualTo("second");
        await Assert.That(z.TryGetProperty("returns", out _)).IsFalse();
    }

    [Test]
    public async Task Unregistering_says_whether_there_was_anything()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.RegisterToolsAsync("t");

        await Assert.That((await peer.CallAsync("tools.unregister", """{"name":"t"}""")).GetRawText()).IsEqualTo("""{"unregistered":"t","removed":1}""");
        await Assert.That((await peer.CallAsync("tools.unregister", """{"name":"t"}""")).GetRawText()).IsEqualTo("""{"unregistered":"t","removed":0}""");
        await Assert.That((await peer.CallFailsAsync("tools.unregister")).Code).IsEqualTo(-32602);
    }

    [Test]
    public async Task Tools_belong_to_their_connection()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer one = await daemon.ConnectAsync();
        await using RpcPeer other = await daemon.ConnectAsync();

        await one.RegisterToolsAsync("mine");

        await Assert.That(await ToolNamesAsync(other)).IsEqualTo("");
    }

    [Test]
    public async Task The_handshake_agrees_on_version_2_and_may_be_repeated()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();

        for (int round = 0; round < 2; round++)
        {
            JsonElement result = await peer.CallAsync("server.handshake", """{"protocol_version":2,"client_version":"1.0"}""");
            await Assert.That(result.GetProperty("protocol_version").GetInt32()).IsEqualTo(2);
            await Assert.That(result.GetProperty("client_protocol_version").GetInt32()).IsEqualTo(2);
            await Assert.That(result.GetProperty("server_version").GetString()).IsNotEmpty();
        }
    }

    [Test]
    [Arguments("{}")]
    [Arguments("""{"protocol_version":1}""")]
    [Arguments("""{"protocol_version":"2"}""")]
    [Arguments("null")]
    public async Task Another_protocol_version_is_a_mismatch_and_the_connection_stays(string parameters)
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();

        RpcFailure failure = await peer.CallFailsAsync("server.handshake", parameters);

        await Assert.That(failure.Code).IsEqualTo(-32006);
        await Assert.That(failure.Text).StartsWith("protocol version mismatch: ");
        await Assert.That((await peer.CallAsync("ping")).GetString()).IsEqualTo("pong");
    }

    [Test]
    public async Task Server_info_names_the_version_that_the_command_line_names()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();

        JsonElement info = await peer.CallAsync("server.info");

        await Assert.That((await daemon.CommandAsync("version")).Output).IsEqualTo($"car-server {info.GetProperty("version").GetString()}\n");
    }

    [Test]
    public async Task An_unknown_method_is_named_in_the_error()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();

        RpcFailure failure = await peer.CallFailsAsync("no.such.method");

        await Assert.That(failure.Code).IsEqualTo(-32601);
        await Assert.That(failure.Text).IsEqualTo("unknown method: no.such.method");
    }

    [Test]
    public async Task Requests_in_flight_are_bounded_and_callback_replies_still_get_through()
    {
        const int limit = 1_024;
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.RegisterToolsAsync("wait");
        const string proposal = """{"proposal":{"actions":[{"type":"tool_call","tool":"wait","failure_behavior":"skip"}]} }""";

        Task<JsonElement>[] waiting = [.. Enumerable.Range(0, limit).Select(_ => peer.SendAsync("proposal.submit", proposal))];
        ToolRequest first = await peer.NextToolCallAsync();
        for (int i = 1; i < limit; i++) await peer.NextToolCallAsync();
        RpcFailure refused = await peer.CallFailsAsync("proposal.submit", proposal);

        await Assert.That(refused.Code).IsEqualTo(-32008);
        await Assert.That(refused.Text).IsEqualTo($"too many requests in flight (limit {limit})");

        await peer.ReplyAsync(first, "1");
        await (await Task.WhenAny(waiting)).Soon("the one proposal whose tool has answered");
        peer.Tools = _ => Task.FromResult("2");
        await peer.CallAsync("proposal.submit", proposal);
    }

    [Test]
    public async Task A_batch_of_256_is_answered_and_one_more_is_refused_whole()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RawPeer peer = await daemon.ConnectRawAsync();

        await peer.SendTextAsync(Batch(256));
        using (JsonDocument answers = JsonDocument.Parse(await peer.ReadTextAsync()))
            await Assert.That(answers.RootElement.GetArrayLength()).IsEqualTo(256);

        await peer.SendTextAsync(Batch(257));
        using (JsonDocument answer = JsonDocument.Parse(await peer.ReadTextAsync()))
        {
            JsonElement error = answer.RootElement.GetProperty("error");
            await Assert.That(error.GetProperty("code").GetInt32()).IsEqualTo(-32600);
            await Assert.That(error.GetProperty("message").GetString()!).Contains("256");
        }

        static string Batch(int members) => $"[{string.Join(',', Enumerable.Range(0, members).Select(i => $$"""{"jsonrpc":"2.0","id":{{i}},"method":"ping"}"""))}]";
    }

    [Test]
    public async Task Before_auth_a_message_may_have_64_KiB_and_not_one_byte_more()
    {
        const int limit = 64 * 1024;
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        string body = $$"""{"jsonrpc":"2.0","id":1,"method":"session.auth","params":{"token":"{{daemon.AuthToken}}"} }""";

        await using RawPeer fits = await daemon.ConnectRawAsync();
        await fits.SendTextAsync(body.PadRight(limit));
        await Assert.That(await fits.ReadTextAsync()).Contains("\"ok\":true");

        await using RawPeer over = await daemon.ConnectRawAsync();
        await over.SendTextAsync(body.PadRight(limit + 1));
        await Assert.That(await over.ReadCloseCodeAsync()).IsEqualTo(1009);
    }

    [Test]
    public async Task A_message_may_be_as_long_as_the_limit_says()
    {
        const int limit = 1_000_000;
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth", "--max-message-bytes", "1000000");
        const string body = """{"jsonrpc":"2.0","id":1,"method":"ping"}""";

        await using RawPeer fits = await daemon.ConnectRawAsync();
        await fits.SendTextAsync(body.PadRight(limit));
        await Assert.That(await fits.ReadTextAsync()).Contains("pong");

        await using RawPeer over = await daemon.ConnectRawAsync();
        await over.SendAsync(RawPeer.FrameHeader(Op.Text, limit + 1));
        await Assert.That(await over.ReadCloseCodeAsync()).IsEqualTo(1009);
    }

    [Test]
    public async Task One_connection_more_than_allowed_gets_503_and_a_place_once_another_leaves()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth", "--max-connections", "2");
        await using RpcPeer first = await daemon.ConnectUnauthenticatedAsync();
        await using RpcPeer second = await daemon.ConnectUnauthenticatedAsync();
        await first.CallAsync("ping");
        await second.CallAsync("ping");

        await using (RawPeer third = await daemon.OpenAsync())
        {
            await third.SendAsync(RawPeer.UpgradeRequest(third.HostHeader));
            await Assert.That((await third.ReadHttpAsync()).Status).IsEqualTo(503);
        }

        await first.CloseAsync();
        await Eventually.TrueAsync("the place is free", async () =>
        {
            await using RawPeer again = await daemon.OpenAsync();
            await again.SendAsync(RawPeer.UpgradeRequest(again.HostHeader));
            return (await again.ReadHttpAsync()).Status == 101;
        });
    }

    [Test]
    public async Task The_journal_has_a_file_for_each_connection_that_had_an_event()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer silent = await daemon.ConnectAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await silent.CallAsync("ping");
        string id = (await peer.CallAsync("session.init", """{"tools":[]}""")).GetProperty("session_id").GetString()!;

        await peer.CallAsync("proposal.submit", """{"proposal":{"id":"p1","actions":[{"id":"a1","type":"state_write","parameters":{"key":"k","value":1} }]} }""");

        string file = Path.Combine(daemon.Home.Journals, id + ".jsonl");
        await Eventually.TrueAsync("the journal tells of the action", () => File.Exists(file) && File.ReadAllText(file).Contains("action_succeeded"));
        await Assert.That(File.GetUnixFileMode(file)).IsEqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite);
        await Assert.That(Directory.GetFiles(daemon.Home.Journals).Length).IsEqualTo(1);
        string[] kinds = [.. File.ReadAllLines(file).Select(Kind)];
        int received = Array.IndexOf(kinds, "proposal_received"), validated = Array.IndexOf(kinds, "action_validated");
        int executing = Array.IndexOf(kinds, "action_executing"), succeeded = Array.IndexOf(kinds, "action_succeeded");
        await Assert.That(received >= 0 && received < validated && validated < executing && executing < succeeded).IsTrue();

        static string Kind(string line)
        {
            using JsonDocument item = JsonDocument.Parse(line);
            foreach (string name in (string[])["action_id", "proposal_id", "data", "timestamp"])
                if (!item.RootElement.TryGetProperty(name, out _)) throw new InvalidDataException($"no {name} in {line}");
            return item.RootElement.GetProperty("kind").GetString()!;
        }
    }

    private static async Task<string> ToolNamesAsync(RpcPeer peer) =>
        string.Join(',', (await peer.CallAsync("tools.list")).GetProperty("tools").EnumerateArray().Select(t => t.GetProperty("name").GetString())
            .Where(name => name != "messaging.send"));   // the built-in of later builds
}

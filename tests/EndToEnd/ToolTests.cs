using System.Text.Json;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>Schemas, kept results, rate limits and the basics, through the real socket.</summary>
public class ToolTests
{
    private static async Task<JsonElement> SubmitAsync(RpcPeer peer, params string[] actions) =>
        await peer.CallAsync("proposal.submit", $$"""{"proposal":{"actions":[{{string.Join(',', actions)}}]} }""");

    private static string Action(string id, string tool, string parameters, string more = "") =>
        $$"""{"id":"{{id}}","type":"tool_call","tool":"{{tool}}","parameters":{{parameters}},"failure_behavior":"skip"{{more}} }""";

    private static async Task<JsonElement> CallAsync(RpcPeer peer, string tool, string parameters) =>
        (await SubmitAsync(peer, Action("a", tool, parameters))).GetProperty("results")[0];

    private static string Told(JsonElement result) => result.GetProperty("error") is { ValueKind: JsonValueKind.String } error ? error.GetString()! : result.GetProperty("output").GetRawText();

    /// <summary>A client that knows no tool at all.</summary>
    private static async Task<RpcPeer> BasicsAsync(TestDaemon daemon)
    {
        RpcPeer peer = await daemon.ConnectAsync();
        await Assert.That((await peer.CallAsync("agents.register_basics", "null")).ValueKind).IsEqualTo(JsonValueKind.Null);
        _ = RefuseAllAsync(peer);
        return peer;
    }

    private static async Task RefuseAllAsync(RpcPeer peer)
    {
        try
        {
            while (true) await peer.RefuseAsync(await peer.NextToolCallAsync(), "unknown tool");
        }
        catch (Exception)
        {
            // The test is over.
        }
    }

    [Test]
    public async Task The_basics_work_in_the_workspace_once_the_client_says_that_it_has_no_such_tool()
    {
        using var workspace = new TempHome();
        await File.WriteAllTextAsync(workspace.In("notes.md"), "one\ntwo\n");
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth", "--workspace", workspace.Path);
        await using RpcPeer peer = await BasicsAsync(daemon);

        JsonElement listed = await peer.CallAsync("tools.list");
        await Assert.That(string.Join(' ', listed.GetProperty("tools").EnumerateArray().Select(tool => tool.GetProperty("name").GetString())))
            .IsEqualTo("calculate edit_file find_files grep_files list_dir read_file write_file");

        await Assert.That(Told(await CallAsync(peer, "read_file", """{"path":"notes.md"}"""))).Contains("one\\ntwo");
        await Assert.That(Told(await CallAsync(peer, "edit_file", """{"path":"notes.md","old_text":"two","new_text":"2"}"""))).IsEqualTo("""{"path":"notes.md","replacements":1}""");
        await Assert.That(Told(await CallAsync(peer, "read_file", """{"path":"notes.md"}"""))).Contains("one\\n2");   // and not what was kept
        await Assert.That(Told(await CallAsync(peer, "write_file", """{"path":"src/a.cs","content":"class A;"}"""))).Contains("\"created\":true");
        await Assert.That(Told(await CallAsync(peer, "find_files", """{"pattern":"*.cs"}"""))).IsEqualTo("""{"files":["src/a.cs"],"truncated":false}""");
        await Assert.That(Told(await CallAsync(peer, "grep_files", """{"pattern":"class \\w"}"""))).Contains("""{"path":"src/a.cs","line":1,"text":"class A;"}""");
        await Assert.That(Told(await CallAsync(peer, "list_dir", "{}"))).Contains("notes.md");
        await Assert.That(Told(await CallAsync(peer, "calculate", """{"expression":"2*(3+4)"}"""))).IsEqualTo("""{"result":14}""");

        await Assert.That(Told(await CallAsync(peer, "read_file", """{"path":"../../etc/passwd"}"""))).IsEqualTo("read_file: '..' is not allowed in a path");
        await Assert.That(Told(await CallAsync(peer, "read_file", """{"path":"/etc/passwd"}"""))).IsEqualTo("read_file: it lies outside the workspace");
        File.CreateSymbolicLink(workspace.In("link"), "/etc/passwd");
        await Assert.That(Told(await CallAsync(peer, "read_file", """{"path":"link"}"""))).DoesNotContain("root");
        await Assert.That(Told(await CallAsync(peer, "read_file", "{}"))).IsEqualTo("missing required parameter 'path' for tool 'read_file'");
        await Assert.That(Told(await CallAsync(peer, "read_file", """{"path":1}"""))).IsEqualTo("tool 'read_file' parameter validation: value is not of type \"string\" (at /path)");
    }

    [Test]
    public async Task The_client_is_asked_first_and_its_answer_stands()
    {
        using var workspace = new TempHome();
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth", "--workspace", workspace.Path);
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.CallAsync("agents.register_basics");
        peer.Tools = _ => Task.FromResult("42");
        await Assert.That(Told(await CallAsync(peer, "calculate", """{"expression":"1"}"""))).IsEqualTo("42");
        await peer.RegisterToolsAsync("mine");
        peer.Tools = null;
        Task<JsonElement> submitted = CallAsync(peer, "mine", "{}");
        await peer.RefuseAsync(await peer.NextToolCallAsync(), "unknown tool 'mine'");
        await Assert.That(Told(await submitted)).IsEqualTo("no handler for tool 'mine'");
    }

    /// <summary>Whoever can read the host token is the host.</summary>
    [Test]
    public async Task The_daemons_own_files_are_in_no_workspace()
    {
        using var home = new TempHome();
        await using TestDaemon none = await TestDaemon.StartAsync(new DaemonStart { Home = home, Arguments = ["--no-auth", "--workspace", "none"] });
        await using RpcPeer peer = await BasicsAsync(none);
        await Assert.That(Told(await CallAsync(peer, "list_dir", "{}"))).IsEqualTo("list_dir: this daemon has no workspace: start it in one, or with --workspace");

        using var elsewhere = new TempHome();
        Directory.CreateSymbolicLink(elsewhere.In("link"), home.Path);
        foreach (string own in (string[])["policies", "runs"]) Directory.CreateDirectory(home.In(own));
        Directory.CreateSymbolicLink(elsewhere.In("inside"), home.In("policies"));
        foreach (string workspace in (string[])[home.Path, "/", elsewhere.In("link"), elsewhere.In("missing"), home.In("policies"), home.In("runs"), elsewhere.In("inside")])
        {
            CommandOutcome refused = await CarProcess.RunAsync(home.Path, ["serve", "--bind", "127.0.0.1:0", "--workspace", workspace]);
            await Assert.That(refused.ExitCode).IsNotEqualTo(0);
            await Assert.That(refused.Errors).Contains("cannot use the workspace");
        }
    }

    /// <summary>Its regular expressions are made ready beside the read loop; requests behind it wait for it all the same.</summary>
    [Test]
    public async Task What_is_sent_right_behind_a_slow_registration_finds_its_tools()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer peer = await daemon.ConnectAsync();
        peer.Tools = _ => Task.FromResult("1");
        string patterns = string.Join(',', Enumerable.Range(0, 16).Select(i => $$"""{"pattern":"{{string.Concat(Enumerable.Range('A', 50).Where(c => c is not ('[' or '\\' or ']' or '^')).Select(c => (char)c))}}{{i}}"}"""));
        const string Submit = """{"proposal":{"actions":[{"type":"tool_call","tool":"slow"}]} }""";
        Task<JsonElement> registered = peer.CallAsync("tools.register", $$$"""[{"name":"slow","parameters":{"properties":{"x":{"anyOf":[{{{patterns}}}]} } } }]""");
        Task<JsonElement> submitted = peer.CallAsync("proposal.submit", Submit), verified = peer.CallAsync("verify", Submit), listed = peer.CallAsync("tools.list");
        await Assert.That((await registered).GetInt32()).IsEqualTo(1);
        await Assert.That((await verified).GetProperty("valid").GetBoolean()).IsTrue();
        await Assert.That((await listed).GetProperty("count").GetInt32()).IsEqualTo(1);
        await Assert.That((await submitted).GetProperty("results")[0].GetProperty("status").GetString()).IsEqualTo("succeeded");
    }

    [Test]
    public async Task A_schema_is_refused_when_it_is_registered_and_a_value_when_it_is_sent()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer peer = await daemon.ConnectAsync();
        RpcFailure failure = await peer.CallFailsAsync("tools.register", """[{"name":"t","parameters":{"type":"object","unevaluatedProperties":false}}]""");
        await Assert.That(failure.Text).Contains("tool 't' has an invalid registered JSON Schema: keyword 'unevaluatedProperties' is not supported");
        failure = await peer.CallFailsAsync("tools.register", """[{"name":"t","parameters":{"$ref":"#"}}]""");
        await Assert.That(failure.Text).Contains("a $ref leads back to itself");
        failure = await peer.CallFailsAsync("tools.register", """[{"name":"t","rate_limit":{"max_calls":0,"interval_secs":1}}]""");
        await Assert.That(failure.Text).Contains("rate_limit.max_calls must be at least 1");

        // Each level asks four times what the one below it asks, of a value of a byte; and a pattern that others step back in for ever.
        string levels = string.Join(',', Enumerable.Range(1, 14).Select(i => $$"""  "d{{i}}":{"allOf":[{{string.Join(',', Enumerable.Repeat($$"""{"$ref":"#/$defs/d{{i - 1}}"}""", 4))}}],"maximum":9} """));
        await peer.CallAsync("tools.register", $$$"""[{"name":"bomb","parameters":{"properties":{"x":{"$ref":"#/$defs/d14"},"y":{"pattern":"^(a+)+$"} },"$defs":{"d0":{},{{{levels}}} } } }]""");
        await Assert.That(Told(await CallAsync(peer, "bomb", """{"x":1}"""))).IsEqualTo("tool 'bomb' parameter validation: takes too long to be checked (at /)");
        await Assert.That(Told(await CallAsync(peer, "bomb", $$"""{"y":"{{new string('a', 1_000_000)}}!"}"""))).Contains("string does not match '^(a+)+$' (at /y)");

        await peer.CallAsync("tools.register", """[{"name":"list","parameters":{"properties":{"n":{"items":{"type":"integer"}}}},"returns":{"type":"string"}}]""");
        peer.Tools = _ => Task.FromResult("1");
        string megabyte = string.Join(',', Enumerable.Repeat("1234567", 131_072));
        await Assert.That(Told(await CallAsync(peer, "list", $$"""{"n":[{{megabyte}}]}"""))).IsEqualTo("tool 'list' output validation: value is not of type \"string\" (at /)");
        await Assert.That(Told(await CallAsync(peer, "list", $$"""{"n":[{{megabyte}},"secret"]}"""))).IsEqualTo("tool 'list' parameter validation: value is not of type \"integer\" (at /n/131072)");

        JsonElement verified = await peer.CallAsync("verify", $$"""{"proposal":{"actions":[{{Action("a", "list", """{"n":[0.5]}""")}}]} }""");
        await Assert.That(verified.GetProperty("issues")[0].GetProperty("message").GetString()).IsEqualTo("tool 'list' parameter validation: value is not of type \"integer\" (at /n/0)");
    }

    [Test]
    public async Task Results_are_kept_and_calls_are_paced_as_the_tool_asks()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.CallAsync("tools.register", """[{"name":"kept","cache_ttl_secs":600},{"name":"paced","rate_limit":{"max_calls":1,"interval_secs":3600}}]""");
        peer.Tools = call => Task.FromResult("1");
        JsonElement twice = await SubmitAsync(peer, Action("a", "kept", """{"x":1}"""));
        twice = await SubmitAsync(peer, Action("a", "kept", """{"x":1}"""));
        await Assert.That(twice.GetProperty("cost").GetProperty("tool_calls").GetInt32()).IsEqualTo(0);
        await Assert.That(peer.ToolCalls.Count).IsEqualTo(1);

        await CallAsync(peer, "paced", "{}");
        await using (RpcPeer other = await daemon.ConnectAsync())
        {
            // Each connection has its own bucket, and one that leaves while it waits costs nothing more.
            await other.CallAsync("tools.register", """[{"name":"paced","rate_limit":{"max_calls":1,"interval_secs":3600}}]""");
            other.Tools = call => Task.FromResult("1");
            await CallAsync(other, "paced", "{}");
            _ = other.SendAsync("proposal.submit", $$"""{"proposal":{"actions":[{{Action("a", "paced", "{}")}}]} }""");
            await other.CallAsync("ping");
        }
        // A new registration begins with a full bucket.
        await peer.CallAsync("tools.register", """[{"name":"paced","rate_limit":{"max_calls":1,"interval_secs":3600}}]""");
        await Assert.That(Told(await CallAsync(peer, "paced", "{}"))).IsEqualTo("1");
    }

    [Test]
    public async Task A_tool_of_a_connection_cannot_be_detached()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.RegisterToolsAsync("t");
        foreach (string mode in (string[])["streaming", "long_running"])
        {
            JsonElement result = await SubmitAsync(peer, Action("a", "t", "{}", $",\"invocation_mode\":\"{mode}\""));
            await Assert.That(Told(result.GetProperty("results")[0])).Contains("does not support streaming/long-running invocation");
        }
        await Assert.That((await peer.CallAsync("tools.poll", """{"handle":"h"}""")).ValueKind).IsEqualTo(JsonValueKind.Null);
        await Assert.That((await peer.CallAsync("tools.cancel", """{"handle":"h"}""")).GetRawText()).IsEqualTo("""{"cancelled":false}""");
        for (int i = 0; i < 2; i++) await Assert.That((await peer.CallAsync("tools.stream.subscribe")).GetRawText()).IsEqualTo("""{"subscribed":true}""");
        await Assert.That((await peer.CallFailsAsync("tools.poll", "{}")).Code).IsEqualTo(-32602);
    }
}

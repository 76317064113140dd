using System.Text.Json;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>Protocol 3.5, 8 and the policy rows of 10.3 and 10.4, through the socket.</summary>
public sealed class PolicyTests
{
    private const string Secret = "hunter2-7f3a";

    [Test]
    [Arguments("deny_tool", """ "target":"t" """, "{}", "tool 't' denied")]
    [Arguments("deny_tool", """ "target":"u" """, "{}", null)]
    [Arguments("deny_tool_param", """ "target":"t","key":"c","pattern":"rm -rf" """, """{"c":"sudo r\u006d -rf / hunter2-7f3a"}""", "param 'c' matches 'rm -rf'")]
    [Arguments("deny_tool_param", """ "target":"t","key":"c","pattern":"rm -rf" """, """{"c":"ls"}""", null)]
    [Arguments("require_state", """ "key":"ok","value":{"a":[1]} """, "{}", "state['ok'] must be {\"a\":[1]}")]
    [Arguments("require_state", """ "key":"no","value":1 """, "{}", null)]
    public async Task A_registered_rule_denies_or_lets_pass(string rule, string fields, string parameters, string? reason)
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await WithToolsAsync(daemon, "t");
        await peer.CallAsync("state.set", """{"key":"no","value":1.0}""");

        JsonElement registered = await peer.CallAsync("policy.register", $$"""{"name":"n","rule":"{{rule}}",{{fields}} }""");
        await Assert.That(registered.GetRawText()).IsEqualTo("""{"registered":"n","name":"n","scope":"global"}""");
        JsonElement result = Single(await SubmitAsync(peer, Call("a", "t", parameters)));

        await Assert.That(result.GetProperty("status").GetString()).IsEqualTo(reason is null ? "succeeded" : "rejected");
        await Assert.That(result.GetProperty("error").GetString()).IsEqualTo(reason);
        await Assert.That(peer.ToolCalls.Count).IsEqualTo(reason is null ? 1 : 0);
    }

    [Test]
    [Arguments("""{"name":"n","rule":"deny_tool_callback"}""", -32603, "cannot be registered over the wire")]
    [Arguments("""{"name":"n","rule":"allow"}""", -32603, "unknown policy rule 'allow'")]
    [Arguments("""{"name":"n","rule":"deny_tool"}""", -32602, "needs target, a string, got none")]
    [Arguments("""{"name":"n","rule":"deny_tool","target":["t"]}""", -32602, "params.target")]
    [Arguments("""{"name":"n","rule":"deny_tool","target":"t","session_id":"zzz"}""", -32603, "unknown session_id 'zzz'")]
    public async Task A_wrong_policy_is_refused_in_words(string definition, int code, string words)
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();

        RpcFailure failure = await peer.CallFailsAsync("policy.register", definition);

        await Assert.That(failure.Code).IsEqualTo(code);
        await Assert.That(failure.Text).Contains(words);
        await Assert.That((await peer.CallAsync("policy.list")).GetRawText()).IsEqualTo("""{"policies":[],"scope":"global"}""");
    }

    [Test]
    public async Task Session_init_takes_policies_all_or_none()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        peer.Tools = _ => Task.FromResult("1");

        RpcFailure failure = await peer.CallFailsAsync("session.init", """{"tools":[{"name":"t"}],"policies":[{"name":"a","rule":"deny_tool","target":"t"},{"name":"b","rule":"dance"}]}""");
        await Assert.That(failure.Text).IsEqualTo("unknown policy rule 'dance'");
        await Assert.That((await peer.CallAsync("tools.list")).GetProperty("count").GetInt32()).IsEqualTo(0);

        JsonElement init = await peer.CallAsync("session.init", """{"tools":[{"name":"t"}],"policies":[{"name":"a","rule":"deny_tool","target":"t"},{"name":"a","rule":"require_state","key":"k","value":1}]}""");
        await Assert.That(init.GetProperty("policies_registered").GetInt32()).IsEqualTo(2);
        await Assert.That(Single(await SubmitAsync(peer, Call("a", "t"))).GetProperty("error").GetString()).IsEqualTo("tool 't' denied; state['k'] must be 1");
        await Assert.That((await peer.CallAsync("policy.unregister", """{"name":"a"}""")).GetRawText()).IsEqualTo("""{"unregistered":"a","removed":2,"scope":"global"}""");
        await Assert.That(Statuses(await SubmitAsync(peer, Call("a", "t")))).IsEqualTo("succeeded");
    }

    [Test]
    public async Task Global_and_session_policies_both_hold_and_a_scope_sets_the_session_aside()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await WithToolsAsync(daemon, "g", "s", "free");
        string session = (await peer.CallAsync("session.policy.open")).GetProperty("session_id").GetString()!;
        await peer.CallAsync("policy.register", """{"name":"no g","rule":"deny_tool","target":"g"}""");
        JsonElement registered = await peer.CallAsync("policy.register", $$"""{"name":"no s","rule":"deny_tool","target":"s","session_id":"{{session}}"}""");
        await Assert.That(registered.GetProperty("scope").GetRawText()).IsEqualTo($$"""{"session_id":"{{session}}"}""");
        await Assert.That((await peer.CallAsync("policy.list", $$"""{"session_id":"{{session}}"}""")).GetProperty("policies").GetRawText())
            .IsEqualTo("""[{"name":"no s","description":"denies tool 's'"}]""");
        string calls = string.Join(',', Call("a", "g", behavior: "skip"), Call("b", "s", behavior: "skip"), Call("c", "free", behavior: "skip"));

        await Assert.That(Statuses(await SubmitAsync(peer, calls))).IsEqualTo("rejected succeeded succeeded");
        await Assert.That(Statuses(await SubmitAsync(peer, calls, $$""","session_id":"{{session}}" """))).IsEqualTo("rejected rejected succeeded");
        await Assert.That(Statuses(await SubmitAsync(peer, calls, $$""","session_id":"{{session}}","scope":{"callerId":"me"} """))).IsEqualTo("rejected succeeded succeeded");

        await Assert.That((await peer.CallAsync("session.policy.close", $$"""{"session_id":"{{session}}"}""")).GetRawText()).IsEqualTo("""{"closed":true}""");
        await Assert.That((await peer.CallAsync("session.policy.close", $$"""{"session_id":"{{session}}"}""")).GetRawText()).IsEqualTo("""{"closed":false}""");
        RpcFailure gone = await peer.CallFailsAsync("proposal.submit", $$"""{"proposal":{"actions":[]},"session_id":"{{session}}"}""");
        await Assert.That(gone.Text).IsEqualTo($"unknown session_id '{session}': no policy session is open on this connection");
        await using RpcPeer other = await WithToolsAsync(daemon, "g");
        await Assert.That(Statuses(await SubmitAsync(other, Call("a", "g")))).IsEqualTo("succeeded");
    }

    [Test]
    [Arguments("abort", "succeeded rejected skipped", "2")]
    [Arguments("retry", "succeeded rejected skipped", "2")]
    [Arguments("skip", "succeeded rejected succeeded", "3")]
    public async Task After_a_denial_the_action_says_what_follows_and_nothing_is_rolled_back(string behavior, string statuses, string value)
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await WithToolsAsync(daemon, "t");
        await peer.CallAsync("policy.register", """{"name":"n","rule":"deny_tool","target":"t"}""");
        string runId = (await peer.CallAsync("runs.start", """{"agent_id":"agent","agent_name":"agent","intent":"x"}""")).GetProperty("run_id").GetString()!;

        JsonElement result = await SubmitAsync(peer, """{"id":"w","type":"state_write","parameters":{"key":"k","value":2} },""" + Call("d", "t", behavior: behavior)
            + """,{"id":"z","type":"state_write","parameters":{"key":"k","value":3},"dependencies":["d"]}""");

        await Assert.That(Statuses(result)).IsEqualTo(statuses);
        await Assert.That((await peer.CallAsync("state.get", """{"key":"k"}""")).GetRawText()).IsEqualTo(value);
        await Assert.That(result.GetProperty("cost").GetProperty("actions_rejected").GetInt32()).IsEqualTo(1);
        await Assert.That(result.GetProperty("cost").GetProperty("retries").GetInt32()).IsEqualTo(0);
        string[] events = await EventsAsync(daemon, 2);
        await Assert.That(string.Join(", ", events.Where(line => line.EndsWith(" d", StringComparison.Ordinal)))).IsEqualTo("policy_violation d, action_rejected d");
        await Eventually.TrueAsync("the turns are on disk", () => File.ReadAllText(daemon.Home.Trace("agent", runId)).Contains("\"policy_rejected\":true", StringComparison.Ordinal));
        await Assert.That(File.ReadLines(daemon.Home.Trace("agent", runId)).Count(line => line.Contains("policy_rejected", StringComparison.Ordinal))).IsEqualTo(1);
    }

    [Test]
    public async Task A_policy_taken_back_while_a_proposal_runs_is_not_asked_any_more()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.RegisterToolsAsync("first", "second");
        await peer.CallAsync("policy.register", """{"name":"n","rule":"deny_tool","target":"second"}""");

        Task<JsonElement> submitted = SubmitAsync(peer, Call("a", "first") + "," + Call("b", "second"));
        ToolRequest first = await peer.NextToolCallAsync();
        await peer.CallAsync("policy.unregister", """{"name":"n"}""");
        await peer.ReplyAsync(first, "1");
        await peer.ReplyAsync(await peer.NextToolCallAsync(), "2");

        await Assert.That(Statuses(await submitted)).IsEqualTo("succeeded succeeded");
    }

    [Test]
    public async Task A_required_state_is_that_of_the_tenant()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.CallAsync("policy.register", """{"name":"n","rule":"require_state","key":"open","value":true}""");
        await peer.CallAsync("state.set", """{"key":"open","value":true,"tenant_id":"mine"}""");
        string read = """{"id":"r","type":"state_read","parameters":{"key":"open"} }""";

        await Assert.That(Statuses(await SubmitAsync(peer, read))).IsEqualTo("rejected");
        await Assert.That(Statuses(await SubmitAsync(peer, read, ""","scope":{"tenantId":"mine"} """))).IsEqualTo("succeeded");
        await Assert.That(Statuses(await SubmitAsync(peer, read, ""","scope":{"tenantId":"yours"} """))).IsEqualTo("rejected");
    }

    [Test]
    public async Task Every_rule_of_the_files_denies_and_what_is_denied_shows_nowhere()
    {
        using var home = new TempHome();
        Write(home, "10.toml", "deny_tool = ['forbidden']\ndeny_keyword = ['hunter2']\n[[rate_limit_tool]]\ntool = 'rare'\nmax_calls = 2\ninterval_secs = 3600");
        Write(home, "20.toml", """
            [[deny_tool_param]]
            tool = 'sh'
            param = 'c'
            contains = 'rm'
            [[allow_tool_param]]
            tool = 'get'
            param = 'host'
            allow = ['good.example']
            [[deny_tool_param_matching]]
            tool = 'mail'
            param = 'to'
            matches = '@(?:evil|bad)\.example$'
            [[deny_tool_param_matching]]
            tool = 'broken'
            param = 'x'
            matches = '(((('
            """);
        await using TestDaemon daemon = await TestDaemon.StartAsync(new DaemonStart { Home = home, Arguments = ["--log-level", "debug"] });
        await using RpcPeer peer = await WithToolsAsync(daemon, "forbidden", "any", "rare", "sh", "get", "mail", "broken");
        string[] secrets = [Secret, "shred-4411", "host-9182", "4455@evil.example"];
        (string Call, string? Reason)[] cases =
        [
            (Call("a", "forbidden", """{"x":"shred-4411"}""", "skip"), "tool 'forbidden' denied"),
            (Call("b", "any", $$"""{"x":{"y":["{{Secret}}"]} }""", "skip"), "a parameter contains a denied keyword"),
            (Call("c", "any", """{"x":"fine"}""", "skip"), null),
            (Call("d", "sh", """{"c":"rm shred-4411"}""", "skip"), "param 'c' has a denied value"),
            (Call("e", "sh", """{"c":"ls"}""", "skip"), null),
            (Call("f", "get", """{"host":"host-9182"}""", "skip"), "param 'host' is not an allowed value"),
            (Call("g", "get", "{}", "skip"), "param 'host' is missing"),
            (Call("h", "get", """{"host":"good.example"}""", "skip"), null),
            (Call("i", "mail", """{"to":"4455@evil.example"}""", "skip"), "param 'to' matches a denied pattern"),
            (Call("j", "mail", """{"to":"x@evil.example.org"}""", "skip"), null),
            (Call("k", "broken", "{}", "skip"), "tool 'broken' denied: the regular expression of a policy for it cannot be used"),
            (Call("l", "sh", $$"""{"c":"rm {{Secret}}"}""", "skip"), "a parameter contains a denied keyword; param 'c' has a denied value"),
        ];

        JsonElement answer = await SubmitAsync(peer, string.Join(',', cases.Select(one => one.Call)));
        JsonElement rare = await SubmitAsync(peer, string.Join(',', Enumerable.Range(0, 4).Select(i => Call($"r{i}", "rare", behavior: "skip"))));

        await Assert.That(string.Join('\n', answer.GetProperty("results").EnumerateArray().Select(one => one.GetProperty("error").GetString() ?? "-")))
            .IsEqualTo(string.Join('\n', cases.Select(one => one.Reason ?? "-")));
        await Assert.That(rare.GetProperty("results").EnumerateArray().Count(one => one.GetProperty("error").GetString() == "tool 'rare' may be called 2 times in 3600 s")).IsEqualTo(2);
        await using (RpcPeer other = await WithToolsAsync(daemon, "rare"))
            await Assert.That(Statuses(await SubmitAsync(other, Call("x", "rare")))).IsEqualTo("succeeded");
        await Assert.That((await peer.CallAsync("policy.list")).GetProperty("policies").EnumerateArray().Select(one => one.GetProperty("name").GetString()!).ToArray()).IsEquivalentTo((string[])
            ["deny_tool:forbidden", "deny_keyword:hunter2", "rate_limit_tool:rare", "deny_tool_param:sh.c", "allow_tool_param:get.host", "deny_tool_param_matching:mail.to", "deny_tool_param_matching:broken.x"]);
        await Assert.That((await peer.CallAsync("policy.unregister", """{"name":"deny_tool:forbidden"}""")).GetProperty("removed").GetInt32()).IsEqualTo(0);

        await EventsAsync(daemon, 20);
        string journals = string.Join('\n', Directory.EnumerateFiles(home.Journals, "*.jsonl").Select(File.ReadAllText));
        await Assert.That(journals).Contains("deny_tool_param_matching:mail.to");
        foreach (string secret in secrets)
        {
            await Assert.That(answer.GetRawText()).DoesNotContain(secret);
            await Assert.That(journals).DoesNotContain(secret);
            await Assert.That(daemon.Errors).DoesNotContain(secret);
        }
        await Assert.That(daemon.Errors).Contains("policies read").And.Contains("deny_tool_param_matching:broken.x cannot be used");
    }

    /// <summary>From the next connection on; those that are there keep the rules they came under.</summary>
    [Test]
    public async Task A_bad_file_refuses_connections_with_name_and_line_until_it_is_repaired()
    {
        using var home = new TempHome();
        await using TestDaemon daemon = await TestDaemon.StartAsync(new DaemonStart { Home = home });
        await using RpcPeer before = await WithToolsAsync(daemon, "t");
        Write(home, "fine.toml", "deny_tool = ['t']");
        Write(home, "typo.toml", "# operators\ndeny_tol = ['t']");

        RawPeer refused = await daemon.ConnectRawAsync();
        await using (refused)
        {
            while (await refused.TryReadTextAsync(patient: true) is not null) { }
            await Assert.That(refused.LastCloseCode).IsEqualTo(1011);
        }
        CommandOutcome verb = await daemon.CommandAsync("ping");
        await Assert.That(verb.ExitCode).IsNotEqualTo(0);
        await Assert.That(verb.Errors).Contains("1011 policy file typo.toml: line 2: there is no rule 'deny_tol'");
        await Assert.That(daemon.Errors).Contains("policy file typo.toml: line 2: there is no rule 'deny_tol'");
        await Assert.That(Statuses(await SubmitAsync(before, Call("a", "t")))).IsEqualTo("succeeded");

        File.Delete(home.In("policies", "typo.toml"));
        await using RpcPeer after = await WithToolsAsync(daemon, "t");
        await Assert.That(Statuses(await SubmitAsync(after, Call("a", "t")))).IsEqualTo("rejected");
        await Assert.That(Statuses(await SubmitAsync(before, Call("a", "t")))).IsEqualTo("succeeded");
    }

    private static void Write(TempHome home, string name, string text)
    {
        Directory.CreateDirectory(home.In("policies"));
        File.WriteAllText(home.In("policies", name), text);
    }

    private static async Task<RpcPeer> WithToolsAsync(TestDaemon daemon, params string[] tools)
    {
        RpcPeer peer = await daemon.ConnectAsync();
        await peer.RegisterToolsAsync(tools);
        peer.Tools = _ => Task.FromResult("1");
        return peer;
    }

    private static string Call(string id, string tool, string parameters = "{}", string behavior = "abort") =>
        $$"""{"id":"{{id}}","type":"tool_call","tool":"{{tool}}","parameters":{{parameters}},"failure_behavior":"{{behavior}}"}""";

    private static Task<JsonElement> SubmitAsync(RpcPeer peer, string actions, string more = "") =>
        peer.CallAsync("proposal.submit", $$"""{"proposal":{"actions":[{{actions}}]}{{more}}}""");

    private static JsonElement Single(JsonElement result) => result.GetProperty("results").EnumerateArray().Single();

    private static string Statuses(JsonElement result) => string.Join(' ', result.GetProperty("results").EnumerateArray().Select(one => one.GetProperty("status").GetString()));

    /// <summary>The journals' events as <c>kind action_id</c>, once there are at least so many.</summary>
    private static async Task<string[]> EventsAsync(TestDaemon daemon, int atLeast)
    {
        string[] events = [];
        await Eventually.TrueAsync("the journal has the events", () =>
        {
            events = [.. Directory.EnumerateFiles(daemon.Home.Journals, "*.jsonl").SelectMany(File.ReadAllLines).Select(line =>
            {
                using JsonDocument json = JsonDocument.Parse(line);
                return $"{json.RootElement.GetProperty("kind").GetString()} {json.RootElement.GetProperty("action_id").GetString()}";
            })];
            return events.Length >= atLeast && events.Any(line => line.StartsWith("action_rejected", StringComparison.Ordinal));
        });
        return events;
    }
}

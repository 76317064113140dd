using System.Text.Json;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>Protocol 12.1 and the first gate of 10.5, through the socket.</summary>
public sealed class PermissionTests
{
    private const string Secret = "hunter2-91c7";
    private static readonly string Delete = $$"""{"id":"d","type":"tool_call","tool":"delete_user","parameters":{"name":"{{Secret}}"} }""";
    private const string Read = """{"id":"r","type":"tool_call","tool":"get_user","parameters":{} }""";

    [Test]
    public async Task A_decision_outlives_kill_9_a_torn_line_does_not_count_and_a_rejection_wins_afterwards()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        string fingerprint;
        await using (RpcPeer host = await daemon.ConnectHostAsync())
        await using (RpcPeer client = await daemon.ConnectAsync())
        {
            JsonElement before = Single(await EvaluateAsync(client, Delete));
            fingerprint = before.GetProperty("fingerprint").GetString()!;
            await Assert.That(before.GetRawText()).IsEqualTo(
                $$"""{"action_id":"d","fingerprint":"{{fingerprint}}","decision":"needs_approval","required":"full_access","reversibility":"irreversible","granted":"sandbox_edit","reason":"full_access always needs an approval"}""");
            await Assert.That((await client.CallAsync("permission.pending", Proposal(Read, Delete))).GetProperty("pending").GetArrayLength()).IsEqualTo(1);

            JsonElement record = await host.CallAsync("permission.approve", $$"""{"action":{{Delete}},"reason":"he asked","evidence":{"ticket":7} }""");
            string hostId = (await host.CallAsync("server.info")).GetProperty("client_id").GetString()!;
            await Assert.That(record.GetRawText()).IsEqualTo(
                $$"""{"fingerprint":"{{fingerprint}}","required_tier":"full_access","decision":"approved","reviewer":"conn:{{hostId}}","reason":"he asked","evidence":{"ticket":7},"decided_at":"{{record.GetProperty("decided_at").GetString()}}"}""");
        }
        await daemon.KillAsync();
        byte[] acknowledged = await File.ReadAllBytesAsync(daemon.Home.In("approvals.jsonl"));
        await Assert.That(File.GetUnixFileMode(daemon.Home.In("approvals.jsonl"))).IsEqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite);

        // What a rejection looks like whose writing was cut short.
        string torn = System.Text.Encoding.UTF8.GetString(acknowledged).Replace("approved", "rejected", StringComparison.Ordinal);
        await File.AppendAllTextAsync(daemon.Home.In("approvals.jsonl"), torn[..^1]);
        await daemon.RestartAsync();

        await using RpcPeer other = await daemon.ConnectAsync();
        await Assert.That(Single(await EvaluateAsync(other, Delete)).GetProperty("decision").GetString()).IsEqualTo("allow");
        await using RpcPeer judge = await daemon.ConnectHostAsync();
        await judge.CallAsync("permission.reject", $$"""{"fingerprint":"{{fingerprint}}","required_tier":"read_only"}""");
        await Assert.That(Single(await EvaluateAsync(other, Delete)).GetProperty("decision").GetString()).IsEqualTo("deny");
        await Assert.That((await File.ReadAllLinesAsync(daemon.Home.In("approvals.jsonl"))).Length).IsEqualTo(2);
        await Assert.That(daemon.Errors).Contains("approvals.jsonl").And.DoesNotContain(Secret);
    }

    [Test]
    public async Task Only_the_host_decides_and_nobody_says_who_he_is()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer client = await daemon.ConnectAsync();
        await using RpcPeer host = await daemon.ConnectHostAsync();
        foreach ((string method, string parameters) in new[]
        {
            ("permission.set_tier", """{"tier":"full_access"}"""), ("permission.approve", $$"""{"action":{{Delete}} }"""), ("permission.reject", $$"""{"action":{{Delete}} }"""),
            ("agent_permissions.set", """{"agent_id":"a","mode":"deny"}"""), ("agent_permissions.set_default", """{"preset":"trusting"}"""), ("agent_permissions.reset", """{"agent_id":"a"}"""),
            ("supervision.subscribe", "{}"), ("supervision.unsubscribe", "{}"), ("supervision.pending", "{}"), ("supervision.decide", """{"intent_id":"x","decision":{"kind":"allow"} }"""),
        })
        {
            RpcFailure refused = await client.CallFailsAsync(method, parameters);
            await Assert.That(refused.Text).IsEqualTo($"{method} requires the host role: session.auth {{ host_token }}");
        }
        JsonElement record = await host.CallAsync("permission.approve", $$"""{"action":{{Delete}},"reviewer":"agent:root"}""");
        await Assert.That(record.GetProperty("reviewer").GetString()).StartsWith("conn:");
        await Assert.That((await host.CallAsync("permission.set_tier", """{"tier":"read_only"}""")).GetRawText()).IsEqualTo("""{"granted_tier":"read_only"}""");
        await Assert.That((await client.CallAsync("permission.get_tier")).GetRawText()).IsEqualTo("""{"granted_tier":"sandbox_edit"}""");
    }

    /// <summary>Without tokens whoever can connect is the user (protocol 6.4).</summary>
    [Test]
    public async Task Without_auth_everybody_decides()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.CallAsync("permission.set_tier", """{"tier":"full_access"}""");
        await Assert.That(Single(await EvaluateAsync(peer, Delete)).GetProperty("decision").GetString()).IsEqualTo("needs_approval");
        await peer.CallAsync("session.auth", """{"agent_id":"bot"}""");
        await Assert.That((await peer.CallAsync("permission.approve", $$"""{"action":{{Delete}} }""")).GetProperty("reviewer").GetString()).IsEqualTo("agent:bot");
        await Assert.That(Single(await EvaluateAsync(peer, Delete)).GetProperty("decision").GetString()).IsEqualTo("allow");
        await Assert.That((await peer.CallAsync("permission.evaluate", Proposal(Read)[..^1] + ""","skill":{"deployment_tier":"read_only"} }""")).GetProperty("skill_ceiling").GetString()).IsEqualTo("read_only");
    }

    [Test]
    [Arguments("permission.approve", "{}", "give the action, or its fingerprint and required_tier")]
    [Arguments("permission.approve", """{"fingerprint":"abc","required_tier":"full_access"}""", "64 lower-case hex digits")]
    [Arguments("permission.approve", """{"action":{"type":"state_read"},"fingerprint":"abc"}""", "give either the action, or its fingerprint and required_tier")]
    [Arguments("permission.approve", """{"action":{"type":"state_read","parameters":"hunter2-91c7"} }""", "parameters must be an object")]
    [Arguments("permission.reject", """{"action":{"type":"state_read"},"required_tier":"root"}""", "params.required_tier")]
    [Arguments("permission.set_tier", """{"tier":"god"}""", "params.tier")]
    [Arguments("permission.evaluate", """{"proposal":{"actions":[]},"skill":"sorter"}""", "knows no skill by its name")]
    [Arguments("permission.evaluate", """{"proposal":{"actions":[null]} }""", "actions[0] is null")]
    [Arguments("permission.classify", """{"proposal":{"actions":[{"id":"a","type":"assertion"},{"id":"a","type":"assertion"}]} }""", "duplicate action id")]
    [Arguments("agent_permissions.set", """{"agent_id":"","mode":"deny"}""", "agent_id must have 1 to 256 characters")]
    [Arguments("agent_permissions.set", """{"agent_id":"a","mode":"maybe"}""", "params.mode")]
    [Arguments("agent_permissions.set_default", """{"preset":"trusting","tier":"read_only"}""", "requires { preset } or { tier, mode }")]
    [Arguments("supervision.subscribe", """{"filter":{"min_reversibility":"never"} }""", "params.filter.min_reversibility")]
    [Arguments("supervision.decide", """{"intent_id":"x","decision":{"kind":"deny"} }""", "decision.reason is needed")]
    public async Task Wrong_params_are_refused_in_words(string method, string parameters, string words)
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer host = await daemon.ConnectHostAsync();
        RpcFailure refused = await host.CallFailsAsync(method, parameters);
        await Assert.That(refused.Code).IsEqualTo(-32602);
        await Assert.That(refused.Text).Contains(words).And.DoesNotContain(Secret);
        foreach (string more in new[] { $$""" "reason":"{{new string('r', 2_049)}}" """, $$""" "evidence":"{{new string('e', 17_000)}}" """ })
            await Assert.That((await host.CallFailsAsync("permission.approve", $$"""{"action":{"type":"state_read"},{{more}} }""")).Code).IsEqualTo(-32602);
        await Assert.That(File.Exists(daemon.Home.In("approvals.jsonl"))).IsFalse();
    }

    [Test]
    public async Task Classification_tells_tier_and_what_can_be_undone()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        JsonElement result = await peer.CallAsync("permission.classify", Proposal(Read, """{"id":"p","type":"tool_call","tool":"git_push","reversibility":"compensable"}""",
            """{"id":"w","type":"state_write","parameters":{"key":"k"},"reversibility":"compensable","compensation":{"type":"tool","tool":"undo"} }"""));
        await Assert.That(result.GetRawText()).IsEqualTo("""
            {"classifications":[{"action_id":"r","tool":"get_user","required_tier":"read_only","reversibility":"reversible","missing_compensation":false},{"action_id":"p","tool":"git_push","required_tier":"full_access","reversibility":"compensable","missing_compensation":true},{"action_id":"w","tool":null,"required_tier":"sandbox_edit","reversibility":"reversible","missing_compensation":false}],"declared_rollback_contract":"irreversible"}
            """);
        await Assert.That((await peer.CallAsync("permission.classify", """{"proposal":{"actions":[]} }""")).GetRawText()).IsEqualTo("""{"classifications":[],"declared_rollback_contract":"reversible"}""");
    }

    [Test]
    [Arguments(true)]
    [Arguments(false)]
    public async Task Enforcement_blocks_the_whole_proposal_and_advice_blocks_nothing(bool enforced)
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync(enforced ? ["--enforce-tiers", "--log-level", "debug"] : []);
        await using RpcPeer host = await daemon.ConnectHostAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.RegisterToolsAsync("get_user", "delete_user");
        peer.Tools = _ => Task.FromResult("1");
        string[] actions = [Read, """{"id":"w","type":"state_write","parameters":{"key":"k","value":1} }""", Delete];

        JsonElement result = await SubmitAsync(peer, actions);
        if (!enforced)
        {
            await Assert.That(Statuses(result)).IsEqualTo("succeeded succeeded succeeded");
            await Assert.That((await peer.CallAsync("metrics.summary")).GetProperty("gate_rejections").GetInt32()).IsEqualTo(0);
            return;
        }
        string fingerprint = Single(await EvaluateAsync(host, Delete)).GetProperty("fingerprint").GetString()!;
        await Assert.That(Statuses(result)).IsEqualTo("rejected rejected rejected");
        foreach (JsonElement one in result.GetProperty("results").EnumerateArray())
            await Assert.That(one.GetProperty("error").GetString()).IsEqualTo(
                $"blocked by the permission tier: action 'd' (fingerprint {fingerprint}, requires full_access, granted sandbox_edit): full_access always needs an approval");
        await Assert.That(result.GetProperty("cost").GetProperty("actions_rejected").GetInt32()).IsEqualTo(3);
        await Assert.That(peer.ToolCalls).IsEmpty();
        await Assert.That((await peer.CallAsync("state.exists", """{"key":"k"}""")).GetBoolean()).IsFalse();
        await Assert.That(await KindsAsync(peer)).IsEqualTo(
            "proposal_received, permission_decision r allow, permission_decision w allow, permission_decision d needs_approval, admission_gate_decision deny, gate_rejected deny, action_rejected r, action_rejected w, action_rejected d, proposal_completed");

        await host.CallAsync("permission.approve", $$"""{"fingerprint":"{{fingerprint}}","required_tier":"sandbox_edit"}""");
        await Assert.That(Statuses(await SubmitAsync(peer, actions))).IsEqualTo("rejected rejected rejected");
        await host.CallAsync("permission.approve", $$"""{"fingerprint":"{{fingerprint}}","required_tier":"full_access"}""");
        await Assert.That(Statuses(await SubmitAsync(peer, actions))).IsEqualTo("succeeded succeeded succeeded");
        await Assert.That(peer.ToolCalls.Count).IsEqualTo(2);
        await host.CallAsync("permission.reject", $$"""{"fingerprint":"{{fingerprint}}","required_tier":"full_access"}""");
        await Assert.That(Statuses(await SubmitAsync(peer, actions))).IsEqualTo("rejected rejected rejected");
        await Assert.That(Statuses(await SubmitAsync(peer, actions[..2]))).IsEqualTo("succeeded succeeded");

        JsonElement metrics = await peer.CallAsync("metrics.summary");
        await Assert.That(metrics.GetProperty("gate_rejections").GetInt32()).IsEqualTo(3);
        await Assert.That(metrics.GetProperty("permission_decisions").GetInt32()).IsEqualTo(14);
        await Assert.That((await host.CallAsync("metrics.summary")).GetProperty("approvals_recorded").GetInt32()).IsEqualTo(3);
        await Eventually.TrueAsync("the journals have it", () => Journals(daemon).Contains("approval_recorded", StringComparison.Ordinal));
        await Assert.That(result.GetRawText() + Journals(daemon) + daemon.Errors + await File.ReadAllTextAsync(daemon.Home.In("approvals.jsonl"))).DoesNotContain(Secret);
    }

    [Test]
    public async Task A_read_only_session_may_only_look_and_a_long_list_of_offenders_is_cut()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync(new DaemonStart { Environment = new Dictionary<string, string> { ["CAR_ENFORCE_TIERS"] = "1" } });
        await using RpcPeer host = await daemon.ConnectHostAsync();
        await host.CallAsync("permission.set_tier", """{"tier":"read_only"}""");
        string write = """{"type":"state_write","parameters":{"key":"k","value":1} }""";
        await Assert.That(Statuses(await SubmitAsync(host, """{"type":"state_read","parameters":{"key":"k"} }"""))).IsEqualTo("succeeded");
        await Assert.That(Statuses(await SubmitAsync(host, write))).IsEqualTo("rejected");
        JsonElement[] many = [.. (await SubmitAsync(host, [.. Enumerable.Range(0, 300).Select(i => $$"""{"id":"a{{i}}","type":"state_write","parameters":{"key":"k{{i}}"} }""")])).GetProperty("results").EnumerateArray()];
        await Assert.That(many[0].GetProperty("error").GetString()).Contains("'a0'").And.Contains("'a3'").And.DoesNotContain("'a4'").And.EndsWith("; and 296 more");
        await Assert.That(many[299].GetProperty("error").GetString()).Contains("'a299'").And.Contains("requires sandbox_edit, granted read_only").And.EndsWith("; and 299 more");
    }

    /// <summary>What cannot be read cannot be known; a rejection may be in it.</summary>
    [Test]
    public async Task A_ledger_that_cannot_be_read_blocks_until_it_can()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--enforce-tiers");
        await using RpcPeer peer = await daemon.ConnectAsync();
        string read = """{"type":"state_read","parameters":{"key":"k"} }""";
        using (FileStream large = File.Create(daemon.Home.In("approvals.jsonl"))) large.SetLength(64 * 1024 * 1024 + 1);
        await Assert.That((await peer.CallFailsAsync("permission.evaluate", Proposal(read))).Text).Contains("at most 67108864 are read");
        await Assert.That(Statuses(await SubmitAsync(peer, read))).IsEqualTo("rejected");
        File.Delete(daemon.Home.In("approvals.jsonl"));
        await Assert.That(Statuses(await SubmitAsync(peer, read))).IsEqualTo("succeeded");
    }

    [Test]
    public async Task A_second_daemon_reads_what_the_first_one_decides_and_decides_nothing()
    {
        using var home = new TempHome();
        await using TestDaemon first = await TestDaemon.StartAsync(new DaemonStart { Home = home, Arguments = ["--no-auth"] });
        await using TestDaemon second = await TestDaemon.StartAsync(new DaemonStart { Home = home, Arguments = ["--no-auth"] });
        await using RpcPeer one = await first.ConnectAsync(), two = await second.ConnectAsync();
        await Assert.That(Single(await EvaluateAsync(two, Delete)).GetProperty("decision").GetString()).IsEqualTo("needs_approval");
        await one.CallAsync("permission.approve", $$"""{"action":{{Delete}} }""");
        await Assert.That(Single(await EvaluateAsync(two, Delete)).GetProperty("decision").GetString()).IsEqualTo("allow");
        await Assert.That((await two.CallFailsAsync("permission.reject", $$"""{"action":{{Delete}} }""")).Text).Contains("another daemon is primary");
        await Assert.That((await two.CallFailsAsync("agent_permissions.set_default", """{"preset":"trusting"}""")).Text).Contains("another daemon is primary");
        await one.CallAsync("agent_permissions.set_default", """{"preset":"trusting"}""");
        await Assert.That((await two.CallAsync("agent_permissions.evaluate", """{"agent_id":"a","tier":"sandbox_edit"}""")).GetProperty("mode").GetString()).IsEqualTo("always_allow");
    }

    [Test]
    public async Task Postures_are_set_asked_for_reset_and_kept()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        const string Default = """{"read_only":"always_allow","sandbox_edit":"require_approval","full_access":"require_approval"}""";
        await using (RpcPeer host = await daemon.ConnectHostAsync())
        {
            await Assert.That((await host.CallAsync("agent_permissions.get")).GetRawText()).IsEqualTo($$"""{"default":{{Default}},"agents":{} }""".Replace("} }", "}}"));
            JsonElement set = await host.CallAsync("agent_permissions.set", """{"agent_id":"a","mode":"deny","tier":"full_access"}""");
            await Assert.That(set.GetProperty("agents").GetRawText()).IsEqualTo("""{"a":{"full_access":"deny"}}""");
        }
        await daemon.KillAsync();
        await daemon.RestartAsync();
        await using RpcPeer peer = await daemon.ConnectHostAsync();
        await Assert.That((await peer.CallAsync("agent_permissions.evaluate", """{"agent_id":"a","tier":"full_access"}""")).GetRawText()).IsEqualTo("""{"agent_id":"a","tier":"full_access","mode":"deny","has_override":true}""");
        await Assert.That((await peer.CallAsync("agent_permissions.evaluate", """{"agent_id":"a","tier":"read_only"}""")).GetRawText()).IsEqualTo("""{"agent_id":"a","tier":"read_only","mode":"always_allow","has_override":false}""");
        await peer.CallAsync("agent_permissions.reset", """{"agent_id":"a"}""");
        await Assert.That((await peer.CallAsync("agent_permissions.set_default", """{"tier":"read_only","mode":"deny"}""")).GetRawText())
            .IsEqualTo("""{"default":{"read_only":"deny","sandbox_edit":"require_approval","full_access":"require_approval"},"agents":{}}""");
    }

    private static string Proposal(params string[] actions) => $$"""{"proposal":{"actions":[{{string.Join(',', actions)}}]} }""";
    private static Task<JsonElement> EvaluateAsync(RpcPeer peer, params string[] actions) => peer.CallAsync("permission.evaluate", Proposal(actions));
    private static Task<JsonElement> SubmitAsync(RpcPeer peer, params string[] actions) => peer.CallAsync("proposal.submit", Proposal(actions));
    private static JsonElement Single(JsonElement result) => result.GetProperty("decisions").EnumerateArray().Single();
    private static string Statuses(JsonElement result) => string.Join(' ', result.GetProperty("results").EnumerateArray().Select(one => one.GetProperty("status").GetString()));
    private static string Journals(TestDaemon daemon) => string.Join('\n', Directory.EnumerateFiles(daemon.Home.Journals, "*.jsonl").Select(File.ReadAllText));

    private static async Task<string> KindsAsync(RpcPeer peer) => string.Join(", ", (await peer.CallAsync("events.query", """{"limit":0}""")).GetProperty("events").EnumerateArray().Reverse()
        .Select(one => $"{one.GetProperty("kind").GetString()} {one.GetProperty("action_id").GetString()} {(one.GetProperty("data").TryGetProperty("decision", out JsonElement decision) ? decision.GetString() : "")}".Replace("  ", " ").TrimEnd()));
}

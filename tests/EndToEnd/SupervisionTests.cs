using System.Text.Json;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>The second gate of protocol 10.5, through sockets. Its time is in Unit/Supervision.</summary>
public sealed class SupervisionTests
{
    private const string Secret = "hunter2-5d0e";
    private static readonly string Write = $$"""{"id":"w","type":"state_write","parameters":{"key":"k","value":"{{Secret}}"} }""";
    private static readonly string Send = $$"""{"id":"s","type":"tool_call","tool":"send_mail","parameters":{"to":"{{Secret}}","body":{"x":1} } }""";

    [Test]
    [Arguments("""{"kind":"allow"}""", null, "allow")]
    [Arguments("""{"kind":"deny","reason":"not today"}""", "blocked by supervision: denied: not today", "deny")]
    [Arguments("""{"kind":"escalate","reason":"ask Ada"}""", "blocked by supervision: escalated: ask Ada", "escalate")]
    public async Task A_proposal_waits_for_the_decision_and_shows_no_value(string decision, string? error, string word)
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer host = await daemon.ConnectHostAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.RegisterToolsAsync("send_mail");
        peer.Tools = _ => Task.FromResult("1");
        await Assert.That((await host.CallAsync("supervision.subscribe")).GetRawText()).IsEqualTo("""{"subscribed":true,"decision_timeout_ms":30000,"supervisors":1}""");

        Task<JsonElement> submitted = SubmitAsync(peer, $"{Write},{Send}", ""","scope":{"callerId":"me","tenantId":"ten","claims":{"x":"hunter2-5d0e"} } """);
        JsonElement intent = await host.NextNotificationAsync("supervision.intent");
        string clientId = (await peer.CallAsync("server.info")).GetProperty("client_id").GetString()!;
        await Assert.That(submitted.IsCompleted).IsFalse();
        await Assert.That(peer.ToolCalls).IsEmpty();
        JsonElement[] actions = [.. intent.GetProperty("actions").EnumerateArray()];
        await Assert.That(intent.GetRawText()).IsEqualTo(
            $$"""{"id":"{{intent.GetProperty("id").GetString()}}","proposal_id":"p","source":"unknown","client_id":"{{clientId}}","scope":{"callerId":"me","tenantId":"ten"},"reversibility":"irreversible","created_at":"{{intent.GetProperty("created_at").GetString()}}","actions":[{{actions[0].GetRawText()}},{{actions[1].GetRawText()}}]}""");
        await Assert.That(actions[0].GetRawText()).IsEqualTo($$"""{"id":"w","action_type":"state_write","reversibility":"reversible","parameter_keys":["key","value"],"parameters_digest":"{{Digest(actions[0])}}"}""");
        await Assert.That(actions[1].GetRawText()).IsEqualTo($$"""{"id":"s","action_type":"tool_call","tool":"send_mail","reversibility":"irreversible","parameter_keys":["to","body"],"parameters_digest":"{{Digest(actions[1])}}"}""");
        JsonElement pending = await host.CallAsync("supervision.pending");
        await Assert.That(pending.GetRawText()).IsEqualTo($$"""{"intents":[{{intent.GetRawText()}}]}""");

        string id = intent.GetProperty("id").GetString()!;
        await Assert.That((await DecideAsync(host, id, decision)).GetRawText()).IsEqualTo("""{"decided":true}""");
        JsonElement[] results = [.. (await submitted).GetProperty("results").EnumerateArray()];
        await Assert.That(string.Join(' ', results.Select(one => one.GetProperty("status").GetString()))).IsEqualTo(error is null ? "succeeded succeeded" : "rejected rejected");
        foreach (JsonElement one in results) await Assert.That(one.GetProperty("error").GetString()).IsEqualTo(error);
        await Assert.That((await peer.CallAsync("state.exists", """{"key":"k","tenant_id":"ten"}""")).GetBoolean()).IsEqualTo(error is null);
        await Assert.That((await host.CallFailsAsync("supervision.decide", $$"""{"intent_id":"{{id}}","decision":{"kind":"allow"} }""")).Text).Contains("unknown intent_id");
        JsonElement gate = (await peer.CallAsync("events.query", """{"kinds":["admission_gate_decision"]}""")).GetProperty("events")[0].GetProperty("data");
        await Assert.That($"{gate.GetProperty("caller")} {gate.GetProperty("tenant")} {gate.GetProperty("gate")} {gate.GetProperty("decision")}").IsEqualTo($"me ten supervision {word}");
        await Assert.That((await peer.CallAsync("metrics.summary")).GetProperty("gate_rejections").GetInt32()).IsEqualTo(error is null ? 0 : 1);
    }

    /// <summary>The decision comes on the connection that waits for it, beside other calls: nothing of it blocks the reader.</summary>
    [Test]
    public async Task A_supervisor_may_decide_on_its_own_proposal_on_the_same_connection()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer host = await daemon.ConnectHostAsync();
        await host.CallAsync("supervision.subscribe");
        Task<JsonElement> submitted = SubmitAsync(host, """{"type":"state_write","parameters":{"key":"k","\ud800":1} }""");   // half a character is a name, too
        string id = await NextIntentAsync(host);
        await Assert.That((await host.CallAsync("ping")).GetString()).IsEqualTo("pong");
        await DecideAsync(host, id, """{"kind":"allow"}""");
        await Assert.That((await submitted).GetProperty("results")[0].GetProperty("status").GetString()).IsEqualTo("succeeded");
    }

    [Test]
    public async Task Several_are_told_the_first_decides_and_who_left_is_not_needed()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer first = await daemon.ConnectHostAsync(), second = await daemon.ConnectHostAsync(), peer = await daemon.ConnectAsync();
        await first.CallAsync("supervision.subscribe");
        await Assert.That((await second.CallAsync("supervision.subscribe")).GetProperty("supervisors").GetInt32()).IsEqualTo(2);

        Task<JsonElement> submitted = SubmitAsync(peer, Write);
        string id = await NextIntentAsync(first);
        await Assert.That(await NextIntentAsync(second)).IsEqualTo(id);
        await DecideAsync(second, id, """{"kind":"deny","reason":"no"}""");
        await Assert.That((await first.CallFailsAsync("supervision.decide", $$"""{"intent_id":"{{id}}","decision":{"kind":"allow"} }""")).Text).Contains("unknown intent_id");
        await Assert.That((await submitted).GetProperty("results")[0].GetProperty("status").GetString()).IsEqualTo("rejected");

        await Assert.That((await first.CallAsync("supervision.unsubscribe")).GetRawText()).IsEqualTo("""{"subscribed":false,"was_subscribed":true}""");
        await Assert.That((await first.CallAsync("supervision.unsubscribe")).GetRawText()).IsEqualTo("""{"subscribed":false,"was_subscribed":false}""");
        submitted = SubmitAsync(peer, Write);
        id = await NextIntentAsync(second);
        await second.DisposeAsync();   // the last one leaves; what waits stays, for whoever comes
        await Eventually.TrueAsync("it has gone", async () => (await first.CallAsync("server.info")).GetProperty("connections").GetInt32() == 2);
        await Assert.That((await SubmitAsync(peer, Write)).GetProperty("results")[0].GetProperty("status").GetString()).IsEqualTo("succeeded");
        await Assert.That(submitted.IsCompleted).IsFalse();
        await DecideAsync(first, (await first.CallAsync("supervision.pending")).GetProperty("intents").EnumerateArray().Single().GetProperty("id").GetString()!, """{"kind":"allow"}""");
        await Assert.That((await submitted).GetProperty("results")[0].GetProperty("status").GetString()).IsEqualTo("succeeded");
    }

    [Test]
    public async Task A_long_reason_is_cut_in_the_results_that_repeat_it()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer host = await daemon.ConnectHostAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await host.CallAsync("supervision.subscribe");
        Task<JsonElement> submitted = peer.CallAsync("proposal.submit", $$"""{"proposal":{"actions":[{{string.Join(',', Enumerable.Repeat("""{"type":"state_read","parameters":{"key":"k"} }""", 400))}}]} }""");
        string reason = new('r', 1_000);
        await DecideAsync(host, await NextIntentAsync(host), $$"""{"kind":"deny","reason":"{{reason}}"}""");
        JsonElement[] results = [.. (await submitted).GetProperty("results").EnumerateArray()];
        await Assert.That(results.Length).IsEqualTo(400);
        foreach (JsonElement one in results) await Assert.That(one.GetProperty("error").GetString()).IsEqualTo($"blocked by supervision: denied: {reason[..504]}…");
        JsonElement gate = (await peer.CallAsync("events.query", """{"kinds":["admission_gate_decision"]}""")).GetProperty("events")[0].GetProperty("data");
        await Assert.That(gate.GetProperty("reason").GetString()).IsEqualTo($"denied: {reason}");
    }

    [Test]
    public async Task A_submitter_that_leaves_takes_its_intent_along()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer host = await daemon.ConnectHostAsync();
        await host.CallAsync("supervision.subscribe");
        await using (RpcPeer peer = await daemon.ConnectAsync())
        {
            _ = peer.SendAsync("proposal.submit", $$"""{"proposal":{"actions":[{{Write}}]} }""");
            await NextIntentAsync(host);
        }
        await Eventually.TrueAsync("nothing waits", async () => (await host.CallAsync("supervision.pending")).GetProperty("intents").GetArrayLength() == 0);
    }

    [Test]
    public async Task A_filter_lets_others_pass_and_the_tier_is_asked_first()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--enforce-tiers");
        await using RpcPeer host = await daemon.ConnectHostAsync(), peer = await daemon.ConnectAsync();
        string clientId = (await peer.CallAsync("server.info")).GetProperty("client_id").GetString()!;
        await host.CallAsync("supervision.subscribe", $$"""{"filter":{"sessions":["{{clientId}}"],"min_reversibility":"irreversible"} }""");
        await Assert.That((await SubmitAsync(peer, Write)).GetProperty("results")[0].GetProperty("status").GetString()).IsEqualTo("succeeded");

        JsonElement blocked = (await SubmitAsync(peer, Send)).GetProperty("results")[0];
        await Assert.That(blocked.GetProperty("error").GetString()).StartsWith("blocked by the permission tier: ");
        await Assert.That((await host.CallAsync("supervision.pending")).GetProperty("intents").GetArrayLength()).IsEqualTo(0);

        string unknown = """{"id":"f","type":"tool_call","tool":"frobnicate","parameters":{} }""";
        Task<JsonElement> submitted = SubmitAsync(peer, unknown);
        await DecideAsync(host, await NextIntentAsync(host), """{"kind":"deny","reason":"what is it?"}""");
        await Assert.That((await submitted).GetProperty("results")[0].GetProperty("error").GetString()).IsEqualTo("blocked by supervision: denied: what is it?");
    }

    private static string Digest(JsonElement action) => action.GetProperty("parameters_digest").GetString()!;

    private static async Task<string> NextIntentAsync(RpcPeer peer) => (await peer.NextNotificationAsync("supervision.intent")).GetProperty("id").GetString()!;

    private static Task<JsonElement> DecideAsync(RpcPeer peer, string id, string decision) => peer.CallAsync("supervision.decide", $$"""{"intent_id":"{{id}}","decision":{{decision}} }""");

    private static Task<JsonElement> SubmitAsync(RpcPeer peer, string actions, string more = "") =>
        peer.CallAsync("proposal.submit", $$"""{"proposal":{"id":"p","actions":[{{actions}}]}{{more}}}""");
}

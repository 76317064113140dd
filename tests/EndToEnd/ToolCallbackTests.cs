using System.Text.Json;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>Protocol 4, and checks 1 and 2 of section 24.</summary>
public sealed class ToolCallbackTests
{
    [Test]
    public async Task A_callback_carries_what_the_action_says()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.RegisterToolsAsync("search");
        peer.Tools = _ => Task.FromResult("1");

        await SubmitAsync(peer,
            """{"id":"a0","type":"tool_call","tool":"search","parameters":{"q":"x","n":1.50},"timeout_ms":180000}""",
            """{"id":"a1","type":"tool_call","tool":"search"}""");

        ToolRequest[] calls = [.. peer.ToolCalls];
        await Assert.That(calls.Length).IsEqualTo(2);
        await Assert.That(calls[0].Id).IsEqualTo("cb-1");
        await Assert.That(calls[0].ActionId).IsEqualTo("a0");
        await Assert.That(calls[0].Tool).IsEqualTo("search");
        await Assert.That(calls[0].Parameters.GetRawText()).IsEqualTo("""{"q":"x","n":1.50}""");
        await Assert.That(calls[0].Params.GetProperty("timeout_ms").GetInt64()).IsEqualTo(180_000);
        await Assert.That(calls[0].Params.GetProperty("attempt").GetInt32()).IsEqualTo(1);
        await Assert.That(calls[1].Id).IsEqualTo("cb-2");
        await Assert.That(calls[1].ActionId).IsEqualTo("a1");
        await Assert.That(calls[1].Parameters.GetRawText()).IsEqualTo("{}");
        await Assert.That(calls[1].Params.TryGetProperty("timeout_ms", out _)).IsFalse();
    }

    [Test]
    [Arguments("""{"deep":[1,{"a":null}]}""")]
    [Arguments("null")]
    [Arguments("\"text\"")]
    [Arguments("""{"error":"a result of this form is a success all the same"}""")]
    public async Task The_result_of_a_callback_is_the_actions_output(string output)
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.RegisterToolsAsync("t");
        peer.Tools = _ => Task.FromResult(output);

        JsonElement action = (await SubmitAsync(peer, """{"type":"tool_call","tool":"t"}"""))[0];

        await Assert.That(action.GetProperty("status").GetString()).IsEqualTo("succeeded");
        await Assert.That(action.GetProperty("output").GetRawText()).IsEqualTo(output);
    }

    [Test]
    public async Task A_reply_without_a_result_has_the_output_null()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.RegisterToolsAsync("t");

        Task<JsonElement[]> submitted = SubmitAsync(peer, """{"type":"tool_call","tool":"t"}""");
        ToolRequest call = await peer.NextToolCallAsync();
        await peer.SendTextAsync($$"""{"jsonrpc":"2.0","id":"{{call.Id}}"}""");

        JsonElement action = (await submitted)[0];
        await Assert.That(action.GetProperty("status").GetString()).IsEqualTo("succeeded");
        await Assert.That(action.GetProperty("output").ValueKind).IsEqualTo(JsonValueKind.Null);
    }

    [Test]
    public async Task The_message_of_an_error_reply_is_the_actions_error()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.RegisterToolsAsync("t");
        peer.Tools = _ => throw new ToolFailed("the disk is full", 17);

        JsonElement action = (await SubmitAsync(peer, """{"type":"tool_call","tool":"t"}"""))[0];

        await Assert.That(action.GetProperty("status").GetString()).IsEqualTo("failed");
        await Assert.That(action.GetProperty("error").GetString()).IsEqualTo("the disk is full");
    }

    [Test]
    [Arguments("0", "0")]
    [Arguments(" 1 ", "1")]
    public async Task Without_a_budget_of_its_own_a_callback_waits_for_CAR_TOOL_TIMEOUT_in_whole_seconds(string variable, string seconds)
    {
        await using TestDaemon daemon = await StartAsync(variable);
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.RegisterToolsAsync("slow");

        JsonElement action = (await SubmitAsync(peer, """{"id":"a0","type":"tool_call","tool":"slow"}"""))[0];

        await Assert.That(action.GetProperty("status").GetString()).IsEqualTo("failed");
        await Assert.That(action.GetProperty("error").GetString()).IsEqualTo($"tool 'slow' callback timed out ({seconds}s)");
        JsonElement cancel = await peer.NextNotificationAsync("tools.cancel");
        await Assert.That(cancel.GetProperty("request_id").GetString()).IsEqualTo("cb-1");
        await Assert.That(cancel.GetProperty("action_id").GetString()).IsEqualTo("a0");
        await Assert.That(cancel.GetProperty("reason").GetString()).IsEqualTo($"tool 'slow' callback timed out ({seconds}s)");
    }

    [Test]
    [Arguments("soon")]
    [Arguments("0.5")]
    [Arguments("-1")]
    [Arguments("0s")]
    public async Task A_CAR_TOOL_TIMEOUT_that_is_no_whole_number_falls_back_to_the_default(string variable)
    {
        await using TestDaemon daemon = await StartAsync(variable);
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.RegisterToolsAsync("unbounded", "bounded");

        Task<JsonElement[]> submitted = SubmitAsync(peer, """{"type":"tool_call","tool":"unbounded"}""");
        ToolRequest call = await peer.NextToolCallAsync();
        // A callback with a budget of its own runs out meanwhile: had the garbage been read as up to half a second, so had this one's.
        JsonElement bounded = (await SubmitAsync(peer, """{"type":"tool_call","tool":"bounded","timeout_ms":700}"""))[0];
        await Assert.That(bounded.GetProperty("error").GetString()).IsEqualTo("action timed out after 700ms");
        await peer.ReplyAsync(call, "1");

        await Assert.That((await submitted)[0].GetProperty("status").GetString()).IsEqualTo("succeeded");
    }

    [Test]
    public async Task The_actions_own_budget_ends_the_attempt_and_cancels_the_callback()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.RegisterToolsAsync("slow");

        JsonElement action = (await SubmitAsync(peer, """{"id":"a0","type":"tool_call","tool":"slow","timeout_ms":50}"""))[0];

        await Assert.That(action.GetProperty("status").GetString()).IsEqualTo("failed");
        await Assert.That(action.GetProperty("error").GetString()).IsEqualTo("action timed out after 50ms");
        JsonElement cancel = await peer.NextNotificationAsync("tools.cancel");
        await Assert.That(cancel.GetProperty("request_id").GetString()).IsEqualTo("cb-1");
        await Assert.That(cancel.GetProperty("action_id").GetString()).IsEqualTo("a0");
    }

    [Test]
    public async Task A_late_or_unknown_reply_is_dropped_and_the_connection_lives_on()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.RegisterToolsAsync("slow");
        await SubmitAsync(peer, """{"type":"tool_call","tool":"slow","timeout_ms":50}""");
        ToolRequest late = await peer.NextToolCallAsync();

        await peer.ReplyAsync(late, "1");
        await peer.SendTextAsync("""{"jsonrpc":"2.0","id":"cb-4711","result":1}""");
        await peer.SendTextAsync("""{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":"x"} }""");

        await Assert.That((await peer.CallAsync("ping")).GetString()).IsEqualTo("pong");
    }

    [Test]
    public async Task A_reply_inside_an_array_reaches_its_callback()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.RegisterToolsAsync("t");
        Task<JsonElement[]> submitted = SubmitAsync(peer, """{"type":"tool_call","tool":"t"}""");
        ToolRequest call = await peer.NextToolCallAsync();

        await peer.SendTextAsync($$"""[{"jsonrpc":"2.0","id":"{{call.Id}}","result":"from an array"}]""");

        await Assert.That((await submitted)[0].GetProperty("output").GetString()).IsEqualTo("from an array");
    }

    [Test]
    public async Task A_tool_may_call_the_daemon_while_the_daemon_waits_for_it()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.RegisterToolsAsync("t");
        peer.Tools = async _ => (await peer.CallAsync("ping")).GetRawText();

        JsonElement action = (await SubmitAsync(peer, """{"type":"tool_call","tool":"t"}"""))[0];

        await Assert.That(action.GetProperty("output").GetString()).IsEqualTo("pong");
    }

    [Test]
    public async Task A_disconnect_ends_a_pending_callback_at_once_with_the_channel_closed_text()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        RpcPeer peer = await daemon.ConnectAsync();
        await peer.RegisterToolsAsync("slow");
        string id = (await peer.CallAsync("session.init", """{"tools":[]}""")).GetProperty("session_id").GetString()!;
        _ = peer.SendAsync("proposal.submit", """{"proposal":{"actions":[{"type":"tool_call","tool":"slow"}]} }""").ContinueWith(t => t.Exception, TaskScheduler.Default);
        await peer.NextToolCallAsync();

        await peer.DropAsync();

        // The callback's own budget is 300 seconds; what is awaited here ends long before.
        string file = Path.Combine(daemon.Home.Journals, id + ".jsonl");
        await Eventually.TrueAsync("the journal tells of the failed action", () => File.Exists(file) && File.ReadLines(file).Any(line => line.Contains("action_failed")));
        await Assert.That(File.ReadLines(file).Single(line => line.Contains("action_failed"))).Contains("tool 'slow' callback channel closed");
    }

    [Test]
    public async Task Every_attempt_asks_the_client_anew()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.RegisterToolsAsync("flaky");
        int attempts = 0;
        peer.Tools = _ => ++attempts < 3 ? throw new ToolFailed("not yet") : Task.FromResult("3");

        JsonElement action = (await SubmitAsync(peer, """{"type":"tool_call","tool":"flaky","failure_behavior":"retry","max_retries":5}"""))[0];

        await Assert.That(action.GetProperty("status").GetString()).IsEqualTo("succeeded");
        await Assert.That(peer.ToolCalls.Select(c => c.Id).Distinct().Count()).IsEqualTo(3);
    }

    /// <summary>Nothing of the daemon's own narrows a level: all its callbacks are out before any has its answer.</summary>
    [Test]
    public async Task A_level_of_500_calls_has_500_in_flight()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.RegisterToolsAsync("t");
        Task<JsonElement[]> submitted = SubmitAsync(peer, [.. Enumerable.Range(0, 500).Select(i => $$"""{"id":"a{{i}}","type":"tool_call","tool":"t","failure_behavior":"skip"}""")]);
        var calls = new List<ToolRequest>();
        while (calls.Count < 500) calls.Add(await peer.NextToolCallAsync());
        await peer.CallAsync("ping");
        foreach (ToolRequest call in Enumerable.Reverse(calls)) await peer.ReplyAsync(call, $"\"{call.ActionId}\"");

        JsonElement[] results = await submitted;
        await Assert.That(results.Length).IsEqualTo(500);
        await Assert.That(results.All(one => one.GetProperty("output").GetString() == one.GetProperty("action_id").GetString())).IsTrue();
    }

    private static Task<TestDaemon> StartAsync(string toolTimeout) =>
        TestDaemon.StartAsync(new DaemonStart { Environment = new Dictionary<string, string> { ["CAR_TOOL_TIMEOUT"] = toolTimeout } });

    private static async Task<JsonElement[]> SubmitAsync(RpcPeer peer, params string[] actions)
    {
        JsonElement result = await peer.CallAsync("proposal.submit", $$"""{"proposal":{"actions":[{{string.Join(',', actions)}}]} }""");
        return [.. result.GetProperty("results").EnumerateArray()];
    }
}

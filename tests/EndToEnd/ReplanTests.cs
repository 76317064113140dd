using System.Text.Json;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>Protocol 10.6: <c>replan.set_config</c> and the question <c>replan.propose</c>.</summary>
public sealed class ReplanTests
{
    private const string Aborted = """
        {"proposal":{"id":"first","mood":"hopeful","actions":[
          {"id":"w","type":"state_write","parameters":{"key":"k","value":1} },
          {"id":"no","type":"assertion","parameters":{"key":"k","value":2},"state_dependencies":["k"],"colour":"red"}]} }
        """;

    private static async Task<JsonElement> QuestionAsync(RpcPeer peer) => await peer.NextNotificationAsync("replan.propose");

    private static Task AnswerAsync(RpcPeer peer, JsonElement question, string result) =>
        peer.SendTextAsync($$"""{"jsonrpc":"2.0","id":{{question.GetProperty("request_id").GetRawText()}},{{result}} }""");

    [Test]
    public async Task The_client_is_asked_for_another_plan_and_it_runs()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        JsonElement set = await peer.CallAsync("replan.set_config", """{"max_replans":2,"delay_ms":1}""");
        await Assert.That(set.ValueKind).IsEqualTo(JsonValueKind.Null);
        string run = (await peer.CallAsync("runs.start", """{"agent_id":"a","intent":"try"}""")).GetProperty("run_id").GetString()!;

        Task<JsonElement> submitted = peer.CallAsync("proposal.submit", Aborted);
        JsonElement question = await QuestionAsync(peer);
        await Assert.That(question.GetProperty("attempt").GetInt32()).IsEqualTo(1);
        await Assert.That(question.GetProperty("reason").GetString()).IsEqualTo("action 'no' failed");
        JsonElement proposal = question.GetProperty("proposal");
        await Assert.That(proposal.GetProperty("id").GetString()).IsEqualTo("first");
        await Assert.That(proposal.GetProperty("mood").GetString()).IsEqualTo("hopeful");
        await Assert.That(proposal.GetProperty("actions")[1].GetProperty("colour").GetString()).IsEqualTo("red");
        await Assert.That(question.GetProperty("results")[0].GetProperty("rolled_back").GetBoolean()).IsTrue();
        await Assert.That(await peer.CallAsync("state.exists", """{"key":"k"}""").ContinueWith(done => done.Result.GetBoolean())).IsFalse();

        await AnswerAsync(peer, question, """ "result":{"actions":[{"id":"x","type":"dance"}]} """);
        question = await QuestionAsync(peer);
        await Assert.That(question.GetProperty("attempt").GetInt32()).IsEqualTo(2);
        await Assert.That(question.GetProperty("reason").GetString()).IsEqualTo("the planner's answer is no proposal: wrong or unexpected value at $.actions[0].type");
        await AnswerAsync(peer, question, """ "result":{"id":"second","actions":[{"id":"w2","type":"state_write","parameters":{"key":"k","value":2} }]} """);

        JsonElement result = await submitted;
        await Assert.That(result.GetProperty("proposal_id").GetString()).IsEqualTo("second");
        await Assert.That(result.GetProperty("results")[0].GetProperty("status").GetString()).IsEqualTo("succeeded");
        await Assert.That(result.GetProperty("cost").GetProperty("actions_executed").GetInt32()).IsEqualTo(3);
        await Assert.That((await peer.CallAsync("state.get", """{"key":"k"}""")).GetInt32()).IsEqualTo(2);
        await using RpcPeer host = await daemon.ConnectHostAsync();
        JsonElement trace = await host.CallAsync("runs.get_trace", $$"""{"run_id":"{{run}}"}""");
        await Assert.That(trace.GetRawText()).Contains("\"extra\":{\"colour\":\"red\"}").And.Contains("\"index\":2");
        JsonElement events = await peer.CallAsync("events.query", """{"kinds":["replan_attempted","replan_proposal_received","replan_rejected","replan_exhausted"]}""");
        await Assert.That(string.Join(' ', events.GetProperty("events").EnumerateArray().Select(one => one.GetProperty("kind").GetString()).Reverse()))
            .IsEqualTo("replan_attempted replan_rejected replan_attempted replan_proposal_received");
    }

    /// <summary>A client of the original has no planner, and its library says so.</summary>
    [Test]
    [Arguments("""{"code":-32601,"message":"method not found"}""", "the client has no planner")]
    [Arguments(null, "the planner has no other proposal")]
    public async Task Without_a_planner_the_result_is_what_it_was(string? error, string reason)
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.CallAsync("replan.set_config", """{"max_replans":16}""");
        Task<JsonElement> submitted = peer.CallAsync("proposal.submit", Aborted);
        await AnswerAsync(peer, await QuestionAsync(peer), error is null ? "\"result\":null" : $"\"error\":{error}");
        JsonElement result = await submitted;
        await Assert.That(result.GetProperty("proposal_id").GetString()).IsEqualTo("first");
        await Assert.That(result.GetProperty("results")[1].GetProperty("status").GetString()).IsEqualTo("failed");
        JsonElement exhausted = (await peer.CallAsync("events.query", """{"kinds":["replan_exhausted"]}""")).GetProperty("events")[0];
        await Assert.That(exhausted.GetProperty("data").GetProperty("reason").GetString()).IsEqualTo(reason);
    }

    [Test]
    public async Task A_client_that_leaves_ends_the_question_and_nobody_else_notices()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer other = await daemon.ConnectAsync();
        await using (RpcPeer peer = await daemon.ConnectAsync())
        {
            await peer.CallAsync("replan.set_config", """{"max_replans":3}""");
            _ = peer.SendAsync("proposal.submit", Aborted);
            await QuestionAsync(peer);
        }
        await Assert.That((await other.CallAsync("ping")).GetString()).IsEqualTo("pong");
    }

    [Test]
    [Arguments("""{"max_replans":17}""")]
    [Arguments("""{"max_replans":-1}""")]
    [Arguments("""{"delay_ms":1800001}""")]
    [Arguments("""{"verify_before_execute":1}""")]
    public async Task What_is_no_configuration_is_refused(string parameters)
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await Assert.That((await peer.CallFailsAsync("replan.set_config", parameters)).Code).IsEqualTo(-32602);
    }
}

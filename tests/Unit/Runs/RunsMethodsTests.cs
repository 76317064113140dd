using System.Buffers;
using System.Text;
using System.Text.Json;
using CarServer.Rpc.JsonRpc;
using CarServer.Rpc.Methods;
using CarServer.RunStore;
using CarServer.State;
using CarServer.State.Runs;
using CarServer.State.Sessions;
using CarServer.Tests.Support;
using TUnit.Core;

namespace CarServer.Tests.Unit.Runs;

/// <summary>The wire of <c>runs.*</c> without the wire: params in, result or refusal out. Auth is off.</summary>
public sealed class RunsMethodsTests
{
    [Test]
    public async Task A_run_is_started_listed_read_and_completed()
    {
        await using var house = new House();
        ClientSession session = house.Connect("c1");
        await Assert.That(await house.CallAsync(session, "runs.start", """{"intent":"i","agent_id":"a","idempotency_key":"r"}"""))
            .IsEqualTo("""{"run_id":"r","agent_id":"a"}""");
        await Assert.That(session.CurrentRunId).IsEqualTo("r");
        await Assert.That(await house.CallAsync(session, "runs.complete", """{"run_id":"r","outcome":{"status":"success","new":{}}}"""))
            .IsEqualTo("""{"run_id":"r","ok":true}""");
        await Assert.That(session.CurrentRunId).IsNull();

        JsonElement list = JsonElement.Parse(await house.CallAsync(session, "runs.list", """{"agent_id":"a"}"""));
        await Assert.That(string.Join(' ', list.EnumerateObject().Select(member => member.Name))).IsEqualTo("agent_id runs");
        await Assert.That(string.Join(' ', list.GetProperty("runs")[0].EnumerateObject().Select(member => member.Name)))
            .IsEqualTo("run_id agent_id intent started_at ended_at status turn_count");
        await Assert.That(list.GetProperty("runs")[0].GetProperty("status").GetString()).IsEqualTo("completed");

        string[] lines = await File.ReadAllLinesAsync(house.Home.Trace("a", "r"));
        await Assert.That(await house.CallAsync(session, "runs.get_trace", """{"run_id":"r"}"""))
            .IsEqualTo($$"""{"run_id":"r","agent_id":"a","records":[{{lines[0]}},{{lines[1]}}],"cursor":0}""");
    }

    [Test]
    public async Task A_trace_is_read_from_a_cursor_and_in_pages()
    {
        await using var house = new House();
        ClientSession session = house.Connect("c1");
        await house.CallAsync(session, "runs.start", """{"intent":"i","agent_name":"My Agent","idempotency_key":"r"}""");
        await house.CallAsync(session, "runs.complete", """{"run_id":"r","outcome":{"status":"give_up"}}""");
        string[] lines = await File.ReadAllLinesAsync(house.Home.Trace("name%3amy-agent", "r"));
        const string Head = "{\"run_id\":\"r\",\"agent_id\":\"name:my-agent\",\"records\":";
        await Assert.That(await house.CallAsync(session, "runs.get_trace", """{"run_id":"r","limit":1}""")).IsEqualTo($$"""{{Head}}[{{lines[0]}}],"cursor":0,"next_cursor":1}""");
        await Assert.That(await house.CallAsync(session, "runs.get_trace", """{"run_id":"r","limit":1,"cursor":1}""")).IsEqualTo($$"""{{Head}}[{{lines[1]}}],"cursor":1,"next_cursor":null}""");
        await Assert.That(await house.CallAsync(session, "runs.get_trace", """{"run_id":"r","cursor":9}""")).IsEqualTo($$"""{{Head}}[],"cursor":9}""");
    }

    [Test]
    public async Task Lists_come_in_pages()
    {
        await using var house = new House();
        ClientSession session = house.Connect("c1");
        foreach (string id in (string[])["r1", "r2", "r3"])
            await house.CallAsync(session, "runs.start", $$"""{"intent":"i","agent_id":"a","idempotency_key":"{{id}}"}""");
        var seen = new List<string>();
        for (string? before = null; before != "end";)
        {
            JsonElement page = JsonElement.Parse(await house.CallAsync(session, "runs.list",
                before is null ? """{"agent_id":"a","limit":2}""" : $$"""{"agent_id":"a","limit":2,"before":"{{before}}"}"""));
            seen.AddRange(page.GetProperty("runs").EnumerateArray().Select(run => run.GetProperty("run_id").GetString()!));
            before = page.GetProperty("next_before").GetString() ?? "end";
        }
        await Assert.That(string.Join(' ', seen)).IsEqualTo("r3 r2 r1");
    }

    [Test]
    public async Task What_does_not_exist_is_a_marker_an_empty_list_or_an_error()
    {
        await using var house = new House();
        ClientSession session = house.Connect("c1");
        await Assert.That(await house.CallAsync(session, "runs.get_trace", """{"run_id":"r"}""")).IsEqualTo("""{"run_id":"r","not_found":true}""");
        await Assert.That(await house.CallAsync(session, "runs.list", """{"agent_id":"a"}""")).IsEqualTo("""{"agent_id":"a","runs":[]}""");
        await Assert.That(async () => await house.CallAsync(session, "runs.complete", """{"run_id":"r","outcome":{"status":"done"}}"""))
            .Throws<RefusedException>().WithMessage("unknown run_id `r`");
    }

    [Test]
    public async Task Only_the_agent_and_the_connection_that_started_it_complete_a_run()
    {
        await using var house = new House();
        const string Complete = """{"run_id":"r","outcome":{"status":"done"}}""";
        await house.CallAsync(house.Connect("c1"), "runs.start", """{"intent":"i","agent_id":"a","idempotency_key":"r"}""");
        await Assert.That(async () => await house.CallAsync(house.Connect("c2"), "runs.complete", Complete))
            .Throws<RefusedException>().WithMessage("unknown run_id `r`");
        ClientSession bound = house.Connect("c3");
        bound.AgentId = "a";
        await Assert.That(await house.CallAsync(bound, "runs.complete", Complete)).IsEqualTo("""{"run_id":"r","ok":true}""");
    }

    [Test]
    public async Task A_second_start_becomes_current_and_completing_the_first_leaves_it_so()
    {
        await using var house = new House();
        ClientSession session = house.Connect("c1");
        await house.CallAsync(session, "runs.start", """{"intent":"i","agent_id":"a","idempotency_key":"r1"}""");
        await house.CallAsync(session, "runs.start", """{"intent":"i","agent_id":"a","idempotency_key":"r2"}""");
        await house.CallAsync(session, "runs.complete", """{"run_id":"r1","outcome":{"status":"done"}}""");
        await Assert.That(session.CurrentRunId).IsEqualTo("r2");
    }

    [Test]
    public async Task A_start_whose_connection_is_gone_by_then_leaves_no_open_run()
    {
        await using var house = new House();
        ClientSession session = house.Connect("c1");
        session.MarkClosed();
        await house.CallAsync(session, "runs.start", """{"intent":"i","agent_id":"a","idempotency_key":"r"}""");
        await Assert.That(house.State.Runs.Find("r")!.Status).IsEqualTo(RunStatus.Incomplete);
    }

    [Test]
    [Arguments("runs.start", """{"agent_id":"a"}""")]
    [Arguments("runs.start", """{"intent":null,"agent_id":"a"}""")]
    [Arguments("runs.start", """{"intent":"i"}""")]
    [Arguments("runs.start", """{"intent":"i","agent_id":""}""")]
    [Arguments("runs.start", """{"intent":"i","agent_id":"a","idempotency_key":".."}""")]
    [Arguments("runs.complete", """{"run_id":"r"}""")]
    [Arguments("runs.complete", """{"run_id":"r","outcome":{}}""")]
    [Arguments("runs.complete", """{"run_id":"r","outcome":{"status":"fine"}}""")]
    [Arguments("runs.complete", """{"run_id":"r","outcome":{"status":"done","evidence":[{"kind":"hearsay"}]}}""")]
    [Arguments("runs.list", "{}")]
    [Arguments("runs.list", """{"agent_id":"a","limit":0}""")]
    [Arguments("runs.get_trace", """{"run_id":"r","cursor":-1}""")]
    [Arguments("runs.get_trace", """{"run_id":"r","limit":0}""")]
    [Arguments("runs.get_trace", """{"run_id":""}""")]
    public async Task Wrong_params_are_invalid_params(string method, string parameters)
    {
        await using var house = new House();
        Exception? thrown = await Assert.That(async () => await house.CallAsync(house.Connect("c1"), method, parameters)).ThrowsException();
        RpcException error = thrown as RpcException ?? RpcException.From((RefusedException)thrown!);
        await Assert.That(error.Code).IsEqualTo(RpcErrorCode.InvalidParams);
        await Assert.That(Directory.Exists(house.Home.In("runs", "a"))).IsFalse();
    }

    [Test]
    [Arguments("""{"status":"done","metrics":{"duration_ms":1e999}}""")]
    [Arguments("""{"status":"done","evidence":[null]}""")]
    public async Task An_outcome_that_cannot_be_stored_as_it_is_leaves_the_run_open(string outcome)
    {
        await using var house = new House();
        ClientSession session = house.Connect("c1");
        await house.CallAsync(session, "runs.start", """{"intent":"i","agent_id":"a","idempotency_key":"r"}""");
        RpcException? error = await Assert.That(async () => await house.CallAsync(session, "runs.complete", $$"""{"run_id":"r","outcome":{{outcome}}}""")).Throws<RpcException>();
        await Assert.That(error!.Code).IsEqualTo(RpcErrorCode.InvalidParams);
        await Assert.That(house.State.Runs.Find("r")!.IsOpen).IsTrue();
    }

    /// <summary>Every depth that is accepted is read back: there is none at which a run that ended counts as open.</summary>
    [Test]
    public async Task Evidence_may_nest_as_deep_as_a_message()
    {
        await using var house = new House();
        ClientSession session = house.Connect("c1");
        foreach (int depth in (int[])[50, 58, 59, 60, 61, 62, 63, 64, 100, 120])
        {
            await house.CallAsync(session, "runs.start", $$"""{"intent":"i","agent_id":"a","idempotency_key":"r{{depth}}"}""");
            await house.CallAsync(session, "runs.complete",
                $$$"""{"run_id":"r{{{depth}}}","outcome":{"status":"done","evidence":[{"kind":"evaluator","data":{{{new string('[', depth)}}}{{{new string(']', depth)}}}}]}}""");
        }
        JsonElement list = JsonElement.Parse(await house.CallAsync(session, "runs.list", """{"agent_id":"a"}"""));
        await Assert.That(list.GetProperty("runs").EnumerateArray().Count(run => run.GetProperty("status").GetString() != "completed")).IsEqualTo(0);
    }

    private sealed class House : IAsyncDisposable
    {
        public House() => State = ServerState.Standalone(Home.Journals);

        public TempHome Home { get; } = new();
        public ServerState State { get; }

        public ClientSession Connect(string clientId) => new(clientId, channel: null!, State);   // no method of runs.* talks back

        public Task<string> CallAsync(ClientSession session, string method, string parameters) =>
            MethodCall.ResultAsync(RunsMethods.Rows.Single(row => row.Name == method), State, session, parameters);

        public async ValueTask DisposeAsync()
        {
            await State.DisposeAsync();
            Home.Dispose();
        }
    }
}

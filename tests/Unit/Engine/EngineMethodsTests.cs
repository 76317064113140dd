using System.Text.Json;
using System.Text;
using CarServer.Rpc.JsonRpc;
using CarServer.Rpc.Methods;
using CarServer.RunStore.Contracts;
using CarServer.State.Engine;
using CarServer.State.Sessions;
using CarServer.State;
using CarServer.Tests.Support;

namespace CarServer.Tests.Unit.Engine;

/// <summary>The methods' own rules: shapes, errors, all or nothing. Their params come as bytes, as the dispatcher gives them.</summary>
public sealed class EngineMethodsTests : IAsyncDisposable
{
    private static readonly Method[] Rows = [.. StateMethods.Rows, .. ToolsMethods.Rows, .. SessionMethods.Rows, .. PolicyMethods.Rows, .. ProposalMethods.Rows];

    private readonly string _folder = Directory.CreateTempSubdirectory("car-methods-").FullName;
    private readonly FakeChannel _channel = new();
    private readonly ServerState _state;
    private readonly ClientSession _session;

    public EngineMethodsTests()
    {
        _state = ServerState.Standalone(Path.Combine(_folder, "journals"));
        Directory.CreateDirectory(Path.Combine(_folder, "journals"));
        _session = new ClientSession("0123456789ab", _channel, _state);
    }

    private Task<string> AnswerAsync(string method, string parameters) =>
        MethodCall.ResultAsync(Rows.Single(row => row.Name == method), _state, _session, parameters);

    /// <summary>A large proposal is run elsewhere; whose it is has to be known before that.</summary>
    [Test]
    public async Task A_proposals_turns_belong_to_the_run_that_was_current_when_it_came()
    {
        string actions = string.Join(',', Enumerable.Repeat("""{"type":"state_read","parameters":{"key":"k"}}""", EngineLimits.MaxInlineActions + 1));
        for (int round = 0; round < 20; round++)
        {
            await _state.Runs.StartAsync(_session.ClientId, "a", "", null, $"first-{round}", opened: run => _session.CurrentRunId = run.RunId);
            Task submitted = AnswerAsync("proposal.submit", $$"""{"proposal":{"actions":[{{actions}}]} }""");
            _session.CurrentRunId = "second";
            await submitted;
            await Assert.That(_state.Runs.Find($"first-{round}")!.Position.Turns).IsEqualTo(EngineLimits.MaxInlineActions + 1);
        }
    }

    [Test]
    public async Task A_handler_that_refuses_at_once_leaves_nothing_registered_with_its_session()
    {
        CancellationToken abandoned = default;
        Method method = Method.Waiting<NoParams, bool>("m", "{}", "", Json.NoParams, Scalar.Boolean,
            (call, _) =>
            {
                abandoned = call.Abandoned;
                throw new RefusedException("no");
            });
        await Assert.That(async () => await MethodCall.ResultAsync(method, _state, _session, "{}")).Throws<RefusedException>();
        await Assert.That(() => abandoned.WaitHandle).Throws<ObjectDisposedException>();
    }

    /// <summary>Calls one after another; an error shows as its code and message.</summary>
    [Test]
    [Arguments("state.get", """{"key":"k"}""", "null")]
    [Arguments("state.set", """{"key":"k"}""", "\"ok\"")]
    [Arguments("state.exists", """{"key":"k"}""", "false")]
    [Arguments("state.keys", "", "[]")]
    [Arguments("state.snapshot", "null", "{}")]
    [Arguments("state.get", "{}", "-32602 state.get requires { key, tenant_id? }")]
    [Arguments("state.set", """{"key":"tenant:a:b"}""", "-32602 state keys that start with 'tenant:' belong to tenants: give the tenant's id instead")]
    [Arguments("tools.register", """[{"name":"a"},{"name":"b","parameters":{},"rate_limit":{"max_calls":1,"interval_secs":1}}]""", "2")]
    [Arguments("tools.register", "[]", "0")]
    [Arguments("tools.register", """[{"name":"a"},{"name":"b","parameters":{"required":7}}]""",
        "-32602 tool 'b' has an invalid registered JSON Schema: required must be a list of strings")]
    [Arguments("tools.register", "[null]", "-32602 tool definition 0 is null")]
    [Arguments("tools.list", "", """{"tools":[],"count":0}""")]
    [Arguments("tools.unregister", """{"name":"a"}""", """{"unregistered":"a","removed":0}""")]
    [Arguments("tools.unregister", "{}", "-32602 tools.unregister requires { name }")]
    [Arguments("session.init", """{"tools":[{"name":"a"}]}""", """{"session_id":"0123456789ab","tools_registered":1,"policies_registered":0}""")]
    [Arguments("session.init", """{"tools":[],"policies":[]}""", """{"session_id":"0123456789ab","tools_registered":0,"policies_registered":0}""")]
    [Arguments("session.init", """{"tools":[{"name":"a"}],"policies":[{"name":"n","rule":"deny_tool","target":"a"}]}""", """{"session_id":"0123456789ab","tools_registered":1,"policies_registered":1}""")]
    [Arguments("session.init", """{"tools":[{"name":"a"}],"policies":[{"name":"n","rule":"dance"}]}""", "-32603 unknown policy rule 'dance'")]
    [Arguments("session.init", """{"tools":[],"policies":[null]}""", "-32602 policy definition 0 is null")]
    [Arguments("policy.register", """{"name":"n","rule":"deny_tool","target":"a","value":1,"more":2}""", """{"registered":"n","name":"n","scope":"global"}""")]
    [Arguments("policy.register", """{"name":"n","rule":"deny_tool"}""", "-32602 policy 'n': rule 'deny_tool' needs target, a string, got none")]
    [Arguments("policy.register", """{"name":"n","rule":"deny_tool","target":"a","session_id":"s"}""", "-32603 unknown session_id 's': no policy session is open on this connection")]
    [Arguments("policy.unregister", """{"name":"n"}""", """{"unregistered":"n","removed":0,"scope":"global"}""")]
    [Arguments("policy.list", "", """{"policies":[],"scope":"global"}""")]
    [Arguments("policy.list", """{"session_id":"s"}""", "-32603 unknown session_id 's': no policy session is open on this connection")]
    [Arguments("session.policy.close", """{"session_id":"s"}""", """{"closed":false}""")]
    [Arguments("proposal.submit", """{"proposal":{"actions":[]},"session_id":"s"}""", "-32603 unknown session_id 's': no policy session is open on this connection")]
    [Arguments("proposal.submit", """{"proposal":{"actions":[{"id":"a","type":"assertion"},{"id":"a","type":"assertion"}]}}""", "-32602 duplicate action id 'a'")]
    public async Task Each_method_answers_in_its_own_shape(string method, string parameters, string answer)
    {
        string actual;
        try
        {
            actual = await AnswerAsync(method, parameters);
        }
        catch (RpcException e)
        {
            actual = $"{(int)e.Code} {e.Message}";
        }
        catch (RefusedException e)
        {
            actual = $"{(int)RpcException.From(e).Code} {e.Message}";
        }
        await Assert.That(actual).IsEqualTo(answer);
    }

    [Test]
    [Arguments("tools.register", "{}")]
    [Arguments("tools.register", "[{}]")]
    [Arguments("tools.register", """[{"name":null}]""")]
    [Arguments("session.init", "{}")]
    [Arguments("state.set", """{"key":1}""")]
    [Arguments("policy.register", "{}")]
    [Arguments("policy.register", """{"name":"n"}""")]
    [Arguments("policy.register", """{"name":"n","rule":"deny_tool","target":7}""")]
    [Arguments("policy.register", """{"name":null,"rule":"deny_tool","target":"t"}""")]
    [Arguments("policy.unregister", "{}")]
    [Arguments("session.policy.close", "{}")]
    [Arguments("proposal.submit", "{}")]
    [Arguments("proposal.submit", """{"proposal":{}}""")]
    [Arguments("proposal.submit", """{"proposal":{"actions":[{"type":"x"}]}}""")]
    [Arguments("proposal.submit", """{"proposal":{"actions":[{"type":"tool_call,assertion"}]}}""")]
    [Arguments("proposal.submit", """{"proposal":{"actions":[{"type":"tool_call","max_retries":4294967296}]}}""")]
    [Arguments("proposal.submit", """{"proposal":{"actions":[{"type":"tool_call","max_retries":-1}]}}""")]
    [Arguments("proposal.submit", """{"proposal":{"actions":[{"type":"tool_call","timeout_ms":18446744073709551616}]}}""")]
    [Arguments("proposal.submit", """{"proposal":{"actions":[{"type":"tool_call","timeout_ms":1.5}]}}""")]
    [Arguments("proposal.submit", """{"proposal":{"actions":[{"type":"tool_call","\ud800":1}]}}""")]
    public async Task Params_of_another_shape_are_refused_without_our_type_names(string method, string parameters)
    {
        RpcException refused = (await Assert.ThrowsAsync<RpcException>(() => AnswerAsync(method, parameters)))!;
        await Assert.That(refused.Code).IsEqualTo(RpcErrorCode.InvalidParams);
        await Assert.That(refused.Message).StartsWith(method + " requires ").And.DoesNotContain("CarServer");
    }

    [Test]
    public async Task What_is_set_can_be_read_by_its_tenant()
    {
        await AnswerAsync("state.set", """{"key":"k","value":{"a":[1.50]},"tenant_id":"t"}""");
        await AnswerAsync("state.set", """{"key":"n"}""");
        await Assert.That(await AnswerAsync("state.get", """{"key":"k","tenant_id":"t"}""")).IsEqualTo("""{"a":[1.50]}""");
        await Assert.That(await AnswerAsync("state.get", """{"key":"k"}""")).IsEqualTo("null");
        await Assert.That(await AnswerAsync("state.exists", """{"key":"n","tenant_id":" "}""")).IsEqualTo("true");
        await Assert.That(await AnswerAsync("state.snapshot", """{"tenant_id":"t"}""")).IsEqualTo("""{"k":{"a":[1.50]}}""");
        await Assert.That(await AnswerAsync("state.keys", "{}")).IsEqualTo("""["n"]""");
    }

    [Test]
    public async Task A_refused_registration_changes_nothing()
    {
        await Assert.ThrowsAsync<RefusedException>(() => AnswerAsync("tools.register", """[{"name":"a"},{"name":""}]"""));
        await Assert.ThrowsAsync<RefusedException>(() => AnswerAsync("session.init", """{"tools":[{"name":"a"}],"policies":[{"name":"n","rule":"x"}]}"""));
        await Assert.ThrowsAsync<RefusedException>(() => AnswerAsync("session.init", """{"tools":[{"name":""}],"policies":[{"name":"n","rule":"deny_tool","target":"a"}]}"""));
        await Assert.That(await AnswerAsync("tools.list", "{}")).IsEqualTo("""{"tools":[],"count":0}""");
        await Assert.That(await AnswerAsync("policy.list", "{}")).IsEqualTo("""{"policies":[],"scope":"global"}""");
    }

    [Test]
    public async Task A_scope_chooses_the_tenant_and_wins_over_a_session_id()
    {
        string answer = await AnswerAsync("proposal.submit", """
            {"proposal":{"id":"p","actions":[{"id":"a","type":"state_write","parameters":{"key":"k","value":1}}]},
             "session_id":"nobody","scope":{"callerId":"me","tenantId":"t","claims":{"x":1}}}
            """);
        await Assert.That(answer).StartsWith("""{"proposal_id":"p","results":[{"action_id":"a","status":"succeeded","output":null,"error":null,"state_changes":{"k":1},""");
        await Assert.That(await AnswerAsync("state.keys", """{"tenant_id":"t"}""")).IsEqualTo("""["k"]""");
        await Assert.That(Encoding.UTF8.GetString(_session.Runtime.Events.Latest()[0].Span)).StartsWith(
            """{"kind":"session_scope","action_id":null,"proposal_id":"p","data":{"caller":"me","tenant":"t"}""");
    }

    [Test]
    public async Task A_large_proposal_leaves_the_read_loop_and_ends_all_the_same()
    {
        string actions = string.Join(',', Enumerable.Range(0, 1_000).Select(i => $$"""{"type":"state_write","parameters":{"key":"k{{i}}"} }"""));
        string answer = await AnswerAsync("proposal.submit", $$"""{"proposal":{"actions":[{{actions}}]} }""");
        await Assert.That(answer).Contains("\"actions_executed\":1000,");
    }

    [Test]
    public async Task A_carried_value_may_nest_as_deep_as_a_message()
    {
        string deep = new string('[', 120) + new string(']', 120);
        await AnswerAsync("state.set", $$"""{"key":"k","value":{{deep}}}""");
        await Assert.That(await AnswerAsync("state.get", """{"key":"k"}""")).IsEqualTo(deep);
        string tooDeep = new string('[', 200) + new string(']', 200);
        await Assert.ThrowsAsync<RpcException>(() => AnswerAsync("state.set", $$"""{"key":"k","value":{{tooDeep}}}"""));
    }

    [Test]
    [Arguments("""{"type":"tool_call"}""", 1_800_000d)]
    [Arguments("""{"type":"tool_call","timeout_ms":3600000}""", 3_600_000d + 15_000)]
    [Arguments("""{"type":"tool_call","timeout_ms":600000,"max_retries":9}""", 1_800_000d)]
    [Arguments("""{"type":"tool_call","timeout_ms":600000,"max_retries":9,"failure_behavior":"retry"}""", 6_066_100d)]
    [Arguments("""{"type":"tool_call","max_retries":9,"failure_behavior":"retry"},{"type":"state_read"}""", 3_366_100d)]
    [Arguments("""{"type":"tool_call","timeout_ms":1,"max_retries":17,"failure_behavior":"retry"}""", 3_276_700d + 3_600_000 + 18 + 15_000)]
    [Arguments("""{"type":"tool_call","timeout_ms":18446744073709551615,"max_retries":4294967295,"failure_behavior":"retry"}""", (double)int.MaxValue)]
    [Arguments("", 1_800_000d)]
    public async Task The_deadline_is_what_the_actions_may_take(string actions, double ms)
    {
        ActionProposal proposal = TestEngine.Parse($$"""{"actions":[{{actions}}]}""");
        await Assert.That(ProposalMethods.Deadline(proposal, new ReplanConfig(), TimeSpan.FromMinutes(30)).TotalMilliseconds).IsEqualTo(ms);
        double replanned = Math.Min(3 * ms + 2 * (1_000 + 300_000), int.MaxValue);
        await Assert.That(ProposalMethods.Deadline(proposal, new ReplanConfig(2, DelayMs: 1_000), TimeSpan.FromMinutes(30)).TotalMilliseconds).IsEqualTo(replanned);
        // Whoever decides does so anew on each plan.
        await Assert.That(ProposalMethods.Deadline(proposal, new ReplanConfig(2, DelayMs: 1_000), TimeSpan.FromMinutes(30), TimeSpan.FromSeconds(30)).TotalMilliseconds)
            .IsEqualTo(Math.Min(replanned + 3 * 30_000, int.MaxValue));
    }

    public async ValueTask DisposeAsync()
    {
        await _state.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }
}

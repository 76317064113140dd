using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using CarServer.Rpc.JsonRpc;
using CarServer.Rpc.Methods;
using CarServer.State;
using CarServer.State.Engine;
using CarServer.State.Sessions;

namespace CarServer.Tests.Unit.Engine;

/// <summary>The methods' own rules: shapes, errors, all or nothing.</summary>
public sealed class EngineMethodsTests : IAsyncDisposable
{
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

    /// <summary>Reads the params, runs the handler, writes the result: what the row of the method does.</summary>
    private async Task<string> AnswerAsync(string method, string parameters)
    {
        var call = new Call(_state, _session, CancellationToken.None);
        StateMethodsJson state = StateMethodsJson.Default;
        ToolsMethodsJson tools = ToolsMethodsJson.Default;
        return method switch
        {
            "state.get" => Text(StateMethods.Get(call, Params(state.StateKeyParams)), state.RawJson),
            "state.set" => Text(StateMethods.Set(call, Params(state.StateSetParams)), state.String),
            "state.exists" => Text(StateMethods.Exists(call, Params(state.StateKeyParams)), state.Boolean),
            "state.keys" => Text(StateMethods.Keys(call, Params(state.StateTenantParams)), state.StringArray),
            "state.snapshot" => Text(StateMethods.Snapshot(call, Params(state.StateTenantParams)), state.DictionaryStringRawJson),
            "tools.register" => Text(ToolsMethods.Register(call, Params(tools.ListToolDefinition)), tools.Int32),
            "tools.list" => Text(ToolsMethods.List(call, Params(tools.NoParams)), tools.ToolsListResult),
            "tools.unregister" => Text(ToolsMethods.Unregister(call, Params(tools.ToolsUnregisterParams)), tools.ToolsUnregisterResult),
            "session.init" => Text(SessionMethods.Init(call, Params(SessionMethodsJson.Default.SessionInitParams)), SessionMethodsJson.Default.SessionInitResult),
            "proposal.submit" => Text(await ProposalMethods.SubmitAsync(call, Params(ProposalMethodsJson.Default.ProposalSubmitParams)),
                ProposalMethodsJson.Default.ProposalResult),
            _ => throw new ArgumentOutOfRangeException(nameof(method)),
        };

        T Params<T>(JsonTypeInfo<T> type) => JsonSerializer.Deserialize(parameters.Length == 0 ? "{}" : parameters, type)!;
        // As the wire writes it: not escaped for a browser.
        string Text<T>(T result, JsonTypeInfo<T> type)
        {
            using var bytes = new MemoryStream();
            using (var writer = new Utf8JsonWriter(bytes, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
                JsonSerializer.Serialize(writer, result, type);
            return Encoding.UTF8.GetString(bytes.ToArray());
        }
    }

    /// <summary>An error shows as its code and message, params that do not even parse as just that.</summary>
    [Test]
    [Arguments("state.get", """{"key":"k"}""", "null")]
    [Arguments("state.set", """{"key":"k"}""", "\"ok\"")]
    [Arguments("state.exists", """{"key":"k"}""", "false")]
    [Arguments("state.keys", "", "[]")]
    [Arguments("state.snapshot", "{}", "{}")]
    [Arguments("state.get", "{}", "bad params")]
    [Arguments("state.set", """{"key":"tenant:a:b"}""", "-32602 state keys that start with 'tenant:' belong to tenants: give the tenant's id instead")]
    [Arguments("tools.register", """[{"name":"a"},{"name":"b","parameters":{},"rate_limit":{"max_calls":1,"interval_secs":1}}]""", "2")]
    [Arguments("tools.register", "[]", "0")]
    [Arguments("tools.register", """[{"name":"a"},{"name":"b","parameters":{"required":7}}]""",
        "-32602 tool 'b' has an invalid registered JSON Schema: required must be a list of strings")]
    [Arguments("tools.register", "[null]", "-32602 tool definition 0 is null")]
    [Arguments("tools.list", "", """{"tools":[],"count":0}""")]
    [Arguments("tools.unregister", """{"name":"a"}""", """{"unregistered":"a","removed":0}""")]
    [Arguments("tools.unregister", "{}", "bad params")]
    [Arguments("session.init", """{"tools":[{"name":"a"}]}""", """{"session_id":"0123456789ab","tools_registered":1,"policies_registered":0}""")]
    [Arguments("session.init", """{"tools":[],"policies":[]}""", """{"session_id":"0123456789ab","tools_registered":0,"policies_registered":0}""")]
    [Arguments("session.init", """{"tools":[{"name":"a"}],"policies":[{"name":"n","rule":"deny_tool","target":"a"}]}""", "-32603 unknown policy rule 'deny_tool'")]
    [Arguments("proposal.submit", """{"proposal":{"actions":[]},"session_id":"s"}""", "-32603 unknown session_id 's': no policy session is open on this connection")]
    [Arguments("proposal.submit", """{"proposal":{"actions":[{"id":"a","type":"assertion"},{"id":"a","type":"assertion"}]}}""", "-32602 duplicate action id 'a'")]
    [Arguments("tools.register", "{}", "bad params")]
    [Arguments("tools.register", "[{}]", "bad params")]
    [Arguments("tools.register", """[{"name":null}]""", "bad params")]
    [Arguments("session.init", "{}", "bad params")]
    [Arguments("state.set", """{"key":1}""", "bad params")]
    [Arguments("proposal.submit", "{}", "bad params")]
    [Arguments("proposal.submit", """{"proposal":{}}""", "bad params")]
    [Arguments("proposal.submit", """{"proposal":{"actions":[{"type":"x"}]}}""", "bad params")]
    public async Task Each_method_answers_in_its_own_shape(string method, string parameters, string answer)
    {
        string actual;
        try
        {
            actual = await AnswerAsync(method, parameters);
        }
        catch (JsonException)
        {
            actual = "bad params";
        }
        catch (RefusedException e)
        {
            actual = $"{(int)RpcException.From(e).Code} {e.Message}";
        }
        await Assert.That(actual).IsEqualTo(answer);
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
        await Assert.ThrowsAsync<RefusedException>(() => AnswerAsync("session.init", """{"tools":[{"name":"a"}],"policies":[{"rule":"x"}]}"""));
        await Assert.That(await AnswerAsync("tools.list", "{}")).IsEqualTo("""{"tools":[],"count":0}""");
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
        await Assert.ThrowsAsync<JsonException>(() => AnswerAsync("state.set", $$"""{"key":"k","value":{{tooDeep}}}"""));
    }

    [Test]
    [Arguments("""{"type":"tool_call"}""", 315_000d)]
    [Arguments("""{"type":"tool_call","timeout_ms":3600000}""", 3_600_000d + 15_000)]
    [Arguments("""{"type":"tool_call","timeout_ms":600000,"max_retries":9}""", 615_000d)]
    [Arguments("""{"type":"tool_call","timeout_ms":600000,"max_retries":9,"failure_behavior":"retry"}""", 6_015_000d)]
    [Arguments("""{"type":"tool_call","max_retries":9,"failure_behavior":"retry"},{"type":"state_read"}""", 3_315_000d)]
    [Arguments("""{"type":"tool_call","timeout_ms":18446744073709551615,"max_retries":4294967295,"failure_behavior":"retry"}""", (double)int.MaxValue)]
    [Arguments("", 15_000d)]
    public async Task The_deadline_is_what_the_actions_may_take(string actions, double ms)
    {
        ActionProposal proposal = TestEngine.Parse($$"""{"actions":[{{actions}}]}""");
        await Assert.That(ProposalMethods.Deadline(proposal).TotalMilliseconds).IsEqualTo(ms);
    }

    public async ValueTask DisposeAsync()
    {
        await _state.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }
}

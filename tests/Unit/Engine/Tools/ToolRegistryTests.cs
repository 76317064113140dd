using System.Text.Json;
using CarServer.Rpc.Methods;
using CarServer.RunStore.Contracts;
using CarServer.RunStore;
using CarServer.State;
using CarServer.State.Engine;
using CarServer.State.Engine.Tools;
using CarServer.Tests.Support;

namespace CarServer.Tests.Unit.Engine.Tools;

public class ToolRegistryTests
{
    private readonly ToolRegistry _tools = new();

    private static ToolDefinition Tool(string name, string parameters = "{}") => new() { Name = name, Parameters = RawJson.Parse(parameters) };

    [Test]
    public async Task Tools_are_listed_by_name_and_the_last_definition_counts()
    {
        await Assert.That(_tools.Register([Tool("b"), Tool("a"), Tool("b", """{"type":"object"}""")])).IsEqualTo(3);
        await Assert.That(_tools.Register([Tool("a", """{"required":["x"]}""")])).IsEqualTo(1);
        await Assert.That(string.Join(' ', _tools.List().Select(tool => tool.Name + tool.Parameters))).IsEqualTo("""a{"required":["x"]} b{"type":"object"}""");
    }

    /// <summary>A read loop has other connections, too; and what its client sends next must find the tools.</summary>
    [Test]
    public async Task What_may_take_long_is_done_elsewhere_and_in_its_order()
    {
        using var gate = new SemaphoreSlim(0);
        var order = new List<int>();
        Task<int> first = _tools.InOrderAsync(() => Done(1, gate.Wait), default, soon: false);
        Task<int> second = _tools.InOrderAsync(() => Done(2), default);
        Task settled = _tools.Settled;
        await Assert.That(first.IsCompleted || second.IsCompleted || settled.IsCompleted).IsFalse();
        gate.Release();
        await settled;
        await Assert.That($"{await first} {await second}, {string.Join(' ', order)}").IsEqualTo("1 2, 1 2");

        Task<int> refused = _tools.InOrderAsync<int>(static () => throw new RefusedException("no"), default, soon: false);
        Task<int> left = _tools.InOrderAsync(() => Done(3), new CancellationToken(canceled: true), soon: false);
        await _tools.Settled;
        await Assert.That(async () => await refused).Throws<RefusedException>();
        await Assert.That(left.IsCanceled).IsTrue();
        await Assert.That(_tools.InOrderAsync(() => Done(4), default).IsCompletedSuccessfully).IsTrue();

        int Done(int number, Action? wait = null)
        {
            wait?.Invoke();
            order.Add(number);
            return number;
        }
    }

    [Test]
    [Arguments("""{"properties":{"x":{"type":"string"}}}""", true)]
    [Arguments("""{"properties":{"x":{"pattern":"a"}}}""", false)]
    [Arguments("""{"properties":{"x":{"p\u0061ttern":"a"}}}""", false)]
    [Arguments("""{"patternProperties":{"a":true}}""", false)]
    public async Task A_regular_expression_is_not_made_ready_on_a_read_loop(string schema, bool soon)
    {
        await Assert.That(ToolRegistry.AreSoon([Tool("t", schema)])).IsEqualTo(soon);
        await Assert.That(ToolRegistry.AreSoon([new ToolDefinition { Name = "t", Returns = RawJson.Parse(schema) }])).IsEqualTo(soon);
        await Assert.That(ToolRegistry.AreSoon([.. Enumerable.Repeat(Tool("t", schema), 1_000)])).IsFalse();
    }

    [Test]
    public async Task A_tool_can_be_taken_back_once()
    {
        _tools.Register([Tool("a")]);
        await Assert.That(_tools.Unregister("a")).IsTrue();
        await Assert.That(_tools.Unregister("a")).IsFalse();
        await Assert.That(_tools.Find("a")).IsNull();
    }

    [Test]
    [Arguments("", "{}", "a tool needs a name")]
    [Arguments("t", "[]", "tool 't' has an invalid registered JSON Schema: a schema must be an object")]
    [Arguments("t", "true", "tool 't' has an invalid registered JSON Schema: a schema must be an object")]
    [Arguments("t", """{"type":"string"}""", "tool 't' has an invalid registered JSON Schema: parameters are always an object")]
    [Arguments("t", """{"type":7}""", "tool 't' has an invalid registered JSON Schema: type must be a type name or a list of them")]
    [Arguments("t", """{"required":"x"}""", "tool 't' has an invalid registered JSON Schema: required must be a list of strings")]
    [Arguments("t", """{"required":[1]}""", "tool 't' has an invalid registered JSON Schema: required must be a list of strings")]
    [Arguments("t", """{"properties":[]}""", "tool 't' has an invalid registered JSON Schema: properties must be an object")]
    [Arguments("t", """{"properties":{"x":1}}""", "tool 't' has an invalid registered JSON Schema: property 'x' must be an object, true or false")]
    [Arguments("t", """{"properties":{"x":{"type":"text"}}}""", "tool 't' has an invalid registered JSON Schema: type must be a type name or a list of them")]
    [Arguments("t", """{"properties":{"\ud800":{"type":"string"}}}""", "tool 't' has an invalid registered JSON Schema: a name in it is not valid Unicode")]
    public async Task A_bad_definition_is_refused_and_with_it_all_others(string name, string parameters, string text)
    {
        _tools.Register([Tool("kept")]);
        RefusedException refused = Assert.Throws<RefusedException>(() => _tools.Register([Tool("good"), Tool("kept", """{"required":[]}"""), Tool(name, parameters)]));
        await Assert.That(refused.Message).IsEqualTo(text);
        await Assert.That(refused.Refusal).IsEqualTo(Refusal.Invalid);
        await Assert.That(string.Join(' ', _tools.List().Select(tool => tool.Name + tool.Parameters))).IsEqualTo("kept{}");
    }

    [Test]
    public async Task There_may_be_so_many_tools_and_not_one_more()
    {
        _tools.Register([.. Enumerable.Range(0, ToolRegistry.MaxTools).Select(i => Tool($"t{i}"))]);
        await Assert.That(() => _tools.Register([Tool("more")])).Throws<RefusedException>();
        _tools.Register([Tool("t0", """{"type":"object"}""")]);
        _tools.Unregister("t1");
        await Assert.That(_tools.Register([Tool("more")])).IsEqualTo(1);
    }

    [Test]
    public async Task A_definition_and_all_of_them_together_are_bounded_in_bytes()
    {
        // Name, parameters and the absent schema of the output take the rest of the definition.
        string largest = new('d', ToolRegistry.MaxDefinitionBytes - "t00".Length - "{}".Length - "null".Length);
        int fitting = ToolRegistry.MaxTotalBytes / ToolRegistry.MaxDefinitionBytes;
        for (int i = 0; i < fitting; i++) _tools.Register([new ToolDefinition { Name = $"t{i:00}", Description = largest }]);
        await Assert.That(() => _tools.Register([Tool("t")])).Throws<RefusedException>();
        _tools.Register([new ToolDefinition { Name = "t00", Description = largest }]);
        await Assert.That(() => _tools.Register([new ToolDefinition { Name = "t00", Description = largest + "d" }])).Throws<RefusedException>();
    }

    [Test]
    public async Task Unset_fields_are_left_out()
    {
        await Assert.That(Json.ToolDefinition.Text(Tool("t")))
            .IsEqualTo("""{"name":"t","description":"","parameters":{},"idempotent":false}""");
        const string Full = """{"name":"t","description":"d","parameters":{"type":"object"},"returns":{},"idempotent":true,"cache_ttl_secs":5,"rate_limit":{"max_calls":1,"interval_secs":0.5}}""";
        ToolDefinition read = Json.ToolDefinition.Parse(Full)!;
        await Assert.That(Json.ToolDefinition.Text(read)).IsEqualTo(Full);
    }

    private const string Schema = """
        {"type":"object","required":["path","n"],"properties":{"path":{"type":"string"},"n":{"type":"integer"},"f":{"type":["number","null"]},
         "b":{"type":"boolean"},"a/~":{"type":"array"},"o":{"type":"object"},"any":{},"yes":true}}
        """;

    [Test]
    [Arguments("""{"path":"p","n":1}""", null)]
    [Arguments("""{"path":"p","n":1.0,"f":null,"b":false,"a/~":[],"o":{},"any":1,"yes":2,"further":3}""", null)]
    [Arguments("""{"path":"p","n":1e2,"f":0.5}""", null)]
    [Arguments("""{"n":1}""", "missing required parameter 'path' for tool 't'")]
    [Arguments("""{"path":5}""", "missing required parameter 'n' for tool 't'")]
    [Arguments("""{"path":5,"n":1}""", "tool 't' parameter validation: value is not of type \"string\" (at /path)")]
    [Arguments("""{"path":"p","n":1.5}""", "tool 't' parameter validation: value is not of type \"integer\" (at /n)")]
    [Arguments("""{"path":"p","n":null}""", "tool 't' parameter validation: value is not of type \"integer\" (at /n)")]
    [Arguments("""{"path":"p","n":1,"f":"x"}""", "tool 't' parameter validation: value is not of types \"number\", \"null\" (at /f)")]
    [Arguments("""{"path":"p","n":1,"a/~":{}}""", "tool 't' parameter validation: value is not of type \"array\" (at /a~1~0)")]
    [Arguments("""{"path":"p","n":1,"o":[{"n":"deep"}]}""", "tool 't' parameter validation: value is not of type \"object\" (at /o)")]
    [Arguments("""{"path":"p","n":1,"\ud800":1}""", "tool 't' parameter validation: a string or a name is not valid Unicode (at /)")]
    public async Task Parameters_are_checked_by_key_and_type(string parameters, string? problem)
    {
        _tools.Register([Tool("t", Schema)]);
        await Assert.That(_tools.Find("t")!.ParameterProblem(RawJson.Parse(parameters))).IsEqualTo(problem);
    }
}

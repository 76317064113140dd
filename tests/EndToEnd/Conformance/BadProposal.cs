using System.Text.Json;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd.Conformance;

/// <summary>Params of <c>proposal.submit</c> that no good client sends, or just about may send, and what has to come of them.</summary>
/// <param name="Error">What the error has to say; null: there is a result.</param>
/// <param name="Statuses">The statuses of the result, as far as they are of interest.</param>
internal sealed record BadProposal(string Name, string Params, string? Error = null, string? Statuses = null, int Code = -32602)
{
    /// <summary>Comes first where a refusal is expected: had anything run, it would show in the state.</summary>
    private const string Write = """{"id":"w","type":"state_write","parameters":{"key":"written","value":1}}""";

    private const string Any = "null bool number string array object";

    /// <summary>The fields of protocol 10.1, where they stand, and which JSON types each takes; nothing but the type is wrong or right.</summary>
    private static readonly (string Field, string Takes)[] Fields =
    [
        ("id", "string null"), ("source", "string null"), ("timestamp", "string null"), ("actions", "array"), ("context", Any),
        ("actions[0].id", "string null"), ("actions[0].type", ""), ("actions[0].tool", "string null"), ("actions[0].parameters", "object null"),
        ("actions[0].preconditions", "array"), ("actions[0].expected_effects", "object"), ("actions[0].state_dependencies", "array"),
        ("actions[0].dependencies", "array"), ("actions[0].idempotent", "bool"), ("actions[0].max_retries", "number"), ("actions[0].failure_behavior", ""),
        ("actions[0].timeout_ms", "number null"), ("actions[0].metadata", Any), ("actions[0].read_set", "array"), ("actions[0].write_set", "array"),
        ("actions[0].assumptions", "array"), ("actions[0].invocation_mode", ""), ("actions[0].reversibility", ""), ("actions[0].compensation", "null"),
        ("actions[0].preconditions[0]", ""), ("actions[0].preconditions[0].key", "string"), ("actions[0].preconditions[0].operator", "string null"),
        ("actions[0].preconditions[0].value", Any), ("actions[0].preconditions[0].description", "string null"),
        ("actions[0].state_dependencies[0]", "string"), ("actions[0].dependencies[0]", "string"),
        ("actions[0].read_set[0]", "string"), ("actions[0].write_set[0]", "string"),
        ("actions[0].assumptions[0]", ""), ("actions[0].assumptions[0].key", "string"), ("actions[0].assumptions[0].expected_value", Any), ("actions[0].assumptions[0].read_version", "number null"),
        ("actions[0].compensation.type", ""), ("actions[0].compensation.tool", "string null"), ("actions[0].compensation.parameters", Any), ("actions[0].compensation.action_id", "string null"),
        ("actions[0].expected_effects.k", Any),
    ];

    private static readonly (string Type, string Value)[] Values =
        [("null", "null"), ("bool", "false"), ("number", "7"), ("string", "\"x\""), ("array", "[]"), ("object", "{}")];

    private static IEnumerable<BadProposal> WrongTypes =>
        from row in Fields from value in Values
        let right = row.Takes.Split(' ').Contains(value.Type)
        select new BadProposal($"{row.Field} is {value.Value}", With(row.Field, value.Value), right ? null : Place(row.Field, value.Value));

    /// <summary>Where the answer says that the fault is. A null inside a list is told of by its action.</summary>
    private static string Place(string field, string value) => value == "null" && field.EndsWith("[0]", StringComparison.Ordinal) ? "actions[0]: a" : field.Split('.')[^1];

    public static IReadOnlyList<BadProposal> All { get; } =
    [
        .. WrongTypes,

        // ------------------------------------------------------------ the params themselves
        new("no params", "null", "proposal.submit requires {"),
        new("an array", "[]", "proposal.submit requires {"),
        new("a proposal that is null", """{"proposal":null}""", "proposal"),
        new("no actions", """{"proposal":{}}""", "proposal.submit requires {"),
        new("an action that is null", Proposal("null"), "actions[0] is null"),
        new("an action that is a list", Proposal("[]"), "actions[0]"),
        new("a field twice", Proposal(Write, """{"id":"a","type":"state_read","id":"b"}"""), "actions[1]"),
        new("a scope that is a string", """{"proposal":{"actions":[]},"scope":"me"}""", "scope"),
        new("a tenant that is a number", """{"proposal":{"actions":[]},"scope":{"tenantId":7}}""", "tenantId"),
        new("a policy session nobody opened", """{"proposal":{"actions":[]},"session_id":"nobody"}""", "unknown session_id 'nobody'", Code: -32603),

        // ------------------------------------------------------------ no JSON
        .. from word in (string[])["NaN", "Infinity", "-Infinity", "nan", "undefined", "01", "+1", ".5", "1.", "0x1", "1e", "'x'", "1,", "\"\\x41\""]
           select new BadProposal($"the literal {word}", Proposal(Write, $$"""{"type":"state_write","parameters":{"key":"k","value":{{word}} } }"""), "", Code: -32700),

        // ------------------------------------------------------------ numbers
        .. from name in (string[])["max_retries", "timeout_ms"] from number in (string[])["1e999", "-1", "1.5", "-0.1", "1e-999", "18446744073709551616", "340282366920938463463374607431768211456"]
           select new BadProposal($"{name} is {number}", Proposal(Write, $$"""{"type":"state_read","parameters":{"key":"init"},"{{name}}":{{number}}}"""), name),
        new("max_retries of more than 32 bits", Proposal(Write, """{"type":"state_read","max_retries":4294967296}"""), "max_retries"),
        new("the largest max_retries and timeout_ms", Proposal("""{"type":"state_read","parameters":{"key":"init"},"max_retries":4294967295,"timeout_ms":18446744073709551615}"""), Statuses: "succeeded"),
        new("1e999 compared", Proposal("""{"type":"assertion","failure_behavior":"skip","parameters":{"key":"init","operator":"lt","value":1e999}}""", """{"type":"assertion","failure_behavior":"skip","parameters":{"key":"init","operator":"gt","value":1e999}}"""), Statuses: "failed failed"),
        new("1e999 as a precondition", Proposal("""{"type":"state_read","parameters":{"key":"init"},"preconditions":[{"key":"init","value":1e999}]}"""), Statuses: "rejected"),

        // ------------------------------------------------------------ ids and words
        new("an id twice", Proposal(Write, """{"id":"twice","type":"state_read"}""", """{"id":"twice","type":"state_read"}"""), "duplicate action id 'twice'"),
        new("an id twice, once in escapes", Proposal(Write, """{"id":"A","type":"state_read"}""", """{"id":"\u0041","type":"state_read"}"""), "duplicate action id 'A'"),
        new("an empty id twice", Proposal(Write, """{"id":"","type":"state_read"}""", """{"id":"","type":"state_read"}"""), "duplicate action id ''"),
        new("an id over the limit", Proposal(Write, $$"""{"id":"{{new string('i', 1025)}}","type":"state_read"}"""), "id of actions[1] is longer than 1024 characters"),
        new("a tool over the limit", Proposal(Write, $$"""{"type":"tool_call","tool":"{{new string('t', 257)}}"}"""), "tool is longer than 256 characters"),
        new("an id that is half a character", Proposal(Write, """{"id":"\ud800","type":"state_read"}"""), "actions[1]"),
        .. from word in (string[])["dance", "Tool_Call", "tool_call,assertion", "", "0"] select new BadProposal($"the type '{word}'", Proposal(Write, $$"""{"type":"{{word}}"}"""), "type"),
        .. from word in (string[])["stop", "Abort", "abort,skip", ""] select new BadProposal($"the failure behaviour '{word}'", Proposal(Write, $$"""{"type":"state_read","failure_behavior":"{{word}}"}"""), "failure_behavior"),

        // ------------------------------------------------------------ size and depth
        new("10,001 actions", Proposal([Write, .. Enumerable.Repeat("""{"type":"state_read"}""", 10_000)]), "at most 10000 actions, got 10001"),
        new("10,000 actions", Proposal([.. Enumerable.Repeat("""{"type":"state_read","parameters":{"key":"init"}}""", 10_000)])),
        new("10,000 actions, each after the one before", Proposal([.. Enumerable.Range(0, 10_000).Select(i => $$"""{"id":"a{{i}}","type":"state_read","parameters":{"key":"init"},"dependencies":["a{{i - 1}}"]}""")])),
        new("10,000 actions in one circle", Proposal([.. Enumerable.Range(0, 10_000).Select(i => $$"""{"id":"a{{i}}","type":"state_read","parameters":{"key":"init"},"dependencies":["a{{(i + 1) % 10_000}}"]}""")])),
        new("100,000 preconditions", Proposal($$"""{"type":"state_read","parameters":{"key":"init"},"preconditions":[{{string.Join(',', Enumerable.Repeat("""{"key":"init","operator":"exists"}""", 100_000))}}]}"""), Statuses: "succeeded"),
        new("parameters of 1 MiB", Proposal($$"""{"type":"tool_call","tool":"strict","parameters":{"text":"{{new string('x', 1024 * 1024)}}"} }"""), Statuses: "rejected"),
        new("a key of 1 MiB", Proposal($$"""{"type":"state_write","parameters":{"key":"{{new string('k', 1024 * 1024)}}"} }"""), Statuses: "rejected"),
        new("more effects than the state has room for", Proposal($$"""{"type":"state_read","parameters":{"key":"init"},"expected_effects":{{{string.Join(',', Enumerable.Range(0, 65_536).Select(i => $"\"k{i}\":1"))}} } }"""), Statuses: "failed"),
        new("as deep as a message may be", Proposal(Deep(120)), Statuses: "rejected"),
        new("deeper than a message may be", Proposal(Write, Deep(130)), "nested deeper than 128 levels", Code: -32600),
        new("100,000 levels deep", Proposal(Write, Deep(100_000)), "nested deeper than 128 levels", Code: -32600),

        // ------------------------------------------------------------ plans that make no sense
        new("an action after itself", Proposal("""{"id":"a","type":"state_read","parameters":{"key":"init"},"dependencies":["a"]}"""), Statuses: "succeeded"),
        new("an action after its own effect", Proposal("""{"id":"a","type":"state_read","parameters":{"key":"init"},"state_dependencies":["mine"],"expected_effects":{"mine":1}}"""), Statuses: "rejected"),
        new("two actions after each other", Proposal("""{"id":"a","type":"state_read","parameters":{"key":"init"},"dependencies":["b"]}""", """{"id":"b","type":"state_read","parameters":{"key":"init"},"dependencies":["a"]}"""), Statuses: "succeeded succeeded"),
        new("a dependency on nobody", Proposal("""{"id":"a","type":"state_read","parameters":{"key":"init"},"dependencies":["nobody"]}"""), Statuses: "succeeded"),
        new("an unknown tool", Proposal("""{"type":"tool_call","tool":"nobody"}"""), Statuses: "rejected"),
        new("a tool whose name is half a character", Proposal(Write, """{"type":"tool_call","tool":"\ud800"}"""), "actions[1]"),
        new("a condition and its contrary", Proposal("""{"type":"state_read","parameters":{"key":"init"},"preconditions":[{"key":"init","operator":"exists"},{"key":"init","operator":"not_exists"}]}"""), Statuses: "rejected"),
        new("two values at once", Proposal("""{"type":"state_read","parameters":{"key":"init"},"preconditions":[{"key":"init","value":0},{"key":"init","value":1}]}"""), Statuses: "rejected"),
        new("a key of a tenant's", Proposal("""{"type":"state_write","parameters":{"key":"tenant:t:k"}}"""), Statuses: "rejected"),
        new("an effect on a key of a tenant's", Proposal("""{"type":"state_read","parameters":{"key":"init"},"expected_effects":{"tenant:t:k":1}}"""), Statuses: "rejected"),
        new("a key that is half a character", Proposal("""{"type":"state_write","parameters":{"key":"\ud800"}}"""), Statuses: "rejected"),
        new("a key that is no string", Proposal("""{"type":"state_write","parameters":{"key":["init"],"value":1}}"""), Statuses: "rejected"),
        new("an operator that is no string", Proposal("""{"type":"assertion","parameters":{"key":"init","operator":{},"value":0}}"""), Statuses: "failed"),
    ];

    private static string Proposal(params string[] actions) => $$"""{"proposal":{"actions":[{{string.Join(',', actions)}}]} }""";

    private static string Deep(int levels) => $$"""{"type":"tool_call","tool":"strict","parameters":{"deep":{{new string('[', levels)}}{{new string(']', levels)}} } }""";

    /// <summary>A good proposal with one field of another value. The action is refused, too, wherever the value can be meant, so that nothing is written.</summary>
    private static string With(string field, string value)
    {
        string[] path = field.Split('.');
        const string type = "\"type\":\"tool_call\",", tool = "\"tool\":\"nobody\",";
        if (path[0] != "actions[0]")
        {
            string actions = field == "actions" ? "" : $"\"actions\":[{{{type}{tool}\"idempotent\":false}}],";
            return $$"""{"proposal":{{{actions}}"{{field}}":{{value}} } }""";
        }
        string inner = path.Length == 2 ? Named(path[1], value) : Named(path[1], Object(path[1].Split('[')[0], path[2], value));
        return Proposal($$"""{{{(field == "actions[0].type" ? "" : type)}}{{(field == "actions[0].tool" ? "" : tool)}}{{inner}} }""");
    }

    private static string Named(string name, string value) => name.EndsWith("[0]", StringComparison.Ordinal) ? $"\"{name[..^3]}\":[{value}]" : $"\"{name}\":{value}";

    /// <summary>What an object needs besides the field in question.</summary>
    private static string Object(string kind, string field, string value) => kind switch
    {
        "preconditions" or "assumptions" when field != "key" => $$"""{"key":"init","{{field}}":{{value}} }""",
        "compensation" when field != "type" => $$"""{"type":"tool","{{field}}":{{value}} }""",
        _ => $$"""{"{{field}}":{{value}} }""",
    };

    /// <summary>What is wrong with the answer, or null.</summary>
    public string? Complaint(JsonElement answer)
    {
        if (answer.TryGetProperty("error", out JsonElement error))
        {
            string text = error.GetProperty("message").GetString()!;
            bool right = Error is not null && error.GetProperty("code").GetInt32() == Code && text.Contains(Error, StringComparison.Ordinal) && text.Length is > 0 and < 2_048;
            return right ? null : $"{Name}: {error.GetRawText()}";
        }
        JsonElement[] results = [.. answer.GetProperty("result").GetProperty("results").EnumerateArray()];
        string statuses = string.Join(' ', results.Select(one => one.GetProperty("status").GetString()));
        string? wordless = results.Where(one => one.GetProperty("status").GetString() != "succeeded" && string.IsNullOrEmpty(one.GetProperty("error").GetString())).Select(one => one.GetRawText()).FirstOrDefault();
        return Error is null && (Statuses is null || statuses == Statuses) && wordless is null ? null : $"{Name}: {wordless ?? statuses} without an error '{Error}'";
    }
}

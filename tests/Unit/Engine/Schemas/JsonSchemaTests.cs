using System.Diagnostics;
using CarServer.RunStore;
using CarServer.State.Engine.Schemas;

namespace CarServer.Tests.Unit.Engine.Schemas;

/// <summary>Each keyword from both sides, what is refused at registration, and what means harm.</summary>
public class JsonSchemaTests
{
    private static JsonSchema Compiled(string schema) =>
        JsonSchema.TryCompile(RawJson.Parse(schema), out JsonSchema compiled, out string problem) ? compiled : throw new InvalidOperationException(problem);

    private static string Told(string schema, string value) =>
        Compiled(schema).Problem(RawJson.Parse(value)) is { } problem ? $"{problem.Text} (at {problem.Path})" : "fits";

    [Test]
    [Arguments("{}", "[1,{}]", "fits")]
    [Arguments("true", "null", "fits")]
    [Arguments("false", "null", "no value is allowed here (at /)")]
    [Arguments("""{"type":"string"}""", "\"\"", "fits")]
    [Arguments("""{"type":"string"}""", "1", "value is not of type \"string\" (at /)")]
    [Arguments("""{"type":["null","array"]}""", "[]", "fits")]
    [Arguments("""{"type":["null","array"]}""", "{}", "value is not of types \"array\", \"null\" (at /)")]
    [Arguments("""{"type":"boolean"}""", "false", "fits")]
    [Arguments("""{"type":"boolean"}""", "0", "value is not of type \"boolean\" (at /)")]
    [Arguments("""{"type":"null"}""", "null", "fits")]
    [Arguments("""{"type":"null"}""", "false", "value is not of type \"null\" (at /)")]
    [Arguments("""{"type":"number"}""", "-0.5e-3", "fits")]
    [Arguments("""{"type":"integer"}""", "1.50e1", "fits")]
    [Arguments("""{"type":"integer"}""", "0.000", "fits")]
    [Arguments("""{"type":"integer"}""", "1e999999999999999999999", "fits")]
    [Arguments("""{"type":"integer"}""", "1e-999999999999999999999", "value is not of type \"integer\" (at /)")]
    [Arguments("""{"type":"integer"}""", "12345678901234567890.5", "value is not of type \"integer\" (at /)")]
    [Arguments("""{"type":["integer","number"]}""", "1.5", "fits")]

    [Arguments("""{"enum":[1,"a",null,{"b":[1,2],"a":0}]}""", "1.0", "fits")]
    [Arguments("""{"enum":[1,"a",null,{"b":[1,2],"a":0}]}""", "\"\\u0061\"", "fits")]
    [Arguments("""{"enum":[1,"a",null,{"b":[1,2],"a":0}]}""", """{"a":0e5,"b":[1,2e0]}""", "fits")]
    [Arguments("""{"enum":[1,"a",null,{"b":[1,2],"a":0}]}""", """{"a":0,"b":[2,1]}""", "value is not one of the allowed ones (at /)")]
    [Arguments("""{"enum":[1,"a",null,{"b":[1,2],"a":0}]}""", "\"1\"", "value is not one of the allowed ones (at /)")]
    [Arguments("""{"enum":[]}""", "1", "value is not one of the allowed ones (at /)")]
    [Arguments("""{"const":[]}""", "[]", "fits")]
    [Arguments("""{"const":[]}""", "{}", "value is not the only allowed one (at /)")]
    [Arguments("""{"const":["ab","c"]}""", """["a","bc"]""", "value is not the only allowed one (at /)")]
    [Arguments("""{"const":9007199254740993}""", "9007199254740992", "value is not the only allowed one (at /)")]
    [Arguments("""{"const":-0}""", "0.0", "fits")]

    [Arguments("""{"minimum":1.5}""", "1.5", "fits")]
    [Arguments("""{"minimum":1.5}""", "1.49", "number is less than 1.5 (at /)")]
    [Arguments("""{"minimum":-1}""", "-1.1", "number is less than -1 (at /)")]
    [Arguments("""{"minimum":1.5}""", "\"0\"", "fits")]
    [Arguments("""{"maximum":0}""", "-0", "fits")]
    [Arguments("""{"maximum":0}""", "1e-400", "number is more than 0 (at /)")]
    [Arguments("""{"maximum":9007199254740992}""", "9007199254740993", "number is more than 9007199254740992 (at /)")]
    [Arguments("""{"exclusiveMinimum":1}""", "1.000001", "fits")]
    [Arguments("""{"exclusiveMinimum":1}""", "10e-1", "number is not more than 1 (at /)")]
    [Arguments("""{"exclusiveMaximum":1}""", "-5e3", "fits")]
    [Arguments("""{"exclusiveMaximum":1}""", "1", "number is not less than 1 (at /)")]
    [Arguments("""{"pattern":"^[\\w-.]+$"}""", "\"a-b.c\"", "fits")]
    [Arguments("""{"pattern":"^[\\w-\\.]+@([\\w-]+\\.)+[\\w-]{2,4}$"}""", "\"a.b-c@x-y.com\"", "fits")]
    [Arguments("""{"pattern":"^[+-\\d]$"}""", "\"-\"", "fits")]
    [Arguments("""{"pattern":"^[+-\\d]$"}""", "\".\"", "string does not match '^[+-\\d]$' (at /)")]
    [Arguments("""{"multipleOf":0.01}""", "19.99", "fits")]
    [Arguments("""{"multipleOf":0.01}""", "19.995", "number is not a multiple of 0.01 (at /)")]
    [Arguments("""{"multipleOf":7}""", "49e0", "fits")]
    [Arguments("""{"multipleOf":7}""", "7e1000000000", "fits")]
    [Arguments("""{"multipleOf":7}""", "-50", "number is not a multiple of 7 (at /)")]
    [Arguments("""{"multipleOf":1e300}""", "1e299", "number is not a multiple of 1e300 (at /)")]
    [Arguments("""{"multipleOf":123456789012345678}""", "0", "fits")]

    [Arguments("""{"minLength":2}""", "\"ab\"", "fits")]
    [Arguments("""{"minLength":2}""", "\"\\ud83d\\ude00\"", "string has fewer than 2 characters (at /)")]
    [Arguments("""{"minLength":2}""", "\"😀\"", "string has fewer than 2 characters (at /)")]
    [Arguments("""{"maxLength":2}""", "\"äö\"", "fits")]
    [Arguments("""{"maxLength":2}""", "\"abc\"", "string has more than 2 characters (at /)")]
    [Arguments("""{"maxLength":0}""", "[1]", "fits")]
    [Arguments("""{"maxLength":1e30}""", "\"abc\"", "fits")]
    [Arguments("""{"pattern":"b+"}""", "\"abba\"", "fits")]
    [Arguments("""{"pattern":"^b"}""", "\"abba\"", "string does not match '^b' (at /)")]
    [Arguments("""{"pattern":"^a$"}""", "\"a\\n\"", "string does not match '^a$' (at /)")]
    [Arguments("""{"pattern":"^\\d[\\w-]$"}""", "\"1-\"", "fits")]
    [Arguments("""{"pattern":"^\\d$"}""", "\"٣\"", "string does not match '^\\d$' (at /)")]
    [Arguments("""{"pattern":"^[a-z-[x]]$"}""", "\"-]\"", "fits")]
    [Arguments("""{"pattern":"^.$"}""", "\"\\r\"", "string does not match '^.$' (at /)")]
    [Arguments("""{"pattern":"^\\/\\$[.$]$"}""", "\"/$$\"", "fits")]
    [Arguments("""{"format":"email"}""", "\"none\"", "fits")]

    [Arguments("""{"items":{"type":"integer"}}""", "[1,2]", "fits")]
    [Arguments("""{"items":{"type":"integer"}}""", "[1,\"2\"]", "value is not of type \"integer\" (at /1)")]
    [Arguments("""{"prefixItems":[{"type":"null"}],"items":false}""", "[null]", "fits")]
    [Arguments("""{"prefixItems":[{"type":"null"}],"items":false}""", "[]", "fits")]
    [Arguments("""{"prefixItems":[{"type":"null"}],"items":false}""", "[null,1]", "no value is allowed here (at /1)")]
    [Arguments("""{"prefixItems":[{"type":"null"}]}""", "[null,1]", "fits")]
    [Arguments("""{"prefixItems":[{"type":"null"}]}""", "[1]", "value is not of type \"null\" (at /0)")]
    [Arguments("""{"minItems":1}""", "[[]]", "fits")]
    [Arguments("""{"minItems":1}""", "[]", "array has fewer than 1 items (at /)")]
    [Arguments("""{"maxItems":1}""", "[{}]", "fits")]
    [Arguments("""{"maxItems":1}""", "[[1,2],3]", "array has more than 1 items (at /)")]
    [Arguments("""{"uniqueItems":true}""", """[1,"1",[1],{"a":1},{"a":2}]""", "fits")]
    [Arguments("""{"uniqueItems":true}""", """[{"a":1,"b":2},0,{"b":2.0,"a":1}]""", "item is there twice (at /2)")]
    [Arguments("""{"uniqueItems":false}""", "[1,1]", "fits")]

    [Arguments("""{"properties":{"a":{"type":"null"}}}""", """{"a":null,"b":1}""", "fits")]
    [Arguments("""{"properties":{"a":{"type":"null"}}}""", """{"b":1,"\u0061":2}""", "value is not of type \"null\" (at /a)")]
    [Arguments("""{"properties":{"a/~":{"items":false}}}""", """{"a/~":[1]}""", "no value is allowed here (at /a~1~0/0)")]
    [Arguments("""{"required":["a","b"]}""", """{"b":1,"a":1}""", "fits")]
    [Arguments("""{"required":["a","b"]}""", """{"b":1,"b":2}""", "required property 'a' is missing (at /)")]
    [Arguments("""{"items":{"required":["a"]}}""", """[{"a":1},{}]""", "required property 'a' is missing (at /1)")]
    [Arguments("""{"additionalProperties":false,"properties":{"a":true}}""", """{"a":1}""", "fits")]
    [Arguments("""{"additionalProperties":false,"required":["a"]}""", """{"a":1}""", "property is not declared, and no others are allowed (at /a)")]
    [Arguments("""{"additionalProperties":{"type":"null"},"properties":{"a":true}}""", """{"a":1,"b":null}""", "fits")]
    [Arguments("""{"additionalProperties":{"type":"null"},"properties":{"a":true}}""", """{"a":1,"b":2}""", "value is not of type \"null\" (at /b)")]
    [Arguments("""{"patternProperties":{"^x":{"type":"null"}},"additionalProperties":false}""", """{"x1":null}""", "fits")]
    [Arguments("""{"patternProperties":{"^x":{"type":"null"}},"properties":{"xy":{"type":["null","string"]}}}""", """{"xy":""}""", "value is not of type \"null\" (at /xy)")]
    [Arguments("""{"patternProperties":{"^x":{"type":"null"},"y":{"type":"string"}}}""", """{"xy":null}""", "value is not of type \"string\" (at /xy)")]
    [Arguments("""{"propertyNames":{"maxLength":2}}""", """{"ab":1}""", "fits")]
    [Arguments("""{"propertyNames":{"maxLength":2}}""", """{"abc":1}""", "string has more than 2 characters (at /abc)")]
    [Arguments("""{"propertyNames":{"enum":["a"]}}""", """{"b":1}""", "value is not one of the allowed ones (at /b)")]
    [Arguments("""{"minProperties":1}""", """{"a":1}""", "fits")]
    [Arguments("""{"minProperties":1}""", "{}", "object has fewer than 1 members (at /)")]
    [Arguments("""{"maxProperties":1}""", """{"a":{"b":1,"c":2}}""", "fits")]
    [Arguments("""{"maxProperties":1}""", """{"a":1,"b":1}""", "object has more than 1 members (at /)")]

    [Arguments("""{"allOf":[{"minimum":1},{"maximum":2}]}""", "2", "fits")]
    [Arguments("""{"allOf":[{"minimum":1},{"maximum":2}]}""", "3", "number is more than 2 (at /)")]
    [Arguments("""{"anyOf":[{"type":"string"},{"minimum":5}]}""", "5", "fits")]
    [Arguments("""{"anyOf":[{"type":"string"},{"minimum":5}]}""", "4", "value fits none of the schemas of anyOf (at /)")]
    [Arguments("""{"oneOf":[{"minimum":1},{"maximum":5}]}""", "0", "fits")]
    [Arguments("""{"oneOf":[{"minimum":1},{"maximum":5}]}""", "3", "value fits more than one of the schemas of oneOf (at /)")]
    [Arguments("""{"oneOf":[{"type":"null"},{"type":"array"}]}""", "3", "value fits none of the schemas of oneOf (at /)")]
    [Arguments("""{"not":{"required":["a"]}}""", "{}", "fits")]
    [Arguments("""{"not":{"required":["a"]}}""", """{"a":1}""", "value fits a schema that it must not fit (at /)")]
    [Arguments("""{"if":{"required":["a"]},"then":{"required":["b"]},"else":{"required":["c"]}}""", """{"a":1,"b":1}""", "fits")]
    [Arguments("""{"if":{"required":["a"]},"then":{"required":["b"]},"else":{"required":["c"]}}""", """{"a":1,"c":1}""", "required property 'b' is missing (at /)")]
    [Arguments("""{"if":{"required":["a"]},"then":{"required":["b"]},"else":{"required":["c"]}}""", """{"b":1}""", "required property 'c' is missing (at /)")]
    [Arguments("""{"then":false,"else":false}""", "1", "fits")]

    [Arguments("""{"$ref":"#/$defs/a","$defs":{"a":{"type":"null"}}}""", "null", "fits")]
    [Arguments("""{"$ref":"#/$defs/a","$defs":{"a":{"type":"null"}},"maximum":0}""", "1", "value is not of type \"null\" (at /)")]
    [Arguments("""{"$ref":"#/definitions/a~1b%20c","definitions":{"a/b c":{"type":"null"}}}""", "1", "value is not of type \"null\" (at /)")]
    [Arguments("""{"$ref":"#n","$defs":{"a":{"$anchor":"n","type":"null"}}}""", "1", "value is not of type \"null\" (at /)")]
    [Arguments("""{"prefixItems":[{"type":"null"},{"$ref":"#/prefixItems/0"}]}""", "[null,1]", "value is not of type \"null\" (at /1)")]
    [Arguments("""{"$id":"https://example.com/s","properties":{"left":{"$ref":"#"}},"type":"object"}""", """{"left":{"left":{}}}""", "fits")]
    [Arguments("""{"properties":{"left":{"$ref":"#"}},"type":"object"}""", """{"left":{"left":1}}""", "value is not of type \"object\" (at /left/left)")]
    [Arguments("""{"title":"t","description":"d","default":1,"examples":[],"$schema":"s","$comment":"c","deprecated":true,"x-mine":{"type":"dance"}}""", "1", "fits")]
    public async Task A_value_fits_or_it_is_said_why_not(string schema, string value, string told) =>
        await Assert.That(Told(schema, value)).IsEqualTo(told);

    [Test]
    [Arguments("""{"properties":{"a":1}}""", "property 'a' must be an object, true or false")]
    [Arguments("""{"anyOf":[]}""", "anyOf must be a list of schemas")]
    [Arguments("""{"anyOf":[1]}""", "a schema of anyOf must be an object, true or false")]
    [Arguments("""{"type":[]}""", "type must be a type name or a list of them")]
    [Arguments("""{"type":["string",1]}""", "type must be a type name or a list of them")]
    [Arguments("""{"enum":1}""", "enum must be a list")]
    [Arguments("""{"minimum":"1"}""", "minimum must be a number")]
    [Arguments("""{"exclusiveMinimum":true}""", "exclusiveMinimum must be a number")]
    [Arguments("""{"multipleOf":0}""", "multipleOf must be above 0")]
    [Arguments("""{"multipleOf":1234567890123456789}""", "multipleOf may have at most 18 digits")]
    [Arguments("""{"minLength":-1}""", "minLength must be a whole number from 0")]
    [Arguments("""{"minItems":1.5}""", "minItems must be a whole number from 0")]
    [Arguments("""{"uniqueItems":1}""", "uniqueItems must be true or false")]
    [Arguments("""{"items":[{}]}""", "items must be one schema; a list of them is prefixItems")]
    [Arguments("""{"pattern":"("}""", "'(' is no regular expression that is supported")]
    [Arguments("""{"pattern":"(?i)a"}""", "'(?i)a' is no regular expression that is supported")]
    [Arguments("""{"pattern":"[]"}""", "'[]' is no regular expression that is supported")]
    [Arguments("""{"pattern":"\\A"}""", "'\\A' is no regular expression that is supported")]
    [Arguments("""{"pattern":"(?=a)"}""", "the regular expression '(?=a)' looks around or back, or is too large: neither is supported")]
    [Arguments("""{"pattern":"(a)\\1"}""", "the regular expression '(a)\\1' looks around or back, or is too large: neither is supported")]
    [Arguments("""{"patternProperties":{"[":{}}}""", "'[' is no regular expression that is supported")]
    [Arguments("""{"unevaluatedProperties":false}""", "keyword 'unevaluatedProperties' is not supported")]
    [Arguments("""{"properties":{"a":{"items":{"contains":{}}}}}""", "keyword 'contains' is not supported")]
    [Arguments("""{"dependentRequired":{}}""", "keyword 'dependentRequired' is not supported")]
    [Arguments("""{"$dynamicRef":"#a"}""", "keyword '$dynamicRef' is not supported")]
    [Arguments("""{"$ref":"https://example.com/s"}""", "$ref 'https://example.com/s' is not inside this schema; only '#…' is supported")]
    [Arguments("""{"$ref":"other.json#/a"}""", "$ref 'other.json#/a' is not inside this schema; only '#…' is supported")]
    [Arguments("""{"$ref":"#/a"}""", "$ref '#/a' leads nowhere")]
    [Arguments("""{"$ref":"#a"}""", "$ref '#a' leads nowhere")]
    [Arguments("""{"a":1,"$ref":"#/a"}""", "what $ref '#/a' leads to must be an object, true or false")]
    [Arguments("""{"$defs":{"a":{"$id":"b"}}}""", "$id is supported only at the top of the schema")]
    [Arguments("""{"type":"null","type":"string"}""", "keyword 'type' comes twice in one schema")]
    [Arguments("""{"properties":{"a":{},"a":{}}}""", "property 'a' comes twice")]
    [Arguments("""{"$ref":"#"}""", "a $ref leads back to itself without going deeper into the value")]
    [Arguments("""{"$defs":{"a":{"anyOf":[{"$ref":"#/$defs/b"}]},"b":{"not":{"$ref":"#/$defs/a"}}}}""", "a $ref leads back to itself without going deeper into the value")]
    [Arguments("""{"const":"\ud800"}""", "a string in it is not valid Unicode")]
    [Arguments("""{"properties":{"\ud800":{}}}""", "a name in it is not valid Unicode")]
    public async Task A_schema_that_is_none_or_asks_for_more_is_refused(string schema, string told)
    {
        await Assert.That(JsonSchema.TryCompile(RawJson.Parse(schema), out _, out string problem)).IsFalse();
        await Assert.That(problem).IsEqualTo(told);
    }

    [Test]
    public async Task A_value_is_never_shown()
    {
        const string Schema = """{"properties":{"a":{"enum":["x"],"pattern":"y","maxLength":1},"b":{"const":5},"c":{"not":{"type":"string"}},"d":{"items":{"maximum":1}}}}""";
        foreach (string value in (string[])["""{"a":"secret-7"}""", """{"b":77777}""", """{"c":"secret-7"}""", """{"d":[77777]}"""])
        {
            string told = Told(Schema, value);
            await Assert.That(told).DoesNotContain("secret").And.DoesNotContain("77777").And.IsNotEqualTo("fits");
        }
    }

    private static string Nested(string open, int depth, string inner, string close) =>
        string.Concat(Enumerable.Repeat(open, depth)) + inner + string.Concat(Enumerable.Repeat(close, depth));

    [Test]
    public async Task Schemas_behind_each_other_are_bounded()
    {
        await Assert.That(Told(Nested("""{"not":""", 30, "true", "}"), "1")).IsEqualTo("fits");
        await Assert.That(JsonSchema.TryCompile(RawJson.Parse(Nested("""{"not":""", 40, "true", "}")), out _, out string problem)).IsFalse();
        await Assert.That(problem).IsEqualTo("more than 32 schemas stand behind each other for one value");

        // A chain of references is as long as the definition lets it be, and must not cost the stack.
        string chain = string.Join(',', Enumerable.Range(0, 400).Select(i => $$"""  "d{{i}}":{"$ref":"#/$defs/d{{i + 1}}"} """));
        await Assert.That(JsonSchema.TryCompile(RawJson.Parse($$"""{"$defs":{ {{chain}},"d400":{} },"$ref":"#/$defs/d0"}"""), out _, out problem)).IsFalse();
        await Assert.That(problem).IsEqualTo("more than 32 schemas stand behind each other for one value");

        string many = string.Join(',', Enumerable.Range(0, 513).Select(i => $$"""{"$ref":"#/$defs/d{{i}}"}"""));
        string definitions = string.Join(',', Enumerable.Range(0, 513).Select(i => $"\"d{i}\":{{}}"));
        await Assert.That(JsonSchema.TryCompile(RawJson.Parse($$"""{"$defs":{ {{definitions}} },"prefixItems":[{{many}}]}"""), out _, out problem)).IsFalse();
        await Assert.That(problem).IsEqualTo("a schema may have at most 512 different $ref");
    }

    /// <summary>Each asks four times what the one before it asks.</summary>
    private static readonly string Doubling = string.Join(',', Enumerable.Range(1, 12).Select(i =>
        $$"""  "a{{i}}":{"allOf":[{{string.Join(',', Enumerable.Repeat($$"""{"$ref":"#/$defs/a{{i - 1}}"}""", 4))}}],"maximum":9} """));

    /// <summary>Each of these would take between seconds and centuries if all of it were done.</summary>
    [Test]
    [Arguments("doubling")]
    [Arguments("backtracking")]
    [Arguments("required")]
    [Arguments("unique")]
    [Arguments("enum")]
    [Arguments("division")]
    [Arguments("const")]
    [Arguments("automata")]
    public async Task A_schema_that_means_harm_costs_little(string kind)
    {
        (string schema, string value) = kind switch
        {
            "doubling" => ($$$"""{"$defs":{"a0":{},{{{Doubling}}} },"$ref":"#/$defs/a12"}""", "1"),
            "backtracking" => ("""{"pattern":"^(a+)+$"}""", $"\"{new string('a', 1_000_000)}!\""),
            "required" => ($$$"""{"items":{"not":{"required":[{{{string.Join(',', Enumerable.Range(0, 20_000).Select(i => $"\"{i}\""))}}}] } } }""", $"[{string.Join(',', Enumerable.Repeat("{}", 300_000))}]"),
            "unique" => ("""{"uniqueItems":true}""", $"[{string.Join(',', Enumerable.Range(0, 150_000))}]"),
            "division" => (Repeated("""{"multipleOf":9}""", 500), new string('9', 1_000_000)),
            "const" => (Repeated("""{"not":{"const":1}}""", 500), Nested("""{"b":0,"a":""", 120, $"\"{new string('x', 1_000_000)}\"", "}")),
            // Each text is short and leads to states that no other has.
            "automata" => ("""{"items":{"not":{"pattern":"a(a|b){900}c"}}}""", $"[{string.Join(',', Enumerable.Range(0, 4_000).Select(i => $"\"{Coins(i)}\""))}]"),
            _ => ($$$"""{"items":{"enum":[{{{string.Join(',', Enumerable.Range(0, 30_000))}}}] } }""", $"[{string.Join(',', Enumerable.Repeat("29999", 150_000))}]"),
        };
        JsonSchema compiled = Compiled(schema);
        RawJson parsed = RawJson.Parse(value);
        long before = Stopwatch.GetTimestamp();
        SchemaProblem? problem = compiled.Problem(parsed);
        await Assert.That(Stopwatch.GetElapsedTime(before).TotalSeconds).IsLessThan(10);
        await Assert.That(problem?.Text).IsEqualTo(kind switch
        {
            "doubling" or "required" or "division" or "const" => "takes too long to be checked",
            "backtracking" => "string does not match '^(a+)+$'",
            "automata" => "regular expressions take too long to be matched",
            "unique" or "enum" => null,
            _ => "?",
        });
    }

    private static string Repeated(string schema, int times) => $$"""{"allOf":[{{string.Join(',', Enumerable.Repeat(schema, times))}}]}""";

    private static string Coins(int seed)
    {
        var random = new Random(seed);
        return string.Concat(Enumerable.Range(0, 1_100).Select(_ => random.Next(2) == 0 ? 'a' : 'b'));
    }

    /// <summary>Where each of many characters is told apart, an expression of a page took minutes and gigabytes to be made ready.</summary>
    [Test]
    public async Task A_regular_expression_of_too_many_kinds_is_refused()
    {
        string letters = string.Concat(Enumerable.Range(0, 4_000).Select(i => (char)(0x4E00 + i)));
        string classes = string.Concat(Enumerable.Range(0, 260).Select(i => $"[\\\\]{(char)('A' + i % 10)}-{(char)('a' + i / 10)}]"));
        string escapes = string.Concat(Enumerable.Range(0, 500).Select(i => $"\\\\u{0x4E00 + i:x4}"));
        foreach (string pattern in (string[])[letters, classes, escapes])
        {
            await Assert.That(JsonSchema.TryCompile(RawJson.Parse($$"""{"pattern":"{{pattern}}"}"""), out _, out string problem)).IsFalse();
            await Assert.That(problem).EndsWith("is too large: neither is supported");
        }
        // Long, and all of it of few kinds.
        string group = string.Concat(Enumerable.Repeat("([0-9a-fA-F]{1,4}:)?.\\\\d\\\\d", 30));
        await Assert.That(JsonSchema.TryCompile(RawJson.Parse($$"""{"pattern":"{{group}}"}"""), out _, out _)).IsTrue();
    }

    /// <summary>A read loop's thread has one MiB of stack.</summary>
    [Test]
    public async Task The_deepest_value_under_the_deepest_schema_fits_into_half_a_stack()
    {
        JsonSchema tree = Compiled("""{"anyOf":[{"allOf":[{"$ref":"#/$defs/list"}]},{"type":"null"}],"$defs":{"list":{"items":{"$ref":"#"}}}}""");
        RawJson value = RawJson.Parse(Nested("[", 128, "", "]"));
        JsonSchema plain = Compiled("""{"items":{"$ref":"#"},"type":"array"}""");
        string told = "";
        var thread = new Thread(() => told = $"{tree.Problem(value)?.Text}|{plain.Problem(value)?.Text}", 512 * 1024);
        thread.Start();
        await Task.Run(thread.Join);
        await Assert.That(told).IsEqualTo("nested too deeply to be checked|");
    }
}

using System.Text.Json;
using CarServer.RunStore;
using CarServer.State;
using CarServer.State.Engine;
using CarServer.State.Engine.Policies;
using CarServer.Tests.Support;

namespace CarServer.Tests.Unit.Engine.Policies;

/// <summary>Every rule with every outcome it has: what it lets pass, what it denies, and in which words.</summary>
public sealed class PolicyRuleTests
{
    private const string Passes = "";

    [Test]
    // A tool by its name, exactly.
    [Arguments("deny_tool", """{"target":"rm"}""", "rm", "{}", "tool 'rm' denied")]
    [Arguments("deny_tool", """{"target":"rm"}""", "RM", "{}", Passes)]
    [Arguments("deny_tool", """{"target":"rm"}""", "rmdir", "{}", Passes)]
    [Arguments("deny_tool", """{"target":"rm","key":"k","pattern":"p"}""", "rm", "{}", "tool 'rm' denied")]
    // A text inside a parameter, in whatever way it is spelled.
    [Arguments("deny_tool_param", """{"target":"sh","key":"c","pattern":"rm -rf"}""", "sh", """{"c":"sudo rm -rf /"}""", "param 'c' matches 'rm -rf'")]
    [Arguments("deny_tool_param", """{"target":"sh","key":"c","pattern":"rm -rf"}""", "sh", """{"c":"rm -r -f"}""", Passes)]
    [Arguments("deny_tool_param", """{"target":"sh","key":"c","pattern":"rm -rf"}""", "sh", """{"c":"RM -RF"}""", Passes)]
    [Arguments("deny_tool_param", """{"target":"sh","key":"c","pattern":"rm -rf"}""", "sh", """{"d":"rm -rf"}""", Passes)]
    [Arguments("deny_tool_param", """{"target":"sh","key":"c","pattern":"rm -rf"}""", "other", """{"c":"rm -rf"}""", Passes)]
    [Arguments("deny_tool_param", """{"target":"sh","key":"c","pattern":"rm -rf"}""", "sh", """{"\u0063":"r\u006d\u0020-rf"}""", "param 'c' matches 'rm -rf'")]
    [Arguments("deny_tool_param", """{"target":"sh","key":"c","pattern":"rm -rf"}""", "sh", """{"c":"\ud800 r\u006d -rf"}""", "param 'c' matches 'rm -rf'")]
    [Arguments("deny_tool_param", """{"target":"sh","key":"c","pattern":"rm -rf"}""", "sh", """{"c":"ls","c":"rm -rf"}""", "param 'c' matches 'rm -rf'")]
    [Arguments("deny_tool_param", """{"target":"sh","key":"c","pattern":"rm -rf"}""", "sh", """{"c":"rm -rf","c":"ls"}""", "param 'c' matches 'rm -rf'")]
    [Arguments("deny_tool_param", """{"target":"sh","key":"c","pattern":"[\"rm\",{\"a\":1.0}]"}""", "sh", """{"c":[ "r\u006d", {"a": 1.0} ]}""", """param 'c' matches '["rm",{"a":1.0}]'""")]
    [Arguments("deny_tool_param", """{"target":"sh","key":"c","pattern":"true"}""", "sh", """{"c":true}""", "param 'c' matches 'true'")]
    [Arguments("deny_tool_param", """{"target":"sh","key":"c","pattern":"null"}""", "sh", """{"c":null}""", "param 'c' matches 'null'")]
    [Arguments("deny_tool_param", """{"target":"sh","key":"c","pattern":""}""", "sh", """{"c":1}""", "param 'c' matches ''")]
    [Arguments("deny_tool_param", """{"target":"sh","key":"c","pattern":""}""", "sh", "{}", Passes)]
    // The state, for actions of any type; by numeric value, and absence is no.
    [Arguments("require_state", """{"key":"ok","value":true}""", "any", "{}", Passes)]
    [Arguments("require_state", """{"key":"one","value":1.0}""", "any", "{}", Passes)]
    [Arguments("require_state", """{"key":"ok","value":"true"}""", "any", "{}", "state['ok'] must be \"true\"")]
    [Arguments("require_state", """{"key":"none","value":null}""", "any", "{}", "state['none'] must be null")]
    [Arguments("require_state", """{"key":"null","value":null}""", "any", "{}", Passes)]
    public async Task A_registered_rule_denies(string rule, string definition, string tool, string parameters, string reason)
    {
        Policy policy = RegisteredPolicies.From(Definition(rule, definition));
        await Assert.That(policy.Check(Subject(tool, parameters)) ?? Passes).IsEqualTo(reason);
    }

    [Test]
    [Arguments("deny_tool = ['rm']", "rm", "{}", "deny_tool:rm|tool 'rm' denied")]
    [Arguments("deny_tool = ['rm']", "ls", "{}", Passes)]
    [Arguments("deny_keyword = ['drop table']", "q", """{"sql":"select 1; drop table x"}""", "deny_keyword:drop table|a parameter contains a denied keyword")]
    [Arguments("deny_keyword = ['drop table']", "q", """{"sql":"DROP TABLE x"}""", Passes)]
    [Arguments("deny_keyword = ['drop table']", "q", """{"a":1,"b":{"c":["x","dr\u006fp table"]}}""", "deny_keyword:drop table|a parameter contains a denied keyword")]
    [Arguments("""deny_keyword = ['say "hi"']""", "q", """{"b":["say \"hi\""]}""", "deny_keyword:say \"hi\"|a parameter contains a denied keyword")]
    [Arguments("deny_keyword = ['secret']", "q", """{"b":{"secret":1}}""", "deny_keyword:secret|a parameter contains a denied keyword")]
    [Arguments("deny_keyword = ['secret']", "q", """{"secret":1}""", Passes)]
    [Arguments("deny_keyword = ['42']", "q", """{"n":1423}""", "deny_keyword:42|a parameter contains a denied keyword")]
    [Arguments("[[deny_tool_param]]\ntool='t'\nparam='p'", "t", """{"p":1}""", "deny_tool_param:t.p|param 'p' is not allowed")]
    [Arguments("[[deny_tool_param]]\ntool='t'\nparam='p'", "t", """{"q":1}""", Passes)]
    [Arguments("[[deny_tool_param]]\ntool='t'\nparam='p'\nequals='x'", "t", """{"p":"x"}""", "deny_tool_param:t.p|param 'p' has a denied value")]
    [Arguments("[[deny_tool_param]]\ntool='t'\nparam='p'\nequals='x'", "t", """{"p":"xx"}""", Passes)]
    [Arguments("[[deny_tool_param]]\ntool='t'\nparam='p'\nequals='7'", "t", """{"p":7}""", "deny_tool_param:t.p|param 'p' has a denied value")]
    [Arguments("[[deny_tool_param]]\ntool='t'\nparam='p'\ncontains='x'", "t", """{"p":"axb"}""", "deny_tool_param:t.p|param 'p' has a denied value")]
    [Arguments("[[deny_tool_param]]\ntool='t'\nparam='p'\nequals='ab'\ncontains='b'", "t", """{"p":"ab"}""", "deny_tool_param:t.p|param 'p' has a denied value")]
    [Arguments("[[deny_tool_param]]\ntool='t'\nparam='p'\nequals='ab'\ncontains='c'", "t", """{"p":"ab"}""", Passes)]
    [Arguments("[[deny_tool_param]]\ntool='t'\nparam='p'\nequals='ab'\ncontains='b'", "t", """{"p":"abb"}""", Passes)]
    [Arguments("[[deny_tool_param]]\ntool='t'\nparam='p'\nequals='x'", "t", "{}", Passes)]
    [Arguments("[[allow_tool_param]]\ntool='t'\nparam='p'\nallow=['a','1']", "t", """{"p":"a"}""", Passes)]
    [Arguments("[[allow_tool_param]]\ntool='t'\nparam='p'\nallow=['a','1']", "t", """{"p":1}""", Passes)]
    [Arguments("[[allow_tool_param]]\ntool='t'\nparam='p'\nallow=['a','1']", "t", """{"p":"ab"}""", "allow_tool_param:t.p|param 'p' is not an allowed value")]
    [Arguments("[[allow_tool_param]]\ntool='t'\nparam='p'\nallow=['a','1']", "t", """{"p":"a","p":"b"}""", "allow_tool_param:t.p|param 'p' is not an allowed value")]
    [Arguments("[[allow_tool_param]]\ntool='t'\nparam='p'\nallow=['a']", "t", "{}", "allow_tool_param:t.p|param 'p' is missing")]
    [Arguments("[[allow_tool_param]]\ntool='t'\nparam='p'\nallow=[]", "t", """{"p":""}""", "allow_tool_param:t.p|param 'p' is not an allowed value")]
    [Arguments("[[allow_tool_param]]\ntool='t'\nparam='p'", "t", """{"p":""}""", "allow_tool_param:t.p|param 'p' is not an allowed value")]
    [Arguments("[[allow_tool_param]]\ntool='t'\nparam='p'\nallow=[]", "u", "{}", Passes)]
    [Arguments("[[deny_tool_param_matching]]\ntool='t'\nparam='p'\nmatches='se[c]ret\\d+'", "t", """{"p":"my secret77!"}""", "deny_tool_param_matching:t.p|param 'p' matches a denied pattern")]
    [Arguments("[[deny_tool_param_matching]]\ntool='t'\nparam='p'\nmatches='^secret$'", "t", """{"p":"my secret"}""", Passes)]
    [Arguments("[[deny_tool_param_matching]]\ntool='t'\nparam='p'\nmatches='.*'", "t", "{}", Passes)]
    [Arguments("[[deny_tool_param_matching]]\ntool='t'\nparam='p'\nmatches='(a'", "t", "{}", "deny_tool_param_matching:t.p|tool 't' denied: the regular expression of a policy for it cannot be used")]
    [Arguments("[[deny_tool_param_matching]]\ntool='t'\nparam='p'\nmatches='(a)\\1'", "t", "{}", "deny_tool_param_matching:t.p|tool 't' denied: the regular expression of a policy for it cannot be used")]
    [Arguments("[[deny_tool_param_matching]]\ntool='t'\nparam='p'\nmatches='((a{1000}){1000}){1000}'", "t", "{}", "deny_tool_param_matching:t.p|tool 't' denied: the regular expression of a policy for it cannot be used")]
    [Arguments("[[deny_tool_param_matching]]\ntool='t'\nparam='p'\nmatches='(a'", "u", """{"p":"(a"}""", Passes)]
    [Arguments("[[rate_limit_tool]]\ntool='t'\nmax_calls=0\ninterval_secs=1", "t", "{}", "rate_limit_tool:t|tool 't' may be called 0 times in 1 s")]
    [Arguments("[[rate_limit_tool]]\ntool='t'\nmax_calls=0\ninterval_secs=0.5", "u", "{}", Passes)]
    public async Task A_rule_of_a_file_denies(string file, string tool, string parameters, string violation)
    {
        PolicySubject subject = Subject(tool, parameters);
        string[] violations = [.. PolicyFile.Read(file).Select(policy => (policy.Name, Reason: policy.Check(subject))).Where(one => one.Reason is not null).Select(one => $"{one.Name}|{one.Reason}")];
        await Assert.That(string.Join(' ', violations)).IsEqualTo(violation);
    }

    [Test]
    public async Task A_rate_limit_slides_with_the_clock()
    {
        var clock = new ManualClock();
        Policy limit = PolicyFile.Read("[[rate_limit_tool]]\ntool='t'\nmax_calls=2\ninterval_secs=10").Single().ForConnection();
        var passed = new List<bool>();
        foreach (int wait in (int[])[0, 4, 1, 5, 0, 4, 0])   // the calls come at 0, 4, 5, 10, 10, 14 and 14 s
        {
            clock.Advance(TimeSpan.FromSeconds(wait));
            passed.Add(limit.Check(Subject("t", "{}", clock)) is null);
        }
        await Assert.That(string.Join(' ', passed.Select(one => one ? "yes" : "no"))).IsEqualTo("yes yes no yes no yes no");
    }

    [Test]
    public async Task A_rate_limit_counts_for_each_connection_and_only_calls()
    {
        Policy rule = PolicyFile.Read("[[rate_limit_tool]]\ntool='t'\nmax_calls=1\ninterval_secs=10").Single();
        Policy one = rule.ForConnection(), other = rule.ForConnection();
        var read = new PolicySubject(new AgentAction { Type = ActionType.StateRead, Tool = "t" }, null, new StateStore(), new ManualClock());
        await Assert.That(one.Check(read)).IsNull();
        await Assert.That(one.Check(Subject("t", "{}"))).IsNull();
        await Assert.That(one.Check(Subject("t", "{}"))).IsNotNull();
        await Assert.That(other.Check(Subject("t", "{}"))).IsNull();
    }

    [Test]
    [Arguments("deny_tool", "{}", "-32602 policy 'n': rule 'deny_tool' needs target, a string, got none")]
    [Arguments("deny_tool", """{"target":""}""", "-32602 policy 'n': target must name a tool, got an empty string")]
    [Arguments("deny_tool_param", """{"target":"t"}""", "-32602 policy 'n': rule 'deny_tool_param' needs key, a string, got none")]
    [Arguments("deny_tool_param", """{"target":"t","key":"k"}""", "-32602 policy 'n': rule 'deny_tool_param' needs pattern, a string, got none")]
    [Arguments("require_state", """{"key":"k"}""", "-32602 policy 'n': rule 'require_state' needs value, any JSON, got none")]
    [Arguments("require_state", """{"value":1}""", "-32602 policy 'n': rule 'require_state' needs key, a string, got none")]
    [Arguments("deny_tool_callback", "{}", "-32603 policy 'n': rule 'deny_tool_callback' is a function inside an embedding program and cannot be registered over the wire")]
    [Arguments("allow_everything", "{}", "-32603 unknown policy rule 'allow_everything'")]
    [Arguments("Deny_Tool", """{"target":"t"}""", "-32603 unknown policy rule 'Deny_Tool'")]
    public async Task A_wrong_definition_says_what_was_expected(string rule, string definition, string error)
    {
        RefusedException refused = Assert.Throws<RefusedException>(() => RegisteredPolicies.From(Definition(rule, definition)));
        await Assert.That($"{(refused.Refusal == Refusal.Invalid ? -32602 : -32603)} {refused.Message}").IsEqualTo(error);
    }

    [Test]
    public async Task A_pattern_may_be_as_long_as_the_limit_and_no_longer()
    {
        string atLimit = new('é', PolicyLimits.MaxTextBytes / 2);
        await Assert.That(RegisteredPolicies.From(new PolicyDefinition("n", "deny_tool_param", "t", "k", atLimit))).IsNotNull();
        RefusedException refused = Assert.Throws<RefusedException>(() => RegisteredPolicies.From(new PolicyDefinition("n", "deny_tool_param", "t", "k", atLimit + "x")));
        await Assert.That(refused.Message).IsEqualTo("policy 'n': pattern may have at most 4096 bytes, got 4097");
        await Assert.That(RegisteredPolicies.From(new PolicyDefinition(new string('n', PolicyLimits.MaxNameChars), "deny_tool", "t"))).IsNotNull();
        Assert.Throws<RefusedException>(() => RegisteredPolicies.From(new PolicyDefinition(new string('n', PolicyLimits.MaxNameChars + 1), "deny_tool", "t")));
        Assert.Throws<RefusedException>(() => RegisteredPolicies.From(new PolicyDefinition("", "deny_tool", "t")));
    }

    internal static PolicyDefinition Definition(string rule, string fields)
    {
        JsonElement json = JsonDocument.Parse(fields).RootElement;
        return new PolicyDefinition("n", rule, Text("target"), Text("key"), Text("pattern"),
            json.TryGetProperty("value", out JsonElement value) ? RawJson.Parse(value.GetRawText()) : default);

        string? Text(string name) => json.TryGetProperty(name, out JsonElement text) ? text.GetString() : null;
    }

    private static PolicySubject Subject(string tool, string parameters, ManualClock? clock = null)
    {
        var state = new StateStore();
        foreach ((string key, string value) in (ReadOnlySpan<(string, string)>)[("ok", "true"), ("one", "1"), ("null", "null")]) state.Set(null, key, RawJson.Parse(value));
        return new PolicySubject(new AgentAction { Type = ActionType.ToolCall, Tool = tool, Parameters = RawJson.Parse(parameters) }, null, state, clock ?? new ManualClock());
    }
}

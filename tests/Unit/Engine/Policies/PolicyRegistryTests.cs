using System.Text;
using CarServer.RunStore;
using CarServer.State;
using CarServer.State.Engine;
using CarServer.State.Engine.Policies;
using CarServer.State.Engine.Tools;
using CarServer.Tests.Support;

namespace CarServer.Tests.Unit.Engine.Policies;

/// <summary>Scopes, limits, and what a denial means in a proposal.</summary>
public sealed class PolicyRegistryTests
{
    private const string CallA = """{"id":"a","type":"tool_call","tool":"a"}""";

    [Test]
    [Arguments("abort", "rejected skipped")]
    [Arguments("skip", "rejected succeeded")]
    [Arguments("retry", "rejected skipped")]
    public async Task A_denial_is_a_rejection_and_the_action_says_what_follows(string behavior, string statuses)
    {
        await using var engine = new TestEngine("a");
        engine.Runtime.Policies.Register([Deny("one", "a"), Deny("two", "a")]);
        engine.Set("k", "1");

        ProposalResult result = await engine.SubmitAsync($$"""
            {"id":"a","type":"tool_call","tool":"a","failure_behavior":"{{behavior}}","expected_effects":{"k":2} }, {"id":"b","type":"state_read","parameters":{"key":"k"},"dependencies":["a"]}
            """);

        await Assert.That(TestEngine.Statuses(result)).IsEqualTo(statuses);
        await Assert.That(result.Results[0].Error).IsEqualTo("tool 'a' denied; tool 'a' denied");
        await Assert.That(result.Results[0].RejectedByPolicy).IsTrue();
        await Assert.That(result.Results[1].RejectedByPolicy).IsFalse();
        await Assert.That(engine.Value("k")).IsEqualTo("1");
        await Assert.That(engine.Tools.Calls).IsEmpty();
        await Assert.That(result.Cost.ActionsRejected).IsEqualTo(1);
        await Assert.That(string.Join(", ", engine.Events().Where(line => line.EndsWith(" a", StringComparison.Ordinal))))
            .IsEqualTo("policy_violation a, policy_violation a, action_rejected a");
        string violation = Encoding.UTF8.GetString(engine.Runtime.Events.Latest()[1].Span);
        await Assert.That(violation).Contains("""
            "action_id":"a","proposal_id":"p","data":{"tool":"a","policy_name":"one","reason":"tool 'a' denied"}
            """.Trim());
    }

    /// <summary>What validation refuses is not asked about, and a remembered success is not looked at again.</summary>
    [Test]
    public async Task Policies_are_asked_after_the_validation_and_not_for_a_remembered_success()
    {
        await using var engine = new TestEngine("a");
        string call = """{"id":"a","type":"tool_call","tool":"a","idempotent":true}""";
        await engine.SubmitAsync(call);
        engine.Runtime.Policies.Register([Deny("n", "a"), Deny("n", "nobody")]);

        await Assert.That(TestEngine.Statuses(await engine.SubmitAsync(call))).IsEqualTo("succeeded");
        ProposalResult unknown = await engine.SubmitAsync("""{"id":"x","type":"tool_call","tool":"nobody"}""");
        await Assert.That(unknown.Results[0].Error).IsEqualTo("tool 'nobody' is not registered");
        await Assert.That(unknown.Results[0].RejectedByPolicy).IsFalse();
    }

    [Test]
    public async Task A_session_adds_to_the_global_policies_and_lifts_none()
    {
        await using var engine = new TestEngine("a", "b", "c");
        PolicyRegistry policies = engine.Runtime.Policies;
        PolicyScope session = policies.Open();
        policies.Register([Deny("g", "a"), Deny("s", "b", session.SessionId)]);
        string calls = string.Join(',', "abc".Select(tool => $$"""{"id":"{{tool}}","type":"tool_call","tool":"{{tool}}","failure_behavior":"skip"}"""));

        await Assert.That(TestEngine.Statuses(await engine.SubmitAsync(calls))).IsEqualTo("rejected succeeded succeeded");
        ProposalResult inSession = await engine.Runtime.SubmitAsync(TestEngine.Parse($$"""{"actions":[{{calls}}]}"""), null, default, session);
        await Assert.That(TestEngine.Statuses(inSession)).IsEqualTo("rejected rejected succeeded");
    }

    [Test]
    public async Task Unregistering_counts_for_the_next_action_and_closing_a_session_not_for_proposals_in_it()
    {
        await using var engine = new TestEngine("slow", "a");
        PolicyRegistry policies = engine.Runtime.Policies;
        PolicyScope session = policies.Open();
        policies.Register([Deny("g", "a"), Deny("s", "a", session.SessionId)]);
        Task<ProposalResult> running = engine.Runtime.SubmitAsync(
            TestEngine.Parse($$"""{"actions":[{"type":"tool_call","tool":"slow"},{{CallA}}]}"""), null, default, session);
        SlowCall slow = await engine.Tools.NextAsync();
        await Assert.That(policies.Unregister("g", policies.Global)).IsEqualTo(1);
        await Assert.That(policies.Close(session.SessionId!)).IsTrue();
        slow.Succeed();

        ProposalResult result = await running;
        await Assert.That(result.Results[1].Error).IsEqualTo("tool 'a' denied");
        await Assert.That(policies.Close(session.SessionId!)).IsFalse();
        await Assert.That(TestEngine.Statuses(await engine.SubmitAsync(CallA))).IsEqualTo("succeeded");
        Assert.Throws<RefusedException>(() => policies.Scope(session.SessionId));
    }

    [Test]
    public async Task A_required_state_is_the_tenants()
    {
        await using var engine = new TestEngine();
        engine.Runtime.Policies.Register([new PolicyDefinition("n", "require_state", Key: "open", Value: RawJson.Parse("true"))]);
        engine.Set("open", "true", "t");
        string write = """{"id":"a","type":"state_write","parameters":{"key":"k"}}""";

        await Assert.That((await engine.SubmitAsync(write)).Results[0].Error).IsEqualTo("state['open'] must be true");
        await Assert.That(TestEngine.Statuses(await engine.SubmitAsync(write, "t"))).IsEqualTo("succeeded");
        await Assert.That(TestEngine.Statuses(await engine.SubmitAsync(write, "u"))).IsEqualTo("rejected");
    }

    [Test]
    public async Task A_policy_that_throws_has_not_said_yes()
    {
        await using var engine = new TestEngine("a");
        var runtime = new Runtime(engine.Runtime.Events, engine.Tools, engine.Clock, [new Throwing(), new DenyTool("after", "a")]);
        runtime.Tools.Register([new ToolDefinition { Name = "a" }]);

        ProposalResult result = await runtime.SubmitAsync(TestEngine.Parse($$"""{"actions":[{{CallA}}]}"""), null, default);

        await Assert.That(result.Results[0].Error).IsEqualTo("policy broken panicked during check; tool 'a' denied");
    }

    [Test]
    public async Task The_operators_policies_come_first_and_nobody_takes_them_back()
    {
        var policies = new PolicyRegistry([new DenyTool("deny_tool:a", "a")]);
        policies.Register([Deny("deny_tool:a", "b"), Deny("x", "c")]);
        await Assert.That(policies.Unregister("deny_tool:a", policies.Global)).IsEqualTo(1);
        await Assert.That(policies.Unregister("deny_tool:a", policies.Global)).IsEqualTo(0);
        await Assert.That(string.Join(' ', policies.List(policies.Global).Select(policy => policy.Name))).IsEqualTo("deny_tool:a x");
        await Assert.That(policies.List(policies.Open())).IsEmpty();
    }

    [Test]
    public async Task A_refused_registration_adds_nothing()
    {
        var policies = new PolicyRegistry([]);
        Assert.Throws<RefusedException>(() => policies.Register([Deny("n", "a"), new PolicyDefinition("n", "dance")]));
        Assert.Throws<RefusedException>(() => policies.Register([Deny("n", "a"), null]));
        Assert.Throws<RefusedException>(() => policies.Register([Deny("n", "a"), Deny("n", "a", "nobody")]));
        await Assert.That(policies.Count(null)).IsEqualTo(0);
    }

    [Test]
    public async Task Each_scope_has_its_limit_and_sessions_have_one()
    {
        var policies = new PolicyRegistry([]);
        PolicyDefinition[] full = [.. Enumerable.Repeat(Deny("n", "a"), PolicyLimits.MaxPolicies)];
        policies.Register(full);
        Assert.Throws<RefusedException>(() => policies.Register([Deny("n", "a")]));
        string session = policies.Open().SessionId!;
        policies.Register([.. full.Select(one => one with { SessionId = session })]);
        for (int i = 1; i < PolicyLimits.MaxSessions; i++) policies.Open();
        Assert.Throws<RefusedException>(() => policies.Open());
        policies.Close(session);
        policies.Open();
        await Assert.That(policies.Unregister("n", policies.Global)).IsEqualTo(PolicyLimits.MaxPolicies);
        policies.Register([Deny("n", "a")]);
    }

    [Test]
    public async Task All_bytes_of_a_connection_are_counted_and_given_back()
    {
        var policies = new PolicyRegistry([]);
        var large = new PolicyDefinition("n", "deny_tool_param", "t", new string('k', 4_000), new string('p', 4_000));
        int each = RegisteredPolicies.Bytes(large), fit = PolicyLimits.MaxTotalBytes / each;
        var sessions = new List<string>();
        for (int i = 0; i < fit; i++)
        {
            if (i % PolicyLimits.MaxPolicies == 0) sessions.Add(policies.Open().SessionId!);
            policies.Register([large with { SessionId = sessions[^1] }]);
        }
        await Assert.That(Assert.Throws<RefusedException>(() => policies.Register([large])).Message).Contains("at most 4194304 bytes");
        policies.Close(sessions[0]);
        policies.Register([large]);
        await Assert.That(policies.Unregister("n", policies.Global)).IsEqualTo(1);
        policies.Withdraw(policies.Register([large]));
        await Assert.That(policies.Count(null)).IsEqualTo(0);
    }

    /// <summary>Nothing runs for it, and its client has had that answer already (protocol 10.3).</summary>
    [Test]
    public async Task A_remembered_success_comes_before_the_policies()
    {
        await using var engine = new TestEngine("a");
        const string Idempotent = """{"id":"a","type":"tool_call","tool":"a","idempotent":true}""";
        await engine.SubmitAsync(Idempotent);
        engine.Runtime.Policies.Register([Deny("n", "a")]);
        await Assert.That(TestEngine.Statuses(await engine.SubmitAsync(Idempotent))).IsEqualTo("succeeded");
        await Assert.That(TestEngine.Statuses(await engine.SubmitAsync(CallA))).IsEqualTo("rejected");
        await Assert.That(engine.Tools.Calls.Length).IsEqualTo(1);
    }

    [Test]
    public async Task Reasons_without_end_are_counted_instead()
    {
        Violation[] all = [.. Enumerable.Repeat(new Violation("n", new string('r', EngineLimits.MaxRepeatedChars / 5)), 100)];
        string error = Violation.Join([.. all]);
        await Assert.That(error.Length).IsLessThan(EngineLimits.MaxRepeatedChars + 100);
        await Assert.That(error).EndsWith("; and 96 more");
        await Assert.That(Violation.Join([.. all[..4]])).IsEqualTo(string.Join("; ", all[..4].Select(one => one.Reason)));
    }

    /// <summary>Each of ten thousand actions may repeat it; a character outside the basic plane is two, and not cut in two.</summary>
    [Test]
    public async Task A_long_reason_is_cut_in_results_and_whole_in_the_event()
    {
        await using var engine = new TestEngine("a");
        string key = new string('k', EngineLimits.MaxRepeatedChars - "state['".Length - 1) + "😀" + new string('z', 500);
        engine.Runtime.Policies.Register([new PolicyDefinition("n", "require_state", Key: key, Value: RawJson.Null)]);
        ProposalResult result = await engine.SubmitAsync(CallA);
        await Assert.That(result.Results[0].Error).IsEqualTo($"state['{key[..(EngineLimits.MaxRepeatedChars - "state['".Length - 1)]}…");
        await Assert.That(Encoding.UTF8.GetString(engine.Runtime.Events.Latest()[1].Span)).Contains("zzz'] must be null");
    }

    /// <summary>A thousand connections' worth of policies and actions, against rules written down once more, as plainly as can be.</summary>
    [Test]
    public async Task Any_policies_and_any_action_agree_with_the_reference()
    {
        var random = new Random(20260102);
        string[] words = ["", "a", "b", "ab", "a\"b", "ünï", "x y", "\n", "1", "true"];
        for (int round = 0; round < 3_000; round++)
        {
            var state = new StateStore();
            var facts = new Dictionary<string, string>();
            foreach (string key in (string[])["k", "l"])
            {
                if (random.Next(2) == 0) continue;
                facts[key] = random.Next(2) == 0 ? "1" : "\"a\"";
                state.Set(null, key, RawJson.Parse(facts[key]));
            }
            var parameters = new Dictionary<string, object?>();
            foreach (string key in (string[])["p", "q"]) if (random.Next(3) > 0) parameters[key] = Value(random, words, 2);
            string tool = Pick(random, "t", "u");
            string json = Spelled(random, Json(parameters));
            var policies = new PolicyRegistry([]);
            PolicyScope session = policies.Open();
            PolicyDefinition[] definitions = [.. Enumerable.Range(0, random.Next(6)).Select(i => Random(i.ToString(System.Globalization.CultureInfo.InvariantCulture)))];
            policies.Register(definitions);

            PolicyDefinition[] ordered = [.. definitions.Where(one => one.SessionId is null), .. definitions.Where(one => one.SessionId is not null)];
            string expected = string.Join('|', ordered.Select(one => (one.Name, Reason: Reference(one))).Where(one => one.Reason is not null).Select(one => $"{one.Name} {one.Reason}"));
            var action = new AgentAction { Type = ActionType.ToolCall, Tool = tool, Parameters = RawJson.Parse(json) };
            List<Violation> violations = policies.Check(new PolicySubject(action, null, state, TimeProvider.System), session) ?? [];
            await Assert.That(string.Join('|', violations.Select(one => $"{one.PolicyName} {one.Reason}"))).IsEqualTo(expected).Because($"round {round}: {json}");

            PolicyDefinition Random(string name) => random.Next(3) switch
            {
                0 => new PolicyDefinition(name, "deny_tool", Pick(random, "t", "u", "v"), SessionId: Scope()),
                1 => new PolicyDefinition(name, "deny_tool_param", Pick(random, "t", "u"), Pick(random, "p", "q", "r"), Pick(random, words), SessionId: Scope()),
                _ => new PolicyDefinition(name, "require_state", Key: Pick(random, "k", "l"), Value: RawJson.Parse(Pick(random, "1", "1.0", "\"a\"", "null")), SessionId: Scope()),
            };

            string? Scope() => random.Next(2) == 0 ? null : session.SessionId;

            string? Reference(PolicyDefinition one) => one.Rule switch
            {
                "deny_tool" => tool == one.Target ? $"tool '{tool}' denied" : null,
                "deny_tool_param" => tool == one.Target && parameters.TryGetValue(one.Key!, out object? value) && Plain(value).Contains(one.Pattern!, StringComparison.Ordinal)
                    ? $"param '{one.Key}' matches '{one.Pattern}'" : null,
                _ => facts.TryGetValue(one.Key!, out string? fact) && fact == one.Value.ToString().Replace("1.0", "1", StringComparison.Ordinal) ? null : $"state['{one.Key}'] must be {one.Value}",
            };
        }
    }

    private static object? Value(Random random, string[] words, int depth) => random.Next(depth > 0 ? 6 : 4) switch
    {
        0 => random.Next(100),
        1 => random.Next(2) == 0,
        2 or 3 => Pick(random, words),
        4 => new object?[] { Value(random, words, depth - 1), Value(random, words, depth - 1) },
        _ => new Dictionary<string, object?> { [Pick(random, words)] = Value(random, words, depth - 1) },
    };

    /// <summary>The same JSON with letters written as escapes here and there.</summary>
    private static string Spelled(Random random, string json)
    {
        var spelled = new StringBuilder();
        bool inside = false, escaped = false;
        foreach (char c in json)
        {
            if (c == '"' && !escaped) inside = !inside;
            if (inside && !escaped && char.IsLetter(c) && random.Next(2) == 0) spelled.Append(System.Globalization.CultureInfo.InvariantCulture, $"\\u{(int)c:X4}");
            else spelled.Append(c);
            escaped = c == '\\' && !escaped;
        }
        return spelled.ToString();
    }

    private static string Plain(object? value) => value as string ?? Json(value);

    private static string Json(object? value) => value switch
    {
        string text => "\"" + text.Replace("\"", "\\\"", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal) + "\"",
        object?[] items => "[" + string.Join(',', items.Select(Json)) + "]",
        Dictionary<string, object?> members => "{" + string.Join(',', members.Select(one => Json(one.Key) + ":" + Json(one.Value))) + "}",
        bool truth => truth ? "true" : "false",
        _ => Convert.ToString(value, System.Globalization.CultureInfo.InvariantCulture)!,
    };

    private static string Pick(Random random, params string[] from) => from[random.Next(from.Length)];

    private static PolicyDefinition Deny(string name, string tool, string? session = null) => new(name, "deny_tool", tool, SessionId: session);

    private sealed class Throwing() : Policy("broken", "throws")
    {
        public override string? Check(PolicySubject subject) => throw new InvalidOperationException("with the secret in it");
    }
}

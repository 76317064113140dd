using CarServer.RunStore;
using CarServer.State;
using CarServer.State.Engine;
using CarServer.State.Engine.Tools;
using CarServer.Tests.Support;

namespace CarServer.Tests.Unit.Engine;

/// <summary>What follows an abort (protocol 10.6).</summary>
public class ReplanningTests
{
    private const string Broken = """{"id":"w","type":"state_write","parameters":{"key":"k","value":1}},{"id":"b","type":"tool_call","tool":"bad","dependencies":["w"]}""";
    private const string Rejected = """{"id":"w","type":"state_write","parameters":{"key":"k","value":1}},{"id":"b","type":"tool_call","tool":"nobody","dependencies":["w"]}""";

    /// <summary>Answers in order; what is no JSON object is why there is no proposal, with a dot at its end for the last one.</summary>
    private sealed class FakePlanner(params string[] answers) : IPlanner
    {
        public List<PlannerQuestion> Questions { get; } = [];
        public Action? Asked { get; init; }
        public string? Id { get; init; }

        public Task<PlannerAnswer> ProposeAsync(PlannerQuestion question, CancellationToken abandoned)
        {
            Questions.Add(question);
            Asked?.Invoke();
            string answer = answers[Questions.Count - 1];
            return Task.FromResult(answer[0] == '{'
                ? new PlannerAnswer(TestEngine.Parse($$"""{"id":"{{Id ?? $"p{Questions.Count}"}}","actions":[{{answer}}]}"""))
                : new PlannerAnswer(null, answer, IsLast: answer.EndsWith('.')));
        }
    }

    private const string Good = """{"id":"g","type":"state_write","parameters":{"key":"k","value":2}}""";
    private const string Invalid = """{"id":"v","type":"state_read","parameters":{"key":"none"},"state_dependencies":["none"]}""";
    private const string Twice = """{"id":"x","type":"state_read"},{"id":"x","type":"state_read"}""";

    [Test]
    //         config                             answers                     state  events, one word each
    [Arguments("max_replans=0",                   "",                         "0",   "")]
    [Arguments("max_replans=1",                   Good,                       "2",   "attempted received")]
    [Arguments("max_replans=2",                   Broken + "|" + Good,        "2",   "attempted received attempted received")]
    [Arguments("max_replans=2",                   Broken + "|" + Broken,      "0",   "attempted received attempted received exhausted")]
    [Arguments("max_replans=2",                   Invalid + "|" + Good,       "2",   "attempted received rejected attempted received")]
    [Arguments("max_replans=1",                   Invalid,                    "0",   "attempted received rejected exhausted")]
    [Arguments("max_replans=1,verify=no",         Invalid,                    "0",   "attempted received")]
    [Arguments("max_replans=2,verify=no",         Twice + "|" + Good,         "2",   "attempted rejected attempted received")]
    [Arguments("max_replans=3",                   "out of ideas.",            "0",   "attempted exhausted")]
    [Arguments("max_replans=2",                   "timed out|" + Good,        "2",   "attempted rejected attempted received")]
    public async Task An_abort_is_followed_by_another_plan(string config, string answers, string state, string events)
    {
        await using var engine = new TestEngine("bad");
        engine.Set("k", "0");
        var planner = new FakePlanner(answers.Split('|'));
        engine.Runtime.Replan(new ReplanConfig((uint)(config[12] - '0'), VerifyBeforeExecute: !config.Contains("verify=no")), planner);

        ProposalResult result = await engine.SubmitAsync(Broken);

        await Assert.That(engine.Value("k")).IsEqualTo(state);
        await Assert.That(Replans(engine)).IsEqualTo(events);
        await Assert.That(planner.Questions.Count).IsEqualTo(events.Split(' ').Count(word => word == "attempted"));
        if (planner.Questions is not [var first, ..]) return;
        await Assert.That(first.Proposal.Id).IsEqualTo("p");
        await Assert.That(first.Reason).IsEqualTo("action 'b' failed");
        await Assert.That(string.Join(' ', first.Results.Select(one => one.Status))).IsEqualTo("Succeeded Failed");
        await Assert.That(string.Join(' ', planner.Questions.Select(asked => asked.Attempt))).IsEqualTo(planner.Questions.Count == 1 ? "1" : "1 2");
        if (answers.StartsWith(Invalid + "|", StringComparison.Ordinal))
            await Assert.That(planner.Questions[1].Reason).Contains("action 'v'").And.Contains("state dependency 'none' is not available at this point");
        if (answers.StartsWith(Broken + "|", StringComparison.Ordinal)) await Assert.That(planner.Questions[1].Proposal.Id).IsEqualTo("p1");
    }

    [Test]
    public async Task The_result_is_the_last_plans_with_the_cost_of_all_and_each_is_told_of()
    {
        await using var engine = new TestEngine("bad");
        engine.Runtime.Replan(new ReplanConfig(2), new FakePlanner(Good));
        var ended = new List<string>();
        ProposalResult result = await engine.Runtime.SubmitAsync(TestEngine.Parse($$"""{"id":"p","actions":[{{Broken}}]}"""), null, CancellationToken.None,
            ended: (proposal, made) =>
            {
                ended.Add($"{proposal.Id} {TestEngine.Statuses(made)}");
                return Task.CompletedTask;
            });
        await Assert.That(string.Join(", ", ended)).IsEqualTo("p succeeded* failed, p1 succeeded");
        await Assert.That(result.ProposalId).IsEqualTo("p1");
        await Assert.That(TestEngine.Statuses(result)).IsEqualTo("succeeded");
        await Assert.That(result.Cost).IsEqualTo(new CostSummary(1, 3, 0, 0, 0, 0));
    }

    /// <summary>What no submit would take is no plan, and leaves nothing of its own behind.</summary>
    [Test]
    public async Task An_answer_with_an_endless_id_is_not_written_down()
    {
        await using var engine = new TestEngine("bad");
        engine.Runtime.Replan(new ReplanConfig(1, VerifyBeforeExecute: false), new FakePlanner(Good) { Id = new string('i', EngineLimits.MaxIdChars + 1) });
        ProposalResult result = await engine.SubmitAsync(Broken);
        await Assert.That(result.ProposalId).IsEqualTo("p");
        await Assert.That(engine.Runtime.Events.Latest().Max(line => line.Length)).IsLessThan(EngineLimits.MaxIdChars);
    }

    private sealed class Gate(string refused) : IAdmission
    {
        public List<string> Asked { get; } = [];
        public bool IsNeeded => true;

        public Task<Blocked?> AskAsync(AdmissionRequest request, CancellationToken abandoned)
        {
            Asked.Add($"{request.Proposal.Id} {request.Tenant} {request.Caller}");
            return Task.FromResult(request.Proposal.Id == refused ? new Blocked("no") : null);
        }
    }

    [Test]
    [Arguments("p", "p acme me", 0)]
    [Arguments("p1", "p acme me, p1 acme me", 1)]
    public async Task Every_plan_passes_the_gates_and_what_they_refuse_is_followed_by_none(string refused, string asked, int questions)
    {
        await using var engine = new TestEngine();
        var gate = new Gate(refused);
        var runtime = new Runtime(engine.Runtime.Events, engine.Tools, engine.Clock) { Admission = gate };
        runtime.Tools.Register([new ToolDefinition { Name = "bad" }]);
        var planner = new FakePlanner(Broken, Good);
        runtime.Replan(new ReplanConfig(5, ReplanOnRejected: true), planner);
        ProposalResult result = await runtime.SubmitAsync(TestEngine.Parse($$"""{"id":"p","actions":[{{Broken}}]}"""), "acme", CancellationToken.None, caller: "me");
        await Assert.That(string.Join(", ", gate.Asked)).IsEqualTo(asked);
        await Assert.That(planner.Questions.Count).IsEqualTo(questions);
        await Assert.That(TestEngine.Statuses(result)).IsEqualTo("rejected rejected");
        await Assert.That(runtime.State.Keys("acme")).IsEmpty();
    }

    /// <summary>To a tenant such a key is like any other.</summary>
    [Test]
    [Arguments("acme", "p1")]
    [Arguments(null, "p")]
    public async Task A_plan_is_verified_for_its_tenant(string? tenant, string ran)
    {
        await using var engine = new TestEngine("bad");
        engine.Runtime.Replan(new ReplanConfig(1), new FakePlanner("""{"id":"g","type":"state_write","parameters":{"key":"tenant:x","value":2},"expected_effects":{"tenant:y":1}}"""));
        ProposalResult result = await engine.SubmitAsync(Broken, tenant);
        await Assert.That(result.ProposalId).IsEqualTo(ran);
    }

    [Test]
    //         rejected with  switch  statuses                                  asked
    [Arguments("abort",       false, "succeeded rejected",                      false)]
    [Arguments("abort",       true,  "succeeded* rejected",                     true)]
    [Arguments("retry",       true,  "succeeded rejected",                      false)]
    [Arguments("skip",        true,  "succeeded rejected",                      false)]
    public async Task A_rejection_aborts_only_with_the_switch(string behavior, bool isOn, string statuses, bool asked)
    {
        await using var engine = new TestEngine();
        engine.Set("k", "0");
        var planner = new FakePlanner("none.");
        engine.Runtime.Replan(new ReplanConfig(1, ReplanOnRejected: isOn), planner);
        ProposalResult result = await engine.SubmitAsync(Rejected.Replace("\"tool\"", $"\"failure_behavior\":\"{behavior}\",\"tool\""));
        await Assert.That(TestEngine.Statuses(result)).IsEqualTo(statuses);
        await Assert.That(engine.Value("k")).IsEqualTo(asked ? "0" : "1");
        await Assert.That(planner.Questions.Count).IsEqualTo(asked ? 1 : 0);
    }

    [Test]
    public async Task The_question_waits_for_the_delay_and_ends_with_the_request()
    {
        await using var engine = new TestEngine("bad");
        var planner = new FakePlanner(Good);
        engine.Runtime.Replan(new ReplanConfig(1, DelayMs: 5_000), planner);
        Task<ProposalResult> running = engine.SubmitAsync(Broken);
        await Assert.That((await engine.Clock.NextTimerAsync()).TotalMilliseconds).IsEqualTo(5_000);
        await Assert.That(planner.Questions).IsEmpty();
        engine.Clock.Advance(TimeSpan.FromSeconds(5));
        await Assert.That((await running).Cost.TotalDurationMs).IsEqualTo(5_000);

        using var abandon = new CancellationTokenSource();
        running = engine.SubmitAsync(Broken, abandoned: abandon.Token);
        await engine.Clock.NextTimerAsync();
        abandon.Cancel();
        await Assert.That(TestEngine.Statuses(await running)).IsEqualTo("succeeded* failed");
        await Assert.That(planner.Questions.Count).IsEqualTo(1);
    }

    /// <summary>A request goes on under what was set when it came.</summary>
    [Test]
    public async Task A_change_counts_for_the_next_request()
    {
        await using var engine = new TestEngine("bad");
        var planner = new FakePlanner("no", "no") { Asked = () => engine.Runtime.Replan(new ReplanConfig(), new FakePlanner()) };
        engine.Runtime.Replan(new ReplanConfig(2), planner);
        await engine.SubmitAsync(Broken);
        await engine.SubmitAsync(Broken);
        await Assert.That(planner.Questions.Count).IsEqualTo(2);
    }

    [Test]
    [Arguments(16u, 1_800_000ul, null)]
    [Arguments(17u, 0ul, "max_replans may be at most 16, got 17")]
    [Arguments(0u, 1_800_001ul, "delay_ms may be at most 1800000, got 1800001")]
    public async Task Both_numbers_are_bounded(uint replans, ulong delay, string? problem)
    {
        string? said = null;
        try { new ReplanConfig(replans, delay).Check(); }
        catch (RefusedException refused) { said = refused.Message; }
        await Assert.That(said).IsEqualTo(problem);
    }

    private static string Replans(TestEngine engine) => string.Join(' ', engine.Events().Select(line => line.Split(' ')[0])
        .Where(kind => kind.StartsWith("replan_", StringComparison.Ordinal)).Select(kind => kind.Split('_')[^1]));
}

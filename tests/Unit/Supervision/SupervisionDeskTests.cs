using System.Text.Json;
using CarServer.Rpc.JsonRpc;
using CarServer.Rpc.Methods;
using CarServer.RunStore.Contracts;
using CarServer.State;
using CarServer.State.Engine;
using CarServer.State.Permissions;
using CarServer.State.Sessions;
using CarServer.State.Supervision;
using CarServer.Tests.Support;
using CarServer.Tests.Unit.Engine;

namespace CarServer.Tests.Unit.Supervision;

/// <summary>Time, filters and bounds of supervision; the rest goes through sockets (EndToEnd/SupervisionTests).</summary>
public sealed class SupervisionDeskTests : IAsyncDisposable
{
    private readonly TempHome _home = new();
    private readonly ManualClock _clock = new();
    private readonly ServerState _state;

    public SupervisionDeskTests() => _state = ServerState.With(new ServerStateConfig { JournalDirectory = _home.Journals, Clock = _clock });

    private SupervisionDesk Desk => _state.Supervision;

    private FakeChannel Supervise(SupervisionFilter? filter = null) => Supervise(out _, filter);

    private FakeChannel Supervise(out ClientSession session, SupervisionFilter? filter = null)
    {
        var channel = new FakeChannel();
        session = _state.Sessions.Open(channel);
        Desk.Subscribe(session, filter ?? new SupervisionFilter());
        return channel;
    }

    private static AdmissionRequest Request(string actions, string? session = null) => new(TestEngine.Parse($$"""{"id":"p","actions":[{{actions}}]}"""), null, null, session);

    private static string Call(string tool, string parameters = "{}") => $$"""{"type":"tool_call","tool":"{{tool}}","parameters":{{parameters}}}""";

    [Test]
    public async Task Nobody_in_time_is_a_refusal_at_the_thirtieth_second()
    {
        Supervise();
        Task<SupervisionOutcome?> asked = Desk.AskAsync(Request(Call("t")), "c", default);
        await Assert.That(await _clock.NextTimerAsync()).IsEqualTo(TimeSpan.FromSeconds(30));
        _clock.Advance(TimeSpan.FromSeconds(30) - TimeSpan.FromMilliseconds(1));
        await Assert.That(asked.IsCompleted).IsFalse();
        string id = Desk.Pending().Intents.Single().Id;
        _clock.Advance(TimeSpan.FromMilliseconds(1));

        SupervisionOutcome outcome = (await asked)!;
        await Assert.That(outcome.End).IsEqualTo(SupervisionOutcome.Timeout);
        await Assert.That(outcome.Reason).IsEqualTo("nobody decided within 30 s");
        await Assert.That(Desk.Pending().Intents).IsEmpty();
        await Assert.That(() => Desk.Decide(id, "allow", null, "x")).Throws<RefusedException>();
    }

    /// <summary>Who leaves takes nothing with him; it waits on for somebody else, and then for its time (protocol 3.2).</summary>
    [Test]
    public async Task What_the_last_supervisor_leaves_behind_waits_for_the_next_one_or_its_time()
    {
        Supervise(out ClientSession leaving);
        Task<SupervisionOutcome?> first = Desk.AskAsync(Request(Call("t")), "c", default), second = Desk.AskAsync(Request(Call("t")), "c", default);
        _state.Sessions.Close(leaving);
        await Assert.That(Desk.HasSupervisors).IsFalse();
        await Assert.That(await Desk.AskAsync(Request(Call("t")), "c", default)).IsNull();

        await Assert.That(Desk.Pending().Intents.Count).IsEqualTo(2);
        Desk.Decide(Desk.Pending().Intents[0].Id, "allow", null, "conn:y");
        await Assert.That((await first)!.Reviewer).IsEqualTo("conn:y");
        _clock.Advance(TimeSpan.FromSeconds(30));
        await Assert.That((await second)!.End).IsEqualTo(SupervisionOutcome.Timeout);
    }

    [Test]
    public async Task A_session_that_is_gone_cannot_supervise()
    {
        ClientSession gone = _state.Sessions.Open(new FakeChannel());
        _state.Sessions.Close(gone);
        await Assert.That(() => Desk.Subscribe(gone, new SupervisionFilter())).Throws<RefusedException>();
        await Assert.That(Desk.HasSupervisors).IsFalse();
    }

    [Test]
    public async Task A_submitter_that_leaves_takes_its_intent_along()
    {
        Supervise();
        using var gone = new CancellationTokenSource();
        Task<SupervisionOutcome?> asked = Desk.AskAsync(Request(Call("t")), "c", gone.Token);
        await gone.CancelAsync();
        await Assert.That((await asked)!.End).IsEqualTo(SupervisionOutcome.Abandoned);
        await Assert.That(Desk.Pending().Intents).IsEmpty();
        await Assert.That(_clock.TimersSet).IsEqualTo(0);
    }

    [Test]
    [Arguments("{}", true)]
    [Arguments("""{"tools":[],"sessions":[]}""", true)]
    [Arguments("""{"tools":["x","write_file"]}""", true)]
    [Arguments("""{"tools":["write"]}""", false)]
    [Arguments("""{"sessions":["client"]}""", true)]
    [Arguments("""{"sessions":["scope"]}""", true)]
    [Arguments("""{"sessions":["other"]}""", false)]
    [Arguments("""{"min_reversibility":"reversible"}""", true)]
    [Arguments("""{"min_reversibility":"compensable"}""", true)]
    [Arguments("""{"min_reversibility":"irreversible"}""", false)]
    [Arguments("""{"tools":["git_push"],"sessions":["client"],"min_reversibility":"compensable"}""", true)]
    [Arguments("""{"tools":["git_push"],"sessions":["other"]}""", false)]
    public async Task A_filter_asks_about_tools_sessions_and_what_cannot_be_undone(string filter, bool asked)
    {
        FakeChannel channel = Supervise(Json.SupervisionFilter.Parse(filter)!);
        // Both declare the opposite of what their names say: who proposes does not choose who looks.
        string actions = """{"type":"tool_call","tool":"write_file","reversibility":"irreversible"},{"type":"tool_call","tool":"git_push","reversibility":"reversible"}""";
        Task<SupervisionOutcome?> asking = Desk.AskAsync(Request(actions, "scope"), "client", default);
        await Assert.That(asking.IsCompleted).IsEqualTo(!asked);
        await Assert.That(channel.Notified.Count).IsEqualTo(asked ? 1 : 0);
        if (!asked) await Assert.That(await asking).IsNull();
    }

    [Test]
    public async Task A_second_subscription_replaces_the_filter_and_each_supervisor_is_told_once()
    {
        FakeChannel narrow = Supervise(out ClientSession session, new SupervisionFilter(Tools: ["never"])), other = Supervise();
        await Assert.That(Desk.Subscribe(session, new SupervisionFilter(Tools: ["t"]))).IsEqualTo(2);
        _ = Desk.AskAsync(Request(Call("t")), "c", default);
        await Assert.That(narrow.Notified.Count).IsEqualTo(1);
        await Assert.That(narrow.Notified[0]).IsEqualTo(other.Notified[0]);
        await Assert.That(Desk.Unsubscribe(session)).IsTrue();
        await Assert.That(Desk.Unsubscribe(session)).IsFalse();
    }

    [Test]
    public async Task One_too_many_is_refused_at_once_and_so_is_what_cannot_be_shown()
    {
        Supervise();
        for (int i = 0; i < SupervisionLimits.MaxPending; i++) _ = Desk.AskAsync(Request(Call("t")), $"c{i}", default);
        await Assert.That((await Desk.AskAsync(Request(Call("t")), "c", default))!.End).IsEqualTo(SupervisionOutcome.TooMany);
        Desk.Decide(Desk.Pending().Intents[0].Id, "allow", null, "x");

        string longKey = new('k', SupervisionLimits.MaxIntentChars);
        await Assert.That((await Desk.AskAsync(Request(Call("t", $$"""{"{{longKey}}":1}""")), "c", default))!.End).IsEqualTo(SupervisionOutcome.TooLong);
        await Assert.That((await Desk.AskAsync(Request(string.Join(',', Enumerable.Repeat(Call("t"), 2_000))), "c", default))!.End).IsEqualTo(SupervisionOutcome.TooLong);
        Task<SupervisionOutcome?> fits = Desk.AskAsync(Request(Call("t")), "c", default);
        await Assert.That(fits.IsCompleted).IsFalse();
    }

    [Test]
    public async Task A_connection_has_its_share_and_leaves_the_others_theirs()
    {
        Supervise();
        for (int i = 0; i < SupervisionLimits.MaxPendingOfClient; i++) _ = Desk.AskAsync(Request(Call("t")), "greedy", default);
        SupervisionOutcome refused = (await Desk.AskAsync(Request(Call("t")), "greedy", default))!;
        await Assert.That($"{refused.End}: {refused.Reason}").IsEqualTo("too_many: 16 proposals of this connection wait for a decision already, which is the limit");
        await Assert.That(Desk.AskAsync(Request(Call("t")), "other", default).IsCompleted).IsFalse();

        Desk.Decide(Desk.Pending().Intents[0].Id, "allow", null, "x");
        await Assert.That(Desk.AskAsync(Request(Call("t")), "greedy", default).IsCompleted).IsFalse();
    }

    /// <summary>What is waited for a decision is not taken from the actions' time.</summary>
    [Test]
    public async Task Who_is_asked_about_has_the_time_of_the_decision_on_top()
    {
        Method submit = ProposalMethods.Rows.Single();
        ClientSession submitter = _state.Sessions.Open(new FakeChannel());
        Supervise();
        using PendingAnswer pending = MethodCall.Begin(submit, _state, submitter, """{"proposal":{"actions":[{"type":"tool_call","tool":"t","timeout_ms":3600000}]} }""")!;
        await Assert.That(pending.Deadline(TimeSpan.FromSeconds(1))).IsEqualTo(TimeSpan.FromSeconds(3_600 + 15 + 30));
        pending.Abandon();
        await pending.Completion.Soon("the end of the proposal");
        await Assert.That(Desk.Pending().Intents).IsEmpty();
    }

    [Test]
    public async Task An_empty_proposal_asks_nobody()
    {
        FakeChannel channel = Supervise();
        await Assert.That(await Desk.AskAsync(Request(""), "c", default)).IsNull();
        await Assert.That(channel.Notified).IsEmpty();
    }

    [Test]
    public async Task There_is_an_end_to_supervisors_and_to_their_filters()
    {
        for (int i = 0; i < SupervisionLimits.MaxSupervisors; i++) Supervise();
        await Assert.That(() => Supervise()).Throws<RefusedException>();
        await Assert.That(() => new SupervisionFilter(Tools: [.. Enumerable.Repeat("t", SupervisionLimits.MaxFilterNames + 1)]).Check()).Throws<RefusedException>();
        await Assert.That(() => new SupervisionFilter(Sessions: [new string('s', SupervisionLimits.MaxFilterNameChars + 1)]).Check()).Throws<RefusedException>();
        await Assert.That(() => new SupervisionFilter(Tools: [null!]).Check()).Throws<RefusedException>();
    }

    /// <summary>What costs nothing while nobody asks: not a byte more than before there were gates.</summary>
    [Test]
    public async Task Without_supervisors_and_enforcement_no_gate_is_needed()
    {
        Runtime runtime = _state.Sessions.Open(new FakeChannel()).Runtime;
        await Assert.That(runtime.Admission!.IsNeeded).IsFalse();
        long before = GC.GetAllocatedBytesForCurrentThread();
        bool needed = false;
        for (int i = 0; i < 1_000; i++) needed |= runtime.Admission.IsNeeded;
        await Assert.That(GC.GetAllocatedBytesForCurrentThread() - before).IsLessThan(1_000);
        Supervise(out ClientSession session);
        await Assert.That(runtime.Admission.IsNeeded && !needed).IsTrue();
        Desk.Unsubscribe(session);
        await Assert.That(runtime.Admission.IsNeeded).IsFalse();
    }

    public async ValueTask DisposeAsync()
    {
        await _state.DisposeAsync();
        _home.Dispose();
    }
}

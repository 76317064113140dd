using System.Text.Json;
using CarServer.Rpc.JsonRpc;
using CarServer.RunStore;
using CarServer.RunStore.Contracts;
using CarServer.State;
using CarServer.State.Engine;
using CarServer.State.Engine.Analysis;
using CarServer.State.Engine.Tools;
using CarServer.State.Runs;

namespace CarServer.Rpc.Methods;

/// <summary><c>verify</c> and its kin: what a plan would do, found without calling a tool (protocol 11).</summary>
/// <remarks>A plan may be as large as a message, so all of them work on the pool. The session's state is taken as the request is read: what
/// the client set before it is in it, what it sets after is not.</remarks>
internal static class AnalysisMethods
{
    private const int DefaultWindowDays = 30;

    public static readonly Method[] Rows =
    [
        Method.Waiting("equivalent", "{ proposal_a, proposal_b } or { p1, p2 }, test_states?",
            "Whether two proposals leave the same state behind, from each of the given states.",
            Json.EquivalentParams, Json.EquivalenceResult, EquivalentAsync),
        Method.Waiting("optimize", "{ proposal }", "The proposal without dependencies on keys that none of its actions writes.",
            Json.OptimizeParams, ReadOptimize, Json.OptimizeResult, OptimizeAsync),
        Method.Waiting("simulate", "{ proposal, initial_state? }", "The state that a proposal leaves behind when every tool succeeds.",
            Json.AnalysisParams, Json.MapOfRaw, SimulateAsync),
        Method.Waiting("verify", "{ proposal, initial_state? }", "What is wrong with a proposal, how it would be run, and how far that can be known.",
            Json.AnalysisParams, Json.Verification, VerifyAsync),
        Method.Waiting("verify.monte_carlo",
            "{ proposal, initial_state?, tool_success_rates?, goal?, rate_window_days?, config?: { trials?, seed?, default_success_rate?, retry_attempts? } }",
            "How often a proposal works out when its tools may fail, by trying.",
            Json.MonteCarloParams, Json.TrialReport, MonteCarloAsync),
    ];

    private static Task<Verification> VerifyAsync(Call call, AnalysisParams p)
    {
        Dictionary<string, RawJson> initial = p.InitialState ?? call.Session.Runtime.State.Snapshot(tenant: null);
        ToolRegistry tools = call.Session.Runtime.Tools;
        Task settled = tools.Settled;
        return Task.Run(async () =>
        {
            await settled;
            return Verifier.Verify(p.Proposal, initial, tools, new Effort(call.Abandoned));
        });
    }

    private static Task<Dictionary<string, RawJson>> SimulateAsync(Call call, AnalysisParams p)
    {
        Dictionary<string, RawJson> initial = p.InitialState ?? call.Session.Runtime.State.Snapshot(tenant: null);
        return Task.Run(() => Simulator.Simulate(p.Proposal, initial, new Effort(call.Abandoned)));
    }

    private static Task<EquivalenceResult> EquivalentAsync(Call call, EquivalentParams p)
    {
        if ((p.ProposalA ?? p.P1) is not { } first || (p.ProposalB ?? p.P2) is not { } second)
            throw new RefusedException("equivalent requires two proposals, proposal_a and proposal_b", Refusal.Invalid);
        return Task.Run(() => Equivalence.Compare(first, second, p.TestStates, new Effort(call.Abandoned)));
    }

    private static Task<OptimizeResult> OptimizeAsync(Call call, OptimizeRequest p) => Task.Run(() => Optimizer.Optimize(p.Proposal, p.Text));

    private static Task<TrialReport> MonteCarloAsync(Call call, MonteCarloParams p)
    {
        Dictionary<string, RawJson> initial = p.InitialState ?? call.Session.Runtime.State.Snapshot(tenant: null);
        MonteCarloConfig config = p.Config ?? new MonteCarloConfig();
        int days = p.RateWindowDays ?? DefaultWindowDays;
        if (days is < 0 or > TrajectoryReader.MaxWindowDays)
            throw new RefusedException($"rate_window_days must be between 0 and {TrajectoryReader.MaxWindowDays}", Refusal.Invalid);
        bool mayRead = RunAccess.TryScope(call.Session, call.State.Auth, out string? agentId);
        return Task.Run(() =>
        {
            config.Check();
            p.Proposal.Check();
            Trajectories recorded = mayRead ? call.State.Trajectories.Read(agentId, days, call.Abandoned) : Trajectories.None;
            RateProvenance rates = RateProvenance.Of(p.Proposal, p.ToolSuccessRates, recorded, days, config.DefaultSuccessRate);
            return MonteCarlo.Run(p.Proposal, initial, p.Goal, config, rates, new Effort(call.Abandoned));
        });
    }

    /// <summary>The proposal twice: understood, and as it was written.</summary>
    private static OptimizeRequest ReadOptimize(ReadOnlySpan<byte> json)
    {
        OptimizeParams understood = Json.OptimizeParams.Parse(json) ?? throw new JsonException();
        OptimizeText written = Json.OptimizeText.Parse(json)!;
        return new OptimizeRequest(understood.Proposal, written.Proposal);
    }
}

/// <param name="InitialState">Left out: the session's state, which is what a submit would start from.</param>
[FromJson]
internal sealed record AnalysisParams(ActionProposal Proposal, Dictionary<string, RawJson>? InitialState = null);

/// <param name="TestStates">None: an empty one, and <c>{"x":1,"y":2}</c>.</param>
/// <param name="P1">Another name of <paramref name="ProposalA"/>.</param>
[FromJson]
internal sealed record EquivalentParams(
    ActionProposal? ProposalA = null, ActionProposal? ProposalB = null, ActionProposal? P1 = null, ActionProposal? P2 = null,
    List<Dictionary<string, RawJson>>? TestStates = null);

[FromJson]
internal sealed record OptimizeParams(ActionProposal Proposal);

[FromJson]
internal sealed record OptimizeText(RawJson Proposal);

internal sealed record OptimizeRequest(ActionProposal Proposal, RawJson Text);

/// <param name="ToolSuccessRates">By tool; each takes the place of what recorded runs tell.</param>
/// <param name="Goal">A condition on the final state, or a list of them.</param>
/// <param name="RateWindowDays">How far back recorded runs count; 0 leaves them out.</param>
[FromJson]
internal sealed record MonteCarloParams(
    ActionProposal Proposal, Dictionary<string, RawJson>? InitialState = null, Dictionary<string, double>? ToolSuccessRates = null,
    RawJson Goal = default, int? RateWindowDays = null, MonteCarloConfig? Config = null);

using CarServer.RunStore;
using CarServer.State.Engine.Policies;
using CarServer.State.Engine.Tools;
using CarServer.State.Events;

namespace CarServer.State.Engine;

/// <summary>Everything a session can run proposals with: its state, its tools, its events (protocol 3.1). Any thread; proposals may overlap.</summary>
/// <param name="operators">The operator's policies; null for none.</param>
internal sealed class Runtime(EventLog events, IToolExecutor tools, TimeProvider clock, IReadOnlyList<Policy>? operators = null)
{
    private sealed record Replans(ReplanConfig Config, IPlanner? Planner);

    private volatile Replans _replans = new(new ReplanConfig(), null);

    public StateStore State { get; } = new();
    public ToolRegistry Tools { get; } = new(clock);
    public PolicyRegistry Policies { get; } = new(operators ?? []);
    public EventLog Events => events;

    /// <summary>Null: every proposal may run.</summary>
    public IAdmission? Admission { get; init; }

    /// <summary>What follows an abort, for proposals that are submitted from now on.</summary>
    public ReplanConfig ReplanConfig => _replans.Config;

    /// <param name="planner">Who is asked for another plan.</param>
    public void Replan(ReplanConfig config, IPlanner planner) => _replans = new Replans(config, planner);

    internal OutputCache Successes { get; } = new(clock);
    internal OutputCache Results { get; } = new(clock);
    internal IToolExecutor Executor => tools;
    internal TimeProvider Clock => clock;

    /// <summary>Whether a proposal asks for so little that the read loop may run it, on which other connections wait.</summary>
    public bool MayRunInline(ActionProposal proposal, PolicyScope? session = null)
    {
        if (proposal.Actions.Count > EngineLimits.MaxInlineActions) return false;
        int policies = Policies.Count(session);
        int steps = proposal.Actions.Count * (1 + policies);
        long bytes = State.Bytes;
        foreach (AgentAction? action in proposal.Actions)
        {
            if (action is null) continue;   // refused soon, by Check
            if (action.Tool is { } tool && Tools.Find(tool) is { ChecksParametersSoon: false }) return false;
            steps += action.Preconditions.Count + action.StateDependencies.Count + action.Dependencies.Count + action.ExpectedEffects.Count;
            bytes += action.Parameters.Utf8.Length * (1L + policies);   // each may look through all of it
            foreach (RawJson effect in action.ExpectedEffects.Values) bytes += effect.Utf8.Length;
        }
        return steps <= EngineLimits.MaxInlineActions && bytes <= EngineLimits.MaxInlineStateBytes;
    }

    /// <summary>Runs a proposal. What goes wrong with an action is in its result; only a proposal that is none throws.</summary>
    /// <param name="tenant">Whose state it works on; blank for nobody's.</param>
    /// <param name="abandoned">Ends what waits; actions that have not begun are skipped.</param>
    /// <param name="session">The policy session it runs in, if any.</param>
    /// <param name="caller">For whom it is run, as the submitter says.</param>
    /// <param name="ended">Told of each plan that was run, before another one takes its place.</param>
    /// <remarks>Runs on the caller's thread until it first waits, and to its end when nothing waits.</remarks>
    /// <exception cref="RefusedException">See <see cref="ActionProposal.Check"/>; nothing ran.</exception>
    public async Task<ProposalResult> SubmitAsync(ActionProposal proposal, string? tenant, CancellationToken abandoned, PolicyScope? session = null,
        string? caller = null, Func<ActionProposal, ProposalResult, Task>? ended = null)
    {
        proposal.Check();
        tenant = StateStore.Tenant(tenant);
        (ReplanConfig config, IPlanner? planner) = _replans;
        ProposalResult result = await RunAsync(proposal);
        if (result.Aborted is null || config.MaxReplans == 0 || planner is null) return result;
        var replanning = new Replanning(this, config, planner, tenant, RunAsync, abandoned);
        // On the pool: another plan comes with a client's reply, and the read loop that brings it has other clients.
        return await Task.Run(() => replanning.GoOnAsync(proposal, result));

        async Task<ProposalResult> RunAsync(ActionProposal plan)
        {
            ProposalResult made = await new ProposalRun(this, plan, tenant, session, caller, config.ReplanOnRejected, abandoned).ExecuteAsync();
            if (ended is not null) await ended(plan, made);
            return made;
        }
    }

    internal void RecordStateChange(string? tenant, StateTransition transition, string actionId, string? proposalId) =>
        events.Record(EventKind.StateChanged, actionId, proposalId, new("key", StateStore.StoredKey(tenant, transition.Key)),
            new("tenant", tenant), new("old_value", transition.OldValue), new("new_value", transition.NewValue));
}

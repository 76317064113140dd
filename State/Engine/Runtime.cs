using CarServer.RunStore;
using CarServer.State.Engine.Policies;
using CarServer.State.Events;

namespace CarServer.State.Engine;

/// <summary>Everything a session can run proposals with: its state, its tools, its events (protocol 3.1). Any thread; proposals may overlap.</summary>
/// <param name="operators">The operator's policies; null for none.</param>
internal sealed class Runtime(EventLog events, IToolExecutor tools, TimeProvider clock, IReadOnlyList<Policy>? operators = null)
{
    public StateStore State { get; } = new();
    public ToolRegistry Tools { get; } = new(clock);
    public PolicyRegistry Policies { get; } = new(operators ?? []);
    public EventLog Events => events;

    internal IdempotencyCache Successes { get; } = new();
    internal ResultCache Results { get; } = new(clock);
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
            steps += action.Preconditions.Count;
            bytes += action.Parameters.Utf8.Length * (1L + policies);   // each may look through all of it
            foreach (RawJson effect in action.ExpectedEffects.Values) bytes += effect.Utf8.Length;
        }
        return steps <= EngineLimits.MaxInlineActions && bytes <= EngineLimits.MaxInlineStateBytes;
    }

    /// <summary>Runs a proposal. What goes wrong with an action is in its result; only a proposal that is none throws.</summary>
    /// <param name="tenant">Whose state it works on; blank for nobody's.</param>
    /// <param name="abandoned">Ends what waits; actions that have not begun are skipped.</param>
    /// <param name="session">The policy session it runs in, if any.</param>
    /// <remarks>Runs on the caller's thread until it first waits, and to its end when nothing waits.</remarks>
    /// <exception cref="RefusedException">See <see cref="ActionProposal.Check"/>; nothing ran.</exception>
    public async Task<ProposalResult> SubmitAsync(ActionProposal proposal, string? tenant, CancellationToken abandoned, PolicyScope? session = null)
    {
        proposal.Check();
        return await new ProposalRun(this, proposal, StateStore.Tenant(tenant), session, abandoned).ExecuteAsync();
    }

    internal void RecordStateChange(string? tenant, StateTransition transition, string actionId, string? proposalId) =>
        events.Record(EventKind.StateChanged, actionId, proposalId, new("key", StateStore.StoredKey(tenant, transition.Key)),
            new("tenant", tenant), new("old_value", transition.OldValue), new("new_value", transition.NewValue));
}

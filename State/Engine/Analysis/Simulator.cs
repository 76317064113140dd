using CarServer.RunStore;

namespace CarServer.State.Engine.Analysis;

/// <summary><c>simulate</c>: the state that a plan leaves behind when every tool succeeds (protocol 11.2).</summary>
internal static class Simulator
{
    /// <remarks>
    /// An action that may not start, and an assertion that is false, changes nothing. Which tools there are, what an action's end means for
    /// those after it (<c>failure_behavior</c>) and policies are not looked at.
    /// </remarks>
    /// <exception cref="RefusedException">See <see cref="ActionProposal.Check"/> and <see cref="Effort"/>.</exception>
    public static Dictionary<string, RawJson> Simulate(ActionProposal proposal, IReadOnlyDictionary<string, RawJson> initial, Effort effort)
    {
        proposal.Check();
        var plan = new Plan(proposal, initial, effort);
        var state = new PlanState(plan, effort);
        foreach (int i in plan.Order)
        {
            PlanAction action = plan.Actions[i];
            if (action.Flaw is not null || !state.MayStart(action, out _)) continue;
            if (action.Assertion is { } assertion && !state.Holds(assertion)) continue;
            state.Apply(action);
        }
        return state.ToDictionary();
    }
}

using System.Globalization;
using CarServer.Tests.Support;
using CarServer.Tests.Fuzz.Engine;

namespace CarServer.Tests.Fuzz;

/// <summary>The engine beside a reference that is too simple to be wrong: any proposal ends the same way in both.</summary>
public sealed class EngineFuzz
{
    [Test]
    public async Task Any_proposal_has_the_results_the_events_and_the_state_that_the_protocol_describes()
    {
        int seed = Environment.GetEnvironmentVariable("CAR_SEED") is { } given ? int.Parse(given, CultureInfo.InvariantCulture) : Random.Shared.Next();
        int proposals = 0, sessions = 0;
        var seen = new Dictionary<string, int>();
        for (; proposals < FuzzBudget.Proposals; sessions++)
        {
            SessionPlan session = new PlanGenerator(new Random(unchecked(seed + sessions))).Session();
            proposals += session.Plans.Count;
            if (await ModelledSession.DifferenceAsync(session, seen) is null) continue;
            SessionPlan smallest = await SmallestAsync(session);
            Assert.Fail($"CAR_SEED={unchecked(seed + sessions)}\n{smallest}\n{await ModelledSession.DifferenceAsync(smallest)}");
        }
        FuzzReport.Print($"engine: {proposals:N0} proposals in {sessions:N0} sessions; {string.Join(", ", seen.Select(kind => $"{kind.Value:N0} {kind.Key}"))}");
        // Nothing that the protocol describes has become rare.
        foreach (string kind in ModelledSession.Ordered) await Assert.That(seen.GetValueOrDefault(kind)).IsGreaterThan(FuzzBudget.Proposals / 100).Because($"of {kind}");
    }

    /// <summary>Leaves out what can be left out without the difference going away: rules, proposals, actions, and what actions ask for.</summary>
    private static async Task<SessionPlan> SmallestAsync(SessionPlan session)
    {
        while (true)
        {
            SessionPlan? smaller = null;
            foreach (SessionPlan candidate in Smaller(session))
            {
                if (await ModelledSession.DifferenceAsync(candidate) is null) continue;
                smaller = candidate;
                break;
            }
            if (smaller is null) return session;
            session = smaller;
        }
    }

    private static IEnumerable<SessionPlan> Smaller(SessionPlan session)
    {
        foreach (Rule rule in session.Rules) yield return session with { Rules = [.. session.Rules.Where(other => other != rule)] };
        foreach (Plan plan in session.Plans)
        {
            yield return session with { Plans = [.. session.Plans.Where(other => other != plan)] };
            foreach (PlannedAction action in plan.Actions)
            {
                yield return With([.. plan.Actions.Where(other => other != action)]);
                if (action.Preconditions.Count > 0) yield return Instead(action with { Preconditions = [] });
                if (action.Effects.Count > 0) yield return Instead(action with { Effects = [] });
                if (action.StateDependencies.Count > 0) yield return Instead(action with { StateDependencies = [] });
                if (action.Dependencies.Count > 0) yield return Instead(action with { Dependencies = [] });
                if (action.TimeoutMs is not null) yield return Instead(action with { TimeoutMs = null });
                if (action.Idempotent) yield return Instead(action with { Idempotent = false });
                if (action.Script.Count > 1) yield return Instead(action with { Script = [action.Script[0]] });

                SessionPlan Instead(PlannedAction simpler) => With([.. plan.Actions.Select(other => other == action ? simpler : other)]);
            }

            SessionPlan With(IReadOnlyList<PlannedAction> actions) => session with { Plans = [.. session.Plans.Select(other => other == plan ? plan with { Actions = actions } : other)] };
        }
    }
}

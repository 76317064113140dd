using System.Text.Json.Serialization;
using CarServer.Rpc.JsonRpc;
using CarServer.RunStore.Contracts;
using CarServer.State.Supervision;

namespace CarServer.Rpc.Methods;

/// <summary><c>supervision.*</c>: somebody looks at proposals before they run (protocol 10.5).</summary>
internal static class SupervisionMethods
{
    public static readonly Method[] Rows =
    [
        Method.Row("supervision.subscribe", "{ filter?: { tools?, sessions?, min_reversibility? } }",
            "From now on proposals that pass the filter wait until somebody decides; sends `supervision.intent` for each.",
            Json.SuperviseParams, Json.SuperviseResult, Subscribe, Access.Host),
        Method.Row("supervision.unsubscribe", "{}", "Stops supervising; what waits goes on waiting for others, or for its time.",
            Json.NoParams, Json.SuperviseEndResult,
            static (call, _) => new(false, call.State.Supervision.Unsubscribe(call.Session)), Access.Host),
        Method.Row("supervision.pending", "{}", "The proposals that wait for a decision, oldest first.",
            Json.NoParams, Json.PendingIntents, static (call, _) => call.State.Supervision.Pending(), Access.Host),
        Method.Row("supervision.decide", "{ intent_id, decision: { kind, reason? } }", "Decides on one: `allow`, or, with a reason, `deny` or `escalate`. The first decision counts.",
            Json.SupervisionDecideParams, Json.SupervisionDecideResult, Decide, Access.Host),
    ];

    private static SuperviseResult Subscribe(Call call, SuperviseParams p)
    {
        int supervisors = call.State.Supervision.Subscribe(call.Session, p.Filter ?? new SupervisionFilter());
        return new SuperviseResult(true, (long)SupervisionLimits.DecisionTimeout.TotalMilliseconds, supervisors);
    }

    private static SupervisionDecideResult Decide(Call call, SupervisionDecideParams p)
    {
        call.State.Supervision.Decide(p.IntentId, p.Decision.Kind, p.Decision.Reason, PermissionMethods.Reviewer(call));
        return new SupervisionDecideResult(true);
    }
}

[FromJson]
internal sealed record SuperviseParams(SupervisionFilter? Filter = null);

/// <param name="Supervisors">How many connections supervise now, this one included.</param>
[ToJson]
internal sealed record SuperviseResult(bool Subscribed, long DecisionTimeoutMs, int Supervisors);

[ToJson]
internal sealed record SuperviseEndResult(bool Subscribed, bool WasSubscribed);

[FromJson]
internal sealed record SupervisionDecideParams(string IntentId, SupervisionDecision Decision);

internal sealed record SupervisionDecision([property: JsonConverter(typeof(SupervisionWord))] string Kind, string? Reason = null);

[ToJson]
internal sealed record SupervisionDecideResult(bool Decided);

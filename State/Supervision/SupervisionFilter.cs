using CarServer.State.Engine;
using CarServer.State.Permissions;

namespace CarServer.State.Supervision;

/// <summary>Which proposals a supervisor wants to be asked about. What is absent or empty excludes none; what is given must all hold.</summary>
/// <param name="Tools">One of the proposal's actions calls one of them.</param>
/// <param name="Sessions">Connections by their client id, or policy sessions.</param>
/// <param name="MinReversibility">The proposal is at least so hard to undo.</param>
internal sealed record SupervisionFilter(
    IReadOnlyList<string>? Tools = null, IReadOnlyList<string>? Sessions = null, Reversibility MinReversibility = Reversibility.Reversible)
{
    /// <exception cref="RefusedException">A list is too long, or has something in it that can be no name.</exception>
    public void Check()
    {
        foreach ((string list, IReadOnlyList<string>? names) in (ReadOnlySpan<(string, IReadOnlyList<string>?)>)[("tools", Tools), ("sessions", Sessions)])
        {
            if (names is null) continue;
            if (names.Count > SupervisionLimits.MaxFilterNames) throw new RefusedException($"filter.{list} may have at most {SupervisionLimits.MaxFilterNames} names, got {names.Count}", Refusal.Invalid);
            foreach (string? name in names)
                if (name is null || name.Length > SupervisionLimits.MaxFilterNameChars)
                    throw new RefusedException($"filter.{list} must be names of at most {SupervisionLimits.MaxFilterNameChars} characters", Refusal.Invalid);
        }
    }

    public bool Matches(AdmissionRequest request, string clientId, ActionRisk[] risks) =>
        Intent.Worst(risks) >= MinReversibility
        && (Sessions is not { Count: > 0 } || Sessions.Contains(clientId) || (request.SessionId is { } session && Sessions.Contains(session)))
        && (Tools is not { Count: > 0 } || request.Proposal.Actions.Exists(action => action.Tool is { } tool && Tools.Contains(tool)));
}

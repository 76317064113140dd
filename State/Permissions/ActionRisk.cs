using CarServer.RunStore;
using CarServer.State.Engine;

namespace CarServer.State.Permissions;

/// <summary>How much authority an action needs, and whether what it does can be undone: two questions, answered apart (protocol 12.1).</summary>
/// <param name="Reversibility">As its name and its command line tell; what the action declares about itself is left out, since whoever proposes it wrote that.</param>
internal sealed record ActionRisk(PermissionTier Required, Reversibility Reversibility)
{
    public static ActionRisk Of(AgentAction action) => action.Type switch
    {
        ActionType.StateRead or ActionType.Assertion => new ActionRisk(PermissionTier.ReadOnly, Reversibility.Reversible),
        ActionType.StateWrite => new ActionRisk(PermissionTier.SandboxEdit, Reversibility.Reversible),
        _ => OfCall(action.Tool ?? "", action.Parameters),
    };

    /// <summary>The worst of a batch by what its actions declare; nothing is as good as undone.</summary>
    public static Reversibility Declared(IReadOnlyList<AgentAction> actions)
    {
        var worst = Reversibility.Reversible;
        foreach (AgentAction action in actions)
            if (action.Reversibility > worst) worst = action.Reversibility;
        return worst;
    }

    private static ActionRisk OfCall(string tool, RawJson parameters)
    {
        ActionRisk risk = OfName(tool);
        ParameterRisk found = ParameterRisk.Read(parameters);
        return new ActionRisk(
            found.Demands ? PermissionTier.FullAccess : risk.Required,
            found.Destroys ? Reversibility.Irreversible : risk.Reversibility);
    }

    /// <summary>A name that says nothing changes something, of which nothing is known.</summary>
    private static ActionRisk OfName(string tool)
    {
        List<string> words = NameWords.Of(tool);
        string verb = NameWords.Verb(tool);
        bool reads = RiskWords.Reading.Contains(verb);
        var required = reads ? PermissionTier.ReadOnly : PermissionTier.SandboxEdit;
        var reversibility = reads || RiskWords.Editing.Contains(verb) ? Reversibility.Reversible
            : RiskWords.Compensable.Contains(verb) ? Reversibility.Compensable : Reversibility.Irreversible;
        if (RiskWords.FullAccessVerbs.Contains(verb)) required = PermissionTier.FullAccess;
        for (int i = 0; i < words.Count; i++)
        {
            if (NameWords.IsIn(RiskWords.FullAccess, words, i)) required = PermissionTier.FullAccess;
            else if (required == PermissionTier.ReadOnly && (RiskWords.Editing.Contains(words[i]) || RiskWords.Compensable.Contains(words[i]))) required = PermissionTier.SandboxEdit;
            if (RiskWords.Irreversible.Contains(words[i])) reversibility = Reversibility.Irreversible;
            else if (reversibility == Reversibility.Reversible && RiskWords.Compensable.Contains(words[i])) reversibility = Reversibility.Compensable;
        }
        return new ActionRisk(required, reversibility);
    }
}

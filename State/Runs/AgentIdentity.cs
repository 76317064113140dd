using System.Text;

namespace CarServer.State.Runs;

/// <summary>Which agent a run belongs to (protocol 13.3).</summary>
internal static class AgentIdentity
{
    /// <summary>The first that is known: the param, the connection's binding, <c>CAR_AGENT_ID</c>, <c>name:&lt;slug&gt;</c>.</summary>
    /// <param name="environmentId">The value of <c>CAR_AGENT_ID</c>; empty counts as unset.</param>
    /// <exception cref="RefusedException">None is known, or a bound connection names another agent.</exception>
    public static string Resolve(string? given, string? bound, string? environmentId, string? agentName)
    {
        if (given is not null && bound is not null && given != bound)
            throw new RefusedException($"agent_id '{given}' is not the agent this connection is bound to", Refusal.Invalid);
        if ((given ?? bound) is { } known) return known;
        if (!string.IsNullOrEmpty(environmentId)) return environmentId;
        if (agentName is not null && Slug(agentName) is { Length: > 0 } slug) return "name:" + slug;
        throw new RefusedException("no agent: give agent_id or an agent_name with a letter or digit in it, bind the connection, or set CAR_AGENT_ID", Refusal.Invalid);
    }

    /// <summary>Lowercase letters and digits of any script; every run of other characters is one <c>-</c>; none at the ends.</summary>
    public static string Slug(string name)
    {
        var slug = new StringBuilder(name.Length);
        foreach (Rune rune in name.EnumerateRunes())
        {
            if (Rune.IsLetterOrDigit(rune)) slug.Append(Rune.ToLowerInvariant(rune).ToString());
            else if (slug.Length > 0 && slug[^1] != '-') slug.Append('-');
        }
        return slug.ToString().TrimEnd('-');
    }
}

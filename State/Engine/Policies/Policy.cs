using System.Globalization;
using System.Text;

namespace CarServer.State.Engine.Policies;

/// <summary>Something that may say no to an action. Any thread.</summary>
/// <param name="name">As its owner called it; need not be unique.</param>
/// <param name="description">What it does, for <c>policy.list</c>.</param>
internal abstract class Policy(string name, string description)
{
    public string Name { get; } = name;
    public string Description { get; } = description;

    /// <summary>Why the action must not run, or null. Never shows what the action carries: reasons end in events and answers.</summary>
    public abstract string? Check(PolicySubject subject);

    /// <summary>The same rule with nothing remembered yet; most remember nothing.</summary>
    public virtual Policy ForConnection() => this;
}

/// <summary>A policy's no to one action (protocol 8.3).</summary>
internal readonly record struct Violation(string PolicyName, string Reason)
{
    /// <summary>The reasons as a result's error shows them; after <see cref="EngineLimits.MaxRepeatedChars"/> only how many there are. The events have all.</summary>
    public static string Join(List<Violation> violations)
    {
        string first = Excerpt.Of(violations[0].Reason, EngineLimits.MaxRepeatedChars);
        if (violations.Count == 1) return first;
        var error = new StringBuilder(first);
        for (int i = 1; i < violations.Count; i++)
        {
            if (error.Length + violations[i].Reason.Length > EngineLimits.MaxRepeatedChars) return error.Append(CultureInfo.InvariantCulture, $"; and {violations.Count - i} more").ToString();
            error.Append("; ").Append(violations[i].Reason);
        }
        return error.ToString();
    }
}

/// <summary>What policies are asked about: an action, and what they may look at to judge it.</summary>
internal sealed class PolicySubject(AgentAction action, string? tenant, StateStore state, TimeProvider clock)
{
    private ParameterTexts? _parameters;

    public AgentAction Action => action;
    public string? Tenant => tenant;
    public StateStore State => state;
    public TimeProvider Clock => clock;

    /// <summary>Read once an action, by the first policy that wants to know.</summary>
    public ParameterTexts Parameters => _parameters ??= ParameterTexts.Read(action.Parameters);

    public bool Calls(string tool) => string.Equals(action.Tool, tool, StringComparison.Ordinal);
}

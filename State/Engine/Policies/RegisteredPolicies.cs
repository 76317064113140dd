using System.Text;
using CarServer.RunStore;

namespace CarServer.State.Engine.Policies;

/// <summary>The rules that a client may register (protocol 8.2).</summary>
internal static class RegisteredPolicies
{
    /// <summary>Checks a definition and makes the policy of it.</summary>
    /// <exception cref="RefusedException">It says what was expected and what came.</exception>
    public static Policy From(PolicyDefinition definition)
    {
        if (definition.Name.Length == 0) throw Invalid("a policy needs a name");
        if (definition.Name.Length > PolicyLimits.MaxNameChars)
            throw Invalid($"a policy's name may have at most {PolicyLimits.MaxNameChars} characters, got {definition.Name.Length}");
        return definition.Rule switch
        {
            "deny_tool" => new DenyTool(definition.Name, Tool(definition)),
            "deny_tool_param" => new DenyToolParam(definition.Name, Tool(definition), Text(definition, "key", definition.Key), Text(definition, "pattern", definition.Pattern)),
            "require_state" => new RequireState(definition.Name, Text(definition, "key", definition.Key), Value(definition)),
            "deny_tool_callback" => throw new RefusedException(
                $"policy '{definition.Name}': rule 'deny_tool_callback' is a function inside an embedding program and cannot be registered over the wire"),
            _ => throw new RefusedException($"unknown policy rule '{Excerpt.Of(definition.Rule, 128)}'"),
        };
    }

    /// <summary>What a definition costs to keep.</summary>
    public static int Bytes(PolicyDefinition definition) => Bytes(definition.Name) + Bytes(definition.Target) + Bytes(definition.Key)
        + Bytes(definition.Pattern) + definition.Value.Utf8.Length;

    private static string Tool(PolicyDefinition definition)
    {
        string tool = Text(definition, "target", definition.Target);
        if (tool.Length == 0) throw Invalid($"policy '{definition.Name}': target must name a tool, got an empty string");
        return tool;
    }

    private static string Text(PolicyDefinition definition, string field, string? text)
    {
        if (text is null) throw Invalid($"policy '{definition.Name}': rule '{definition.Rule}' needs {field}, a string, got none");
        if (Bytes(text) is var bytes && bytes > PolicyLimits.MaxTextBytes)
            throw Invalid($"policy '{definition.Name}': {field} may have at most {PolicyLimits.MaxTextBytes} bytes, got {bytes}");
        return text;
    }

    private static RawJson Value(PolicyDefinition definition)
    {
        if (definition.Value.IsAbsent) throw Invalid($"policy '{definition.Name}': rule '{definition.Rule}' needs value, any JSON, got none");
        if (definition.Value.Utf8.Length is var bytes && bytes > PolicyLimits.MaxTextBytes)
            throw Invalid($"policy '{definition.Name}': value may have at most {PolicyLimits.MaxTextBytes} bytes, got {bytes}");
        return definition.Value;
    }

    private static int Bytes(string? text) => text is null ? 0 : Encoding.UTF8.GetByteCount(text);

    private static RefusedException Invalid(string message) => new(message, Refusal.Invalid);
}

/// <summary>Nobody calls this tool. Also the rule of that name in a file.</summary>
internal sealed class DenyTool(string name, string tool) : Policy(name, $"denies tool '{tool}'")
{
    private readonly string _reason = $"tool '{tool}' denied";

    public override string? Check(PolicySubject subject) => subject.Calls(tool) ? _reason : null;
}

/// <summary>A pattern is a plain text here, and the reason shows it: whoever registered it is the one who reads the reason.</summary>
internal sealed class DenyToolParam(string name, string tool, string key, string pattern)
    : Policy(name, $"denies tool '{tool}' when param '{key}' contains '{pattern}'")
{
    private readonly string _reason = $"param '{key}' matches '{pattern}'";

    public override string? Check(PolicySubject subject) =>
        subject.Calls(tool) && subject.Parameters.Of(key).Any(text => text.Contains(pattern, StringComparison.Ordinal)) ? _reason : null;
}

/// <summary>For every action, whatever its type; in the state of the proposal's tenant.</summary>
internal sealed class RequireState(string name, string key, RawJson value) : Policy(name, $"requires state['{key}'] to be {value}")
{
    private readonly string _reason = $"state['{key}'] must be {value}";

    public override string? Check(PolicySubject subject) =>
        subject.State.TryGet(subject.Tenant, key, out RawJson actual) && JsonEquality.Equal(actual, value) ? null : _reason;
}

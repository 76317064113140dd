using System.Text.RegularExpressions;

namespace CarServer.State.Engine.Policies;

// The rules that an operator's file may have beside deny_tool (protocol 8.4). Clients read their reasons, so these show names of tools
// and parameters, never a value, a pattern or a keyword.

/// <summary>No parameter of any tool may contain this text.</summary>
internal sealed class DenyKeyword(string keyword) : Policy($"deny_keyword:{keyword}", "denies any tool call with a parameter that contains the keyword")
{
    public override string? Check(PolicySubject subject) =>
        subject.Action.Tool is not null && subject.Parameters.Contain(keyword) ? "a parameter contains a denied keyword" : null;
}

/// <summary>Denies a parameter by its value; with neither condition, its mere presence.</summary>
internal sealed class DenyParamValue(string tool, string param, string? equals, string? contains)
    : Policy($"deny_tool_param:{tool}.{param}", $"denies tool '{tool}' by the value of param '{param}'")
{
    private readonly string _reason = equals is null && contains is null ? $"param '{param}' is not allowed" : $"param '{param}' has a denied value";

    public override string? Check(PolicySubject subject) => subject.Calls(tool) && subject.Parameters.Of(param).Any(IsDenied) ? _reason : null;

    private bool IsDenied(string text) =>
        (equals is null || string.Equals(text, equals, StringComparison.Ordinal)) && (contains is null || text.Contains(contains, StringComparison.Ordinal));
}

/// <summary>The parameter must be there and be one of these.</summary>
internal sealed class AllowParamValues(string tool, string param, IEnumerable<string> allow)
    : Policy($"allow_tool_param:{tool}.{param}", $"allows tool '{tool}' only with listed values of param '{param}'")
{
    private readonly HashSet<string> _allowed = new(allow, StringComparer.Ordinal);
    private readonly string _missing = $"param '{param}' is missing";
    private readonly string _other = $"param '{param}' is not an allowed value";

    public override string? Check(PolicySubject subject)
    {
        if (!subject.Calls(tool)) return null;
        bool present = false;
        foreach (string text in subject.Parameters.Of(param))
        {
            if (!_allowed.Contains(text)) return _other;
            present = true;
        }
        return present ? null : _missing;
    }
}

/// <summary>The parameter must not match a regular expression anywhere. One that cannot be compiled denies every call of the tool.</summary>
internal sealed class DenyParamMatching : Policy
{
    private readonly string _tool;
    private readonly string _param;
    private readonly Regex? _regex;
    private readonly string _reason;

    public DenyParamMatching(string tool, string param, string matches)
        : base($"deny_tool_param_matching:{tool}.{param}", $"denies tool '{tool}' when param '{param}' matches a regular expression")
    {
        (_tool, _param) = (tool, param);
        try
        {
            // Linear in the text, whatever the pattern; what that engine cannot do (back references, looking around) is refused like a typo.
            _regex = LinearRegex.Compile(matches, PolicyLimits.MatchTimeout);
            _reason = $"param '{param}' matches a denied pattern";
        }
        catch (Exception e) when (e is ArgumentException or NotSupportedException)
        {
            _reason = $"tool '{tool}' denied: the regular expression of a policy for it cannot be used";
        }
    }

    public bool IsBroken => _regex is null;

    public override string? Check(PolicySubject subject) =>
        subject.Calls(_tool) && (_regex is null || subject.Parameters.Of(_param).Any(_regex.IsMatch)) ? _reason : null;
}

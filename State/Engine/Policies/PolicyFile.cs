using System.Text;
using Tomlyn;
using Tomlyn.Parsing;

namespace CarServer.State.Engine.Policies;

/// <summary>Says which line of a policy file is wrong, and how.</summary>
internal sealed class PolicyFileException(string message) : Exception(message);

/// <summary>Reads the rules of one policy file (protocol 8.4).</summary>
/// <remarks>Whatever is not understood refuses the file: a rule that were passed over would be one that nobody enforces.</remarks>
internal ref struct PolicyFile
{
    private TomlParser _parser;
    private readonly List<Policy> _policies = [];
    private int _line = 1;

    private PolicyFile(string text) => _parser = TomlParser.Create(text);

    /// <exception cref="PolicyFileException">It is no TOML, or no policy file.</exception>
    public static List<Policy> Read(string text)
    {
        var file = new PolicyFile(text);
        try
        {
            file.ReadTop();
            return file._policies;
        }
        catch (TomlException e)
        {
            throw new PolicyFileException(e.Line is { } line ? $"line {line} is not TOML" : "it is not TOML");
        }
    }

    private void ReadTop()
    {
        // The parser leaves it to its caller to see that a key comes once. Tables of an array may come back after others.
        var seen = new HashSet<string>(StringComparer.Ordinal);
        while (Next() != TomlParseEventKind.EndDocument)
        {
            if (_parser.Current.Kind != TomlParseEventKind.PropertyName) continue;
            string rule = _parser.GetPropertyName();
            switch (rule)
            {
                case "deny_tool" or "deny_keyword":
                    if (!seen.Add(rule)) throw Wrong($"{rule} is there twice");
                    foreach (string text in Texts(rule))
                    {
                        if (text.Length == 0) throw Wrong($"{rule} has an empty string");
                        Add(rule == "deny_tool" ? new DenyTool($"deny_tool:{text}", text) : new DenyKeyword(text));
                    }
                    break;
                case "deny_tool_param" or "allow_tool_param" or "deny_tool_param_matching" or "rate_limit_tool":
                    ReadTables(rule);
                    break;
                case "trace_rule":
                    throw Wrong("rules over traces (trace_rule) are not enforced by this daemon");
                default:
                    throw Wrong($"there is no rule '{Excerpt.Of(rule, 64)}'");
            }
        }
    }

    private void ReadTables(string rule)
    {
        if (Next() != TomlParseEventKind.StartArray) throw Wrong($"{rule} must be tables, each headed [[{rule}]]");
        while (Next() != TomlParseEventKind.EndArray)
        {
            if (_parser.Current.Kind != TomlParseEventKind.StartTable) throw Wrong($"{rule} must be tables, each headed [[{rule}]]");
            Add(ReadRule(rule));
        }
    }

    private Policy ReadRule(string rule)
    {
        var texts = new Dictionary<string, string>(StringComparer.Ordinal);
        List<string>? allow = null;
        int? maxCalls = null;
        double? interval = null;
        int first = _line;   // what is missing is missing here, not where the next table begins
        bool empty = true;
        while (Next() != TomlParseEventKind.EndTable)
        {
            if (empty) first = _line;
            empty = false;
            string key = _parser.GetPropertyName();
            bool again = texts.ContainsKey(key) || key == "allow" && allow is not null || key == "max_calls" && maxCalls is not null || key == "interval_secs" && interval is not null;
            if (again) throw Wrong($"{key} is there twice");
            switch ((rule, key))
            {
                case (_, "tool"):
                case ("deny_tool_param" or "allow_tool_param" or "deny_tool_param_matching", "param"):
                case ("deny_tool_param", "equals" or "contains"):
                case ("deny_tool_param_matching", "matches"):
                    texts.Add(key, Next() == TomlParseEventKind.String ? Text(key) : throw Wrong($"{key} must be a string"));
                    break;
                case ("allow_tool_param", "allow"):
                    allow = Texts(key);
                    break;
                case ("rate_limit_tool", "max_calls"):
                    maxCalls = Next() == TomlParseEventKind.Integer && _parser.Current.GetInt64() is >= 0 and <= PolicyLimits.MaxRateCalls and var calls
                        ? (int)calls : throw Wrong($"max_calls must be a whole number from 0 to {PolicyLimits.MaxRateCalls}");
                    break;
                case ("rate_limit_tool", "interval_secs"):
                    interval = Interval();
                    break;
                default:
                    throw Wrong($"[[{rule}]] has no key '{Excerpt.Of(key, 64)}'");
            }
        }
        return rule switch
        {
            "deny_tool_param" => new DenyParamValue(Needed("tool"), Needed("param"), texts.GetValueOrDefault("equals"), texts.GetValueOrDefault("contains")),
            "allow_tool_param" => new AllowParamValues(Needed("tool"), Needed("param"), allow ?? []),
            "deny_tool_param_matching" => new DenyParamMatching(Needed("tool"), Needed("param"), Needed("matches")),
            _ => new RateLimitTool(Needed("tool"), maxCalls ?? throw Missing("max_calls"), interval ?? throw Missing("interval_secs")),
        };

        PolicyFileException Missing(string key) => new($"line {first}: [[{rule}]] needs {key}");
        string Needed(string key) => texts.TryGetValue(key, out string? text)
            ? text.Length > 0 || key is not "tool" ? text : throw new PolicyFileException($"line {first}: [[{rule}]] has an empty tool")
            : throw Missing(key);
    }

    private double Interval()
    {
        double seconds = Next() switch
        {
            TomlParseEventKind.Integer => _parser.Current.GetInt64(),
            TomlParseEventKind.Float => _parser.Current.GetDouble(),
            _ => double.NaN,
        };
        return seconds is > 0 and <= PolicyLimits.MaxRateIntervalSecs ? seconds
            : throw Wrong($"interval_secs must be a number, more than 0 and at most {PolicyLimits.MaxRateIntervalSecs}");
    }

    private List<string> Texts(string key)
    {
        if (Next() != TomlParseEventKind.StartArray) throw Wrong($"{key} must be an array of strings");
        var texts = new List<string>();
        while (Next() != TomlParseEventKind.EndArray) texts.Add(_parser.Current.Kind == TomlParseEventKind.String ? Text(key) : throw Wrong($"{key} must be an array of strings"));
        return texts;
    }

    private string Text(string key)
    {
        string text = _parser.GetString();
        return Encoding.UTF8.GetByteCount(text) <= PolicyLimits.MaxTextBytes ? text : throw Wrong($"a string of {key} has more than {PolicyLimits.MaxTextBytes} bytes");
    }

    private void Add(Policy policy) => _policies.Add(policy);

    private TomlParseEventKind Next()
    {
        if (!_parser.MoveNext()) return TomlParseEventKind.EndDocument;
        if (_parser.Current.Span is { } span) _line = span.Start.Line + 1;
        return _parser.Current.Kind;
    }

    private readonly PolicyFileException Wrong(string problem) => new($"line {_line}: {problem}");
}

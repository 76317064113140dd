using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using CarServer.RunStore;

namespace CarServer.State.Engine.Schemas;

/// <summary>One check of one value. Reads its bytes in place, once for each schema that looks at all of it, and stops when that becomes too much.</summary>
internal ref struct SchemaCheck
{
    /// <summary>Bytes that are read, copied or compared in one step.</summary>
    private const int BytesInStep = 16;

    /// <summary>Of each digit, in 128 bits.</summary>
    private const int StepsOfDivision = 4;

    private const string MatchingTakesTooLong = "regular expressions take too long to be matched";

    private long _left;
    private TimeSpan _matching;
    private int _calls;

    /// <summary>Above 0 while a branch is only tried: nobody reads why it does not fit.</summary>
    private int _trials;

    private string _text = "";
    private string _path = "";
    private string? _missing;

    /// <summary>A name or string without its escapes. Read before the next one is.</summary>
    private char[] _chars = [];

    private SchemaCheck(long steps) => _left = steps;

    public static SchemaProblem? Run(SchemaNode root, RawJson value, out long steps)
    {
        long most = Math.Min(SchemaLimits.LeastSteps + value.Utf8.Length * SchemaLimits.StepsPerByte, SchemaLimits.MostSteps);
        var check = new SchemaCheck(most);
        bool fits = check.Fits(root, value);
        steps = most - check._left;
        return fits ? null : new SchemaProblem(check._text, check._path.Length == 0 ? "/" : check._path, check._path.Length == 0 ? check._missing : null);
    }

    /// <summary>False also when it is given up.</summary>
    private bool Fits(SchemaNode root, RawJson value)
    {
        Utf8JsonReader reader = value.Reader();
        try
        {
            return Fits(root, ref reader);
        }
        catch (InvalidOperationException)
        {
            return Say("a string or a name is not valid Unicode");
        }
        catch (RegexMatchTimeoutException)
        {
            return Say(MatchingTakesTooLong);
        }
        catch (GivenUpException e)
        {
            return Say(e.Message);
        }
    }

    /// <param name="value">Stands on the value's first token, or on a member's name; when it fits, on its last one afterwards.</param>
    private bool Fits(SchemaNode node, ref Utf8JsonReader value)
    {
        Spend(1);
        if (node.IsAnything) return Pass(ref value);
        if (_calls++ == SchemaLimits.MaxCalls) throw new GivenUpException("nested too deeply to be checked");
        bool fits = HasType(node.Types, in value)
            && (node.Values is null || Equals(node.Values, value, "value is not one of the allowed ones"))
            && (node.Constant is null || Equals(node.Constant, value, "value is not the only allowed one"))
            && (node.InPlace is null || FitsAll(node.InPlace, in value))
            && value.TokenType switch
            {
                JsonTokenType.StartObject => node.Objects is null ? Pass(ref value) : FitsObject(node.Objects, ref value),
                JsonTokenType.StartArray => node.Arrays is null ? Pass(ref value) : FitsArray(node.Arrays, ref value),
                JsonTokenType.String or JsonTokenType.PropertyName => node.Strings is null || FitsString(node.Strings, in value),
                JsonTokenType.Number => node.Numbers is null || FitsNumber(node.Numbers, value.ValueSpan),
                _ => true,
            };
        _calls--;
        return fits;
    }

    private bool FitsCopy(SchemaNode node, in Utf8JsonReader value)
    {
        Utf8JsonReader copy = value;
        return Fits(node, ref copy);
    }

    /// <summary>Whether the value fits, without saying why not.</summary>
    private bool MayFit(SchemaNode node, in Utf8JsonReader value)
    {
        _trials++;
        bool fits = FitsCopy(node, in value);
        _trials--;
        return fits;
    }

    private bool FitsAll(InPlaceRules rules, in Utf8JsonReader value)
    {
        if (rules.Reference is { } reference && !FitsCopy(reference, in value)) return false;
        foreach (SchemaNode one in rules.AllOf) if (!FitsCopy(one, in value)) return false;
        if (rules.AnyOf.Length > 0 && Fitting(rules.AnyOf, in value, enough: 1) == 0) return Say("value fits none of the schemas of anyOf");
        if (rules.OneOf.Length > 0)
        {
            int fitting = Fitting(rules.OneOf, in value, enough: 2);
            if (fitting != 1) return Say(fitting == 0 ? "value fits none of the schemas of oneOf" : "value fits more than one of the schemas of oneOf");
        }
        if (rules.Not is { } not && MayFit(not, in value)) return Say("value fits a schema that it must not fit");
        return rules.If is not { } condition || (MayFit(condition, in value) ? rules.Then : rules.Else) is not { } then || FitsCopy(then, in value);
    }

    private int Fitting(SchemaNode[] nodes, in Utf8JsonReader value, int enough)
    {
        int fitting = 0;
        foreach (SchemaNode one in nodes)
        {
            if (MayFit(one, in value) && ++fitting == enough) break;
        }
        return fitting;
    }

    private bool HasType(JsonTypes types, in Utf8JsonReader value)
    {
        JsonTypes type = value.TokenType switch
        {
            JsonTokenType.StartObject => JsonTypes.Object,
            JsonTokenType.StartArray => JsonTypes.Array,
            JsonTokenType.String or JsonTokenType.PropertyName => JsonTypes.String,
            JsonTokenType.Number => JsonTypes.Number,
            JsonTokenType.Null => JsonTypes.Null,
            _ => JsonTypes.Boolean,
        };
        if ((types & type) != 0) return true;
        if (type == JsonTypes.Number && (types & JsonTypes.Integer) != 0)
        {
            Spend(value.ValueSpan.Length / BytesInStep);
            if (new JsonNumber(value.ValueSpan).IsInteger) return true;
        }
        return _trials == 0 && Say(Described(types));
    }

    private static string Described(JsonTypes types)
    {
        if (types == JsonTypes.None) return "no value is allowed here";
        var words = new List<string>();
        foreach ((JsonTypes type, string word) in (ReadOnlySpan<(JsonTypes, string)>)
                 [(JsonTypes.String, "string"), (JsonTypes.Integer, "integer"), (JsonTypes.Number, "number"), (JsonTypes.Boolean, "boolean"),
                  (JsonTypes.Array, "array"), (JsonTypes.Object, "object"), (JsonTypes.Null, "null")])
        {
            if ((types & type) != 0) words.Add($"\"{word}\"");
        }
        return $"value is not of type{(words.Count == 1 ? "" : "s")} {string.Join(", ", words)}";
    }

    private bool Equals(HashSet<RawJson> allowed, Utf8JsonReader value, string otherwise) => allowed.Contains(Canonical(ref value)) || Say(otherwise);

    private RawJson Canonical(ref Utf8JsonReader value)
    {
        long start = value.BytesConsumed, written = 0;
        RawJson canonical = CanonicalJson.Of(ref value, ref written);
        Spend((value.BytesConsumed - start + written) / BytesInStep);
        return canonical;
    }

    private bool FitsObject(ObjectRules rules, ref Utf8JsonReader value)
    {
        Utf8JsonReader start = value;
        bool[] seen = rules.Required.Count == 0 ? [] : new bool[rules.Required.Count];
        Spend(seen.Length / BytesInStep);
        int count = 0, required = 0;
        while (value.Read() && value.TokenType == JsonTokenType.PropertyName)
        {
            count++;
            ReadOnlySpan<char> name = Chars(in value);
            rules.Properties.GetAlternateLookup<ReadOnlySpan<char>>().TryGetValue(name, out PropertyRule rule);
            if (rule.IsRequired && !seen[rule.Place])
            {
                seen[rule.Place] = true;
                required++;
            }
            if (!FitsMember(rules, rule.Schema, name, ref value)) return FailMember(rules, start, count);
        }
        if (required < seen.Length) return FailMember(rules, start, culprit: 0);
        if (count < rules.MinProperties) return Say($"object has fewer than {rules.MinProperties} members");
        return count <= rules.MaxProperties || Say($"object has more than {rules.MaxProperties} members");
    }

    /// <param name="declared">What <c>properties</c> says of the member; null when nothing.</param>
    /// <param name="value">Stands on the member's name.</param>
    private bool FitsMember(ObjectRules rules, SchemaNode? declared, scoped ReadOnlySpan<char> name, ref Utf8JsonReader value)
    {
        SchemaNode? last = declared;
        List<SchemaNode>? others = null;
        foreach ((EcmaPattern pattern, SchemaNode schema) in rules.Patterns)
        {
            if (!Matches(pattern, name)) continue;
            if (last is not null) (others ??= []).Add(last);
            last = schema;
        }
        if (!rules.Names.IsAnything && !FitsCopy(rules.Names, in value)) return false;
        if (last is null && rules.Additional == SchemaNode.Nothing) return Say("property is not declared, and no others are allowed");
        value.Read();
        if (others is not null)
        {
            foreach (SchemaNode schema in others) if (!FitsCopy(schema, in value)) return false;
        }
        return Fits(last ?? rules.Additional, ref value);
    }

    /// <summary>Says which required member is missing. When none is, what was said of another member stands.</summary>
    /// <param name="start">The object once more.</param>
    /// <param name="culprit">The number of the member that does not fit, counted from 1.</param>
    private bool FailMember(ObjectRules rules, Utf8JsonReader start, int culprit)
    {
        if (_trials > 0) return false;
        var present = new HashSet<string>(StringComparer.Ordinal);
        string at = "";
        for (int i = 1; start.Read() && start.TokenType == JsonTokenType.PropertyName; i++)
        {
            string name = start.GetString()!;
            present.Add(name);
            if (i == culprit) at = name;
            start.Read();
            start.Skip();
        }
        return rules.Required.Find(name => !present.Contains(name)) is { } missing
            ? Say($"required property '{SchemaCompiler.Shown(missing)}' is missing", SchemaCompiler.Shown(missing))
            : Below(at);
    }

    private bool FitsArray(ArrayRules rules, ref Utf8JsonReader value)
    {
        HashSet<RawJson>? distinct = rules.AreUnique ? [] : null;
        int count = 0;
        for (; value.Read() && value.TokenType != JsonTokenType.EndArray; count++)
        {
            if (distinct is not null)
            {
                Utf8JsonReader copy = value;
                if (!distinct.Add(Canonical(ref copy))) return Say("item is there twice") || Below(Index(count));
            }
            if (!Fits(count < rules.Prefix.Length ? rules.Prefix[count] : rules.Items, ref value)) return Below(Index(count));
        }
        if (count < rules.MinItems) return Say($"array has fewer than {rules.MinItems} items");
        return count <= rules.MaxItems || Say($"array has more than {rules.MaxItems} items");
    }

    private bool FitsString(StringRules rules, in Utf8JsonReader value)
    {
        Spend(value.ValueSpan.Length / BytesInStep);
        if (rules.MinLength > 0 || rules.MaxLength < int.MaxValue)
        {
            int length = CodePoints(in value);
            if (length < rules.MinLength) return Say($"string has fewer than {rules.MinLength} characters");
            if (length > rules.MaxLength) return Say($"string has more than {rules.MaxLength} characters");
        }
        if (rules.Pattern is null) return true;
        return Matches(rules.Pattern, Chars(in value)) || Say($"string does not match '{SchemaCompiler.Shown(rules.Pattern.Text)}'");
    }

    /// <summary>What a character costs differs a thousandfold with the expression and with what it has met before: only the time tells.</summary>
    private bool Matches(EcmaPattern pattern, scoped ReadOnlySpan<char> text)
    {
        Spend(1 + text.Length);
        long started = Stopwatch.GetTimestamp();
        bool matches = pattern.Regex.IsMatch(text);
        _matching += Stopwatch.GetElapsedTime(started);
        return _matching < SchemaLimits.MatchTimeout ? matches : throw new GivenUpException(MatchingTakesTooLong);
    }

    private bool FitsNumber(NumberRules rules, ReadOnlySpan<byte> text)
    {
        Spend(text.Length);
        if (rules.MultipleOf is not null) Spend(text.Length * StepsOfDivision);
        var number = new JsonNumber(text);
        if (rules.Minimum is { } least && JsonNumber.Compare(number, new JsonNumber(least)) < 0) return SayBound("less than", least);
        if (rules.Maximum is { } most && JsonNumber.Compare(number, new JsonNumber(most)) > 0) return SayBound("more than", most);
        if (rules.ExclusiveMinimum is { } floor && JsonNumber.Compare(number, new JsonNumber(floor)) <= 0) return SayBound("not more than", floor);
        if (rules.ExclusiveMaximum is { } ceiling && JsonNumber.Compare(number, new JsonNumber(ceiling)) >= 0) return SayBound("not less than", ceiling);
        return rules.MultipleOf is not { } divisor || number.IsMultipleOf(new JsonNumber(divisor)) || SayBound("not a multiple of", divisor);
    }

    private bool SayBound(string relation, byte[] bound) => Say($"number is {relation} {SchemaCompiler.Shown(Encoding.ASCII.GetString(bound.AsSpan(0, Math.Min(bound.Length, SchemaLimits.MaxShownChars + 1))))}");

    /// <summary>Without escapes each code point has one byte that does not begin with the bits 10.</summary>
    private int CodePoints(in Utf8JsonReader value)
    {
        int count = 0;
        if (value.ValueIsEscaped)
        {
            foreach (char c in Chars(in value)) if (!char.IsLowSurrogate(c)) count++;
        }
        else
        {
            foreach (byte b in value.ValueSpan) if ((b & 0xC0) != 0x80) count++;
        }
        return count;
    }

    private ReadOnlySpan<char> Chars(in Utf8JsonReader value)
    {
        Spend(value.ValueSpan.Length / BytesInStep);
        if (_chars.Length < value.ValueSpan.Length) _chars = new char[value.ValueSpan.Length];
        return _chars.AsSpan(0, value.CopyString(_chars));
    }

    /// <summary>Goes on to the value's last token without looking at it, from a member's name nowhere.</summary>
    private bool Pass(ref Utf8JsonReader value)
    {
        if (value.TokenType is not (JsonTokenType.StartObject or JsonTokenType.StartArray)) return true;
        long start = value.BytesConsumed;
        value.Skip();
        Spend((value.BytesConsumed - start) / BytesInStep);
        return true;
    }

    private void Spend(long steps)
    {
        _left -= steps;
        if (_left < 0) throw new GivenUpException("takes too long to be checked");
    }

    /// <summary>What is wrong with the value that is being looked at.</summary>
    private bool Say(string text, string? missing = null)
    {
        _text = text;
        _path = "";
        _missing = missing;
        return false;
    }

    /// <summary>What was said is about a part of the value that is being looked at.</summary>
    private bool Below(string name)
    {
        if (_trials == 0 && _path.Length >= SchemaLimits.MaxShownChars) _path = "…" + _path.TrimStart('…');
        else if (_trials == 0)
            _path = "/" + SchemaCompiler.Shown(name).Replace("~", "~0", StringComparison.Ordinal).Replace("/", "~1", StringComparison.Ordinal) + _path;
        return false;
    }

    private static string Index(int index) => index.ToString(CultureInfo.InvariantCulture);

    private sealed class GivenUpException(string message) : Exception(message);
}

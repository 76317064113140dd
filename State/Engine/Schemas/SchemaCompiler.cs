using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using CarServer.RunStore;

namespace CarServer.State.Engine.Schemas;

/// <summary>Makes the tree of <see cref="SchemaNode"/> of one schema, reading its bytes once, and again for each different <c>$ref</c>.</summary>
/// <remarks>Where a schema begins is what it is known by: a place that two references lead to becomes one node.</remarks>
internal sealed class SchemaCompiler(RawJson text)
{
    private readonly Dictionary<int, SchemaNode> _byPlace = [];
    private readonly Dictionary<string, int> _anchors = new(StringComparer.Ordinal);
    private readonly List<(InPlaceRules Rules, string Reference)> _references = [];
    private int _patterns;

    /// <summary>See <see cref="JsonSchema.IsPlain"/>; once it is compiled.</summary>
    public bool IsPlain => _patterns == 0 && _byPlace.Values.All(static node => node is { InPlace: null, Arrays: null or { AreUnique: false } });

    /// <exception cref="SchemaException">It is no schema, or asks for more than is known here.</exception>
    public SchemaNode Compile()
    {
        Utf8JsonReader whole = text.Reader();
        SchemaNode root = Read(ref whole, "the schema");
        Resolve();
        // A place may only have been found through another, so all are counted, the root first.
        Count(root, 1);
        foreach (SchemaNode node in _byPlace.Values) Count(node, 1);
        return root;
    }

    /// <param name="what">What an error calls it.</param>
    private SchemaNode Read(ref Utf8JsonReader reader, string what)
    {
        if (reader.TokenType == JsonTokenType.True) return SchemaNode.Anything;
        if (reader.TokenType == JsonTokenType.False) return SchemaNode.Nothing;
        if (reader.TokenType != JsonTokenType.StartObject) throw new SchemaException($"{what} must be an object, true or false");

        int place = Place(in reader);
        var node = new SchemaNode();
        _byPlace[place] = node;
        var known = new HashSet<string>(StringComparer.Ordinal);
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string keyword = Text(ref reader);
            if (!known.Add(keyword)) throw new SchemaException($"keyword '{Shown(keyword)}' comes twice in one schema");
            reader.Read();
            Keyword(node, keyword, ref reader, place);
        }
        return node;
    }

    private void Keyword(SchemaNode node, string keyword, ref Utf8JsonReader value, int place)
    {
        switch (keyword)
        {
            case "type": node.Types = Types(ref value); break;
            case "enum":
                if (value.TokenType != JsonTokenType.StartArray) throw new SchemaException("enum must be a list");
                node.Values = [];
                while (value.Read() && value.TokenType != JsonTokenType.EndArray) node.Values.Add(CanonicalJson.Of(ref value));
                break;
            case "const": node.Constant = [CanonicalJson.Of(ref value)]; break;

            case "minimum": Numbers(node).Minimum = Number(keyword, in value); break;
            case "maximum": Numbers(node).Maximum = Number(keyword, in value); break;
            case "exclusiveMinimum": Numbers(node).ExclusiveMinimum = Number(keyword, in value); break;
            case "exclusiveMaximum": Numbers(node).ExclusiveMaximum = Number(keyword, in value); break;
            case "multipleOf":
                Numbers(node).MultipleOf = Number(keyword, in value);
                var divisor = new JsonNumber(value.ValueSpan);
                if (divisor.IsZero || divisor.IsNegative) throw new SchemaException("multipleOf must be above 0");
                if (divisor.Digits > SchemaLimits.MaxDivisorDigits) throw new SchemaException($"multipleOf may have at most {SchemaLimits.MaxDivisorDigits} digits");
                break;

            case "minLength": Strings(node).MinLength = Length(keyword, in value); break;
            case "maxLength": Strings(node).MaxLength = Length(keyword, in value); break;
            case "pattern":
                if (value.TokenType != JsonTokenType.String) throw new SchemaException("pattern must be a string");
                Strings(node).Pattern = Pattern(Text(ref value));
                break;

            case "prefixItems": Arrays(node).Prefix = List(keyword, ref value); break;
            case "items":
                if (value.TokenType == JsonTokenType.StartArray) throw new SchemaException("items must be one schema; a list of them is prefixItems");
                Arrays(node).Items = Read(ref value, keyword);
                break;
            case "minItems": Arrays(node).MinItems = Length(keyword, in value); break;
            case "maxItems": Arrays(node).MaxItems = Length(keyword, in value); break;
            case "uniqueItems":
                if (value.TokenType is not (JsonTokenType.True or JsonTokenType.False)) throw new SchemaException("uniqueItems must be true or false");
                Arrays(node).AreUnique = value.TokenType == JsonTokenType.True;
                break;

            case "properties": Properties(Objects(node), ref value); break;
            case "required": Required(Objects(node), ref value); break;
            case "patternProperties":
                if (value.TokenType != JsonTokenType.StartObject) throw new SchemaException("patternProperties must be an object");
                while (value.Read() && value.TokenType == JsonTokenType.PropertyName)
                {
                    EcmaPattern name = Pattern(Text(ref value));
                    value.Read();
                    Objects(node).Patterns.Add((name, Read(ref value, "a schema of patternProperties")));
                }
                break;
            case "additionalProperties": Objects(node).Additional = Read(ref value, keyword); break;
            case "propertyNames": Objects(node).Names = Read(ref value, keyword); break;
            case "minProperties": Objects(node).MinProperties = Length(keyword, in value); break;
            case "maxProperties": Objects(node).MaxProperties = Length(keyword, in value); break;

            case "allOf": InPlace(node).AllOf = List(keyword, ref value); break;
            case "anyOf": InPlace(node).AnyOf = List(keyword, ref value); break;
            case "oneOf": InPlace(node).OneOf = List(keyword, ref value); break;
            case "not": InPlace(node).Not = Read(ref value, keyword); break;
            case "if": InPlace(node).If = Read(ref value, keyword); break;
            case "then": InPlace(node).Then = Read(ref value, keyword); break;
            case "else": InPlace(node).Else = Read(ref value, keyword); break;
            case "$ref":
                if (value.TokenType != JsonTokenType.String) throw new SchemaException("$ref must be a string");
                string reference = Text(ref value);
                if (reference is not ['#', ..]) throw new SchemaException($"$ref '{Shown(reference)}' is not inside this schema; only '#…' is supported");
                _references.Add((InPlace(node), reference));
                break;

            // Schemas in here are only read once something refers to them, but their anchors are to be found.
            case "$defs" or "definitions":
                if (value.TokenType != JsonTokenType.StartObject) throw new SchemaException($"{keyword} must be an object");
                while (value.Read() && value.TokenType == JsonTokenType.PropertyName)
                {
                    value.Read();
                    Read(ref value, $"a schema of {keyword}");
                }
                break;
            case "$anchor":
                if (value.TokenType != JsonTokenType.String) throw new SchemaException("$anchor must be a string");
                string anchor = Text(ref value);
                if (!_anchors.TryAdd(anchor, place)) throw new SchemaException($"$anchor '{Shown(anchor)}' comes twice");
                break;
            case "$id" when place > 0: throw new SchemaException("$id is supported only at the top of the schema");

            case "$dynamicRef" or "$recursiveRef" or "unevaluatedProperties" or "unevaluatedItems" or "contains" or "minContains" or "maxContains"
                or "dependentRequired" or "dependentSchemas" or "dependencies" or "additionalItems":
                throw new SchemaException($"keyword '{keyword}' is not supported");

            // Anything else changes no verdict: titles, descriptions, defaults, formats, and words that are nobody's.
            default: value.Skip(); break;
        }
    }

    private static NumberRules Numbers(SchemaNode node) => node.Numbers ??= new NumberRules();
    private static StringRules Strings(SchemaNode node) => node.Strings ??= new StringRules();
    private static ArrayRules Arrays(SchemaNode node) => node.Arrays ??= new ArrayRules();
    private static ObjectRules Objects(SchemaNode node) => node.Objects ??= new ObjectRules();
    private static InPlaceRules InPlace(SchemaNode node) => node.InPlace ??= new InPlaceRules();

    private static JsonTypes Types(ref Utf8JsonReader value)
    {
        var types = JsonTypes.None;
        if (value.TokenType == JsonTokenType.String) types = One(ref value);
        else if (value.TokenType == JsonTokenType.StartArray)
            while (value.Read() && value.TokenType != JsonTokenType.EndArray) types |= One(ref value);
        return types != JsonTypes.None ? types : throw Bad();

        static JsonTypes One(ref Utf8JsonReader value) => value.TokenType != JsonTokenType.String ? throw Bad() : Text(ref value) switch
        {
            "null" => JsonTypes.Null,
            "boolean" => JsonTypes.Boolean,
            "string" => JsonTypes.String,
            "number" => JsonTypes.Number,
            "integer" => JsonTypes.Integer,
            "array" => JsonTypes.Array,
            "object" => JsonTypes.Object,
            _ => throw Bad(),
        };

        static SchemaException Bad() => new("type must be a type name or a list of them");
    }

    private static byte[] Number(string keyword, in Utf8JsonReader value) =>
        value.TokenType == JsonTokenType.Number ? value.ValueSpan.ToArray() : throw new SchemaException($"{keyword} must be a number");

    /// <summary>A length beyond what any value can have is as good as the largest there is.</summary>
    private static int Length(string keyword, in Utf8JsonReader value)
    {
        if (value.TokenType != JsonTokenType.Number) throw Bad();
        var number = new JsonNumber(value.ValueSpan);
        if (number.IsNegative || !number.IsInteger) throw Bad();
        if (number.Magnitude > 9) return int.MaxValue;
        int length = 0;
        for (int i = 0; i < number.Magnitude; i++) length = length * 10 + (i < number.Digits ? number.Digit(i) : 0);
        return length;

        SchemaException Bad() => new($"{keyword} must be a whole number from 0");
    }

    private SchemaNode[] List(string keyword, ref Utf8JsonReader value)
    {
        if (value.TokenType != JsonTokenType.StartArray) throw new SchemaException($"{keyword} must be a list of schemas");
        var all = new List<SchemaNode>();
        while (value.Read() && value.TokenType != JsonTokenType.EndArray) all.Add(Read(ref value, $"a schema of {keyword}"));
        return all.Count > 0 ? [.. all] : throw new SchemaException($"{keyword} must be a list of schemas");
    }

    private void Properties(ObjectRules rules, ref Utf8JsonReader value)
    {
        if (value.TokenType != JsonTokenType.StartObject) throw new SchemaException("properties must be an object");
        while (value.Read() && value.TokenType == JsonTokenType.PropertyName)
        {
            string name = Text(ref value);
            value.Read();
            rules.Properties.TryGetValue(name, out PropertyRule rule);
            if (rule.Schema is not null) throw new SchemaException($"property '{Shown(name)}' comes twice");
            rules.Properties[name] = rule with { Schema = Read(ref value, $"property '{Shown(name)}'") };
        }
    }

    private static void Required(ObjectRules rules, ref Utf8JsonReader value)
    {
        if (value.TokenType != JsonTokenType.StartArray) throw Bad();
        while (value.Read() && value.TokenType != JsonTokenType.EndArray)
        {
            if (value.TokenType != JsonTokenType.String) throw Bad();
            string name = Text(ref value);
            rules.Properties.TryGetValue(name, out PropertyRule rule);
            if (rule.IsRequired) continue;
            rules.Properties[name] = rule with { IsRequired = true, Place = rules.Required.Count };
            rules.Required.Add(name);
        }

        static SchemaException Bad() => new("required must be a list of strings");
    }

    private EcmaPattern Pattern(string pattern)
    {
        if (pattern.Length > SchemaLimits.MaxPatternChars) throw new SchemaException($"a regular expression may have at most {SchemaLimits.MaxPatternChars} characters");
        if (++_patterns > SchemaLimits.MaxPatterns) throw new SchemaException($"a schema may have at most {SchemaLimits.MaxPatterns} regular expressions");
        try
        {
            return new EcmaPattern(pattern);
        }
        catch (ArgumentException)
        {
            throw new SchemaException($"'{Shown(pattern)}' is no regular expression that is supported");
        }
        catch (NotSupportedException)
        {
            throw new SchemaException($"the regular expression '{Shown(pattern)}' looks around or back, or is too large: neither is supported");
        }
    }

    private void Resolve()
    {
        var found = new Dictionary<string, SchemaNode>(StringComparer.Ordinal);
        // What a reference leads to may hold further ones, which then stand at the end of the list.
        for (int i = 0; i < _references.Count; i++)
        {
            (InPlaceRules rules, string reference) = _references[i];
            if (!found.TryGetValue(reference, out SchemaNode? target))
            {
                if (found.Count == SchemaLimits.MaxReferences) throw new SchemaException($"a schema may have at most {SchemaLimits.MaxReferences} different $ref");
                found[reference] = target = Find(reference);
            }
            rules.Reference = target;
        }
    }

    private SchemaNode Find(string reference)
    {
        string pointer = Uri.UnescapeDataString(reference[1..]);
        Utf8JsonReader reader = text.Reader();
        if (pointer is not ("" or ['/', ..]))
            return _anchors.TryGetValue(pointer, out int place) ? _byPlace[place] : throw Dangling(reference);
        foreach (string step in pointer.Split('/').AsSpan(1))
        {
            if (!TryStep(ref reader, step.Replace("~1", "/", StringComparison.Ordinal).Replace("~0", "~", StringComparison.Ordinal))) throw Dangling(reference);
        }
        return reader.TokenType == JsonTokenType.StartObject && _byPlace.TryGetValue(Place(in reader), out SchemaNode? known)
            ? known
            : Read(ref reader, $"what $ref '{Shown(reference)}' leads to");

        static SchemaException Dangling(string reference) => new($"$ref '{Shown(reference)}' leads nowhere");
    }

    private static bool TryStep(ref Utf8JsonReader reader, string step)
    {
        if (reader.TokenType == JsonTokenType.StartObject)
        {
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                bool isIt = Text(ref reader) == step;
                reader.Read();
                if (isIt) return true;
                reader.Skip();
            }
        }
        else if (reader.TokenType == JsonTokenType.StartArray && int.TryParse(step, NumberStyles.None, CultureInfo.InvariantCulture, out int index))
        {
            while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
            {
                if (index-- == 0) return true;
                reader.Skip();
            }
        }
        return false;
    }

    /// <summary>A reference may lead back to where it stands only through a member or an item: else the check would never end.</summary>
    private static int Count(SchemaNode node, int depth)
    {
        const int BeingCounted = -1;
        if (node.Height == BeingCounted) throw new SchemaException("a $ref leads back to itself without going deeper into the value");
        if (node.Height == 0 && node.InPlace is { } rules)
        {
            // Deeper than any allowed nesting, this recursion ends here and not with the stack.
            if (depth > SchemaLimits.MaxInPlace) throw TooMany();
            node.Height = BeingCounted;
            int highest = 0;
            foreach (SchemaNode inner in rules.All) highest = Math.Max(highest, Count(inner, depth + 1));
            node.Height = highest + 1;
        }
        if (depth + node.Height > SchemaLimits.MaxInPlace) throw TooMany();
        return node.Height;

        static SchemaException TooMany() => new($"more than {SchemaLimits.MaxInPlace} schemas stand behind each other for one value");
    }

    private static int Place(in Utf8JsonReader reader) => (int)reader.TokenStartIndex;

    private static string Text(ref Utf8JsonReader reader)
    {
        try
        {
            return reader.GetString()!;
        }
        catch (InvalidOperationException)
        {
            throw new SchemaException("a name in it is not valid Unicode");
        }
    }

    internal static string Shown(string name) => Excerpt.Of(name, SchemaLimits.MaxShownChars);
}

/// <summary>Why a schema can't be used; its message ends a sentence that names the tool.</summary>
internal sealed class SchemaException(string message) : Exception(message);

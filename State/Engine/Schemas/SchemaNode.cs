using System.Text.RegularExpressions;
using CarServer.RunStore;

namespace CarServer.State.Engine.Schemas;

[Flags]
internal enum JsonTypes : byte
{
    None = 0, Null = 1, Boolean = 2, String = 4, Number = 8, Array = 16, Object = 32,
    /// <summary>Numbers, but only whole ones.</summary>
    Integer = 64,
    All = Null | Boolean | String | Number | Array | Object,
}

/// <summary>One schema, ready for checking. Its parts are null where it says nothing about them.</summary>
internal sealed class SchemaNode
{
    public static readonly SchemaNode Anything = new();
    public static readonly SchemaNode Nothing = new() { Types = JsonTypes.None };

    public JsonTypes Types { get; set; } = JsonTypes.All;

    /// <summary>What <c>enum</c> and <c>const</c> allow, each in the form of <see cref="CanonicalJson"/>.</summary>
    public HashSet<RawJson>? Values { get; set; }

    public HashSet<RawJson>? Constant { get; set; }
    public NumberRules? Numbers { get; set; }
    public StringRules? Strings { get; set; }
    public ArrayRules? Arrays { get; set; }
    public ObjectRules? Objects { get; set; }

    /// <summary>Further schemas for the same value.</summary>
    public InPlaceRules? InPlace { get; set; }

    /// <summary>How many schemas stand behind each other from here on, for one value; 0 while nobody has counted.</summary>
    public int Height { get; set; }

    /// <summary>It says nothing at all.</summary>
    public bool IsAnything => Types == JsonTypes.All && Values is null && Constant is null && Numbers is null && Strings is null && Arrays is null && Objects is null && InPlace is null;
}

/// <summary>Bounds as they are spelled, so that no digit is lost.</summary>
internal sealed class NumberRules
{
    public byte[]? Minimum, Maximum, ExclusiveMinimum, ExclusiveMaximum, MultipleOf;
}

/// <summary>Lengths count Unicode code points.</summary>
internal sealed class StringRules
{
    public int MinLength;
    public int MaxLength = int.MaxValue;
    public EcmaPattern? Pattern;
}

internal sealed class ArrayRules
{
    public SchemaNode[] Prefix = [];
    public SchemaNode Items = SchemaNode.Anything;
    public int MinItems;
    public int MaxItems = int.MaxValue;
    public bool AreUnique;
}

internal sealed class ObjectRules
{
    /// <summary>Names that the schema speaks of.</summary>
    public Dictionary<string, PropertyRule> Properties = new(StringComparer.Ordinal);

    /// <summary>In the order of the schema, which is the order in which missing ones are told.</summary>
    public List<string> Required = [];

    public List<(EcmaPattern Name, SchemaNode Schema)> Patterns = [];
    public SchemaNode Additional = SchemaNode.Anything;
    public SchemaNode Names = SchemaNode.Anything;
    public int MinProperties;
    public int MaxProperties = int.MaxValue;
}

/// <param name="Schema">Null for a name that is only required.</param>
/// <param name="Place">Its place in the list of required names, when it is one.</param>
internal readonly record struct PropertyRule(SchemaNode? Schema, bool IsRequired, int Place);

internal sealed class InPlaceRules
{
    public SchemaNode? Reference, Not, If, Then, Else;
    public SchemaNode[] AllOf = [], AnyOf = [], OneOf = [];

    public IEnumerable<SchemaNode> All
    {
        get
        {
            foreach (SchemaNode? one in (SchemaNode?[])[Reference, Not, If, Then, Else]) if (one is not null) yield return one;
            foreach (SchemaNode[] several in (SchemaNode[][])[AllOf, AnyOf, OneOf]) foreach (SchemaNode one in several) yield return one;
        }
    }
}

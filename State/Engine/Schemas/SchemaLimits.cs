namespace CarServer.State.Engine.Schemas;

/// <summary>Bounds of schemas and of checking values against them, each with its reason. How large and how deep a schema may be is said where tools are registered and messages are read.</summary>
internal static class SchemaLimits
{
    /// <summary>Schemas that may apply to one and the same value, one inside or behind the other: <c>allOf</c> in <c>anyOf</c> behind <c>$ref</c>. People nest three or four.</summary>
    public const int MaxInPlace = 32;

    /// <summary>Different <c>$ref</c> of one schema: each is looked for in all of it. Generated schemas of whole APIs have some hundreds.</summary>
    public const int MaxReferences = 512;

    /// <summary>Regular expressions of one schema, in <c>pattern</c> and <c>patternProperties</c>: each remembers what it has met.</summary>
    public const int MaxPatterns = 64;

    /// <summary>Characters of a regular expression: two screens' worth, like a policy's.</summary>
    public const int MaxPatternChars = 4_096;

    /// <summary>Significant digits of <c>multipleOf</c>, so that a remainder of any number can be taken in 128 bits.</summary>
    public const int MaxDivisorDigits = 18;

    /// <summary>
    /// Calls inside each other while a value is checked; half the stack of a read loop takes them. A value may be 128 levels deep,
    /// and each level costs one call and one more for each schema that stands between.
    /// </summary>
    public const int MaxCalls = 384;

    /// <summary>Steps that any check may take, however small the value: a tool with fifty forms of parameters needs some hundreds. A millisecond or two.</summary>
    public const long LeastSteps = 50_000;

    /// <summary>Further steps for each byte of the value: thirty schemas may look at all of it.</summary>
    public const long StepsPerByte = 32;

    /// <summary>Steps of the largest value, about a second.</summary>
    public const long MostSteps = 50_000_000;

    /// <summary>Characters of a name, a path or a pattern that an error shows; the names in a value may be a megabyte long.</summary>
    public const int MaxShownChars = 256;

    /// <summary>How long the regular expressions of one check may look at its texts, each of them and all together. They are linear anyway; what passes this does not fit.</summary>
    public static readonly TimeSpan MatchTimeout = TimeSpan.FromMilliseconds(500);
}

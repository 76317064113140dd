using CarServer.RunStore;

namespace CarServer.State.Engine.Schemas;

/// <summary>A JSON Schema of a subset of draft 2020-12 (the keywords stand in <c>docs/dependencies.md</c>), compiled once. Any thread.</summary>
internal sealed class JsonSchema
{
    private static readonly JsonSchema Anything = new(SchemaNode.Anything, isPlain: true);

    private readonly SchemaNode _root;

    private JsonSchema(SchemaNode root, bool isPlain) => (_root, IsPlain) = (root, isPlain);

    /// <summary>Every value fits.</summary>
    public bool IsAnything => _root.IsAnything;

    /// <summary>Each part of a value is looked at by one schema and compared with nothing else of it: a check takes about as long as reading.</summary>
    public bool IsPlain { get; }

    /// <summary>Whether a value of this type may fit, as far as <c>type</c> at the top says.</summary>
    public bool MayBe(JsonTypes type) => (_root.Types & type) != 0;

    /// <summary>Reads a schema; on false <paramref name="problem"/> says what is wrong with it.</summary>
    public static bool TryCompile(RawJson text, out JsonSchema schema, out string problem)
    {
        schema = Anything;
        problem = "";
        if (text.Utf8.SequenceEqual("{}"u8)) return true;
        try
        {
            var compiler = new SchemaCompiler(text);
            schema = new JsonSchema(compiler.Compile(), compiler.IsPlain);
        }
        catch (SchemaException e)
        {
            problem = e.Message;
        }
        catch (InvalidOperationException)
        {
            problem = "a string in it is not valid Unicode";
        }
        return problem.Length == 0;
    }

    /// <summary>Why the value does not fit, or null. Names keys, types and what the schema says; never shows the value.</summary>
    public SchemaProblem? Problem(RawJson value) => Problem(value, out _);

    /// <param name="steps">What it took to say so.</param>
    public SchemaProblem? Problem(RawJson value, out long steps)
    {
        steps = 0;
        return IsAnything ? null : SchemaCheck.Run(_root, value, out steps);
    }
}

/// <param name="Path">Where, as a JSON Pointer (RFC 6901); <c>/</c> for the value itself.</param>
/// <param name="Missing">The required member that the value itself lacks, when that is what is wrong.</param>
internal readonly record struct SchemaProblem(string Text, string Path, string? Missing = null);

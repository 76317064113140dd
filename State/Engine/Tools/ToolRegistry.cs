using System.Text;
using CarServer.RunStore;
using CarServer.State.Engine.Schemas;

namespace CarServer.State.Engine.Tools;

/// <summary>The tools of one session. Any thread.</summary>
/// <param name="clock">What rate limits go by; the system's when there is none.</param>
internal sealed class ToolRegistry(TimeProvider? clock = null)
{
    /// <summary>A host with every known integration has some hundreds of tools; a model cannot choose among more anyway.</summary>
    public const int MaxTools = 1_024;

    /// <summary>Name, description and schemas of one tool, in UTF-8. The largest known schemas, generated from whole APIs, have some tens of KiB.</summary>
    public const int MaxDefinitionBytes = 256 * 1024;

    /// <summary>All of them together, so that <c>tools.list</c> stays well inside what one client may have unread.</summary>
    public const int MaxTotalBytes = 16 * 1024 * 1024;

    private readonly Lock _lock = new();
    private readonly Dictionary<string, RegisteredTool> _tools = new(StringComparer.Ordinal);
    private long _bytes;

    /// <summary>Registers all of them or, when one is refused, none. A name that is taken gets the new definition.</summary>
    /// <returns>How many definitions were taken.</returns>
    /// <exception cref="RefusedException">A definition is malformed, or a limit would be passed.</exception>
    public int Register(IReadOnlyList<ToolDefinition> definitions)
    {
        var prepared = new Dictionary<string, RegisteredTool>(StringComparer.Ordinal);
        for (int i = 0; i < definitions.Count; i++)
        {
            if (definitions[i] is not { } definition) throw Invalid($"tool definition {i} is null");
            prepared[definition.Name] = Prepare(definition);
        }

        lock (_lock)
        {
            int count = _tools.Count;
            long bytes = _bytes;
            foreach ((string name, RegisteredTool tool) in prepared)
            {
                bytes += tool.Bytes;
                if (_tools.TryGetValue(name, out RegisteredTool? replaced)) bytes -= replaced.Bytes;
                else count++;
            }
            if (count > MaxTools) throw Invalid($"a session may have at most {MaxTools} tools");
            if (bytes > MaxTotalBytes) throw Invalid($"the tool definitions of a session may have at most {MaxTotalBytes} bytes");
            foreach ((string name, RegisteredTool tool) in prepared) _tools[name] = tool;
            _bytes = bytes;
        }
        return definitions.Count;
    }

    /// <summary>False when there was no such tool.</summary>
    public bool Unregister(string name)
    {
        lock (_lock)
        {
            if (!_tools.Remove(name, out RegisteredTool? tool)) return false;
            _bytes -= tool.Bytes;
            return true;
        }
    }

    /// <summary>Null when the tool is not registered.</summary>
    public RegisteredTool? Find(string name)
    {
        lock (_lock) return _tools.GetValueOrDefault(name);
    }

    /// <summary>Sorted by name.</summary>
    public ToolDefinition[] List()
    {
        ToolDefinition[] all;
        lock (_lock) all = [.. _tools.Values.Select(tool => tool.Definition)];
        Array.Sort(all, static (left, right) => string.CompareOrdinal(left.Name, right.Name));
        return all;
    }

    private RegisteredTool Prepare(ToolDefinition definition)
    {
        if (definition.Name.Length == 0) throw Invalid("a tool needs a name");
        if (definition.Name.Length > EngineLimits.MaxToolNameChars)
            throw Invalid($"a tool's name may have at most {EngineLimits.MaxToolNameChars} characters");
        int bytes = Encoding.UTF8.GetByteCount(definition.Name) + Encoding.UTF8.GetByteCount(definition.Description)
            + definition.Parameters.Utf8.Length + definition.Returns.Utf8.Length;
        if (bytes > MaxDefinitionBytes) throw Invalid($"definition of tool '{definition.Name}' has {bytes} bytes, at most {MaxDefinitionBytes} are allowed");
        if (definition.Parameters.Utf8[0] != (byte)'{') throw BadSchema(definition, "a schema must be an object");
        JsonSchema parameters = Compile(definition, definition.Parameters);
        if (!parameters.MayBe(JsonTypes.Object)) throw BadSchema(definition, "parameters are always an object");
        JsonSchema? returns = definition.Returns.IsNull ? null : Compile(definition, definition.Returns);
        if (definition.RateLimit is not { } limit) return new RegisteredTool(definition, parameters, returns, limit: null, bytes);
        if (TokenBucket.Problem(limit) is { } problem) throw Invalid($"tool '{definition.Name}': {problem}");
        return new RegisteredTool(definition, parameters, returns, new TokenBucket(limit, clock ?? TimeProvider.System), bytes);
    }

    private static JsonSchema Compile(ToolDefinition definition, RawJson text) =>
        JsonSchema.TryCompile(text, out JsonSchema schema, out string problem) ? schema : throw BadSchema(definition, problem);

    private static RefusedException BadSchema(ToolDefinition definition, string problem) => Invalid($"tool '{definition.Name}' has an invalid registered JSON Schema: {problem}");

    private static RefusedException Invalid(string message) => new(message, Refusal.Invalid);
}

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

    /// <summary>Schemas of one request that are made ready on the read loop that brought them, whose other connections wait. A session's first few tools have less, and it takes a millisecond.</summary>
    public const int MaxInlineBytes = 16 * 1024;

    private readonly Lock _lock = new();
    private readonly Dictionary<string, RegisteredTool> _tools = new(StringComparer.Ordinal);
    private long _bytes;
    private Task _settled = Task.CompletedTask;

    /// <summary>Ends, and never with a failure, once the requests so far have done with the tools. Whoever looks at them for a later one waits for it.</summary>
    public Task Settled => Volatile.Read(ref _settled);

    /// <summary>Does what a request asks of the tools: at once or, when it may take long or an earlier one still does, on the pool, one after another.</summary>
    /// <remarks>Called by one thread at a time, in the order of the requests.</remarks>
    public Task<T> InOrderAsync<T>(Func<T> work, CancellationToken abandoned, bool soon = true)
    {
        Task before = Settled;
        if (soon && before.IsCompleted) return Task.FromResult(work());
        Task<T> doing = Task.Run(async () =>
        {
            await before;
            abandoned.ThrowIfCancellationRequested();
            return work();
        });
        Volatile.Write(ref _settled, doing.ContinueWith(static _ => { }, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default));
        return doing;
    }

    /// <summary>Whether these are ready soon. A regular expression never is: it may take a tenth of a second.</summary>
    public static bool AreSoon(IReadOnlyList<ToolDefinition> definitions)
    {
        int bytes = 0;
        foreach (ToolDefinition? definition in definitions)
        {
            if (definition is null) continue;   // refused soon, by Register
            bytes += definition.Name.Length + definition.Parameters.Utf8.Length + definition.Returns.Utf8.Length;
            if (bytes > MaxInlineBytes || MayHavePattern(definition.Parameters) || MayHavePattern(definition.Returns)) return false;
        }
        return true;
    }

    /// <summary>Escapes like these may spell the word, too.</summary>
    private static bool MayHavePattern(RawJson schema) => schema.Utf8.IndexOf("pattern"u8) >= 0 || schema.Utf8.IndexOf("\\u00"u8) >= 0;

    /// <summary>Registers all of them or, when one is refused, none. A name that is taken gets the new definition.</summary>
    /// <returns>How many definitions were taken.</returns>
    /// <exception cref="RefusedException">A definition is malformed, or a limit would be passed.</exception>
    /// <exception cref="OperationCanceledException">Nobody waits for it any more; none is registered.</exception>
    public int Register(IReadOnlyList<ToolDefinition> definitions, CancellationToken abandoned = default)
    {
        var prepared = new Dictionary<string, RegisteredTool>(StringComparer.Ordinal);
        for (int i = 0; i < definitions.Count; i++)
        {
            abandoned.ThrowIfCancellationRequested();
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

using CarServer.RunStore;
using CarServer.State.Engine.Schemas;

namespace CarServer.State.Engine.Tools;

/// <summary>A tool that may be called, with all that one registration of it began: its schemas made ready for checking, its rate limit.</summary>
/// <param name="returns">Null when its output may be anything.</param>
/// <param name="limit">Null when it may be called as often as anybody likes.</param>
/// <param name="bytes">What its definition counts for.</param>
internal sealed class RegisteredTool(ToolDefinition definition, JsonSchema parameters, JsonSchema? returns, TokenBucket? limit, int bytes)
{
    public ToolDefinition Definition => definition;
    public TokenBucket? Limit => limit;
    public int Bytes => bytes;

    /// <summary>False when any parameters fit.</summary>
    public bool ChecksParameters => !parameters.IsAnything;

    /// <summary>Whether small parameters are checked within microseconds.</summary>
    public bool ChecksParametersSoon => parameters.IsPlain;

    /// <summary>The same for its output.</summary>
    public bool ChecksOutputSoon => returns is null or { IsPlain: true };

    public bool ChecksOutput => returns is { IsAnything: false };

    /// <summary>Why parameters do not fit, or null. Never shows a value.</summary>
    /// <param name="effort">Pays for the check; null when it stands alone.</param>
    public string? ParameterProblem(RawJson given, Effort? effort = null)
    {
        SchemaProblem? found = parameters.Problem(given, out long steps);
        effort?.Spend(steps);
        return found switch
        {
            null => null,
            { Missing: { } missing } => $"missing required parameter '{missing}' for tool '{definition.Name}'",
            { } problem => $"tool '{definition.Name}' parameter validation: {problem.Text} (at {problem.Path})",
        };
    }

    /// <summary>Why an output is not what the tool promises, or null. Never shows a value.</summary>
    public string? OutputProblem(RawJson output) =>
        returns?.Problem(output) is { } problem ? $"tool '{definition.Name}' output validation: {problem.Text} (at {problem.Path})" : null;
}

using CarServer.RunStore;
using CarServer.State.Engine.Tools;

namespace CarServer.State.Engine;

/// <summary>Step 3 of the pipeline (protocol 10.3): may this action run at all, as things stand now? It changes nothing.</summary>
internal static class ActionValidation
{
    /// <summary>Why the action is rejected, or null. The first problem in the protocol's order: type, tool, parameters, preconditions, dependencies.</summary>
    public static string? Problem(AgentAction action, string? tenant, StateStore state, ToolRegistry tools, Conditions conditions) =>
        (action.Type == ActionType.ToolCall ? ToolProblem(action, tools) : OperandProblem(action, tenant))
        ?? EffectProblem(action, tenant)
        ?? PreconditionProblem(action, conditions)
        ?? DependencyProblem(action, tenant, state);

    /// <summary>Whether an action's error says that it was rejected here, as far as its words tell: a recorded run has nothing else.</summary>
    internal static bool IsRejection(string error) =>
        error == NoTool || StateStore.IsKeyProblem(error)
        || (error.StartsWith("tool '", StringComparison.Ordinal) && (error.EndsWith("' is not registered", StringComparison.Ordinal) || error.Contains("' parameter validation: ", StringComparison.Ordinal)))
        || error.StartsWith("missing required parameter '", StringComparison.Ordinal)
        || error.StartsWith("precondition failed: state['", StringComparison.Ordinal)
        || (error.StartsWith("state dependency '", StringComparison.Ordinal) && error.EndsWith("' not found", StringComparison.Ordinal));

    /// <summary>What is said of a tool call without a tool.</summary>
    internal const string NoTool = "tool_call action has no tool specified";

    internal static string? ToolProblem(AgentAction action, ToolRegistry tools, Effort? effort = null)
    {
        if (action.Tool is not { } tool) return NoTool;
        return tools.Find(tool) is { } registered
            ? registered.ParameterProblem(action.Parameters, effort)
            : $"tool '{tool}' is not registered";
    }

    internal static string? OperandProblem(AgentAction action, string? tenant)
    {
        if (action.Operands.Key is { } key) return action.Type == ActionType.StateWrite ? StateStore.KeyProblem(tenant, key) : null;
        string type = action.Type switch { ActionType.StateWrite => "state_write", ActionType.StateRead => "state_read", _ => "assertion" };
        return $"{type} action needs parameters.key, a string";
    }

    internal static string? EffectProblem(AgentAction action, string? tenant)
    {
        foreach ((string key, _) in action.ExpectedEffects)
        {
            if (StateStore.KeyProblem(tenant, key) is { } problem) return problem;
        }
        return null;
    }

    private static string? PreconditionProblem(AgentAction action, Conditions conditions)
    {
        foreach (Precondition precondition in action.Preconditions)
        {
            if (conditions.Problem(precondition.Key, precondition.Operator, precondition.Value) is not { } problem) continue;
            string described = precondition.Description.Length == 0 ? "" : $" ({precondition.Description})";
            return $"precondition failed: state['{precondition.Key}'] {precondition.Operator}: {problem}{described}";
        }
        return null;
    }

    private static string? DependencyProblem(AgentAction action, string? tenant, StateStore state)
    {
        foreach (string key in action.StateDependencies)
        {
            if (!state.TryGet(tenant, key, out _)) return $"state dependency '{key}' not found";
        }
        return null;
    }
}

using CarServer.RunStore;
using CarServer.State.Engine.Basics;
using CarServer.State.Engine.Tools;
using CarServer.State.Events;

namespace CarServer.State.Engine;

/// <summary>Step 5 of the pipeline (protocol 10.3): dispatch, with retries, their growing delays and a timer for each attempt.</summary>
/// <remarks>One per proposal; its actions may run concurrently.</remarks>
internal sealed class ActionAttempts(Runtime runtime, string proposalId, string? tenant, CancellationToken abandoned)
{
    private int _toolCalls;
    private int _retries;

    /// <summary>What assertions are asked of; preconditions are, too.</summary>
    public Conditions Conditions { get; } = new(runtime.State, tenant, abandoned);

    /// <summary>Attempts handed to a tool so far.</summary>
    public int ToolCalls => Volatile.Read(ref _toolCalls);

    /// <summary>Attempts after an action's first, so far.</summary>
    public int Retries => Volatile.Read(ref _retries);

    /// <summary>Tries until it succeeds, the attempts are used up, or nobody waits any more.</summary>
    public async ValueTask<ToolOutcome> RunAsync(AgentAction action)
    {
        for (ulong attempt = 1; ; attempt++)
        {
            ToolOutcome outcome = await AttemptAsync(action, attempt);
            if (outcome.End == ToolEnd.Succeeded || attempt == action.Attempts || abandoned.IsCancellationRequested) return outcome;

            Interlocked.Increment(ref _retries);
            runtime.Events.Log(EventKind.ActionRetrying, action.Id, proposalId,
                new("tool", action.Tool), new("attempt", (long)attempt + 1), new("error", outcome.Error));
            try
            {
                await Task.Delay(EngineLimits.Backoff(attempt), runtime.Clock, abandoned);
            }
            catch (OperationCanceledException)
            {
                return outcome;
            }
        }
    }

    private ValueTask<ToolOutcome> AttemptAsync(AgentAction action, ulong attempt) => action.Type switch
    {
        ActionType.ToolCall => CallToolAsync(action, attempt),
        ActionType.StateRead => new ValueTask<ToolOutcome>(ToolOutcome.Succeeded(Read(action.Operands.Key!))),
        ActionType.Assertion => new ValueTask<ToolOutcome>(Assert(action.Operands)),
        // The write itself is an effect, and effects are applied together at the end.
        _ => new ValueTask<ToolOutcome>(ToolOutcome.Succeeded(RawJson.Null)),
    };

    private RawJson Read(string key) => runtime.State.TryGet(tenant, key, out RawJson value) ? value : RawJson.Null;

    private ToolOutcome Assert(StateOperands operands) => Conditions.Problem(operands.Key!, operands.Operator, operands.Value) is { } problem
        ? ToolOutcome.Failed($"assertion failed: state['{operands.Key}'] {operands.Operator}: {problem}")
        : ToolOutcome.Succeeded(RawJson.Null);

    /// <summary>One attempt in the order of protocol 7.4: what is remembered, then a token of the rate limit, then whoever runs the tool.</summary>
    private async ValueTask<ToolOutcome> CallToolAsync(AgentAction action, ulong attempt)
    {
        RegisteredTool? tool = runtime.Tools.Find(action.Tool!);
        OutputCache.Key? key = OutputCache.Key.OfResult(action, tenant, tool);
        if (key is { } known && runtime.Results.TryGet(known, out RawJson remembered)) return ToolOutcome.Succeeded(remembered);
        if (tool?.Limit is { } limit && await AwaitTokenAsync(limit, action.Tool!) is { } refused) return refused;

        long forgotten = runtime.Results.Forgotten;
        ToolOutcome outcome = await DispatchAsync(action, attempt);
        if (BasicTools.Changes(action.Tool!)) runtime.Results.Forget(static entry => BasicTools.IsOne(entry.Key.Tool));   // what was read of the file is not what is there now
        if (outcome.End != ToolEnd.Succeeded) return outcome;
        if (tool is { ChecksOutput: true } && await OutputProblemAsync(tool, outcome.Output) is { } problem) return ToolOutcome.Failed(problem);
        if (key is { } fresh) runtime.Results.Keep(fresh, outcome.Output, forgotten: forgotten);
        return outcome;
    }

    /// <summary>Whether an action's error says that its tool was not called for want of a token, as far as its words tell.</summary>
    internal static bool IsUncalled(string error) => error.StartsWith("tool '", StringComparison.Ordinal)
        && (error.EndsWith(TooManyWait, StringComparison.Ordinal) || error.EndsWith(LeftWaiting, StringComparison.Ordinal));

    private const string TooManyWait = " calls wait for its rate limit already";
    private const string LeftWaiting = "' was not called: the request was abandoned while it waited for the rate limit";

    /// <summary>Null once the call may go out. The attempt's own time has not begun before.</summary>
    private async ValueTask<ToolOutcome?> AwaitTokenAsync(TokenBucket limit, string tool)
    {
        try
        {
            return await limit.TakeAsync(abandoned) ? null : ToolOutcome.Failed($"tool '{tool}': {TokenBucket.MaxWaiting}{TooManyWait}");
        }
        catch (OperationCanceledException)
        {
            return ToolOutcome.Abandoned($"tool '{tool}{LeftWaiting}");
        }
    }

    /// <summary>What may take long is not looked through on the read loop that brought it.</summary>
    private static ValueTask<string?> OutputProblemAsync(RegisteredTool tool, RawJson output) => output.Utf8.Length <= EngineLimits.MaxInlineStateBytes && tool.ChecksOutputSoon
        ? new ValueTask<string?>(tool.OutputProblem(output))
        : new ValueTask<string?>(Task.Run(() => tool.OutputProblem(output)));

    private async ValueTask<ToolOutcome> DispatchAsync(AgentAction action, ulong attempt)
    {
        Interlocked.Increment(ref _toolCalls);
        // Whoever looks at the journal while the tool runs should see that it runs.
        runtime.Events.Flush();
        var call = new ToolCall
        {
            ActionId = action.Id,
            Tool = action.Tool!,
            Parameters = action.Parameters,
            TimeoutMs = action.TimeoutMs,
            Attempt = (uint)Math.Min(attempt, uint.MaxValue),
            Mode = action.InvocationMode,
        };
        return action.TimeoutMs is { } ms ? await CallWithTimerAsync(call, ms) : await runtime.Executor.ExecuteAsync(call, abandoned);
    }

    /// <summary>The attempt's own timer: it ends the call, and gives the failure its text.</summary>
    private async ValueTask<ToolOutcome> CallWithTimerAsync(ToolCall call, ulong ms)
    {
        string timedOut = $"action timed out after {ms}ms";
        using var timer = new CancellationTokenSource(EngineLimits.TimerSpan(ms), runtime.Clock);
        using CancellationTokenRegistration link = abandoned.UnsafeRegister(static state => ((CancellationTokenSource)state!).Cancel(), timer);
        ToolCall timed = call with { AbandonReason = () => abandoned.IsCancellationRequested ? call.AbandonReason() : timedOut };
        ToolOutcome outcome = await runtime.Executor.ExecuteAsync(timed, timer.Token);
        return outcome.End == ToolEnd.Abandoned && !abandoned.IsCancellationRequested ? ToolOutcome.Failed(timedOut) : outcome;
    }
}

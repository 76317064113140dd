using CarServer.State.Sessions;

namespace CarServer.State.Engine.Tools;

/// <summary>Runs tools by asking the session's own client: <c>tools.execute</c>, and <c>tools.cancel</c> for a call given up (protocol 4).</summary>
/// <param name="toolTimeout">The text of <c>CAR_TOOL_TIMEOUT</c>, asked at every call without a timeout of its own.</param>
internal sealed class ClientToolExecutor(IClientChannel channel, Func<string?> toolTimeout) : IToolExecutor
{
    public async Task<ToolOutcome> ExecuteAsync(ToolCall call, CancellationToken abandoned)
    {
        if (call.Mode != InvocationMode.OneShot)
            return ToolOutcome.Failed($"tool '{call.Tool}' does not support streaming/long-running invocation");
        if (abandoned.IsCancellationRequested) return ToolOutcome.Abandoned(AbandonedText(call));

        ulong budget = ToolBudget.Milliseconds(call.TimeoutMs, call.TimeoutMs is null ? toolTimeout() : null);
        string requestId = channel.NextCallbackId();
        var parameters = new ToolExecuteParams(call.ActionId, call.Tool, call.Parameters, call.TimeoutMs, call.Attempt, requestId);
        CallbackReply reply = await channel.CallAsync(requestId, "tools.execute", parameters, Json.ToolExecuteParams,
            EngineLimits.TimerSpan(budget), abandoned);

        switch (reply.End)
        {
            case CallbackEnd.Replied:
                return ToolOutcome.Succeeded(reply.Result);
            case CallbackEnd.Refused:
                return ToolOutcome.Failed(reply.Error ?? $"tool '{call.Tool}' failed without a message");
            case CallbackEnd.NotSent:
                return ToolOutcome.Failed($"failed to send tool callback: {reply.Error}");
            case CallbackEnd.TimedOut:
                string late = $"tool '{call.Tool}' callback timed out ({budget / 1_000}s)";
                Cancel(call, requestId, late);
                return ToolOutcome.Failed(late);
            case CallbackEnd.Abandoned when !channel.IsClosed:
                Cancel(call, requestId, call.AbandonReason());
                return ToolOutcome.Abandoned(AbandonedText(call));
            default:
                return ToolOutcome.Failed($"tool '{call.Tool}' callback channel closed");
        }
    }

    /// <summary>Tells the client that nobody waits for its answer. At most once per callback: a callback ends once.</summary>
    private void Cancel(ToolCall call, string requestId, string reason) =>
        channel.Notify("tools.cancel", new ToolCancelParams(requestId, call.ActionId, reason), Json.ToolCancelParams);

    private static string AbandonedText(ToolCall call) => $"tool '{call.Tool}' callback abandoned: {call.AbandonReason()}";
}

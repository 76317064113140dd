using System.Text.RegularExpressions;
using CarServer.RunStore;
using CarServer.State.Engine.Tools;

namespace CarServer.State.Engine.Basics;

/// <summary>The end of the dispatch order (protocol 7.4): the session's own executor, then the basics for what it says is unknown to it, then nobody.</summary>
/// <param name="client">Asked first, about the basics too.</param>
/// <param name="turns">Of all sessions; see <see cref="BasicLimits.MaxRunning"/>.</param>
internal sealed class BasicsExecutor(IToolExecutor client, Workspace workspace, SemaphoreSlim turns, TimeProvider clock) : IToolExecutor
{
    public async Task<ToolOutcome> ExecuteAsync(ToolCall call, CancellationToken abandoned)
    {
        ToolOutcome outcome = await client.ExecuteAsync(call, abandoned);
        if (outcome.End != ToolEnd.Failed || !outcome.Error!.StartsWith("unknown tool", StringComparison.Ordinal)) return outcome;
        return BasicTools.IsOne(call.Tool) ? await RunAsync(call, abandoned) : ToolOutcome.Failed($"no handler for tool '{call.Tool}'");
    }

    private async Task<ToolOutcome> RunAsync(ToolCall call, CancellationToken abandoned)
    {
        try
        {
            await turns.WaitAsync(abandoned);
            try
            {
                // Files may be on a slow disk, and a walk takes seconds: neither is for a read loop.
                return ToolOutcome.Succeeded(await Task.Run(() => BasicTools.Run(call.Tool, call.Parameters, workspace, clock, abandoned), abandoned));
            }
            finally
            {
                turns.Release();
            }
        }
        catch (OperationCanceledException)
        {
            return ToolOutcome.Abandoned($"tool '{call.Tool}' was given up: {call.AbandonReason()}");
        }
        catch (RegexMatchTimeoutException)
        {
            return ToolOutcome.Failed($"{call.Tool}: the pattern takes too long to be matched");
        }
        catch (Exception e) when (e is BasicException or IOException or UnauthorizedAccessException)
        {
            return ToolOutcome.Failed($"{call.Tool}: {(e is BasicException ? e.Message : PrivateFiles.Reason(e))}");
        }
    }
}

using System.Text.Json;
using CarServer.Rpc.JsonRpc;
using CarServer.RunStore;
using CarServer.RunStore.Contracts;
using CarServer.State.Engine;
using CarServer.State.Engine.Tools;
using CarServer.State.Sessions;

namespace CarServer.Rpc.Methods;

/// <summary><c>replan.set_config</c>, and the question that follows an abort (protocol 10.6).</summary>
internal static class ReplanMethods
{
    public static readonly Method[] Rows =
    [
        Method.Row("replan.set_config", "{ max_replans?, delay_ms?, verify_before_execute?, replan_on_rejected? }",
            "Whether a proposal that is aborted is followed by another one, which the client is asked for with `replan.propose`.",
            Json.ReplanConfig, Scalar.Raw, SetConfig),
    ];

    private static RawJson SetConfig(Call call, ReplanConfig config)
    {
        config.Check();
        call.Session.Runtime.Replan(config, new ClientPlanner(call.Session.Channel));
        return RawJson.Null;
    }
}

/// <summary>Asks the session's own client for another plan: <c>replan.propose</c>, which it answers with a proposal, or with null when it has none.</summary>
internal sealed class ClientPlanner(IClientChannel channel) : IPlanner
{
    public async Task<PlannerAnswer> ProposeAsync(PlannerQuestion question, CancellationToken abandoned)
    {
        string requestId = channel.NextCallbackId();
        CallbackReply reply = await channel.CallAsync(requestId, "replan.propose",
            new ReplanProposeParams(question.Proposal, question.Results, question.Attempt, question.Reason, requestId),
            Json.ReplanProposeParams, TimeSpan.FromMilliseconds(EngineLimits.PlannerMs), abandoned);
        switch (reply.End)
        {
            case CallbackEnd.Replied when reply.Result.IsNull:
                return new PlannerAnswer(null, "the planner has no other proposal", IsLast: true);
            case CallbackEnd.Replied:
                return Read(reply);
            case CallbackEnd.Refused when reply.Code == (int)RpcErrorCode.MethodNotFound:
                return new PlannerAnswer(null, "the client has no planner", IsLast: true);
            case CallbackEnd.Refused:
                return new PlannerAnswer(null, $"the planner failed: {reply.Error}");
            case CallbackEnd.TimedOut:
                string late = $"the planner did not answer within {EngineLimits.PlannerMs / 1_000}s";
                Cancel(requestId, late);
                return new PlannerAnswer(null, late);
            case CallbackEnd.Abandoned when !channel.IsClosed:
                Cancel(requestId, "the request was abandoned");
                return new PlannerAnswer(null, "the request was abandoned", IsLast: true);
            default:
                return new PlannerAnswer(null, "the planner's connection is closed", IsLast: true);
        }
    }

    private static PlannerAnswer Read(CallbackReply reply)
    {
        try
        {
            return new PlannerAnswer(Json.ActionProposal.Parse(reply.Result.Utf8));
        }
        catch (JsonException wrong)
        {
            return new PlannerAnswer(null, $"the planner's answer is no proposal: wrong or unexpected value at {wrong.Path ?? "$"}");
        }
    }

    private void Cancel(string requestId, string reason) =>
        channel.Notify("tools.cancel", new ToolCancelParams(requestId, "", reason), Json.ToolCancelParams);
}

/// <param name="Proposal">The one that was aborted, as it was understood.</param>
/// <param name="Reason">What aborted it, or what was wrong with the last answer.</param>
/// <param name="RequestId">The request's own id once more, as in <c>tools.execute</c>.</param>
[ToJson]
internal sealed record ReplanProposeParams(ActionProposal Proposal, IReadOnlyList<ActionResult> Results, uint Attempt, string Reason, string RequestId);

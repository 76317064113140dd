using System.Text.Json.Serialization;
using CarServer.Rpc.JsonRpc;
using CarServer.RunStore;
using CarServer.RunStore.Contracts;
using CarServer.State;
using CarServer.State.Permissions;

namespace CarServer.Rpc.Methods;

/// <summary><c>agent_permissions.*</c>: how much each agent is trusted (protocol 12.1).</summary>
internal static class AgentPermissionMethods
{
    public static readonly Method[] Rows =
    [
        Method.Waiting("agent_permissions.get", "{}", "The default posture, and what agents have of their own.",
            Json.NoParams, Json.AgentPostures, static (call, _) => Task.Run(call.State.AgentPermissions.Read)),
        Method.Waiting("agent_permissions.set", "{ agent_id, mode, tier? }", "Sets an agent's mode, `always_allow`, `require_approval` or `deny`, for a tier or for all.",
            Json.AgentSetParams, Json.AgentPostures.Encoded(),
            static (call, p) => Task.Run(() => call.State.AgentPermissions.Set(p.AgentId, p.Tier is { } tier ? TierWord.Parse(tier) : null, p.Mode)), Access.Host),
        Method.Waiting("agent_permissions.set_default", "{ preset } or { tier, mode }", "Sets the posture of all others: `cautious`, `balanced`, `trusting`, or the mode of one tier.",
            Json.AgentDefaultParams, Json.AgentPostures.Encoded(), SetDefaultAsync, Access.Host),
        Method.Waiting("agent_permissions.reset", "{ agent_id }", "Has an agent follow the default again.",
            Json.AgentParams, Json.AgentPostures.Encoded(),
            static (call, p) => Task.Run(() => call.State.AgentPermissions.Reset(p.AgentId)), Access.Host),
        Method.Waiting("agent_permissions.evaluate", "{ agent_id, tier }", "The mode that holds for an agent and a tier.",
            Json.AgentEvaluateParams, Json.AgentEvaluateResult, EvaluateAsync),
    ];

    private static Task<RawJson> SetDefaultAsync(Call call, AgentDefaultParams p) => p switch
    {
        { Preset: { } preset, Tier: null, Mode: null } => Task.Run(() => call.State.AgentPermissions.SetDefault(preset)),
        { Preset: null, Tier: { } tier, Mode: { } mode } => Task.Run(() => call.State.AgentPermissions.SetDefault(TierWord.Parse(tier), mode)),
        _ => throw new RefusedException("agent_permissions.set_default requires { preset } or { tier, mode }", Refusal.Invalid),
    };

    private static Task<AgentEvaluateResult> EvaluateAsync(Call call, AgentEvaluateParams p) => Task.Run(() =>
    {
        AgentPostures postures = call.State.AgentPermissions.Read();
        PermissionTier tier = TierWord.Parse(p.Tier);
        string? own = postures.Agents.GetValueOrDefault(p.AgentId)?.Mode(tier);
        return new AgentEvaluateResult(p.AgentId, p.Tier, own ?? postures.Default.Mode(tier), own is not null);
    });
}

[FromJson]
internal sealed record AgentParams(string AgentId);

[FromJson]
internal sealed record AgentSetParams(
    string AgentId, [property: JsonConverter(typeof(ModeWord))] string Mode, [property: JsonConverter(typeof(TierWord))] string? Tier = null);

[FromJson]
internal sealed record AgentDefaultParams(
    [property: JsonConverter(typeof(PresetWord))] string? Preset = null, [property: JsonConverter(typeof(TierWord))] string? Tier = null,
    [property: JsonConverter(typeof(ModeWord))] string? Mode = null);

[FromJson]
internal sealed record AgentEvaluateParams(string AgentId, [property: JsonConverter(typeof(TierWord))] string Tier);

/// <param name="HasOverride">The mode is the agent's own for this tier.</param>
[ToJson]
internal sealed record AgentEvaluateResult(
    string AgentId, [property: JsonConverter(typeof(TierWord))] string Tier, [property: JsonConverter(typeof(ModeWord))] string Mode, bool HasOverride);

using System.Text.Json;
using System.Text.Json.Serialization;
using CarServer.RunStore;
using CarServer.RunStore.Contracts;
using CarServer.State.Engine;
using CarServer.State.Engine.Policies;
using CarServer.State.Permissions;

namespace CarServer.State.Supervision;

/// <summary>What a supervisor sees of a proposal: whose it is and what it would do, but no value that it carries (protocol 10.5).</summary>
/// <param name="SessionId">Of the policy session it came in.</param>
/// <param name="ClientId">Of the connection it came on.</param>
/// <param name="Reversibility">The worst of its actions.</param>
[ToJson]
internal sealed record Intent(
    string Id, string ProposalId, string Source,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? SessionId,
    string ClientId,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] IntentScope? Scope,
    Reversibility Reversibility, DateTime CreatedAt, IReadOnlyList<IntentAction> Actions)
{
    /// <summary>What an action takes beside its names: its digest, its words, the members' names.</summary>
    private const int ActionChars = 200;

    /// <summary>Null when it would be longer than <see cref="SupervisionLimits.MaxIntentChars"/>.</summary>
    public static Intent? Of(AdmissionRequest request, string clientId, ActionRisk[] risks, DateTime now)
    {
        ActionProposal proposal = request.Proposal;
        int room = SupervisionLimits.MaxIntentChars - proposal.Source.Length - (request.Caller?.Length ?? 0) - (request.Tenant?.Length ?? 0);
        var actions = new IntentAction[risks.Length];
        for (int i = 0; i < actions.Length && room >= 0; i++)
        {
            AgentAction action = proposal.Actions[i];
            List<string> keys = Keys(action.Parameters, ref room);
            room -= ActionChars + action.Id.Length + (action.Tool?.Length ?? 0);
            if (room < 0) break;
            actions[i] = new IntentAction(action.Id, action.Type, action.Tool, risks[i].Reversibility, keys, Fingerprint.Of(action.Parameters));
        }
        if (room < 0) return null;
        IntentScope? scope = request.Caller is null && request.Tenant is null ? null : new IntentScope(request.Caller, request.Tenant);
        return new Intent($"intent-{ActionProposal.NewId()}", proposal.Id, proposal.Source, request.SessionId, clientId, scope, Worst(risks), now, actions);
    }

    public static Reversibility Worst(ActionRisk[] risks)
    {
        var worst = Reversibility.Reversible;
        foreach (ActionRisk risk in risks)
            if (risk.Reversibility > worst) worst = risk.Reversibility;
        return worst;
    }

    private static List<string> Keys(RawJson parameters, ref int room)
    {
        var keys = new List<string>();
        Utf8JsonReader reader = parameters.Reader();
        while (room >= 0 && reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string key = ParameterTexts.Decoded(reader);
            room -= key.Length;
            keys.Add(key);
            reader.Read();
            reader.Skip();
        }
        return keys;
    }
}

/// <param name="ParametersDigest">SHA-256 of the parameters with sorted members: two actions with one digest carry the same.</param>
internal sealed record IntentAction(
    string Id, ActionType ActionType,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Tool,
    Reversibility Reversibility, IReadOnlyList<string> ParameterKeys, string ParametersDigest);

/// <summary>The proposal's scope, without its claims: those are values. Spelled as in <c>proposal.submit</c>.</summary>
internal sealed record IntentScope(
    [property: JsonPropertyName("callerId"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? CallerId,
    [property: JsonPropertyName("tenantId"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? TenantId);

/// <param name="Intents">Oldest first.</param>
[ToJson]
internal sealed record PendingIntents(IReadOnlyList<Intent> Intents);

using System.Diagnostics.CodeAnalysis;
using System.Text.Json;
using System.Text.Json.Serialization;
using CarServer.RunStore;
using CarServer.RunStore.Contracts;

namespace CarServer.State.Engine;

/// <summary>A plan to run: some actions, and where they came from (protocol 10.1). Unknown fields are carried.</summary>
/// <remarks>
/// Properties have setters, so that what was left out keeps its default: a contract sets what it reads. Nobody sets them after that.
/// </remarks>
[FromJson]
internal sealed record ActionProposal
{
    /// <summary>Twelve hex digits when the client gave none.</summary>
    [AllowNull]
    public string Id { get => field ??= NewId(); set; }

    [AllowNull]
    public string Source { get => field ?? "unknown"; set; }

    /// <summary>When the client says it made the proposal; carried, never interpreted. Null: now.</summary>
    public string? Timestamp { get; set; }

    /// <summary>In the order that results have, too. May be empty, may not be left out.</summary>
    [JsonRequired]
    public List<AgentAction> Actions { get; set; } = [];

    /// <summary>Logged with <c>proposal_received</c>, not interpreted.</summary>
    public RawJson Context { get; set; }

    /// <summary>What the client sent and we do not know; shown wherever the proposal is.</summary>
    [JsonExtensionData]
    public Dictionary<string, JsonElement>? Unknown { get; set; }

    /// <summary>The id of a proposal or action that came without one.</summary>
    internal static string NewId() => Guid.NewGuid().ToString("n")[..12];

    /// <summary>Refuses what cannot be run as a whole; whatever concerns one action only becomes that action's result instead.</summary>
    /// <exception cref="RefusedException">Too many actions, an id twice or too long, a <c>null</c> where a value belongs.</exception>
    public void Check() => Check(idsMayRepeat: false);

    /// <param name="idsMayRepeat">For who reports that in a way of its own.</param>
    internal void Check(bool idsMayRepeat)
    {
        if (Actions.Count > EngineLimits.MaxActions) throw Invalid($"a proposal may have at most {EngineLimits.MaxActions} actions, got {Actions.Count}");
        if (Id.Length > EngineLimits.MaxIdChars) throw Invalid($"proposal id is longer than {EngineLimits.MaxIdChars} characters");
        HashSet<string>? ids = idsMayRepeat ? null : new HashSet<string>(Actions.Count, StringComparer.Ordinal);
        for (int i = 0; i < Actions.Count; i++)
        {
            if (Actions[i] is not { } action) throw Invalid($"actions[{i}] is null");
            if (action.Id.Length > EngineLimits.MaxIdChars) throw Invalid($"id of actions[{i}] is longer than {EngineLimits.MaxIdChars} characters");
            if (ids?.Add(action.Id) == false) throw Invalid($"duplicate action id '{action.Id}'");
            if (action.Problem() is { } problem) throw Invalid($"actions[{i}]: {problem}");
        }
    }

    private static RefusedException Invalid(string message) => new(message, Refusal.Invalid);
}

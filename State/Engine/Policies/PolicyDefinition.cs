using CarServer.RunStore;
using CarServer.RunStore.Contracts;

namespace CarServer.State.Engine.Policies;

/// <summary>A policy as a client describes it (protocol 8.2). What a rule does not need is not looked at.</summary>
/// <param name="Value">Any JSON, <c>null</c> too; left out is something else.</param>
/// <param name="SessionId">From <c>session.policy.open</c>; null for the connection's own, global scope.</param>
[FromJson]
internal sealed record PolicyDefinition(
    string Name, string Rule, string? Target = null, string? Key = null, string? Pattern = null, RawJson Value = default, string? SessionId = null);

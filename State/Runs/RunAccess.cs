using CarServer.State.Auth;
using CarServer.State.Sessions;

namespace CarServer.State.Runs;

/// <summary>Who may do what with a run (protocol 13.10).</summary>
internal static class RunAccess
{
    /// <summary>List, read and subscribe: the agent itself and the host. Without auth every local caller is the user, who may read all.</summary>
    public static bool MayRead(ClientSession session, string agentId, AuthState auth) =>
        !auth.IsEnabled || session.IsHost || session.AgentId == agentId;

    /// <summary>Whose runs a caller's estimates rest on: its own agent's; without one, all that it may read.</summary>
    /// <param name="agentId">Null for every agent.</param>
    /// <returns>False when it may read nobody's.</returns>
    public static bool TryScope(ClientSession session, AuthState auth, out string? agentId)
    {
        agentId = session.AgentId;
        return agentId is not null || session.IsHost || !auth.IsEnabled;
    }

    /// <summary>End it: the agent itself, and the connection that started it (protocol 13.5).</summary>
    public static bool MayComplete(ClientSession session, Run run) =>
        session.AgentId == run.AgentId || session.ClientId == run.ClientId;

    /// <summary>Record turns outside of a proposal: the agent itself. Without auth also the connection that started the run.</summary>
    public static bool MayRecord(ClientSession session, Run run, AuthState auth) =>
        session.AgentId == run.AgentId || (!auth.IsEnabled && session.ClientId == run.ClientId);
}

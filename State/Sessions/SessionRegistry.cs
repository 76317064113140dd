using System.Collections.Concurrent;
using System.Globalization;
using CarServer.State.Engine.Policies;
using Microsoft.Extensions.Logging;

namespace CarServer.State.Sessions;

/// <summary>The connections that are open, and their farewell.</summary>
internal sealed class SessionRegistry(ServerState state)
{
    private readonly ConcurrentDictionary<string, ClientSession> _sessions = new();

    public int Count => _sessions.Count;

    public IEnumerable<ClientSession> All => _sessions.Values;

    public bool IsOpen(string clientId) => _sessions.ContainsKey(clientId);

    /// <exception cref="RefusedException">The operator's policies cannot be read: nobody gets in without them.</exception>
    public ClientSession Open(IClientChannel channel)
    {
        IReadOnlyList<Policy> operators = state.PolicyFiles.Current();
        while (true)
        {
            string id = Guid.NewGuid().ToString("N", CultureInfo.InvariantCulture)[..12];
            var session = new ClientSession(id, channel, state) { OperatorPolicies = operators };
            if (_sessions.TryAdd(id, session)) return session;
        }
    }

    /// <summary>The farewell of protocol 3.2, in its order; only the last step takes time.</summary>
    public void Close(ClientSession session)
    {
        if (!_sessions.TryRemove(session.ClientId, out _)) return;
        state.Auth.Detach(session);   // before anything that runs others' code: the agent must be free whatever that does
        try
        {
            session.MarkClosed();
        }
        finally
        {
            state.Supervision.Unsubscribe(session);   // last: who subscribes meanwhile looks at the mark
        }
        _ = SweepAsync(session);
    }

    private async Task SweepAsync(ClientSession session)
    {
        try
        {
            await state.Runs.SweepForDisconnectAsync(session.ClientId);
        }
        catch (Exception e)
        {
            state.Log.LogError(e, "farewell failed client={Client}", session.ClientId);
        }
    }
}

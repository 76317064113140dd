using System.Security.Cryptography;
using System.Text;
using CarServer.State.Sessions;

namespace CarServer.State.Auth;

/// <summary>Who supervises agents, and so knows their tokens.</summary>
internal interface IAgentTokens
{
    /// <summary>Null: no such agent is supervised. Else whether the token is its own, compared in constant time.</summary>
    bool? Matches(string agentId, string token);
}

/// <summary>The tokens of this launch, and which agent is attached on which connection (protocol 6).</summary>
internal sealed class AuthState
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, string> _attached = [];   // agent id -> client id
    private string? _authToken;
    private string? _hostToken;

    /// <summary>True once an auth token is installed.</summary>
    public bool IsEnabled => _authToken is not null;

    public bool HasHostToken => _hostToken is not null;

    /// <summary>Installed by the supervisor; until then no agent is supervised.</summary>
    public IAgentTokens? Agents { get; set; }

    /// <summary>Every connection has to present this from now on. Write-once.</summary>
    /// <returns>Null; or the rejected token when one was installed before.</returns>
    public string? InstallAuthToken(string token) => Interlocked.CompareExchange(ref _authToken, token, null) is null ? null : token;

    /// <inheritdoc cref="InstallAuthToken"/>
    public string? InstallHostToken(string token) => Interlocked.CompareExchange(ref _hostToken, token, null) is null ? null : token;

    public bool IsAuthToken(string? token) => Same(token, _authToken);
    public bool IsHostToken(string? token) => Same(token, _hostToken);

    /// <summary>Binds a connection to an agent: one live connection an agent.</summary>
    /// <exception cref="RefusedException">The agent is attached elsewhere, or this connection speaks for another one.</exception>
    public void Attach(ClientSession session, string agentId)
    {
        lock (_gate)
        {
            if (session.AgentId is { } bound && bound != agentId)
                throw new RefusedException($"auth failed: this connection is bound to agent '{bound}'");
            if (_attached.TryGetValue(agentId, out string? holder) && holder != session.ClientId)
                throw new RefusedException($"auth failed: agent '{agentId}' is already attached on another connection");
            _attached[agentId] = session.ClientId;
            session.AgentId = agentId;
        }
    }

    /// <summary>Frees the agent for its next connection, unless that one has it already.</summary>
    public void Detach(ClientSession session)
    {
        if (session.AgentId is not { } agentId) return;
        lock (_gate)
        {
            if (_attached.GetValueOrDefault(agentId) == session.ClientId) _attached.Remove(agentId);
        }
    }

    private static bool Same(string? given, string? installed) =>
        given is not null && installed is not null
        && CryptographicOperations.FixedTimeEquals(Encoding.UTF8.GetBytes(given), Encoding.UTF8.GetBytes(installed));
}

using CarServer.State.Engine;
using CarServer.State.Engine.Policies;
using CarServer.State.Permissions;
using CarServer.State.Runs;

namespace CarServer.State.Sessions;

/// <summary>What the daemon knows about one connection. Dies with the socket (protocol 3.1).</summary>
/// <remarks>Kept small: ten thousand idle connections are ten thousand of these. What a connection may never use is made on first use.</remarks>
internal sealed class ClientSession(string clientId, IClientChannel channel, ServerState state)
{
    private CancellationTokenSource? _closing;
    private volatile bool _isClosed;
    private Runtime? _runtime;
    private SemaphoreSlim? _streamTurn;
    private RunSubscriptions? _subscriptions;

    /// <summary>Twelve lowercase hex digits, chosen by the daemon, never reused.</summary>
    public string ClientId { get; } = clientId;

    public IClientChannel Channel { get; } = channel;

    /// <summary>The operator's policies as they were when the connection came; shared with all that came under the same.</summary>
    public IReadOnlyList<Policy> OperatorPolicies { get; init; } = [];

    /// <summary>Set by a successful <c>session.auth</c>. Meaningless while no auth token is installed: then everybody is authenticated.</summary>
    public volatile bool Authenticated;

    /// <summary>Has presented the host token. Nothing else gives this role.</summary>
    public volatile bool IsHost;

    /// <summary>Has agreed on a protocol version through <c>server.handshake</c>.</summary>
    public volatile bool Negotiated;

    /// <summary>The agent this connection speaks for, once bound by <c>session.auth</c>.</summary>
    public volatile string? AgentId;

    /// <summary>What its actions may do without anybody being asked (protocol 12.1).</summary>
    public volatile PermissionTier GrantedTier = PermissionTier.SandboxEdit;

    /// <summary>Names with room to spare; the encoded form becomes a file's name.</summary>
    public const int MaxMemoryNamespaceLength = 64;

    /// <summary>The memory this connection asked for in <c>session.auth</c>; null for its own.</summary>
    public volatile string? MemoryNamespace;

    /// <summary>The run that <c>runs.start</c> opened here and <c>runs.complete</c> has not closed yet.</summary>
    public volatile string? CurrentRunId;

    /// <summary>Set as the first step of the farewell; ends whatever waits on this client.</summary>
    public CancellationToken Closed
    {
        get
        {
            if (_closing is null) Interlocked.CompareExchange(ref _closing, new CancellationTokenSource(), null);
            if (_isClosed) _closing.Cancel();
            return _closing.Token;
        }
    }

    /// <summary>State store, tools and events of this connection; made on first use.</summary>
    public Runtime Runtime
    {
        get
        {
            if (_runtime is { } made) return made;
            Interlocked.CompareExchange(ref _runtime, state.NewRuntime(this), null);
            return _runtime;
        }
    }

    /// <summary>The runs this connection follows; made on first use.</summary>
    public RunSubscriptions Subscriptions
    {
        get
        {
            if (_subscriptions is null) Interlocked.CompareExchange(ref _subscriptions, new RunSubscriptions(Channel, state.Clock, state.Log), null);
            if (_isClosed) _subscriptions.CloseAll();
            return _subscriptions;
        }
    }

    /// <summary>Held by the one long answer that this client is being sent; made on first use.</summary>
    public SemaphoreSlim StreamTurn
    {
        get
        {
            if (_streamTurn is null) Interlocked.CompareExchange(ref _streamTurn, new SemaphoreSlim(1), null);
            return _streamTurn;
        }
    }

    /// <summary>Octets of state that go with this session.</summary>
    public long StateBytes => _runtime?.State.Bytes ?? 0;

    internal void MarkClosed()
    {
        _isClosed = true;
        // Against Closed and Subscriptions, which make the object and then look at the flag: one of the two has to see what the other wrote.
        Interlocked.MemoryBarrier();
        _closing?.Cancel();
        _subscriptions?.CloseAll();
    }
}

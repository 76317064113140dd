using CarServer.State;
using CarServer.State.Sessions;
using Microsoft.Extensions.Logging;

namespace CarServer.Rpc.JsonRpc;

/// <summary>What all connections share to serve requests: the methods, the state, and the rules of the house.</summary>
internal sealed class Dispatcher(ServerState state, MethodTable methods, ILogger log)
{
    private int _inFlight;

    /// <summary>Handlers that wait, on all connections.</summary>
    public int InFlight => Volatile.Read(ref _inFlight);

    public ServerState State { get; } = state;
    public ILogger Log => log;
    public MethodTable Methods { get; } = methods;

    public required int MaxMessageBytes { get; init; }

    /// <summary>How long a handler that waits may take; a method may ask for more (protocol 5).</summary>
    public required TimeSpan HandlerTimeout { get; init; }

    /// <summary>Whether the methods of protocol 6.5 insist on <c>server.handshake</c>.</summary>
    public required bool RequireHandshake { get; init; }

    public void Begin() => Interlocked.Increment(ref _inFlight);
    public void End() => Interlocked.Decrement(ref _inFlight);

    /// <summary>What the caller is told about a failure. A defect is logged whole and told as nothing but that.</summary>
    public (RpcErrorCode Code, string Message) Explain(Exception e, Method method, ClientSession session)
    {
        switch (e)
        {
            case RpcException rpc:
                return (rpc.Code, rpc.Message);
            case RefusedException refused:
                RpcException told = RpcException.From(refused);
                return (told.Code, told.Message);
            case OperationCanceledException when session.Closed.IsCancellationRequested:
                return (RpcErrorCode.InternalError, "connection is closed");
            default:
                log.LogError(e, "handler failed method={Method} client={Client}", method.Name, session.ClientId);
                return (RpcErrorCode.InternalError, "internal error; the daemon's log has the details");
        }
    }
}

namespace CarServer.Rpc.Client;

/// <summary>The peer answered with an error. Thrown by a handler of server-initiated requests, it becomes the error reply.</summary>
internal sealed class RpcErrorException(int code, string message) : Exception(message)
{
    /// <summary>What clients answer when they reject a callback (protocol 2.1).</summary>
    public const int Rejected = -32000;

    public int Code { get; } = code;
}

/// <summary>No connection, or no longer: the message says why in words for the person at the terminal.</summary>
internal sealed class RpcConnectionException(string message) : Exception(message);

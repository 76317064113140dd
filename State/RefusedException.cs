namespace CarServer.State;

/// <summary>Why a capability said no; the wire turns it into an error code (<c>Rpc/JsonRpc/RpcError.cs</c>).</summary>
internal enum Refusal
{
    /// <summary>The request was understood and could not be done: <c>-32603</c>.</summary>
    Failed,
    /// <summary>The request itself is wrong: <c>-32602</c>.</summary>
    Invalid,
}

/// <summary>A failure the caller is meant to see, word for word. Anything else that is thrown is a defect and is never shown.</summary>
internal sealed class RefusedException(string message, Refusal refusal = Refusal.Failed) : Exception(message)
{
    public Refusal Refusal { get; } = refusal;
}

using CarServer.State;

namespace CarServer.Rpc.JsonRpc;

/// <summary>The error codes of the protocol (section 2.1), by what they mean for the caller.</summary>
internal enum RpcErrorCode
{
    /// <summary>Not JSON at all.</summary>
    ParseError = -32700,
    /// <summary>JSON, but no request, or one that passes a limit.</summary>
    InvalidRequest = -32600,
    MethodNotFound = -32601,
    InvalidParams = -32602,
    /// <summary>The handler said no, or failed in a way it did not foresee.</summary>
    InternalError = -32603,
    /// <summary>No successful <c>session.auth</c> yet. The connection closes after this reply.</summary>
    AuthRequired = -32001,
    ApprovalDenied = -32003,
    /// <summary>Outcome unknown: the work may have been done. Read before retrying.</summary>
    DeadlineExceeded = -32004,
    HandshakeRequired = -32005,
    VersionMismatch = -32006,
    /// <summary>The request was not started; it may be sent again when others have ended.</summary>
    TooManyInFlight = -32008,
}

/// <summary>A failure the caller is meant to see. Anything else a method throws is logged whole and answered as <see cref="RpcErrorCode.InternalError"/>.</summary>
internal sealed class RpcException(RpcErrorCode code, string message) : Exception(message)
{
    public RpcErrorCode Code { get; } = code;

    public static RpcException UnknownMethod(string method) => new(RpcErrorCode.MethodNotFound, $"unknown method: {method}");
    public static RpcException BadParams(string method, string shape, string? detail = null) =>
        new(RpcErrorCode.InvalidParams, detail is null ? $"{method} requires {shape}" : $"{method} requires {shape}: {detail}");
    public static RpcException From(RefusedException refused) =>
        new(refused.Refusal == Refusal.Invalid ? RpcErrorCode.InvalidParams : RpcErrorCode.InternalError, refused.Message);
}

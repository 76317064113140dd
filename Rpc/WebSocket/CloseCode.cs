namespace CarServer.Rpc.WebSocket;

/// <summary>RFC 6455, 7.4.1, and the registry kept under 11.7.</summary>
internal enum CloseCode : ushort
{
    Normal = 1000,
    GoingAway = 1001,
    ProtocolError = 1002,
    UnsupportedData = 1003,
    InvalidPayload = 1007,
    PolicyViolation = 1008,
    MessageTooBig = 1009,
    InternalError = 1011,
}

internal static class CloseCodes
{
    /// <summary>May this code stand in a close frame? 1004 to 1006 and 1015 may not, 1016 to 2999 are not assigned (7.4.2).</summary>
    public static bool MayBeSent(int code) => code is >= 1000 and <= 1003 or >= 1007 and <= 1014 or >= 3000 and <= 4999;
}

using CarServer.Rpc.Transport;
using CarServer.Rpc.WebSocket;
using Microsoft.Extensions.Logging;

namespace CarServer.Rpc.Http;

/// <summary>The opening handshake on the main port (RFC 6455, 4.2): an upgrade to WebSocket or a refusal that says what was missing.</summary>
/// <param name="begin">Starts the new connection with whoever takes its messages.</param>
internal sealed class Upgrade(Action<MessageConnection> begin, ILogger log) : IRequestHandler
{
    /// <summary>Set when the daemon stops: who is let in now would be told goodbye by nobody.</summary>
    public volatile bool Stopping;

    public byte[]? Respond(Connection connection, in RequestHead head)
    {
        if (Check(head) is { } refusal) return HttpResponse.Refuse(refusal);
        if (Stopping) return HttpResponse.Refuse(new HttpRefusal(503, "the daemon is stopping"));

        Span<byte> accept = stackalloc byte[Handshake.AcceptLength];
        Handshake.WriteAccept(head.WebSocketKey, accept);
        ReadOnlySpan<byte> start = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "u8;
        Span<byte> response = stackalloc byte[start.Length + accept.Length + 4];
        start.CopyTo(response);
        accept.CopyTo(response[start.Length..]);
        "\r\n\r\n"u8.CopyTo(response[^4..]);
        connection.Send(response);

        begin(new MessageConnection(connection, log));
        return null;
    }

    internal static HttpRefusal? Check(in RequestHead head)
    {
        if (!head.Method.SequenceEqual("GET"u8)) return new HttpRefusal(405, "a WebSocket handshake is a GET") { Headers = "Allow: GET\r\n" };
        if (!head.UpgradesToWebSocket || !head.ConnectionUpgrade)
            return new HttpRefusal(426, "this port speaks WebSocket (RFC 6455)") { Headers = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" };
        if (!head.WebSocketVersion.SequenceEqual("13"u8))
            return new HttpRefusal(426, "only Sec-WebSocket-Version 13 is spoken here") { Headers = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" };
        return Handshake.IsValidKey(head.WebSocketKey) ? null : new HttpRefusal(400, "Sec-WebSocket-Key must be the base64 of 16 bytes");
    }
}

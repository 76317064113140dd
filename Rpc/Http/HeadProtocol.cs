using System.Net;
using CarServer.Rpc.Transport;
using CarServer.Rpc.Transport.Native;
using Microsoft.Extensions.Logging;

namespace CarServer.Rpc.Http;

/// <summary>What becomes of a request whose head is read.</summary>
internal interface IRequestHandler
{
    /// <summary>Null: the handler has taken the connection over and may have been given octets that follow the head.</summary>
    byte[]? Respond(Connection connection, in RequestHead head, Span<byte> following);
}

/// <summary>Reads one request head, within limits and time, and hands it on. Lives only until then.</summary>
/// <param name="unix">True for the Unix socket.</param>
internal sealed class HeadProtocol(IRequestHandler handler, Admission admission, bool unix, bool unknownIsForeign, ILogger log) : IProtocol
{
    private GrowableBuffer _head;

    void IProtocol.OnBytes(Connection connection, Span<byte> bytes)
    {
        if (_head.IsEmpty)
        {
            Try(connection, bytes, keep: true);
            return;
        }
        _head.Append(bytes);
        Try(connection, _head.Bytes, keep: false);
    }

    void IProtocol.OnDeadline(Connection connection) => Answer(connection, HttpResponse.Refuse(new HttpRefusal(408, "request head did not arrive in time")), 408);

    void IProtocol.OnClosed(Connection connection, string reason) => _head.Free();

    private void Try(Connection connection, Span<byte> octets, bool keep)
    {
        if (!RequestHead.TryParse(octets, out RequestHead head, out HttpRefusal? refusal) && refusal is null)
        {
            if (keep) _head.Append(octets);
            return;
        }
        IPAddress? local = unix ? null : Posix.TcpEnds(connection.Descriptor)?.Local.Address ?? IPAddress.None;
        refusal ??= head.HasBody ? new HttpRefusal(413, "no request here has a body") : admission.Check(head, local);
        if (refusal is null && Admission.IsAnotherUser(connection.Descriptor, unix, unknownIsForeign))
            refusal = new HttpRefusal(403, "this daemon serves another user");
        if (refusal is not null)
        {
            Answer(connection, HttpResponse.Refuse(refusal), refusal.Status);
            return;
        }
        byte[]? response = handler.Respond(connection, head, octets[head.Length..]);
        if (response is not null) Answer(connection, response, 0);
        else _head.Free();
    }

    private void Answer(Connection connection, byte[] response, int refusedWith)
    {
        if (refusedWith != 0) log.LogInformation("request refused peer={Peer} status={Status}", connection.Peer, refusedWith);
        connection.Send(response);
        connection.CloseWhenFlushed();
    }
}

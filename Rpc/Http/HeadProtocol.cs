using System.Net;
using CarServer.Rpc.Transport;
using CarServer.Rpc.Transport.Native;
using Microsoft.Extensions.Logging;

namespace CarServer.Rpc.Http;

/// <summary>What becomes of a request whose head is read.</summary>
internal interface IRequestHandler
{
    /// <summary>Null: the handler has taken the connection over; what follows the head is for the protocol it switched to.</summary>
    byte[]? Respond(Connection connection, in RequestHead head);
}

/// <summary>Reads one request head, within limits and time, and hands it on. Lives only until then.</summary>
/// <param name="unix">True for the Unix socket.</param>
internal sealed class HeadProtocol(IRequestHandler handler, Admission admission, bool unix, bool unknownIsForeign, ILogger log) : IProtocol
{
    private GrowableBuffer _head;

    int IProtocol.OnBytes(Connection connection, Span<byte> bytes)
    {
        int before = _head.Length;
        if (before > 0) _head.Append(bytes);
        int head = Read(connection, before > 0 ? _head.Bytes : bytes);
        if (head == 0 && before == 0) _head.Append(bytes);
        if (head == 0) return bytes.Length;
        // A client may send its first frames right behind the head: they are for whoever took over.
        _head.Free();
        return head - before;
    }

    void IProtocol.OnDeadline(Connection connection) => Answer(connection, HttpResponse.Refuse(new HttpRefusal(408, "request head did not arrive in time")), 408);

    void IProtocol.OnClosed(Connection connection, string reason) => _head.Free();

    /// <summary>Answers the head at the front, and tells how long it is. 0: it is not whole yet.</summary>
    private int Read(Connection connection, ReadOnlySpan<byte> octets)
    {
        if (!RequestHead.TryParse(octets, out RequestHead head, out HttpRefusal? refusal) && refusal is null) return 0;
        (IPEndPoint Local, IPEndPoint Remote)? ends = unix ? null : Posix.TcpEnds(connection.Descriptor);
        IPAddress? local = unix ? null : ends?.Local.Address ?? IPAddress.None;
        refusal ??= head.HasBody ? new HttpRefusal(413, "no request here has a body") : admission.Check(head, local);
        if (refusal is null && (unix ? PeerUser.IsAnother(connection.Descriptor, unix, unknownIsForeign) : PeerUser.IsAnother(ends, unknownIsForeign)))
            refusal = new HttpRefusal(403, "this daemon serves another user");
        if (refusal is not null)
        {
            Answer(connection, HttpResponse.Refuse(refusal), refusal.Status);
            return octets.Length;
        }
        if (handler.Respond(connection, head) is { } response) Answer(connection, response, 0);
        return head.Length;
    }

    private void Answer(Connection connection, byte[] response, int refusedWith)
    {
        if (refusedWith != 0) log.LogInformation("request refused peer={Peer} status={Status}", connection.Peer, refusedWith);
        connection.Send(response);
        connection.CloseWhenFlushed();
    }
}

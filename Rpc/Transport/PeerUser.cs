using System.Net;
using CarServer.Rpc.Transport.Native;

namespace CarServer.Rpc.Transport;

/// <summary>Whose process is at the other end of a connection within this machine: for the daemon's callers, and for whom a client shows its token.</summary>
internal static class PeerUser
{
    /// <summary>True when the system shows that another user of this machine is at the other end. Root may look at us anyway and is none.</summary>
    /// <param name="unknownIsForeign">What to say of a peer on this machine whom the system does not know.</param>
    public static bool IsAnother(int descriptor, bool unix, bool unknownIsForeign) =>
        unix ? IsAnother(Posix.UnixPeerUser(descriptor), unknownIsForeign) : IsAnother(Posix.TcpEnds(descriptor), unknownIsForeign);

    /// <param name="ends">Of a TCP connection; null when the system does not tell.</param>
    /// <inheritdoc cref="IsAnother(int, bool, bool)"/>
    public static bool IsAnother((IPEndPoint Local, IPEndPoint Remote)? ends, bool unknownIsForeign)
    {
        if (ends is not { } known) return unknownIsForeign;
        // Who has the same address at both ends is on this machine, whichever address it is.
        bool here = IPAddress.IsLoopback(known.Remote.Address) || known.Remote.Address.Equals(known.Local.Address);
        if (!here) return false;   // another machine: the token decides
        uint? user = TcpOwner.Find(known.Remote, known.Local);
        return (user is not null || OperatingSystem.IsLinux()) && IsAnother(user, unknownIsForeign);
    }

    private static bool IsAnother(uint? user, bool unknownIsForeign) => user is { } known ? known != 0 && known != Posix.EffectiveUser() : unknownIsForeign;
}

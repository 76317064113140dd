using System.Net;
using CarServer.Rpc.Transport.Native;

namespace CarServer.Rpc.Transport;

/// <summary>Whose process is at the other end of a connection within this machine: for the daemon's callers, and for whom a client shows its token.</summary>
internal static class PeerUser
{
    /// <summary>True when the system shows that another user of this machine is at the other end. Root may look at us anyway and is none.</summary>
    /// <param name="unknownIsForeign">What to say of a peer on this machine whom the system does not know.</param>
    public static bool IsAnother(int descriptor, bool unix, bool unknownIsForeign)
    {
        uint? user;
        if (unix)
        {
            user = Posix.UnixPeerUser(descriptor);
        }
        else
        {
            if (Posix.TcpEnds(descriptor) is not { } ends) return unknownIsForeign;
            // Who has the same address at both ends is on this machine, whichever address it is.
            bool here = IPAddress.IsLoopback(ends.Remote.Address) || ends.Remote.Address.Equals(ends.Local.Address);
            if (!here) return false;   // another machine: the token decides
            user = TcpOwner.Find(ends.Remote, ends.Local);
            if (user is null && !OperatingSystem.IsLinux()) return false;
        }
        return user is { } known ? known != 0 && known != Posix.EffectiveUser() : unknownIsForeign;
    }
}

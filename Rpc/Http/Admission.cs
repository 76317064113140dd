using System.Net;
using System.Text;
using CarServer.Rpc.Transport.Native;

namespace CarServer.Rpc.Http;

/// <summary>Who may come in at all, before any token is asked for: the Host header and the Origin header; the caller's user is <see cref="PeerUser"/>'s.</summary>
/// <remarks>
/// A page that a browser loaded from the network can reach 127.0.0.1 too. <c>Origin</c> tells where it came from; <c>Host</c> tells
/// when a foreign name was made to point here (DNS rebinding). Neither can be forged by a page.
/// </remarks>
internal sealed class Admission
{
    private readonly HashSet<string> _origins;
    private readonly HashSet<string> _hosts;

    public Admission(IReadOnlyList<string> allowedOrigins)
    {
        _origins = new HashSet<string>(allowedOrigins, StringComparer.OrdinalIgnoreCase);
        _hosts = new HashSet<string>(StringComparer.OrdinalIgnoreCase);
        foreach (string origin in allowedOrigins)
            if (Uri.TryCreate(origin, UriKind.Absolute, out Uri? uri)) _hosts.Add(uri.Host);
    }

    /// <summary>Null: welcome.</summary>
    /// <param name="local">The address the caller reached us at; null over a Unix socket, where no name can mislead.</param>
    public HttpRefusal? Check(in RequestHead head, IPAddress? local)
    {
        if (local is not null && !IsOurHost(Encoding.ASCII.GetString(head.Host), local))
            return new HttpRefusal(403, "Host names another machine");
        if (head.HasOrigin && !IsAllowedOrigin(Encoding.ASCII.GetString(head.Origin)))
            return new HttpRefusal(403, "Origin is not allowed; see --allow-origin");
        return null;
    }

    internal bool IsOurHost(string host, IPAddress local)
    {
        string name = WithoutPort(host);
        if (name.Equals("localhost", StringComparison.OrdinalIgnoreCase) || _hosts.Contains(name)) return true;
        return IPAddress.TryParse(name, out IPAddress? address) && (IPAddress.IsLoopback(address) || address.Equals(local));
    }

    internal bool IsAllowedOrigin(string origin)
    {
        if (_origins.Contains(origin)) return true;
        if (!Uri.TryCreate(origin, UriKind.Absolute, out Uri? uri) || uri.Scheme is not ("http" or "https")) return false;
        // An origin is scheme, host and port, nothing else: "http://127.0.0.1@evil.example/" has more.
        if (uri.UserInfo.Length > 0 || uri.PathAndQuery != "/" || uri.Fragment.Length > 0 || origin.EndsWith('/')) return false;
        return uri.Host.Equals("localhost", StringComparison.OrdinalIgnoreCase) || IPAddress.TryParse(uri.Host, out IPAddress? address) && IPAddress.IsLoopback(address);
    }

    /// <summary>The name or address; empty when what follows it is no port, or a bracket is not closed.</summary>
    private static string WithoutPort(string host)
    {
        bool bracketed = host.StartsWith('[');
        int end = host.IndexOf(bracketed ? ']' : ':');
        if (end < 0) return bracketed ? "" : host;
        string port = host[(bracketed ? end + 1 : end)..];
        if (port.Length > 0 && (port[0] != ':' || port.AsSpan(1).ContainsAnyExceptInRange('0', '9'))) return "";
        return bracketed ? host[1..end] : host[..end];
    }
}

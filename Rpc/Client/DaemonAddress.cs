using System.Globalization;
using System.Net;

namespace CarServer.Rpc.Client;

/// <summary>Where a daemon listens: a Unix socket, or a host and port.</summary>
internal sealed record DaemonAddress
{
    /// <summary>Where clients look last (protocol 1.1).</summary>
    public static DaemonAddress Default { get; } = Tcp("127.0.0.1", 9100);

    private DaemonAddress() { }

    /// <summary>Null for TCP.</summary>
    public string? SocketPath { get; private init; }

    public string Host { get; private init; } = "localhost";
    public int Port { get; private init; }

    /// <summary>What stands in the request line.</summary>
    public string Target { get; private init; } = "/";

    /// <summary>True when nobody but this machine can be at the other end.</summary>
    public bool IsLocal => SocketPath is not null || Host == "localhost" || (IPAddress.TryParse(Host, out IPAddress? ip) && IPAddress.IsLoopback(ip));

    public static DaemonAddress Unix(string path) => new() { SocketPath = path };

    /// <param name="host">A name or an address; an IPv6 address without its brackets.</param>
    public static DaemonAddress Tcp(string host, int port, string target = "/") => new() { Host = host, Port = port, Target = target };

    /// <summary>Reads <c>ws://HOST:PORT[/PATH]</c> (no port means 80, as RFC 6455 has it) or <c>unix:PATH</c>. Null when the text is neither.</summary>
    public static DaemonAddress? TryParse(string text)
    {
        if (text.StartsWith("unix:", StringComparison.Ordinal) && text.Length > 5) return Unix(text[5..]);
        if (!Uri.TryCreate(text, UriKind.Absolute, out Uri? url) || url.Scheme != "ws" || url.Host.Length == 0 || url.UserInfo.Length > 0 || url.Fragment.Length > 0)
            return null;
        return Tcp(url.HostNameType == UriHostNameType.IPv6 ? url.DnsSafeHost : url.Host, url.Port, url.PathAndQuery);
    }

    /// <summary>The value of the <c>Host</c> header.</summary>
    public string HostHeader => SocketPath is not null ? "localhost" : Authority;

    public override string ToString() => SocketPath is not null ? "unix:" + SocketPath : $"ws://{Authority}{Target}";

    private string Authority => string.Create(CultureInfo.InvariantCulture, $"{(Host.Contains(':') ? $"[{Host}]" : Host)}:{Port}");
}

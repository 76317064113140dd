using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace CarServer.Rpc.CommandLine;

/// <summary>The value of <c>--bind</c>: TCP addresses and at most one Unix socket.</summary>
internal sealed record Bind(IReadOnlyList<IPEndPoint> Tcp, string? SocketPath)
{
    public static Bind None { get; } = new([], null);

    public static Bind Parse(Given given)
    {
        var tcp = new List<IPEndPoint>();
        string? socket = null;
        foreach (string text in given.Texts)
        {
            if (text.StartsWith("unix:", StringComparison.Ordinal))
            {
                if (socket is not null) throw given.Refuse("may name one unix: socket, not two", text);
                socket = (given with { Texts = [text[5..]] }).Path();
                continue;
            }
            IPEndPoint endpoint = Endpoint(given, text);
            if (endpoint.Port != 0 && tcp.Contains(endpoint)) throw given.Refuse("names an address twice", text);
            tcp.Add(endpoint);
        }
        return new Bind(tcp, socket);
    }

    /// <summary><c>HOST:PORT</c>, or <c>:PORT</c> on 127.0.0.1.</summary>
    public static IPEndPoint Endpoint(Given given, string text)
    {
        int colon = text.LastIndexOf(':');
        if (colon < 0) throw given.Refuse("must be HOST:PORT or unix:PATH", text);
        IPAddress address = colon == 0 ? IPAddress.Loopback : Address(given, text[..colon], text);
        // '::1' alone would read as host '::' and port 1.
        if (address.AddressFamily == AddressFamily.InterNetworkV6 && text[colon - 1] != ']') throw given.Refuse("must have its IPv6 address in brackets", text);
        return new IPEndPoint(address, Port(given, text[(colon + 1)..], text));
    }

    /// <summary>An address or <c>localhost</c>. Other names would need a resolver, whose answer may change between two starts.</summary>
    public static IPAddress Address(Given given, string host, string? text = null)
    {
        if (host.Equals("localhost", StringComparison.OrdinalIgnoreCase)) return IPAddress.Loopback;
        bool bracketed = host is ['[', .., ']'];
        if (IPAddress.TryParse(bracketed ? host[1..^1] : host, out IPAddress? address)
            && (address.AddressFamily == AddressFamily.InterNetworkV6 || (!bracketed && address.ToString() == host))) return address;
        throw given.Refuse("must have an IP address or 'localhost' as its host", text ?? host);
    }

    /// <summary><c>PORT</c> or <c>:PORT</c>; 0 lets the system choose.</summary>
    public static int Port(Given given, string port, string? text = null) =>
        int.TryParse(port, NumberStyles.None, CultureInfo.InvariantCulture, out int number) && number <= IPEndPoint.MaxPort
            ? number
            : throw given.Refuse("must have a port from 0 to 65535", text ?? port);
}

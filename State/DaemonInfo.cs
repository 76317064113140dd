using CarServer.State.Sessions;

namespace CarServer.State;

/// <summary>What the daemon tells about itself.</summary>
internal sealed record DaemonInfo
{
    public static readonly string ProductVersion = typeof(DaemonInfo).Assembly.GetName().Version is { } v ? $"{v.Major}.{v.Minor}.{v.Build}" : "0.0.0";

    /// <summary>The version of the wire protocol that <c>server.handshake</c> agrees on.</summary>
    public const int ProtocolVersion = 2;

    public required DateTime StartedAt { get; init; }

    /// <summary>Holds the state root's lock: writes the token files, adopts orphaned runs.</summary>
    public bool IsPrimary { get; init; } = true;

    /// <summary>Where it listens, as URLs.</summary>
    public IReadOnlyList<string> Listeners { get; set; } = [];

    /// <summary>Begins the orderly stop, for this session; null where there is no daemon to stop.</summary>
    public Action<ClientSession>? RequestShutdown { get; set; }
}

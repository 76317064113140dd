using System.Net;
using CarServer.Rpc.Transport;
using CarServer.RunStore;
using Microsoft.Extensions.Logging;

namespace CarServer.Rpc;

internal enum LogFormat { Text, Json }

/// <summary>Everything a start of the daemon depends on, already validated. Made by the command line; tests and embedders make their own.</summary>
internal sealed record DaemonOptions
{
    /// <summary>The state root, absolute: <c>CAR_HOME</c> or <c>~/.car</c> (protocol 1.3).</summary>
    public required string Root { get; init; }

    /// <summary>True when the root was given by <c>CAR_HOME</c>; token files and socket then live below it.</summary>
    public required bool RootIsExplicit { get; init; }

    /// <summary>TCP addresses to listen on; port 0 lets the kernel choose. Empty: Unix socket only.</summary>
    public IReadOnlyList<IPEndPoint> Binds { get; init; } = [];

    /// <summary>Where the Unix socket goes; null for none. Not yet adjusted for a secondary daemon.</summary>
    public string? SocketPath { get; init; }

    /// <summary>True when the path was named by flag or variable: a secondary daemon then does not rename it.</summary>
    public bool SocketIsExplicit { get; init; }

    /// <summary>Where <c>auth-token</c> and <c>host-token</c> are written (protocol 6.1).</summary>
    public required string TokenDirectory { get; init; }

    public bool NoAuth { get; init; }

    /// <summary>A token given by flag, file or variable; null: one is made for this launch.</summary>
    public string? AuthToken { get; init; }

    public bool NoApprovals { get; init; }
    public bool EnforceTiers { get; init; }
    public bool RequireHandshake { get; init; }

    /// <summary>Absolute. Default <c>&lt;root&gt;/journals</c>.</summary>
    public required string JournalDirectory { get; init; }

    /// <summary>Absolute; null for none. May hold nothing of the daemon's own, see <see cref="WorkspaceRule"/>.</summary>
    public string? Workspace { get; init; }

    /// <summary>Somebody named it: then a start fails rather than go on without it.</summary>
    public bool WorkspaceIsExplicit { get; init; }

    public Durability Durability { get; init; }

    /// <summary>Absolute. Default <c>&lt;root&gt;/agents.json</c>.</summary>
    public required string AgentsManifest { get; init; }

    public LogLevel LogLevel { get; init; } = LogLevel.Warning;
    public LogFormat LogFormat { get; init; }

    /// <summary>Origins, beside the loopback ones, that a browser page may come from: <c>https://app.example</c>, exact.</summary>
    public IReadOnlyList<string> AllowedOrigins { get; init; } = [];

    /// <summary>Default for handlers that wait (protocol 5).</summary>
    public TimeSpan HandlerTimeout { get; init; } = TimeSpan.FromMinutes(30);

    public int MaxConnections { get; init; } = Limits.DefaultMaxConnections;

    /// <summary>Largest message a client may send, in bytes, all fragments together.</summary>
    public int MaxMessageBytes { get; init; } = Limits.DefaultMaxMessageBytes;
}

using CarServer.RunStore;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace CarServer.State;

/// <summary>What an embedder, or the daemon's command line, decides about a <see cref="ServerState"/>.</summary>
internal sealed record ServerStateConfig
{
    /// <summary>Absolute path; event journals go here, run traces into its sibling <c>runs</c>.</summary>
    public required string JournalDirectory { get; init; }

    /// <summary>Absolute path of the state root, where decisions about permissions are kept; null: the directory that the journals' directory lies in.</summary>
    public string? Root { get; init; }

    /// <summary>Whether a proposal with an action that the session's tier does not cover is refused (protocol 10.5). Else it is only told by <c>permission.evaluate</c>.</summary>
    public bool EnforceTiers { get; init; }

    /// <summary>Absolute path of the operator's policy files (protocol 8.4), which every connection is under; null for none.</summary>
    public string? PolicyDirectory { get; init; }

    /// <summary>Absolute path of the directory that the basics work in (protocol 7.3); null for none.</summary>
    public string? Workspace { get; init; }

    public Durability Durability { get; init; }

    public TimeProvider Clock { get; init; } = TimeProvider.System;

    public ILoggerProvider Logs { get; init; } = NullLoggerProvider.Instance;

    /// <summary>
    /// How long a tool callback without its own <c>timeout_ms</c> may take, asked anew at every call (protocol 4.3).
    /// </summary>
    public Func<string?> ToolTimeout { get; init; } = static () => Environment.GetEnvironmentVariable("CAR_TOOL_TIMEOUT");

    /// <summary>Only the primary daemon of a state root adopts orphaned runs and collects old ones (protocol 14.3).</summary>
    public bool IsPrimary { get; init; } = true;
}

using CarServer.Rpc.Client;

namespace CarServer.Rpc.CommandLine;

/// <summary>Where to look for a daemon, and what to show it (protocol 1.1, 1.2, 6.1).</summary>
/// <param name="Addresses">In the order to try; never empty.</param>
/// <param name="Token">Given by flag or variable.</param>
internal sealed record DaemonFinder(IReadOnlyList<DaemonAddress> Addresses, string? Token, StateRoot? Root)
{
    public const string UrlVariable = "CAR_DAEMON_URL";
    public const string TokenVariable = "CAR_AUTH_TOKEN";

    /// <summary>Flag, then <c>CAR_DAEMON_URL</c>, then the Unix socket, then the default port.</summary>
    /// <remarks>Pure but for the working directory of the caller. A socket that a killed daemon left behind refuses, and the port is tried next.</remarks>
    public static DaemonFinder Resolve(string? url, string? socket, string? token, Func<string, string?> environment, Platform platform, string directory)
    {
        // Without a home directory there are no files to find, but a daemon that is named can be spoken to.
        StateRoot? root = StateRoot.Given(environment("HOME")) is null && StateRoot.Given(environment(StateRoot.HomeVariable)) is null
            ? null
            : StateRoot.Resolve(environment, platform);
        if (url is not null && socket is not null) throw new UsageException("--url and --socket contradict each other: give one of them");
        if (token is not null && token.Trim().Length == 0) throw new UsageException("--token is empty");
        token = (token ?? StateRoot.Given(environment(TokenVariable)))?.Trim();

        if (url is not null) return new DaemonFinder([Address("--url", url)], token, root);
        if (socket is not null) return new DaemonFinder([DaemonAddress.Unix(root?.Expand(socket, directory) ?? Path.GetFullPath(socket, directory))], token, root);
        if (StateRoot.Given(environment(UrlVariable)) is { } named) return new DaemonFinder([Address(UrlVariable, named)], token, root);

        string? path = StateRoot.Given(environment(StateRoot.SocketVariable)) is { } explicitly
            ? root?.Expand(explicitly, directory) ?? Path.GetFullPath(explicitly, directory)
            : root?.SocketPath;
        return new DaemonFinder(path is null ? [DaemonAddress.Default] : [DaemonAddress.Unix(path), DaemonAddress.Default], token, root);
    }

    /// <summary>Only what was named, or the Unix socket of this state root: whatever else is on the default port is not ours to stop.</summary>
    public DaemonFinder WithoutDefault() => Addresses.Count > 1 ? this with { Addresses = [.. Addresses.Where(address => address != DaemonAddress.Default)] } : this;

    /// <summary>What to show a daemon at <paramref name="address"/>; null: there is nothing, go without.</summary>
    /// <remarks>
    /// A token that was named is shown as it is. Else the person at this machine speaks: whoever may read the token files is the host
    /// (protocol 6.1), and sees every agent's runs. Read anew at every call: a daemon that has just started has just written them. They
    /// are for this machine only.
    /// </remarks>
    public Credential? CredentialFor(DaemonAddress address) => Token is { } named ? new Credential("token", named, IsNamed: true) : HostCredentialFor(address);

    /// <summary>The host's, even where a token was named: for what only the host may do.</summary>
    public Credential? HostCredentialFor(DaemonAddress address)
    {
        if (address.IsLocal && Root is not null)
        {
            if (TokenFile.TryRead(Root.HostTokenFile) is { } host) return new Credential("host_token", host, IsNamed: false);
            if (Token is null && TokenFile.TryRead(Root.AuthTokenFile) is { } client) return new Credential("token", client, IsNamed: false);
        }
        return Token is { } named ? new Credential("token", named, IsNamed: true) : null;
    }

    /// <summary>Connects to the first address that answers.</summary>
    /// <exception cref="RpcConnectionException">None does.</exception>
    public async Task<(RpcClient Client, DaemonAddress Address)> ConnectAsync(CancellationToken abandoned)
    {
        var failures = new List<string>();
        foreach (DaemonAddress address in Addresses)
        {
            if (Addresses.Count > 1 && address.SocketPath is { } path && !File.Exists(path))
            {
                failures.Add($"there is no socket {path}");
                continue;
            }
            try { return (await RpcClient.ConnectAsync(address, abandoned), address); }
            catch (RpcConnectionException e) { failures.Add(e.Message); }
        }
        throw new RpcConnectionException(string.Join("; ", failures));
    }

    private static DaemonAddress Address(string source, string text) =>
        DaemonAddress.TryParse(text.Trim()) ?? throw new UsageException($"{source} must be ws://HOST:PORT/ or unix:PATH, got '{text}'");
}

/// <param name="Kind">The member of <c>session.auth</c> it goes into: <c>token</c> or <c>host_token</c>.</param>
/// <param name="IsNamed">Given by flag or variable, for whoever answers; else found in this user's files, for this user's daemon only.</param>
internal sealed record Credential(string Kind, string Token, bool IsNamed)
{
    public override string ToString() => Kind;   // never the token: a record would print it
}

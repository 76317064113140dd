using System.Net;

namespace CarServer.Rpc.CommandLine;

/// <summary>What the layers came to: the daemon's options, and the table that <c>car-server config</c> prints.</summary>
/// <param name="Options">Complete but for a token that still lies in <paramref name="AuthTokenFile"/>: reading that file deletes it.</param>
/// <param name="AuthTokenFile">Absolute; null when the token does not come from a file.</param>
/// <param name="Notices">Sentences for the log: what is accepted and yet not as the user may think.</param>
/// <param name="Table">Every setting in the order of <see cref="Settings.All"/>.</param>
internal sealed record ServeSettings(DaemonOptions Options, string? AuthTokenFile, IReadOnlyList<string> Notices, IReadOnlyList<Value> Table)
{
    /// <summary>Flag before environment before file before default. Pure: no file, socket or console is touched.</summary>
    /// <remarks>
    /// Only the layer that wins is parsed, so that a flag can stand in for a broken line of the file. Of two settings that exclude each
    /// other the one from the higher layer wins; from the same layer they are refused.
    /// </remarks>
    /// <exception cref="UsageException">Something is refused.</exception>
    public static ServeSettings Resolve(Layers layers)
    {
        StateRoot root = layers.Root;
        var notices = new List<string>();

        Value<Bind> bind = Settings.Bind.Read(layers);
        Value<IPAddress> host = Settings.Host.Read(layers);
        Value<int> port = Settings.Port.Read(layers);
        Value<string?> socket = Settings.Socket.Read(layers);
        Value<bool> noSocket = Settings.NoSocket.Read(layers);
        Value<bool> noAuth = Settings.NoAuth.Read(layers);
        Value<bool> requireAuth = Settings.RequireAuth.Read(layers);
        Value<string?> token = Settings.AuthToken.Read(layers);
        Value<string?> tokenFile = Settings.AuthTokenFile.Read(layers);
        Value<bool> reachable = Settings.Reachable.Read(layers);

        // --bind speaks of two things: TCP, where it competes with --host and --port, and the Unix socket, where it competes with --socket.
        if (bind.IsGiven && bind.Content.Tcp.Count > 0)
        {
            if (Loses(bind, host) || Loses(bind, port)) bind = bind with { Content = bind.Content with { Tcp = [] } };
            else (host, port) = (Settings.Host.Unset(layers), Settings.Port.Unset(layers));
        }
        else if (bind.IsGiven)
        {
            if (host.Origin < bind.Origin) host = Settings.Host.Unset(layers);
            if (port.Origin < bind.Origin) port = Settings.Port.Unset(layers);
        }
        IReadOnlyList<IPEndPoint> binds = bind.IsGiven && !host.IsGiven && !port.IsGiven ? bind.Content.Tcp : [new IPEndPoint(host.Content, port.Content)];

        if (bind.Content.SocketPath is { } named && !Loses(bind, socket)) socket = new Value<string?>(Settings.Socket, named, bind.Origin, bind.Source);
        if (noSocket.Content)
        {
            if (Loses(noSocket, socket)) noSocket = Settings.NoSocket.Unset(layers);
            else socket = new Value<string?>(Settings.Socket, null, noSocket.Origin, noSocket.Source);
        }
        if (socket.Content is { } path && !StateRoot.FitsSocket(path, layers.Platform))
        {
            int most = StateRoot.MaxSocketPathBytes(layers.Platform);
            if (socket.IsGiven) throw new UsageException($"{socket.Source} must be at most {most} bytes long on this system, got '{path}'");
            notices.Add($"no Unix socket: its path would be over the {most} bytes this system allows: {path}");
            socket = socket with { Content = null };
        }
        if (binds.Count == 0 && socket.Content is null) throw new UsageException("nothing to listen on: there is neither a TCP address nor a Unix socket");

        if (noAuth.Content)
        {
            if (requireAuth.Content && noAuth.Origin == requireAuth.Origin) throw Contradiction(noAuth, requireAuth);
            if (Loses(noAuth, token) || Loses(noAuth, tokenFile)) noAuth = Settings.NoAuth.Unset(layers);
            else (token, tokenFile) = (Settings.AuthToken.Unset(layers), Settings.AuthTokenFile.Unset(layers));
        }
        if (token.IsGiven && tokenFile.IsGiven)
        {
            if (Loses(token, tokenFile)) token = Settings.AuthToken.Unset(layers);
            else tokenFile = Settings.AuthTokenFile.Unset(layers);
        }

        if (binds.FirstOrDefault(endpoint => !IPAddress.IsLoopback(endpoint.Address)) is { } routable)
        {
            if (noAuth.Content && !reachable.Content)
                throw new UsageException($"{routable} can be reached by other machines and authentication is off: drop {noAuth.Source} or add {reachable.Setting.Flag}");
            notices.Add(noAuth.Content
                ? $"everybody who can reach {routable} has full access: authentication is off"
                : $"{routable} can be reached by other machines, and the token crosses the network unencrypted");
        }
        if (requireAuth.Content) notices.Add($"{requireAuth.Source} is deprecated and has no effect: authentication is on unless --no-auth is given");
        if (token.Origin == Origin.Flag) notices.Add($"the token in {token.Source} can be read by every process of this machine; {Settings.AuthTokenFile.Flag} keeps it private");

        // What was settled above replaces its rows; every other row is read here, and so checked.
        Value[] settled = [Effective(bind, binds, host, port), host, port, socket, noSocket, noAuth, requireAuth, token, tokenFile, reachable];
        Value[] table = [.. Settings.All.Select(setting => settled.FirstOrDefault(value => value.Setting == setting) ?? setting.Read(layers))];
        foreach (Value value in table)
            if (value.Setting.NotServed is { } what && value.IsGiven && value.Text != "none")
                notices.Add($"{value.Source} is accepted, but {what} is not served by this build");

        T Of<T>(Setting<T> setting) => ((Value<T>)table.First(value => value.Setting == setting)).Content;
        var options = new DaemonOptions
        {
            Root = root.Path,
            RootIsExplicit = root.IsExplicit,
            Binds = binds,
            SocketPath = socket.Content,
            SocketIsExplicit = socket.Content is not null && socket.Origin >= Origin.Environment,
            TokenDirectory = root.TokenDirectory,
            NoAuth = noAuth.Content,
            AuthToken = token.Content,
            NoApprovals = Of(Settings.NoApprovals),
            EnforceTiers = Of(Settings.EnforceTiers),
            RequireHandshake = Of(Settings.RequireHandshake),
            JournalDirectory = Of(Settings.JournalDirectory),
            Workspace = Of(Settings.Workspace),
            WorkspaceIsExplicit = table.First(value => value.Setting == Settings.Workspace).IsGiven,
            Durability = Of(Settings.Durability),
            AgentsManifest = Of(Settings.AgentsManifest),
            LogLevel = Of(Settings.LogLevel),
            LogFormat = Of(Settings.LogFormat),
            AllowedOrigins = Of(Settings.AllowedOrigins),
            HandlerTimeout = Of(Settings.HandlerTimeout),
            MaxConnections = Of(Settings.MaxConnections),
            MaxMessageBytes = Of(Settings.MaxMessageBytes),
        };
        return new ServeSettings(options, tokenFile.Content, notices, table);
    }

    /// <summary>True when <paramref name="other"/> comes from a higher layer; the same layer can't say both.</summary>
    private static bool Loses(Value value, Value other)
    {
        if (!other.IsGiven || other.Origin < value.Origin) return false;
        return other.Origin > value.Origin ? true : throw Contradiction(value, other);
    }

    private static UsageException Contradiction(Value one, Value other) => new($"{one.Source} and {other.Source} contradict each other: give one of them");

    /// <summary>The row of <c>bind</c> shows where the daemon will listen, whichever setting said so.</summary>
    private static Value<Bind> Effective(Value<Bind> bind, IReadOnlyList<IPEndPoint> binds, Value host, Value port)
    {
        Value decided = port.IsGiven ? port : host.IsGiven ? host : bind;
        return new Value<Bind>(Settings.Bind, new Bind(binds, null), decided.Origin, decided.Source);
    }
}

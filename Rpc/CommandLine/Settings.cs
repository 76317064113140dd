using System.Globalization;
using System.Net;
using CarServer.Rpc.Transport;
using CarServer.RunStore;
using Microsoft.Extensions.Logging;

namespace CarServer.Rpc.CommandLine;

/// <summary>The table of settings. Parsing, the help of <c>serve</c>, the keys of the file and <c>car-server config</c> all read it: there is no second list.</summary>
internal static class Settings
{
    /// <summary>More than this is a mistake in the unit: 1 GiB is the largest message that still fits a .NET array with room to grow.</summary>
    private const int MostMessageBytes = 1 << 30;

    /// <summary>A million sockets is the order of what one machine's kernel can be tuned to.</summary>
    private const int MostConnections = 1_000_000;

    private const int SecondsInAMonth = 30 * 24 * 60 * 60;

    public static readonly Setting<string> Home = new("home", "Absolute path of the state root, instead of ~/.car.",
        layers => layers.Root.Path, given => given.Layers.Root.Path, Same) { Variable = StateRoot.HomeVariable, ValueName = "PATH" };

    public static readonly Setting<Bind> Bind = new("bind",
        "Where to listen: HOST:PORT, or unix:PATH for the Unix socket (alone: no TCP). Port 0 picks a free one. Repeatable.",
        _ => new Bind([new IPEndPoint(IPAddress.Loopback, 9100)], null), CommandLine.Bind.Parse,
        bind => List([.. bind.Tcp.Select(endpoint => endpoint.ToString()), .. bind.SocketPath is null ? [] : new[] { "unix:" + bind.SocketPath }]))
        { Flag = "--bind", InFile = true, ValueName = "HOST:PORT|unix:PATH", IsRepeatable = true };

    public static readonly Setting<IPAddress> Host = new("host", "The address to listen on, when there is no --bind.",
        _ => IPAddress.Loopback, given => CommandLine.Bind.Address(given, given.Text), address => address.ToString())
        { Flag = "--host", InFile = true, ValueName = "ADDRESS" };

    public static readonly Setting<int> Port = new("port", "The port to listen on, when there is no --bind; 0 picks a free one.",
        _ => 9100, given => CommandLine.Bind.Port(given, given.Text is [':', .. var rest] ? rest : given.Text, given.Text), Number)
        { Flag = "--port", InFile = true, ValueName = "PORT" };

    public static readonly Setting<string?> Socket = new("socket", "Where the Unix socket goes.",
        layers => layers.Root.SocketPath, given => given.Path(), Same!)
        { Flag = "--socket", Variable = StateRoot.SocketVariable, InFile = true, ValueName = "PATH" };

    public static readonly Setting<bool> NoSocket = Switch("no_socket", "No Unix socket.", "--no-socket");

    public static readonly Setting<bool> NoAuth = Switch("no_auth", "No tokens: everybody who can connect is served.", "--no-auth", "CAR_NO_AUTH");

    public static readonly Setting<bool> RequireAuth = Switch("require_auth", "Deprecated, no effect: authentication is on unless --no-auth.", "--require-auth", inFile: false);

    public static readonly Setting<string?> AuthToken = new("auth_token", "The token of this launch. Others can read a command line: prefer the file.",
        _ => null, Token, Same!) { Flag = "--auth-token", Variable = "CAR_AUTH_TOKEN", ValueName = "TOKEN", IsSecret = true };

    public static readonly Setting<string?> AuthTokenFile = new("auth_token_file", "Read the token of this launch from this file, then delete the file.",
        _ => null, given => given.Path(), Same!) { Flag = "--auth-token-file", Variable = "CAR_AUTH_TOKEN_FILE", InFile = true, ValueName = "PATH" };

    public static readonly Setting<bool> NoApprovals = Switch("no_approvals", "Switch the approval gate off.", "--no-approvals", "CAR_NO_APPROVALS");

    public static readonly Setting<bool> EnforceTiers = Switch("enforce_tiers",
        "Refuse a whole proposal when its session's permission tier does not cover one of its actions.", "--enforce-tiers", "CAR_ENFORCE_TIERS");

    public static readonly Setting<bool> Reachable = Switch("i_know_this_is_reachable",
        "Allow --no-auth on an address that other machines can reach.", "--i-know-this-is-reachable", inFile: false);

    public static readonly Setting<string> JournalDirectory = new("journal_dir", "Where event journals go; run traces go into its sibling 'runs'.",
        layers => layers.Root.Path + "/journals", given => given.Path(), Same) { Flag = "--journal-dir", InFile = true, ValueName = "PATH" };

    public static readonly Setting<string?> Workspace = new("workspace",
        "The directory that the daemon's own file tools work in, or 'none'. Unset: the one the daemon is started in, unless its files or your home lie in it.",
        layers => DefaultWorkspace(layers), given => given.Text == "none" ? null : given.Path(), Same!) { Flag = "--workspace", InFile = true, ValueName = "PATH" };

    public static readonly Setting<Durability> Durability = new("durability",
        "When a recorded turn counts as stored: os, it survives a crash of the daemon; fsync, a loss of power too.",
        _ => RunStore.Durability.Os, given => given.Text switch
        {
            "os" => RunStore.Durability.Os,
            "fsync" => RunStore.Durability.Fsync,
            _ => throw given.Refuse("must be os or fsync"),
        }, durability => durability.ToString().ToLowerInvariant()) { Flag = "--durability", InFile = true, ValueName = "os|fsync" };

    public static readonly Setting<string> AgentsManifest = new("agents_manifest", "The manifest of supervised agents.",
        layers => layers.Root.Path + "/agents.json", given => given.Path(), Same)
        { Flag = "--agents-manifest", Variable = "CAR_AGENTS_MANIFEST", InFile = true, ValueName = "PATH", NotServed = "the supervision of agents" };

    public static readonly Setting<IPEndPoint?> McpBind = Listener("mcp_bind", "Where the MCP endpoint listens, or 'disabled'.", "--mcp-bind", "CAR_MCP_BIND", "MCP");

    public static readonly Setting<IPEndPoint?> A2aBind = Listener("a2a_bind", "Where the A2A endpoint listens, or 'disabled'.", "--a2a-bind", "CAR_A2A_BIND", "A2A");

    public static readonly Setting<LogLevel> LogLevel = new("log_level", "Least level that is logged: trace, debug, information, warning, error, critical.",
        _ => Microsoft.Extensions.Logging.LogLevel.Warning, Level, level => level.ToString().ToLowerInvariant())
        { Flag = "--log-level", InFile = true, ValueName = "LEVEL" };

    public static readonly Setting<LogFormat> LogFormat = new("log_format", "How log lines look: text or json.",
        _ => Rpc.LogFormat.Text, given => given.Text switch
        {
            "text" => Rpc.LogFormat.Text,
            "json" => Rpc.LogFormat.Json,
            _ => throw given.Refuse("must be text or json"),
        }, format => format.ToString().ToLowerInvariant()) { Flag = "--log-format", InFile = true, ValueName = "FORMAT" };

    public static readonly Setting<IReadOnlyList<string>> AllowedOrigins = new("allow_origin",
        "An origin, beside the loopback ones, that a browser page may come from: https://app.example. Repeatable.",
        _ => [], given => [.. given.Texts.Select(text => WebOrigin(given, text))], List)
        { Flag = "--allow-origin", InFile = true, ValueName = "ORIGIN", IsRepeatable = true };

    public static readonly Setting<bool> RequireHandshake = Switch("require_handshake", "Refuse methods that need server.handshake until it is done.", "--require-handshake");

    public static readonly Setting<int> MaxConnections = new("max_connections", "Connections at one time; further ones get 503.",
        _ => Limits.DefaultMaxConnections, given => given.Integer(1, MostConnections), Number)
        { Flag = "--max-connections", InFile = true, ValueName = "N" };

    public static readonly Setting<int> MaxMessageBytes = new("max_message_bytes", "Largest message a client may send.",
        _ => Limits.DefaultMaxMessageBytes, given => given.Integer(1024, MostMessageBytes), Number)
        { Flag = "--max-message-bytes", InFile = true, ValueName = "BYTES" };

    public static readonly Setting<TimeSpan> HandlerTimeout = new("handler_timeout", "Seconds a method may take to answer.",
        _ => TimeSpan.FromMinutes(30), given => TimeSpan.FromSeconds(given.Integer(1, SecondsInAMonth)), time => Number((int)time.TotalSeconds))
        { Variable = "CAR_HANDLER_TIMEOUT", InFile = true, ValueName = "SECONDS" };

    // The three below are read where they are used, by rules of their own that forgive a bad value; the rows are for the help and for 'config'.
    public static readonly Setting<string?> ToolTimeout = new("tool_timeout", "Seconds a tool callback may take, unless the action says (default 300).",
        _ => null, given => given.Text.Trim(), Same!) { Variable = "CAR_TOOL_TIMEOUT", ValueName = "SECONDS" };

    public static readonly Setting<string?> InferenceMaxConcurrent = new("inference_max_concurrent", "Inference calls at one time.",
        _ => null, given => given.Text.Trim(), Same!) { Variable = "CAR_INFERENCE_MAX_CONCURRENT", ValueName = "N", NotServed = "inference" };

    public static readonly Setting<string?> MobileRuntimeUrl = new("mobile_runtime_url", "The URL that mobile.runtime returns.",
        _ => null, given => given.Text.Trim(), Same!) { Variable = "CAR_MOBILE_RUNTIME_URL", ValueName = "URL", NotServed = "mobile.runtime" };

    public static readonly IReadOnlyList<Setting> All =
    [
        Home, Bind, Host, Port, Socket, NoSocket, NoAuth, RequireAuth, AuthToken, AuthTokenFile, NoApprovals, EnforceTiers, Reachable,
        JournalDirectory, Workspace, Durability, AgentsManifest, McpBind, A2aBind, LogLevel, LogFormat, AllowedOrigins, RequireHandshake,
        MaxConnections, MaxMessageBytes, HandlerTimeout, ToolTimeout, InferenceMaxConcurrent, MobileRuntimeUrl,
    ];

    /// <summary>A service starts in <c>/</c> or at home: nobody means to give all of that away.</summary>
    private static string? DefaultWorkspace(Layers layers) =>
        Array.Exists([layers.Root.Path, layers.Root.TokenDirectory, layers.Root.Home ?? "/"], path => WorkspaceRule.Holds(layers.Directory, path)) ? null : layers.Directory;

    private static Setting<bool> Switch(string name, string help, string flag, string? variable = null, bool inFile = true) =>
        new(name, help, _ => false, given => given.Switch(), on => on ? "true" : "false") { Flag = flag, Variable = variable, InFile = inFile };

    private static Setting<IPEndPoint?> Listener(string name, string help, string flag, string variable, string what) =>
        new(name, help, _ => null, given => given.Text == "disabled" ? null : CommandLine.Bind.Endpoint(given, given.Text), endpoint => endpoint!.ToString())
        { Flag = flag, Variable = variable, InFile = true, ValueName = "HOST:PORT", NotServed = what };

    /// <summary>A token goes into one line of a file and into JSON; white space or control characters in it are an accident.</summary>
    public static string CheckToken(string token, Func<string, UsageException> refuse)
    {
        token = token.Trim();
        if (token.Length == 0) throw refuse("is empty");
        if (token.AsSpan().ContainsAnyExceptInRange('!', '~')) throw refuse("must be printable ASCII without spaces");
        return token;
    }

    private static string? Token(Given given) => CheckToken(given.Text, rule => given.Refuse(rule));

    private static LogLevel Level(Given given) => given.Text.ToLowerInvariant() switch
    {
        "trace" => Microsoft.Extensions.Logging.LogLevel.Trace,
        "debug" => Microsoft.Extensions.Logging.LogLevel.Debug,
        "information" or "info" => Microsoft.Extensions.Logging.LogLevel.Information,
        "warning" or "warn" => Microsoft.Extensions.Logging.LogLevel.Warning,
        "error" => Microsoft.Extensions.Logging.LogLevel.Error,
        "critical" => Microsoft.Extensions.Logging.LogLevel.Critical,
        _ => throw given.Refuse("must be trace, debug, information, warning, error or critical"),
    };

    /// <summary>An origin exactly as browsers send it: scheme, host, port unless it is the scheme's own, lower case, nothing behind.</summary>
    private static string WebOrigin(Given given, string text)
    {
        if (!Uri.TryCreate(text, UriKind.Absolute, out Uri? url) || url.Host.Length == 0 || url.UserInfo.Length > 0 || url.PathAndQuery is not ("/" or "") || url.Fragment.Length > 0 || text.EndsWith('/'))
            throw given.Refuse("must be an origin such as https://app.example", text);
        return url.GetLeftPart(UriPartial.Authority);
    }

    private static string Same(string text) => text;
    private static string Number(int number) => number.ToString(CultureInfo.InvariantCulture);
    private static string List(IReadOnlyList<string> items) => items.Count == 0 ? "none" : string.Join(", ", items);
}

using System.Text;

namespace CarServer.Rpc.CommandLine;

/// <summary>The systems the daemon runs on, as far as its paths differ.</summary>
internal enum Platform { Linux, MacOS }

/// <summary>Where the daemon's files live (protocol 1.2, 1.3, 6.1). Pure: nothing is created or looked at.</summary>
/// <param name="Path">Absolute: <c>CAR_HOME</c> or <c>~/.car</c>.</param>
/// <param name="IsExplicit">True when <c>CAR_HOME</c> gave it.</param>
/// <param name="Home">The user's home directory; null when nothing says it.</param>
/// <param name="TokenDirectory">Where <c>auth-token</c> and <c>host-token</c> are.</param>
/// <param name="SocketPath">Where the Unix socket is when nobody names another place.</param>
internal sealed record StateRoot(string Path, bool IsExplicit, string? Home, string TokenDirectory, string SocketPath)
{
    public const string HomeVariable = "CAR_HOME";
    public const string SocketVariable = "CAR_SERVER_SOCKET";

    private const string Vendor = "ai.parslee.car";
    private const string SocketName = "car-server.sock";

    public string ConfigFile => Path + "/config.toml";
    public string AuthTokenFile => TokenDirectory + "/auth-token";
    public string HostTokenFile => TokenDirectory + "/host-token";

    public static Platform ThisPlatform => OperatingSystem.IsMacOS() ? Platform.MacOS : Platform.Linux;

    /// <summary>Bytes a socket path may have: <c>sun_path</c> less its final NUL.</summary>
    public static int MaxSocketPathBytes(Platform platform) => platform == Platform.MacOS ? 103 : 107;

    public static bool FitsSocket(string path, Platform platform) => Encoding.UTF8.GetByteCount(path) <= MaxSocketPathBytes(platform);

    /// <exception cref="UsageException">A relative <c>CAR_HOME</c>, or no way to know the home directory.</exception>
    public static StateRoot Resolve(Func<string, string?> environment, Platform platform)
    {
        string? home = Absolute(environment("HOME"));
        if (Given(environment(HomeVariable)) is { } named)
        {
            if (named[0] != '/') throw new UsageException($"{HomeVariable} must be an absolute path, got '{named}'");
            string root = Trim(named);
            return new StateRoot(root, true, home, $"{root}/{Vendor}", $"{root}/run/{SocketName}");
        }

        if (home is null) throw new UsageException($"HOME is not set to an absolute path: set {HomeVariable} to say where the daemon keeps its files");
        string path = home.TrimEnd('/') + "/.car";
        // The base directory specification says: a relative path there is to be ignored.
        string? runtime = Absolute(environment("XDG_RUNTIME_DIR"));
        string tokens = platform switch
        {
            Platform.MacOS => $"{home.TrimEnd('/')}/Library/Application Support/{Vendor}",
            _ => runtime is null ? $"{home.TrimEnd('/')}/.config/{Vendor}" : $"{runtime}/{Vendor}",
        };
        return new StateRoot(path, false, home, tokens, runtime is null ? $"{path}/run/{SocketName}" : $"{runtime}/{Vendor}/{SocketName}");
    }

    /// <summary>Makes a path from the command line, a variable or the file absolute.</summary>
    /// <param name="directory">What a relative path starts from.</param>
    /// <remarks><c>~/.car/</c> is the state root wherever that is (protocol 1.3); any other <c>~/</c> that no shell has expanded is the home directory.</remarks>
    public string Expand(string path, string directory)
    {
        if (path.StartsWith("~/.car/", StringComparison.Ordinal)) path = Path + path[6..];
        else if (path == "~/.car") path = Path;
        else if (path.StartsWith("~/", StringComparison.Ordinal) && Home is not null) path = Home.TrimEnd('/') + path[1..];
        return System.IO.Path.GetFullPath(path, directory);
    }

    /// <summary>A variable that is blank counts as unset everywhere: that is how scripts switch one off.</summary>
    public static string? Given(string? variable) => string.IsNullOrWhiteSpace(variable) ? null : variable;

    private static string? Absolute(string? variable) => variable is ['/', ..] ? Trim(variable) : null;

    private static string Trim(string path) => path.Length > 1 ? path.TrimEnd('/') is { Length: > 0 } trimmed ? trimmed : "/" : path;
}

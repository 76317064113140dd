using CarServer.Rpc.CommandLine;

namespace CarServer.Tests.Unit.CommandLine;

/// <summary>Layers made of text, for one user on one machine: home /home/ada, working directory /here.</summary>
internal static class TestLayers
{
    public static Func<string, string?> Environment(params string[] variables)
    {
        var values = new Dictionary<string, string> { ["HOME"] = "/home/ada" };
        foreach (string variable in variables) values[variable.Split('=')[0]] = variable[(variable.IndexOf('=') + 1)..];
        return values.GetValueOrDefault;
    }

    /// <param name="flags">As on the command line: <c>--port 0 --no-auth</c>, split at spaces.</param>
    public static ServeSettings Resolve(string flags = "", string file = "", Platform platform = Platform.Linux, params string[] variables) => ResolveIn("/here", flags, file, platform, variables);

    /// <param name="directory">The working directory.</param>
    public static ServeSettings ResolveIn(string directory, string flags = "", string file = "", Platform platform = Platform.Linux, params string[] variables)
    {
        Func<string, string?> environment = Environment(variables);
        StateRoot root = StateRoot.Resolve(environment, platform);
        var given = new Dictionary<string, IReadOnlyList<string>>();
        string? flag = null;
        foreach (string word in flags.Split(' ', StringSplitOptions.RemoveEmptyEntries))
        {
            if (word.StartsWith("--")) given.TryAdd(flag = word, []);
            else given[flag!] = [.. given[flag!], word == "''" ? "" : word];
        }
        return ServeSettings.Resolve(new Layers(given, environment, ConfigFile.Read(file, root.ConfigFile), root, platform, directory));
    }
}

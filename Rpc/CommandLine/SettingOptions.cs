using System.CommandLine;

namespace CarServer.Rpc.CommandLine;

/// <summary>The table of settings as options of a command.</summary>
internal static class SettingOptions
{
    public static void AddTo(Command command)
    {
        foreach (Setting setting in Settings.All)
        {
            if (setting.Flag is null) continue;
            // A switch may say '--no-auth=false' to overrule the file. Values are counted and judged by the setting itself, in words of ours.
            command.Options.Add(setting.ValueName is null
                ? new Option<bool>(setting.Flag) { Description = setting.HelpText, CustomParser = static _ => true }
                : new Option<string[]>(setting.Flag)
                {
                    Description = setting.HelpText,
                    HelpName = setting.ValueName,
                    Arity = ArgumentArity.OneOrMore,
                    CustomParser = static result => [.. result.Tokens.Select(token => token.Value)],
                });
        }
    }

    /// <summary>Finds the state root and the file, and settles everything (<see cref="ServeSettings.Resolve"/>).</summary>
    public static ServeSettings Resolve(ParseResult parsed, Surroundings surroundings)
    {
        StateRoot root = surroundings.Root();
        IReadOnlyDictionary<string, IReadOnlyList<string>> file = ConfigFile.Read(ReadFile(root.ConfigFile), root.ConfigFile);
        return ServeSettings.Resolve(new Layers(Flags(parsed), surroundings.Environment, file, root, surroundings.Platform, surroundings.Directory));
    }

    private static Dictionary<string, IReadOnlyList<string>> Flags(ParseResult parsed)
    {
        var flags = new Dictionary<string, IReadOnlyList<string>>();
        foreach (Option option in parsed.CommandResult.Command.Options)
            if (parsed.GetResult(option) is { Implicit: false } result)
                flags[option.Name] = [.. result.Tokens.Select(token => token.Value)];
        return flags;
    }

    private static string? ReadFile(string path)
    {
        // Asked first because an exception costs more than the rest of the start-up, and most roots have no such file.
        if (!File.Exists(path)) return null;
        try { return File.ReadAllText(path); }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UsageException($"cannot read {path}");
        }
    }
}

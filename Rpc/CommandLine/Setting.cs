using System.Globalization;

namespace CarServer.Rpc.CommandLine;

/// <summary>Where a value comes from, the weakest first.</summary>
internal enum Origin { Default, File, Environment, Flag }

/// <summary>All that a start of the daemon is decided by, as text.</summary>
/// <param name="Flags">Values by flag, in the order given; a switch without a value has an empty list.</param>
/// <param name="File">The <c>[server]</c> table, by key.</param>
/// <param name="Directory">What relative paths on the command line start from.</param>
internal sealed record Layers(
    IReadOnlyDictionary<string, IReadOnlyList<string>> Flags,
    Func<string, string?> Environment,
    IReadOnlyDictionary<string, IReadOnlyList<string>> File,
    StateRoot Root,
    Platform Platform,
    string Directory);

/// <summary>A value as somebody wrote it, and where.</summary>
internal sealed record Given(Setting Setting, IReadOnlyList<string> Texts, Origin Origin, string Source, Layers Layers)
{
    public string Text => Texts.Count > 0 ? Texts[^1] : "";

    /// <summary>A path, absolute. Relative ones start from the working directory, in the file from the file's own directory.</summary>
    public string Path()
    {
        if (Text.Trim().Length == 0 || Text.Contains('\0')) throw Refuse("must be a path");
        return Layers.Root.Expand(Text, Origin == Origin.File ? Layers.Root.Path : Layers.Directory);
    }

    public int Integer(int least, int most)
    {
        if (!int.TryParse(Text, NumberStyles.None, CultureInfo.InvariantCulture, out int number) || number < least || number > most)
            throw Refuse(string.Create(CultureInfo.InvariantCulture, $"must be a whole number from {least} to {most}"));
        return number;
    }

    public bool Switch() => Texts.Count == 0 || Text.Trim().ToLowerInvariant() switch
    {
        "1" or "true" => true,
        "0" or "false" => false,
        _ => throw Refuse("must be true or false"),
    };

    /// <summary>One sentence with the place, the rule and, unless it is a secret, the bad value.</summary>
    public UsageException Refuse(string rule, string? text = null) =>
        new(Setting.IsSecret ? $"{Source} {rule}" : $"{Source} {rule}, got '{text ?? Text}'");
}

/// <summary>One row of the table of settings.</summary>
/// <param name="name">Also its key in the file and in <c>car-server config --json</c>.</param>
internal abstract class Setting(string name, string help)
{
    public string Name { get; } = name;
    public string Help { get; } = help;
    public string? Flag { get; init; }
    public string? Variable { get; init; }
    public bool InFile { get; init; }

    /// <summary>What the help shows for the value; null for a switch.</summary>
    public string? ValueName { get; init; }

    /// <summary>May be given more than once: flags add up, the file has an array, a higher layer replaces a lower one whole.</summary>
    public bool IsRepeatable { get; init; }

    /// <summary>The value is never printed.</summary>
    public bool IsSecret { get; init; }

    /// <summary>What needs this setting, while that is not part of the build: the value is checked and then named in a notice.</summary>
    public string? NotServed { get; init; }

    public abstract Value Read(Layers layers);

    /// <summary>What the help says after the text: the other places it may stand in.</summary>
    public string HelpText => string.Concat(Help, Variable is null ? null : $" [variable: {Variable}]", InFile ? $" [file: {Name}]" : null);

    protected Given? Find(Layers layers)
    {
        if (Flag is not null && layers.Flags.TryGetValue(Flag, out IReadOnlyList<string>? flags)) return Found(flags, Origin.Flag, Flag);
        if (Variable is not null && StateRoot.Given(layers.Environment(Variable)) is { } variable) return Found([variable], Origin.Environment, Variable);
        if (InFile && layers.File.TryGetValue(Name, out IReadOnlyList<string>? file)) return Found(file, Origin.File, $"{layers.Root.ConfigFile}: {Name}");
        return null;

        Given Found(IReadOnlyList<string> texts, Origin origin, string source)
        {
            var given = new Given(this, texts, origin, source, layers);
            if (!IsRepeatable && texts.Count > 1) throw new UsageException($"{source} is given {texts.Count} times, and takes one value");
            if (!IsRepeatable && ValueName is not null && texts.Count == 0) throw new UsageException($"{source} has no value");
            return given;
        }
    }
}

/// <summary>What a setting came to.</summary>
internal abstract record Value(Setting Setting, Origin Origin, string Source)
{
    public bool IsGiven => Origin != Origin.Default;

    /// <summary>For people: secrets are <c>(set)</c>, nothing at all is <c>none</c>.</summary>
    public abstract string Text { get; }
}

internal sealed record Value<T>(Setting<T> Row, T Content, Origin Origin, string Source) : Value(Row, Origin, Source)
{
    public override string Text => Content is null ? "none" : Setting.IsSecret ? "(set)" : Row.Describe(Content);
}

/// <param name="unset">The default, which may depend on the state root.</param>
/// <param name="parse">Throws <see cref="Given.Refuse"/> for what it does not take.</param>
/// <param name="describe">The value as it could be given again.</param>
internal sealed class Setting<T>(string name, string help, Func<Layers, T> unset, Func<Given, T> parse, Func<T, string> describe) : Setting(name, help)
{
    public Func<T, string> Describe { get; } = describe;

    public override Value<T> Read(Layers layers) =>
        Find(layers) is { } given ? new Value<T>(this, parse(given), given.Origin, given.Source) : Unset(layers);

    public Value<T> Unset(Layers layers) => new(this, unset(layers), Origin.Default, "default");
}

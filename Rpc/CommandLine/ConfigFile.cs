using Tomlyn;
using Tomlyn.Parsing;

namespace CarServer.Rpc.CommandLine;

/// <summary>The <c>[server]</c> table of <c>config.toml</c>. Other tables belong to others and are passed over.</summary>
internal static class ConfigFile
{
    public static readonly IReadOnlyDictionary<string, IReadOnlyList<string>> Empty = new Dictionary<string, IReadOnlyList<string>>();

    /// <summary>Each key with its value as text, arrays with all of theirs.</summary>
    /// <param name="text">Null or blank: there is no file.</param>
    /// <param name="path">For the messages only.</param>
    /// <exception cref="UsageException">No TOML, or a key that no setting has.</exception>
    public static IReadOnlyDictionary<string, IReadOnlyList<string>> Read(string? text, string path)
    {
        if (string.IsNullOrWhiteSpace(text)) return Empty;
        var values = new Dictionary<string, IReadOnlyList<string>>();
        try
        {
            TomlParser parser = TomlParser.Create(text);
            string? table = null;
            while (parser.MoveNext())
            {
                if (parser.Current.Kind != TomlParseEventKind.PropertyName) continue;
                if (parser.Depth == 1) table = parser.GetPropertyName();
                else if (parser.Depth == 2 && table == "server") ReadKey(ref parser, values, path);
            }
        }
        catch (TomlException e)
        {
            throw new UsageException(e.Line is { } line ? $"{path}: line {line} is not TOML" : $"{path} is not TOML");
        }
        return values;
    }

    private static void ReadKey(ref TomlParser parser, Dictionary<string, IReadOnlyList<string>> values, string path)
    {
        string key = parser.GetPropertyName();
        Setting row = Settings.All.FirstOrDefault(setting => setting.Name == key) ?? throw new UsageException($"{path}: [server] has no setting '{key}'");
        if (!row.InFile) throw new UsageException($"{path}: '{key}' cannot stand in the file{(row.Flag is null ? null : $", only on the command line as {row.Flag}")}");

        var texts = new List<string>();
        parser.MoveNext();
        bool array = parser.Current.Kind == TomlParseEventKind.StartArray;
        if (array && !row.IsRepeatable) throw new UsageException($"{path}: {key} takes one value, not an array");
        if (array) parser.MoveNext();
        while (parser.Current.Kind != TomlParseEventKind.EndArray)
        {
            texts.Add(parser.Current.Kind switch
            {
                TomlParseEventKind.String => parser.GetString(),
                TomlParseEventKind.Integer => parser.Current.GetInt64().ToString(System.Globalization.CultureInfo.InvariantCulture),
                TomlParseEventKind.Boolean => parser.Current.GetBoolean() ? "true" : "false",
                _ => throw new UsageException($"{path}: {key} must be a string, a number, true or false{(row.IsRepeatable ? ", or an array of strings" : null)}"),
            });
            if (!array) break;
            parser.MoveNext();
        }
        if (!values.TryAdd(key, texts)) throw new UsageException($"{path}: {key} is set twice");
    }
}

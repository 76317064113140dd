using System.Text.Json;
using System.Text.RegularExpressions;
using System.Xml.Linq;
using CarServer.Rpc.CommandLine;
using CarServer.Tests.Support;

namespace CarServer.Tests.Unit.Rules;

/// <summary>What a reader may rely on without looking twice.</summary>
public sealed partial class RepositoryTests
{
    /// <summary>Longer files are read by searching, not by reading.</summary>
    private const int MostLines = 450;

    private static readonly string[] Documents = [.. Directory.EnumerateFiles(Path.Combine(Repository.Root, "docs"), "*.md"), .. Directory.EnumerateFiles(Repository.Root, "*.md")];

    private static string Readme => File.ReadAllText(Path.Combine(Repository.Root, "README.md"));

    [Test]
    public async Task No_file_of_the_product_is_too_long_to_read()
    {
        string[] tooLong = [.. Source.Product.Select(file => (file.Path, Lines: file.Text.Count(c => c == '\n'))).Where(file => file.Lines > MostLines).Select(file => $"{file.Path}: {file.Lines}")];
        await Assert.That(tooLong).IsEmpty();
    }

    [Test]
    public async Task Nothing_in_the_product_is_left_for_later()
    {
        string[] left = [.. Source.Product.SelectMany(file => ForLater().Matches(file.Text).Select(match => $"{file.Path}: {match.Value}"))];
        await Assert.That(left).IsEmpty();
    }

    [Test]
    public async Task Every_link_between_the_documents_leads_somewhere()
    {
        string[] broken =
        [
            .. Documents.SelectMany(document => Link().Matches(File.ReadAllText(document)).Select(match => match.Groups[1].Value)
                .Where(target => !target.Contains("://") && !Path.Exists(Path.Combine(Path.GetDirectoryName(document)!, target)))
                .Select(target => $"{Path.GetFileName(document)}: {target}")),
        ];
        await Assert.That(broken).IsEmpty();
    }

    [Test]
    public async Task The_readme_lists_every_setting_and_no_other()
    {
        string table = Section("## Settings");
        var missing = new List<string>();
        foreach (Setting setting in Settings.All)
        {
            foreach (string? name in new[] { setting.NotServed is null ? $"`{setting.Name}`" : null, setting.Flag, setting.Variable })
                if (name is not null && !Regex.IsMatch(table, $@"(?<![\w-]){Regex.Escape(name)}(?![\w-])")) missing.Add(name);
        }
        string[] invented =
        [
            .. FlagOrVariable().Matches(table).Select(match => match.Value).Distinct()
                .Where(name => !Settings.All.Any(setting => setting.Flag == name || setting.Variable == name)),
        ];
        await Assert.That(missing).IsEmpty();
        await Assert.That(invented).IsEmpty();
    }

    [Test]
    public async Task The_readme_lists_every_command_and_every_exit_code()
    {
        CommandOutcome help = await CarProcess.RunAsync(null, ["--help"]);
        string[] commands = [.. CommandInHelp().Matches(help.Output[help.Output.IndexOf("Commands:", StringComparison.Ordinal)..]).Select(match => match.Groups[1].Value)];
        string[] codes = [.. CodeInHelp().Matches(help.Output).Select(match => match.Groups[1].Value)];
        string section = Section("## Commands");

        await Assert.That(commands.Length).IsGreaterThan(5);
        await Assert.That(codes.Length).IsGreaterThan(3);
        foreach (string row in commands.Select(name => $"\n| `{name}").Concat(codes.Select(code => $"\n| {code} |"))) await Assert.That(section).Contains(row);
    }

    [Test]
    public async Task Every_package_has_its_line_in_the_list_of_dependencies()
    {
        string list = await File.ReadAllTextAsync(Path.Combine(Repository.Root, "docs", "dependencies.md"));
        foreach (string project in new[] { "car-server.csproj", "tests/car-server.tests.csproj" })
        {
            foreach (XElement package in XDocument.Load(Path.Combine(Repository.Root, project)).Descendants("PackageReference"))
                await Assert.That(list).Contains($"| {package.Attribute("Include")!.Value} | {package.Attribute("Version")!.Value} |").Because(project);
        }
        using JsonDocument clients = JsonDocument.Parse(await File.ReadAllTextAsync(Path.Combine(Repository.Root, "tests", "clients", "package.json")));
        foreach (JsonProperty package in clients.RootElement.GetProperty("devDependencies").EnumerateObject())
            await Assert.That(list).Contains($"| {package.Name} (npm) | {package.Value.GetString()} |");
    }

    [Test]
    public async Task Every_folder_of_the_product_is_in_the_picture_of_the_architecture()
    {
        string picture = await File.ReadAllTextAsync(Path.Combine(Repository.Root, "docs", "architecture.md"));
        foreach (string folder in Source.Product.Select(file => file.Folder.Split('/')).Where(parts => parts.Length > 1).Select(parts => parts[1]).Distinct())
            await Assert.That(picture).Contains($"  {folder}/ ").Because(folder);
    }

    private static string Section(string heading)
    {
        string readme = Readme;
        int start = readme.IndexOf(heading, StringComparison.Ordinal);
        int end = readme.IndexOf("\n## ", start + heading.Length, StringComparison.Ordinal);
        return readme[start..(end < 0 ? readme.Length : end)];
    }

    [GeneratedRegex(@"\b(?:TODO|FIXME|HACK|XXX|NotImplementedException)\b")]
    private static partial Regex ForLater();

    [GeneratedRegex(@"\]\(([^)#\s]+)[^)]*\)")]
    private static partial Regex Link();

    [GeneratedRegex(@"--[a-z][a-z0-9-]+|\bCAR_[A-Z_]+\b")]
    private static partial Regex FlagOrVariable();

    [GeneratedRegex(@"^  ([a-z][a-z-]+) ", RegexOptions.Multiline)]
    private static partial Regex CommandInHelp();

    [GeneratedRegex(@"^  (\d+)  ", RegexOptions.Multiline)]
    private static partial Regex CodeInHelp();
}

using System.Text.RegularExpressions;
using CarServer.Tests.Support;

namespace CarServer.Tests.Unit.Rules;

/// <summary>One file of the product, as text.</summary>
/// <param name="Path">From the root of the repository, with slashes.</param>
internal sealed partial record Source(string Path, string Text)
{
    private static readonly string[] Folders = ["Rpc", "State", "RunStore"];

    /// <summary>Everything that is compiled into the executable.</summary>
    public static IReadOnlyList<Source> Product { get; } =
    [
        .. Folders.SelectMany(folder => Directory.EnumerateFiles(System.IO.Path.Combine(Repository.Root, folder), "*.cs", SearchOption.AllDirectories))
            .Append(System.IO.Path.Combine(Repository.Root, "Program.cs"))
            .Select(Read).OrderBy(source => source.Path, StringComparer.Ordinal),
    ];

    /// <summary><c>Rpc/Http</c> for <c>Rpc/Http/SidePort.cs</c>; empty for a file at the top.</summary>
    public string Folder => Path.Contains('/') ? Path[..Path.LastIndexOf('/')] : "";

    public string? Namespace => NamespaceLine().Match(Text) is { Success: true } match ? match.Groups[1].Value : null;

    /// <summary>The text without comments and without what stands in quotes.</summary>
    public string Code => field ??= CommentsAndStrings().Replace(Text, match => match.Value[0] == '/' ? "" : "\"\"");

    private static Source Read(string path) => new(System.IO.Path.GetRelativePath(Repository.Root, path).Replace('\\', '/'), File.ReadAllText(path));

    [GeneratedRegex(@"^namespace ([\w.]+);", RegexOptions.Multiline)]
    private static partial Regex NamespaceLine();

    [GeneratedRegex("""//[^\n]*|/\*.*?\*/|\$*(?<quotes>"{3,}).*?\k<quotes>|@"(?:[^"]|"")*"|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)+'""", RegexOptions.Singleline)]
    private static partial Regex CommentsAndStrings();
}

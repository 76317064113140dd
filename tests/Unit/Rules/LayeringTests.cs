using System.Text.RegularExpressions;

namespace CarServer.Tests.Unit.Rules;

/// <summary>The arrows of <c>docs/architecture.md</c> point down only.</summary>
public sealed partial class LayeringTests
{
    private const string Top = "Rpc";

    /// <summary>What the files of a folder may use beside their own. Every folder has a rule, its own or that of the one around it.</summary>
    private static readonly Dictionary<string, string[]> MayUse = new()
    {
        [""] = ["Rpc.CommandLine"],
        ["RunStore"] = [],
        ["State"] = ["RunStore"],
        ["Rpc/WebSocket"] = [],
        ["Rpc/Transport"] = ["Rpc.WebSocket", "RunStore"],
        ["Rpc/Http"] = ["Rpc.Transport", "Rpc.WebSocket"],
        ["Rpc/JsonRpc"] = ["Rpc.Transport", "Rpc.WebSocket", "State", "RunStore"],
        ["Rpc/Methods"] = ["Rpc.JsonRpc", "State", "RunStore"],
        ["Rpc/Client"] = ["Rpc.Transport", "Rpc.WebSocket", "RunStore"],
        ["Rpc/CommandLine"] = ["Rpc.Client", "Rpc.Transport", "RunStore"],
        [Top] = [],
    };

    /// <summary>Single files that reach further, each with the reason.</summary>
    private static readonly Dictionary<string, (string[] Uses, string Reason)> Exceptions = new()
    {
        ["Rpc/Daemon.cs"] = (["Rpc.Http", "Rpc.JsonRpc", "Rpc.Methods", "Rpc.Transport", "Rpc.WebSocket", "State", "RunStore"], "puts everything together and takes it apart again"),
        ["Rpc/DaemonOptions.cs"] = (["Rpc.Transport", "RunStore"], "the defaults of the wire's settings are its limits, and the disk's settings are in its words"),
        ["Rpc/WorkspaceRule.cs"] = (["RunStore"], "a file's identity tells a directory that several names lead to"),
        ["Rpc/Http/SidePort.cs"] = (["State", "RunStore"], "GET /health tells of the daemon's state, in JSON, and there is no request to dispatch"),
        ["Rpc/Methods/RunsMethods.cs"] = (["Rpc.Transport"], "one answer holds as much of a trace as one message may"),
    };

    [Test]
    public async Task Every_file_uses_only_what_lies_below_it()
    {
        string[] broken = [.. Source.Product.SelectMany(file => Uses(file).Where(used => !Allowed(file, used)).Select(used => $"{file.Path} uses {used}"))];
        string[] lawless = [.. Source.Product.Select(file => file.Folder).Distinct().Where(folder => RuleFor(folder) is null)];
        await Assert.That(broken).IsEmpty();
        await Assert.That(lawless).IsEmpty();
    }

    [Test]
    public async Task Every_exception_is_still_needed()
    {
        string[] idle =
        [
            .. Exceptions.SelectMany(exception => exception.Value.Uses
                .Where(used => !Source.Product.Any(file => file.Path == exception.Key && Uses(file).Any(it => IsWithin(it, used))))
                .Select(used => $"{exception.Key} does not use {used} any more")),
        ];
        await Assert.That(idle).IsEmpty();
    }

    [Test]
    public async Task A_file_lies_where_its_namespace_says()
    {
        string[] elsewhere =
        [
            .. Source.Product.Where(file => file.Namespace is not null && file.Namespace != "CarServer." + file.Folder.Replace('/', '.'))
                .Select(file => $"{file.Path} is in {file.Namespace}"),
        ];
        await Assert.That(elsewhere).IsEmpty();
    }

    /// <summary>Frames are bytes in and bytes out: what they come from and who waits for them is not their matter.</summary>
    [Test]
    public async Task The_frame_code_knows_no_socket_no_file_and_no_task()
    {
        string[] impure =
        [
            .. Source.Product.Where(file => file.Folder == "Rpc/WebSocket")
                .SelectMany(file => Impure().Matches(file.Code).Select(match => $"{file.Path} says {match.Value}")),
        ];
        await Assert.That(impure).IsEmpty();
    }

    private static bool Allowed(Source file, string used)
    {
        if (Exceptions.TryGetValue(file.Path, out (string[] Uses, string) exception) && exception.Uses.Any(may => IsWithin(used, may))) return true;
        if (RuleFor(file.Folder) is not { } rule) return false;
        return rule != Top && IsWithin(used, rule.Replace('/', '.')) || MayUse[rule].Any(may => IsWithin(used, may));
    }

    /// <summary>The folder's own rule, or that of the folder it lies in. What lies at the top of <c>Rpc</c> rules nothing but itself.</summary>
    private static string? RuleFor(string folder) =>
        MayUse.Keys.Where(key => key == folder || key.Length > 0 && key != Top && folder.StartsWith(key + "/", StringComparison.Ordinal)).MaxBy(key => key.Length);

    private static bool IsWithin(string name, string outer) => name == outer || name.StartsWith(outer + ".", StringComparison.Ordinal);

    /// <summary>Our namespaces that a file names: in a using, or in front of a type. The outer namespaces need neither.</summary>
    private static IEnumerable<string> Uses(Source file)
    {
        IEnumerable<string> usings = Using().Matches(file.Code).Select(match => match.Groups[1].Value);
        // A property may have the name of a namespace (State); then its own layer is what it belongs to, and that is always allowed.
        IEnumerable<string> names = Qualified().Matches(file.Code).Select(match => match.Groups[1].Value)
            .Select(name => name is "State" or "RunStore" || name.StartsWith("Rpc", StringComparison.Ordinal) ? name : "Rpc." + name);
        return usings.Concat(names).Distinct();
    }

    [GeneratedRegex(@"^using (?:static )?CarServer\.([\w.]+);", RegexOptions.Multiline)]
    private static partial Regex Using();

    [GeneratedRegex(@"(?<![\w.])(?:CarServer\.)?((?:Rpc\.)?(?:Transport|Http|WebSocket|JsonRpc|Methods|Client|CommandLine)|State|RunStore)\.(?=[A-Z])")]
    private static partial Regex Qualified();

    [GeneratedRegex(@"\b(?:async|await|Task|ValueTask|Thread|Socket|Stream|File|ILogger|System\.Net[\w.]*|System\.IO[\w.]*)\b")]
    private static partial Regex Impure();
}

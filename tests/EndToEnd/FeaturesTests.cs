using System.Text.Json;
using System.Text.RegularExpressions;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>The daemon, its command line and its documents speak of the same methods.</summary>
public sealed partial class FeaturesTests
{
    [Test]
    public async Task Discover_and_the_methods_verb_and_the_feature_list_name_the_same_methods()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();

        string discovered = Sorted((await peer.CallAsync("rpc.discover")).GetProperty("methods").EnumerateArray().Select(m => m.GetProperty("name").GetString()!));
        CommandOutcome verb = await daemon.CommandAsync("methods");
        string listed = Sorted(verb.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Skip(1).Select(line => line.Split(' ')[0]));   // the first line is the heading
        string documented = Sorted(File.ReadLines(Path.Combine(Repository.Root, "docs", "features.md")).Select(line => Row().Match(line)).Where(m => m.Success).Select(m => m.Groups[1].Value));

        await Assert.That(verb.ExitCode).IsEqualTo(0).Because(verb.ToString());
        await Assert.That(listed).IsEqualTo(discovered);
        await Assert.That(documented).IsEqualTo(discovered);
    }

    [Test]
    public async Task Every_test_that_the_feature_list_names_exists()
    {
        string[] named = [.. File.ReadLines(Path.Combine(Repository.Root, "docs", "features.md")).Where(line => Row().IsMatch(line)).SelectMany(line => TestFile().Matches(line)).Select(m => m.Value).Distinct()];

        await Assert.That(named).IsNotEmpty();
        foreach (string file in named) await Assert.That(File.Exists(Path.Combine(Repository.Root, "tests", file))).IsTrue().Because(file);
    }

    [Test]
    public async Task Every_method_of_the_document_has_a_summary_and_its_params()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();

        foreach (JsonElement method in (await peer.CallAsync("rpc.discover")).GetProperty("methods").EnumerateArray())
        {
            string name = method.GetProperty("name").GetString()!;
            await Assert.That(method.GetProperty("summary").GetString()).IsNotEmpty().Because(name);
            await Assert.That(method.GetProperty("params").ValueKind).IsEqualTo(JsonValueKind.Array).Because(name);
            await Assert.That(method.TryGetProperty("result", out _)).IsTrue().Because(name);
        }
    }

    private static string Sorted(IEnumerable<string> names) => string.Join('\n', names.Order(StringComparer.Ordinal));

    /// <summary>A row of the table: its first cell is the method in backticks.</summary>
    [GeneratedRegex(@"^\| `([A-Za-z0-9_.]+)` \|")]
    private static partial Regex Row();

    [GeneratedRegex(@"(?:EndToEnd|Unit|Fuzz|clients)/[\w./-]+\.(?:cs|mjs)")]
    private static partial Regex TestFile();
}

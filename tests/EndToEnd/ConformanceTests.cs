using System.Text.Json;
using CarServer.Tests.EndToEnd.Conformance;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>Every row of protocol 10.1 to 10.3, in every combination, and checks 13 and 14 of section 24.</summary>
public sealed class ConformanceTests
{
    /// <summary>Of one proposal: below the daemon's limit, and answers of some hundred KiB.</summary>
    private const int ActionsAtOnce = 2_500;

    [Test]
    public async Task Every_operator_decides_between_every_two_values_as_the_protocol_says()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        foreach ((string key, string value) in ConditionCase.State) await peer.CallAsync("state.set", $$"""{"key":"{{key}}","value":{{value}} }""");

        var complaints = new List<string>();
        foreach (ConditionCase[] cases in ConditionCase.All.Chunk(ActionsAtOnce))
        {
            JsonElement result = await peer.CallAsync("proposal.submit", $$"""{"proposal":{"actions":[{{string.Join(',', cases.Select(one => one.Action))}}]} }""");
            complaints.AddRange(cases.Zip(result.GetProperty("results").EnumerateArray(), (one, ended) => one.Complaint(ended)).OfType<string>());
        }

        await Assert.That(string.Join('\n', complaints.Take(20))).IsEmpty().Because($"{complaints.Count} of {ConditionCase.All.Count} cases are wrong");
    }

    [Test]
    [Arguments("abort")]
    [Arguments("retry")]
    [Arguments("skip")]
    public async Task Every_end_of_an_action_means_for_the_others_what_the_protocol_says(string behavior)
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.CallAsync("tools.register", FailureCase.Tools);
        await peer.CallAsync("policy.register", FailureCase.Policy);
        peer.Tools = FailureCase.AnswerAsync;

        // All at once: each has a tenant of its own, and their delays pass together.
        string?[] complaints = await Task.WhenAll(FailureCase.All(behavior).Select(one => one.PlayAsync(peer)));

        await Assert.That(string.Join('\n', complaints.OfType<string>().Take(5))).IsEmpty();
    }

    /// <summary>One action, or one that may abort: one at a time. All others of a level: together. Seen by the client, which holds its answers back.</summary>
    [Test]
    public async Task A_level_runs_together_unless_one_of_its_actions_may_abort()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.RegisterToolsAsync("t");
        string[][] levels = [.. Enumerable.Range(1, 4).SelectMany(Levels)];
        int[] arrived = new int[levels.Length];
        TaskCompletionSource[] all = [.. levels.Select(_ => new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously))];
        peer.Tools = async call =>
        {
            int[] id = [.. call.ActionId.Split('.').Select(int.Parse)];
            string[] level = levels[id[0]];
            int so = Interlocked.Increment(ref arrived[id[0]]);
            if (so == level.Length) all[id[0]].SetResult();
            if (level.Contains("abort"))
            {
                // What was sent together with this call has arrived by the time of the answer.
                for (int round = 0; round < 3; round++) await peer.CallAsync("ping");
                int sent = peer.ToolCalls.Count(other => other.ActionId.StartsWith($"{id[0]}.", StringComparison.Ordinal));
                if (sent != id[1] + 1) throw new ToolFailed($"{sent} calls are here at the time of action {id[1]}");
            }
            else
            {
                await all[id[0]].Task.Soon($"all calls of the level {string.Join(' ', level)} before any answer");
            }
            return "1";
        };

        string[] ends = await Task.WhenAll(levels.Select(async (level, n) =>
        {
            JsonElement result = await peer.CallAsync("proposal.submit", $$"""{"proposal":{"actions":[{{string.Join(',', level.Select((behavior, i) =>
                $$"""{"id":"{{n}}.{{i}}","type":"tool_call","tool":"t","failure_behavior":"{{behavior}}","max_retries":0}"""))}}]} }""");
            string[] bad = [.. result.GetProperty("results").EnumerateArray().Where(one => one.GetProperty("status").GetString() != "succeeded").Select(one => one.GetRawText())];
            return bad.Length == 0 ? "" : $"{string.Join(' ', level)}: {string.Join(", ", bad)}\n";
        }));

        await Assert.That(string.Concat(ends)).IsEmpty();
    }

    /// <summary>The cases above see the four in which an action can end.</summary>
    [Test]
    public async Task The_seven_statuses_are_named_in_the_description_of_the_protocol()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        string described = (await peer.CallAsync("rpc.discover")).GetRawText();
        await Assert.That(described).Contains("""["proposed","validated","rejected","executing","succeeded","failed","skipped"]""");
    }

    private static IEnumerable<string[]> Levels(int length) => length == 0 ? [[]]
        : from shorter in Levels(length - 1) from behavior in (string[])["abort", "retry", "skip"] select (string[])[.. shorter, behavior];
}

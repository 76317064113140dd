using System.Diagnostics;
using System.Text.Json;
using CarServer.Tests.EndToEnd.Conformance;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>Proposals that are wrong in every way we know: a clear error or a defined result, and the session is as it was.</summary>
public sealed class BadProposalTests
{
    /// <summary>For any of them, on a busy machine. The largest are tens of MiB and ten thousand actions.</summary>
    private static readonly TimeSpan Bound = TimeSpan.FromSeconds(5);

    [Test]
    public async Task A_bad_proposal_has_a_clear_answer_and_leaves_the_session_as_it_was()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.CallAsync("tools.register", """[{"name":"strict","parameters":{"type":"object","required":["n"]} }]""");
        await peer.CallAsync("state.set", """{"key":"init","value":0}""");
        peer.Tools = _ => throw new InvalidOperationException("no tool is to be called");
        string before = await SessionAsync(peer);

        var complaints = new List<string>();
        foreach (BadProposal bad in BadProposal.All)
        {
            long start = Stopwatch.GetTimestamp();
            JsonElement answer = await AskAsync(peer, bad);
            if (Stopwatch.GetElapsedTime(start) > Bound) complaints.Add($"{bad.Name}: took {Stopwatch.GetElapsedTime(start).TotalSeconds:0.0} s");
            if (bad.Complaint(answer) is { } complaint) complaints.Add(complaint.Length > 400 ? complaint[..400] + "…" : complaint);
            string after = await SessionAsync(peer);
            if (after != before) complaints.Add($"{bad.Name}: the session is {(after.Length > 400 ? after[..400] + "…" : after)}");
        }

        await Assert.That(string.Join('\n', complaints.Take(40))).IsEmpty().Because($"{complaints.Count} of {BadProposal.All.Count} cases are wrong");
        await Assert.That(peer.ToolCalls).IsEmpty();
    }

    [Test]
    public async Task Parameters_of_a_mebibyte_reach_their_tool_whole()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        await peer.RegisterToolsAsync("t");
        string text = new('x', 1024 * 1024);
        peer.Tools = call => Task.FromResult(call.Parameters.GetProperty("text").GetString() == text ? "true" : "false");

        JsonElement result = await peer.CallAsync("proposal.submit", $$"""{"proposal":{"actions":[{"type":"tool_call","tool":"t","parameters":{"text":"{{text}}"} }]} }""");

        await Assert.That(result.GetProperty("results")[0].GetProperty("output").GetRawText()).IsEqualTo("true");
    }

    private static Task<JsonElement> AskAsync(RpcPeer peer, BadProposal bad) =>
        (bad.Code is -32700 or -32600 ? peer.SendUnreadableAsync($$"""{"jsonrpc":"2.0","method":"proposal.submit","params":{{bad.Params}},"id":1}""") : peer.SendAsync("proposal.submit", bad.Params))
        .Soon($"the answer to {bad.Name}");

    private static async Task<string> SessionAsync(RpcPeer peer) =>
        $"{(await peer.CallAsync("state.snapshot")).GetRawText()} {(await peer.CallAsync("tools.list")).GetRawText()} {(await peer.CallAsync("policy.list")).GetRawText()}";
}

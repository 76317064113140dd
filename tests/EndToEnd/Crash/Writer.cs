using System.Net.Sockets;
using System.Text.Json;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd.Crash;

/// <summary>One agent: starts a run, fills it from two connections and several lanes at once, completes it, starts the next, until the daemon is gone.</summary>
/// <remarks>The lanes' proposals and batches meet in one run; somebody follows it.</remarks>
internal sealed class Writer : IAsyncDisposable
{
    private const int ProposalLanes = 2, BatchLanes = 2;

    /// <summary>Of more than fifty runs of one agent the next start would collect some.</summary>
    private const int MostRuns = 40;

    private readonly Ledger _ledger;
    private readonly string _agentId;
    private readonly RpcPeer _starter, _agent;
    private readonly RawPeer _follower;

    private Writer(Ledger ledger, string agentId, RpcPeer starter, RpcPeer agent, RawPeer follower) =>
        (_ledger, _agentId, _starter, _agent, _follower) = (ledger, agentId, starter, agent, follower);

    public static async Task<Writer> ConnectAsync(TestDaemon daemon, Ledger ledger, string agentId)
    {
        RpcPeer starter = await daemon.ConnectAsync();
        starter.Tools = call => Task.FromResult(call.Parameters.GetRawText());
        await starter.RegisterToolsAsync("echo");
        RpcPeer agent = await daemon.ConnectAsync();
        await agent.CallAsync("session.auth", $$"""{"agent_id":"{{agentId}}"}""");
        return new Writer(ledger, agentId, starter, agent, await daemon.ConnectRawAsync(daemon.Unix));
    }

    public async Task WorkAsync()
    {
        for (int run = 0; run < MostRuns; run++)
        {
            Task following = Task.CompletedTask;
            try
            {
                JsonElement started = await _starter.CallAsync("runs.start", $$"""{"intent":"crash","agent_id":"{{_agentId}}"}""");
                string runId = started.GetProperty("run_id").GetString()!;
                Story story = _ledger.Begin(runId, _agentId);
                following = FollowAsync(story, runId);
                int lane = 0, batches = 1 + run % 4;   // short runs, so that some are over before the kill, and long ones
                await Task.WhenAll(
                [
                    .. Enumerable.Range(0, ProposalLanes).Select(_ => ProposeAsync(story, lane++, batches)),
                    .. Enumerable.Range(0, BatchLanes).Select(_ => RecordAsync(story, runId, _starter, lane++, batches)),
                    .. Enumerable.Range(0, BatchLanes).Select(_ => RecordAsync(story, runId, _agent, lane++, batches)),
                ]);
                story.CompletionAsked = true;
                await (run % 2 == 0 ? _starter : _agent).CallAsync("runs.complete", $$$"""{"run_id":"{{{runId}}}","outcome":{"status":"done"} }""");
                story.CompletionAcknowledged = true;
            }
            catch (Exception e) when (IsTheEnd(e))
            {
                return;
            }
            finally
            {
                await following;
            }
        }
    }

    private async Task FollowAsync(Story story, string runId)
    {
        try
        {
            var follower = new Follower(_follower, runId);
            await follower.SubscribeAsync();
            story.Follower = follower;
            await follower.FollowAsync();
        }
        catch (Exception e) when (IsTheEnd(e)) { }
    }

    /// <summary>Proposals of two actions each, with a payload that makes lines of many sizes.</summary>
    private async Task ProposeAsync(Story story, int lane, int batches)
    {
        for (int n = 0; n < batches; n++)
        {
            await _starter.CallAsync("proposal.submit", $$$"""
                {"proposal":{"actions":[
                  {"type":"tool_call","tool":"echo","parameters":{"name":"{{{lane}}}/{{{n}}}/0","padding":"{{{Padding(lane, n)}}}"} },
                  {"type":"state_write","parameters":{"key":"k{{{lane}}}","value":{{{n}}},"name":"{{{lane}}}/{{{n}}}/1"} }]} }
                """);
            story.Acknowledged[$"{lane}/{n}"] = 2;
        }
    }

    private async Task RecordAsync(Story story, string runId, RpcPeer peer, int lane, int batches)
    {
        for (int n = 0; n < batches; n++)
        {
            int count = 1 + (lane * 11 + n * 17) % 32;
            string turns = string.Join(',', Enumerable.Range(0, count).Select(k => $$$"""{"parameters":{"name":"{{{lane}}}/{{{n}}}/{{{k}}}","padding":"{{{Padding(lane, n)}}}"}}"""));
            JsonElement recorded = await peer.CallAsync("runs.record_turns", $$"""{"run_id":"{{runId}}","turns":[{{turns}}]}""");
            if (!recorded.GetProperty("ok").GetBoolean()) throw new InvalidOperationException(recorded.GetRawText());
            story.BaseIndices[$"{lane}/{n}"] = recorded.GetProperty("base_index").GetInt32();
            story.Acknowledged[$"{lane}/{n}"] = count;
        }
    }

    private static string Padding(int lane, int n) => new('x', (lane * 7 + n) * 1_100 % 9_000);

    private static bool IsTheEnd(Exception e) => e is PeerClosedException or SocketException or ObjectDisposedException or IOException;

    public async ValueTask DisposeAsync()
    {
        await _starter.DisposeAsync();
        await _agent.DisposeAsync();
        await _follower.DisposeAsync();
    }
}

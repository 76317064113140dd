using System.Diagnostics;
using System.Text;
using CarServer.Rpc.Transport;
using CarServer.Tests.EndToEnd.Hostile;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>Input that no good client sends, through the real socket, and exactly what the daemon says to it.</summary>
[ClassDataSource<HostileDaemons>(Shared = SharedType.PerClass)]
public sealed class HostileInputTests(HostileDaemons daemons)
{
    /// <summary>How far a daemon may be over what it took before: pages of code that only faults touch, and heaps that have grown a little.</summary>
    private const long Allowance = 12 * 1024 * 1024;

    private const string Ping = """{"jsonrpc":"2.0","method":"ping","id":1}""";

    public static IEnumerable<HostileCase> Handshakes() => HandshakeCases.All;
    public static IEnumerable<HostileCase> Frames() => FrameCases.All;
    public static IEnumerable<HostileCase> Texts() => Utf8Cases.All;
    public static IEnumerable<HostileCase> Closes() => CloseCases.All;
    public static IEnumerable<HostileCase> Calls() => JsonRpcCases.All;

    [Test, MethodDataSource(nameof(Handshakes)), DisplayName("Handshake: $hostile")]
    public Task A_handshake_gets_exactly_its_answer(HostileCase hostile) => PlayAsync(hostile);

    [Test, MethodDataSource(nameof(Frames)), DisplayName("Frames: $hostile")]
    public Task Frames_get_exactly_their_answer(HostileCase hostile) => PlayAsync(hostile);

    [Test, MethodDataSource(nameof(Texts)), DisplayName("UTF-8: $hostile")]
    public Task Text_gets_exactly_its_answer(HostileCase hostile) => PlayAsync(hostile);

    [Test, MethodDataSource(nameof(Closes)), DisplayName("Close: $hostile")]
    public Task A_close_frame_gets_exactly_its_answer(HostileCase hostile) => PlayAsync(hostile);

    [Test, MethodDataSource(nameof(Calls)), DisplayName("JSON-RPC: $hostile")]
    public Task A_message_gets_exactly_its_answer(HostileCase hostile) => PlayAsync(hostile);

    private async Task PlayAsync(HostileCase hostile) =>
        await Assert.That(await hostile.PlayAsync(daemons[hostile.At].Tcp)).IsEqualTo(hostile.Heard);

    [Test]
    public async Task A_head_cut_at_any_byte_is_the_same_head()
    {
        byte[] head = Drawing.Octets(HandshakeCases.Head());
        for (int cut = 1; cut < head.Length; cut++)
        {
            await using RawPeer peer = await daemons[At.Open].OpenAsync();
            await peer.SendAsync(head.AsMemory(0, cut));
            await peer.SendAsync(head.AsMemory(cut));
            await Assert.That((await peer.ReadHttpAsync()).Status).IsEqualTo(101).Because($"it was cut at byte {cut}");
        }
    }

    [Test]
    public async Task A_head_that_ends_early_gets_no_answer()
    {
        byte[] head = Drawing.Octets(HandshakeCases.Head());
        for (int length = 0; length < head.Length; length++)
        {
            await using RawPeer peer = await daemons[At.Open].OpenAsync();
            await peer.SendAsync(head.AsMemory(0, length));
            peer.EndSending();
            await Assert.That((await peer.ReadToEndAsync()).Length).IsEqualTo(0).Because($"only {length} bytes of a head came");
        }
    }

    [Test]
    public async Task Frames_cut_at_any_byte_are_the_same_frames()
    {
        byte[] stream =
        [
            .. RawPeer.Frame(Op.Text, Encoding.UTF8.GetBytes(Ping[..9]), fin: false),
            .. RawPeer.Frame(Op.Ping, "é"u8),
            .. RawPeer.Frame(Op.Continuation, Encoding.UTF8.GetBytes(Ping[9..] + new string(' ', 200))),
            .. RawPeer.Frame(Op.Close, RawPeer.ClosePayload(4000, "bye")),
        ];
        for (int cut = 1; cut < stream.Length; cut++)
        {
            await using RawPeer peer = await daemons[At.Open].ConnectRawAsync();
            await peer.SendAsync(stream.AsMemory(0, cut));
            await peer.SendAsync(stream.AsMemory(cut));
            await Assert.That((await peer.ReadFrameAsync()).Text).IsEqualTo("é").Because($"it was cut at byte {cut}");
            await Assert.That((await peer.ReadFrameAsync()).Text).Contains("\"pong\"").Because($"it was cut at byte {cut}");
            await Assert.That(await peer.ReadCloseCodeAsync()).IsEqualTo(4000).Because($"it was cut at byte {cut}");
        }
    }

    [Test]
    public async Task A_connection_that_ends_anywhere_in_a_frame_hurts_nobody()
    {
        byte[] stream = RawPeer.Frame(Op.Text, Encoding.UTF8.GetBytes(Ping + new string(' ', 200)));
        for (int length = 0; length < stream.Length; length += 7)
        {
            RawPeer peer = await daemons[At.Open].ConnectRawAsync();
            await peer.SendAsync(stream.AsMemory(0, length));
            if (length % 2 == 0) peer.Reset();
            await peer.DisposeAsync();
        }
        await using RpcPeer neighbour = await daemons[At.Open].ConnectAsync();
        await Assert.That((await neighbour.CallAsync("ping")).GetString()).IsEqualTo("pong");
    }

    [Test]
    public async Task Who_says_nothing_is_told_408_after_ten_seconds()
    {
        long start = Stopwatch.GetTimestamp();
        await using RawPeer silent = await daemons[At.Open].OpenAsync();
        await using RawPeer halfway = await daemons[At.Open].OpenAsync();
        await halfway.SendAsync("GET / HTTP/1.1\r\nHost: localhost\r\n");

        await Assert.That((await silent.ReadHttpAsync()).Status).IsEqualTo(408);
        await Assert.That((await halfway.ReadHttpAsync()).Status).IsEqualTo(408);
        await Assert.That((await silent.ReadToEndAsync()).Length).IsEqualTo(0);
        await Assert.That(Stopwatch.GetElapsedTime(start).TotalSeconds).IsGreaterThan(9.5);
    }

    [Test]
    public async Task The_thousand_and_twenty_fifth_waiting_request_is_refused_and_replies_are_not()
    {
        const int limit = 1024;
        await using RpcPeer peer = await daemons[At.Open].ConnectAsync();
        await peer.RegisterToolsAsync("never");
        const string Proposal = """{"proposal":{"source":"test","actions":[{"id":"a","type":"tool_call","tool":"never","timeout_ms":600000}]}}""";
        Task<System.Text.Json.JsonElement>[] waiting = [.. Enumerable.Range(0, limit).Select(_ => peer.SendAsync("proposal.submit", Proposal))];
        var calls = new List<ToolRequest>();
        for (int i = 0; i < limit; i++) calls.Add(await peer.NextToolCallAsync());

        RpcFailure refused = await peer.CallFailsAsync("proposal.submit", Proposal);
        await Assert.That(refused.Code).IsEqualTo(-32008);
        await Assert.That(refused.Text).IsEqualTo($"too many requests in flight (limit {limit})");
        await Assert.That((await peer.CallFailsAsync("ping")).Code).IsEqualTo(-32008);

        await peer.SendTextAsync("""{"jsonrpc":"2.0","id":"cb-99999","result":1}""");   // nobody waits for it
        await peer.ReplyAsync(calls[limit / 2], "1");
        await Task.WhenAny(waiting).Soon("the answer to the proposal whose tool has answered");
        await Assert.That((await peer.CallAsync("ping")).GetString()).IsEqualTo("pong");
        await Assert.That(waiting.Count(task => task.IsCompleted)).IsEqualTo(1);
    }

    [Test]
    [Arguments("""{"jsonrpc":"2.0","id":"{id}","error":null,"result":1}""", "succeeded")]
    [Arguments("""{"jsonrpc":"1.0","id":"{id}","result":1}""", "succeeded")]
    [Arguments("""{"jsonrpc":"2.0","id":"{id}","error":"\ud800"}""", "failed")]
    [Arguments("""{"jsonrpc":"2.0","id":"{id}","error":{"code":1,"message":"\udc00"}}""", "failed")]
    [Arguments("""{"jsonrpc":"2.0","id":"{id}","error":{"\ud800":1,"message":"no"}}""", "failed")]
    [Arguments("""{"jsonrpc":"2.0","id":"{id}","error":{"deep":{deep},"message":"no"}}""", "failed")]
    [Arguments("""{"jsonrpc":"2.0","id":"{id}","error":{deep}}""", "failed")]
    [Arguments("""{"jsonrpc":"2.0","id":"{id}","error":[]}""", "failed")]
    [Arguments("""{"jsonrpc":"2.0","id":"{id}","result":"\ud800"}""", "succeeded")]
    [Arguments("""[{"jsonrpc":"2.0","id":"{id}","result":1}]""", "succeeded")]
    public async Task A_callback_takes_any_reply_that_is_one(string reply, string status)
    {
        await using RpcPeer peer = await daemons[At.Open].ConnectAsync();
        await peer.RegisterToolsAsync("t");
        Task<System.Text.Json.JsonElement> submitted = peer.CallAsync("proposal.submit", """{"proposal":{"source":"test","actions":[{"id":"a","type":"tool_call","tool":"t"}]}}""");
        ToolRequest call = await peer.NextToolCallAsync();

        string deep = new string('[', 100) + new string(']', 100);
        await peer.SendTextAsync(reply.Replace("{id}", call.Id, StringComparison.Ordinal).Replace("{deep}", deep, StringComparison.Ordinal));

        System.Text.Json.JsonElement result = (await submitted).GetProperty("results")[0];
        await Assert.That(result.GetProperty("status").GetString()).IsEqualTo(status);
    }

    [Test]
    public async Task Who_never_reads_is_closed_in_time_and_its_neighbours_do_not_notice()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RawPeer deaf = await daemon.ConnectRawAsync();
        // A neighbour on every loop, so that one of them shares the deaf one's.
        RpcPeer[] neighbours = [await daemon.ConnectAsync(), await daemon.ConnectAsync(), await daemon.ConnectAsync(), await daemon.ConnectAsync()];
        try
        {
            await AskForMuchAtOnceAsync(deaf);
            long most = 0;
            await Eventually.TrueAsync("the end of the connection that nobody reads", async () =>
            {
                foreach (RpcPeer neighbour in neighbours) await neighbour.CallAsync("ping");
                most = Math.Max(most, daemon.ResidentBytes);
                return (await neighbours[0].CallAsync("server.info")).GetProperty("connections").GetInt32() == neighbours.Length;
            }, within: Limits.WriteStallTimeout + Eventually.Deadline);
            // One answer of 24 MiB waits, besides the value itself; the three behind it were not begun.
            await Assert.That(most).IsLessThan(128L << 20);
            await Eventually.TrueAsync("the memory of its answers", () => daemon.ResidentBytes < 32L << 20);
        }
        finally
        {
            foreach (RpcPeer neighbour in neighbours) await neighbour.DisposeAsync();
        }
    }

    [Test]
    public async Task Who_reads_gets_every_answer_however_many_do_not_fit_at_once()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RawPeer peer = await daemon.ConnectRawAsync();
        await AskForMuchAtOnceAsync(peer);

        for (int i = 1; i <= 4; i++) await Assert.That(await peer.ReadTextAsync()).StartsWith($$"""{"jsonrpc":"2.0","id":{{i}},"result":"vvv""");
        await peer.SendTextAsync(Ping);
        await Assert.That(await peer.ReadTextAsync()).IsEqualTo("""{"jsonrpc":"2.0","id":1,"result":"pong"}""");
    }

    /// <summary>Four answers of 24 MiB, over the 64 MiB that may wait, asked for in one packet.</summary>
    private static async Task AskForMuchAtOnceAsync(RawPeer peer)
    {
        await peer.SendTextAsync($$"""{"jsonrpc":"2.0","method":"state.set","params":{"key":"k","value":"{{new string('v', 24 << 20)}}"},"id":0}""");
        await peer.ReadTextAsync();
        byte[][] requests = [.. Enumerable.Range(1, 4).Select(i =>
            RawPeer.Frame(Op.Text, Encoding.UTF8.GetBytes($$"""{"jsonrpc":"2.0","method":"state.get","params":{"key":"k"},"id":{{i}}}""")))];
        await peer.SendAsync(requests.SelectMany(request => request).ToArray());
    }

    [Test]
    public async Task A_connection_over_the_cap_is_told_503_and_there_is_room_again_afterwards()
    {
        const int cap = 3;
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth", "--max-connections", $"{cap}");
        var peers = new List<RawPeer>();
        for (int i = 0; i < cap; i++) peers.Add(await daemon.ConnectRawAsync());
        for (int i = 0; i < 300; i++)
        {
            await using RawPeer turnedAway = await daemon.OpenAsync();
            HttpAnswer answer = await turnedAway.ReadHttpAsync();
            await Assert.That(answer.Status).IsEqualTo(503);
            await Assert.That(answer.Body).Contains("connections");
        }
        await peers[0].DisposeAsync();
        await Eventually.TrueAsync("room for one more", async () =>
        {
            await using RawPeer peer = await daemon.OpenAsync();
            try
            {
                await peer.SendAsync(RawPeer.UpgradeRequest(peer.HostHeader));
                return (await peer.ReadHttpAsync()).Status == 101;
            }
            catch (Exception e) when (e is System.Net.Sockets.SocketException or EndOfStreamException)
            {
                return false;   // it was turned away while it spoke
            }
        });
        foreach (RawPeer peer in peers) await peer.DisposeAsync();
    }

    [Test]
    [DependsOn(nameof(A_handshake_gets_exactly_its_answer), ProceedOnFailure = true)]
    [DependsOn(nameof(Frames_get_exactly_their_answer), ProceedOnFailure = true)]
    [DependsOn(nameof(Text_gets_exactly_its_answer), ProceedOnFailure = true)]
    [DependsOn(nameof(A_close_frame_gets_exactly_its_answer), ProceedOnFailure = true)]
    [DependsOn(nameof(A_message_gets_exactly_its_answer), ProceedOnFailure = true)]
    [DependsOn(nameof(A_head_cut_at_any_byte_is_the_same_head), ProceedOnFailure = true)]
    [DependsOn(nameof(A_head_that_ends_early_gets_no_answer), ProceedOnFailure = true)]
    [DependsOn(nameof(Frames_cut_at_any_byte_are_the_same_frames), ProceedOnFailure = true)]
    [DependsOn(nameof(A_connection_that_ends_anywhere_in_a_frame_hurts_nobody), ProceedOnFailure = true)]
    [DependsOn(nameof(Who_says_nothing_is_told_408_after_ten_seconds), ProceedOnFailure = true)]
    [DependsOn(nameof(The_thousand_and_twenty_fifth_waiting_request_is_refused_and_replies_are_not), ProceedOnFailure = true)]
    [DependsOn(nameof(A_callback_takes_any_reply_that_is_one), ProceedOnFailure = true)]
    public async Task After_all_of_it_the_daemons_answer_and_hold_neither_connections_nor_memory()
    {
        foreach ((TestDaemon daemon, long before) in daemons.All)
        {
            await using RpcPeer peer = await daemon.ConnectAsync();
            await Assert.That((await peer.CallAsync("ping")).GetString()).IsEqualTo("pong");
            await Eventually.TrueAsync("one open connection, ours", async () => (await peer.CallAsync("server.info")).GetProperty("connections").GetInt32() == 1);
            await Eventually.TrueAsync("the memory of all that", () => daemon.ResidentBytes - before <= Allowance);
            await Assert.That(daemon.Errors).IsEqualTo("").Because("nothing of this is an error of the daemon's");
        }
    }

    [Test]
    public async Task There_are_at_least_150_cases_and_no_two_of_a_name()
    {
        HostileCase[] all = [.. Handshakes(), .. Frames(), .. Texts(), .. Closes(), .. Calls()];
        await Assert.That(all.Length).IsGreaterThanOrEqualTo(150);
        await Assert.That(all.GroupBy(hostile => hostile.Name).Where(group => group.Count() > 1).Select(group => group.Key)).IsEmpty();
    }
}

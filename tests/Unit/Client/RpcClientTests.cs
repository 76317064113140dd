using System.Text;
using CarServer.Rpc.Client;
using CarServer.RunStore;

namespace CarServer.Tests.Unit.Client;

internal sealed class RpcClientTests
{
    private static async Task<(RpcClient Client, FakePeer Peer)> ConnectedAsync(FakeServer server)
    {
        Task<FakePeer> accepting = server.AcceptAsync();
        RpcClient client = await RpcClient.ConnectAsync(server.Address, FakeServer.Deadline());
        return (client, await accepting);
    }

    /// <summary>Closes both ends in the polite order.</summary>
    private static async Task FarewellAsync(RpcClient client, FakePeer peer)
    {
        Task closing = client.DisposeAsync().AsTask();
        await peer.ReadCloseAsync();
        peer.Dispose();
        await closing;
    }

    [Test]
    public async Task Replies_find_their_calls_in_any_order()
    {
        using var server = FakeServer.Tcp();
        (RpcClient client, FakePeer peer) = await ConnectedAsync(server);

        Task<RawJson> first = client.CallAsync("a.b", RawJson.Parse("""{"x": "é"}"""), FakeServer.Deadline());
        string firstRequest = await peer.ReadTextAsync();
        Task<RawJson> second = client.CallAsync("c.d", abandoned: FakeServer.Deadline());
        string secondRequest = await peer.ReadTextAsync();
        await peer.SendTextAsync("""{"jsonrpc":"2.0","id":2,"result":[2]}""");
        await peer.SendTextAsync("""{"jsonrpc":"2.0","result":{"one": 1.0},"id":1}""");

        await Assert.That(firstRequest).IsEqualTo("""{"jsonrpc":"2.0","id":1,"method":"a.b","params":{"x":"é"}}""");
        await Assert.That(secondRequest).IsEqualTo("""{"jsonrpc":"2.0","id":2,"method":"c.d"}""");
        await Assert.That((await first).ToString()).IsEqualTo("""{"one":1.0}""");
        await Assert.That((await second).ToString()).IsEqualTo("[2]");
        await FarewellAsync(client, peer);
    }

    [Test]
    public async Task A_hundred_calls_overlap()
    {
        using var server = FakeServer.Tcp();
        (RpcClient client, FakePeer peer) = await ConnectedAsync(server);
        Task<RawJson>[] calls = [.. Enumerable.Range(1, 100).Select(_ => Task.Run(() => client.CallAsync("n", RawJson.EmptyObject, FakeServer.Deadline())))];
        for (int i = 0; i < calls.Length; i++) await peer.ReadTextAsync();
        for (int i = calls.Length; i >= 1; i--) await peer.SendTextAsync($$"""{"jsonrpc":"2.0","id":{{i}},"result":{{i}}}""");
        RawJson[] results = await Task.WhenAll(calls);
        await Assert.That(results.Select(result => int.Parse(result.Utf8)).Order().SequenceEqual(Enumerable.Range(1, 100))).IsTrue();
        await FarewellAsync(client, peer);
    }

    [Test]
    public async Task An_error_reply_is_thrown_with_its_code()
    {
        using var server = FakeServer.Tcp();
        (RpcClient client, FakePeer peer) = await ConnectedAsync(server);
        Task<RawJson> call = client.CallAsync("a", abandoned: FakeServer.Deadline());
        await peer.ReadTextAsync();
        await peer.SendTextAsync("""{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"a requires { b }","data":{"c":[1]}}}""");
        RpcErrorException? error = await Assert.That(async () => await call).Throws<RpcErrorException>();
        await Assert.That(error!.Code).IsEqualTo(-32602);
        await Assert.That(error.Message).IsEqualTo("a requires { b }");
        await FarewellAsync(client, peer);
    }

    [Test]
    public async Task Answers_what_the_server_asks()
    {
        using var server = FakeServer.Tcp();
        (RpcClient client, FakePeer peer) = await ConnectedAsync(server);
        client.OnRequest = (method, parameters) => method switch
        {
            "tools.execute" => Task.FromResult(RawJson.Parse($"[{parameters}]")),
            "reject" => throw new RpcErrorException(RpcErrorException.Rejected, "no \"such\" tool"),
            _ => throw new InvalidOperationException("a defect"),
        };
        await peer.SendTextAsync("""{"jsonrpc":"2.0","id":"cb-1","method":"tools.execute","params":{"a":1}}""");
        await Assert.That(await peer.ReadTextAsync()).IsEqualTo("""{"jsonrpc":"2.0","id":"cb-1","result":[{"a":1}]}""");
        await peer.SendTextAsync("""{"jsonrpc":"2.0","id":7,"method":"reject"}""");
        await Assert.That(await peer.ReadTextAsync()).IsEqualTo("""{"jsonrpc":"2.0","id":7,"error":{"code":-32000,"message":"no \"such\" tool"}}""");
        await peer.SendTextAsync("""{"jsonrpc":"2.0","id":8,"method":"broken"}""");
        await Assert.That(await peer.ReadTextAsync()).Contains("-32603");
        client.OnRequest = null;
        await peer.SendTextAsync("""{"jsonrpc":"2.0","id":9,"method":"what"}""");
        await Assert.That(await peer.ReadTextAsync()).Contains("""{"code":-32601,"message":"unknown method: what"}""");
        await FarewellAsync(client, peer);
    }

    [Test]
    public async Task Notifications_arrive_in_order_and_go_out_without_an_id()
    {
        using var server = FakeServer.Tcp();
        (RpcClient client, FakePeer peer) = await ConnectedAsync(server);
        var seen = new List<string>();
        var all = new TaskCompletionSource();
        client.Notified += (method, parameters) =>
        {
            seen.Add($"{method} {parameters}");
            if (seen.Count == 3) all.SetResult();
        };
        for (int i = 0; i < 3; i++) await peer.SendTextAsync($$"""{"jsonrpc":"2.0","method":"runs.event","params":{{i}}}""");
        await all.Task.WaitAsync(FakeServer.Deadline());
        await client.NotifyAsync("tools.progress", RawJson.EmptyObject);

        await Assert.That(string.Join('|', seen)).IsEqualTo("runs.event 0|runs.event 1|runs.event 2");
        await Assert.That(await peer.ReadTextAsync()).IsEqualTo("""{"jsonrpc":"2.0","method":"tools.progress","params":{}}""");
        await FarewellAsync(client, peer);
    }

    [Test]
    public async Task A_ping_is_answered_with_its_payload_and_our_own_waits_for_its_pong()
    {
        using var server = FakeServer.Tcp();
        (RpcClient client, FakePeer peer) = await ConnectedAsync(server);
        await peer.SendAsync(FakePeer.Frame(FrameKind.Ping, "are you there"u8.ToArray()));
        (FrameKind kind, byte[] payload) = await peer.ReadFrameAsync();
        await Assert.That(kind).IsEqualTo(FrameKind.Pong);
        await Assert.That(Encoding.ASCII.GetString(payload)).IsEqualTo("are you there");

        Task ping = client.PingAsync(FakeServer.Deadline());
        (kind, payload) = await peer.ReadFrameAsync();
        await Assert.That(kind).IsEqualTo(FrameKind.Ping);
        await peer.SendAsync(FakePeer.Frame(FrameKind.Pong, "not this one"u8.ToArray()));
        await peer.SendAsync(FakePeer.Frame(FrameKind.Pong, payload));
        await ping;
        await FarewellAsync(client, peer);
    }

    [Test]
    public async Task A_close_by_the_server_is_answered_and_ends_every_call_with_its_reason()
    {
        using var server = FakeServer.Tcp();
        (RpcClient client, FakePeer peer) = await ConnectedAsync(server);
        Task<RawJson> call = client.CallAsync("a", abandoned: FakeServer.Deadline());
        await peer.ReadTextAsync();
        await peer.SendAsync(FakePeer.Frame(FrameKind.Close, [1001 >> 8, 1001 & 0xFF, .. "going away"u8]));
        (FrameKind kind, byte[] payload) = await peer.ReadFrameAsync();

        RpcConnectionException? ended = await Assert.That(async () => await call).Throws<RpcConnectionException>();
        await Assert.That(ended!.Message).IsEqualTo("the server closed the connection: 1001 going away");
        await Assert.That((await client.Ended).CloseCode).IsEqualTo(1001);
        await Assert.That((kind, Convert.ToHexString(payload))).IsEqualTo((FrameKind.Close, "03E9"));
        await Assert.That(async () => await client.CallAsync("b")).Throws<RpcConnectionException>();
        await Assert.That(async () => await client.NotifyAsync("b")).Throws<RpcConnectionException>();
        await client.DisposeAsync();
    }

    [Test]
    public async Task An_answer_that_came_before_the_close_still_counts()
    {
        using var server = FakeServer.Tcp();
        (RpcClient client, FakePeer peer) = await ConnectedAsync(server);
        Task<RawJson> call = client.CallAsync("a", abandoned: FakeServer.Deadline());
        await peer.ReadTextAsync();
        await peer.SendAsync(
        [
            .. FakePeer.Frame(FrameKind.Text, """{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"auth required: a"}}"""u8.ToArray()),
            .. FakePeer.Frame(FrameKind.Close, [1008 >> 8, 1008 & 0xFF]),
        ]);
        peer.Dispose();
        RpcErrorException? error = await Assert.That(async () => await call).Throws<RpcErrorException>();
        await Assert.That(error!.Code).IsEqualTo(-32001);
        await client.DisposeAsync();
    }

    [Test]
    [Arguments("not json")]
    [Arguments("[]")]
    [Arguments("""{"id":1,"result":1} x""")]
    public async Task What_is_no_json_rpc_ends_the_connection(string text)
    {
        using var server = FakeServer.Tcp();
        (RpcClient client, FakePeer peer) = await ConnectedAsync(server);
        await peer.SendTextAsync(text);
        await Assert.That((await client.Ended.WaitAsync(FakeServer.Deadline())).Reason).IsEqualTo("the server sent something that is not JSON-RPC");
        await client.DisposeAsync();
        peer.Dispose();
    }

    [Test]
    public async Task A_server_that_hangs_up_ends_the_calls()
    {
        using var server = FakeServer.Tcp();
        (RpcClient client, FakePeer peer) = await ConnectedAsync(server);
        Task<RawJson> call = client.CallAsync("a", abandoned: FakeServer.Deadline());
        await peer.ReadTextAsync();
        peer.Dispose();
        await Assert.That(async () => await call).Throws<RpcConnectionException>();
        await client.DisposeAsync();
    }

    [Test]
    public async Task Giving_up_ends_the_wait_and_drops_the_late_reply()
    {
        using var server = FakeServer.Tcp();
        (RpcClient client, FakePeer peer) = await ConnectedAsync(server);
        using var patience = new CancellationTokenSource();
        Task<RawJson> call = client.CallAsync("slow", abandoned: patience.Token);
        await peer.ReadTextAsync();
        patience.Cancel();
        await Assert.That(async () => await call).Throws<OperationCanceledException>();

        await peer.SendTextAsync("""{"jsonrpc":"2.0","id":1,"result":"late"}""");
        Task<RawJson> next = client.CallAsync("next", abandoned: FakeServer.Deadline());
        await peer.ReadTextAsync();
        await peer.SendTextAsync("""{"jsonrpc":"2.0","id":2,"result":"in time"}""");
        await Assert.That((await next).ToString()).IsEqualTo("\"in time\"");
        await FarewellAsync(client, peer);
    }

    [Test]
    public async Task Disposal_says_1000_and_can_be_repeated()
    {
        using var server = FakeServer.Tcp();
        (RpcClient client, FakePeer peer) = await ConnectedAsync(server);
        Task closing = client.DisposeAsync().AsTask();
        (FrameKind kind, byte[] payload) = await peer.ReadFrameAsync();
        await Assert.That((kind, Convert.ToHexString(payload))).IsEqualTo((FrameKind.Close, "03E8"));
        await peer.SendAsync(FakePeer.Frame(FrameKind.Close, payload));
        await closing;
        await client.DisposeAsync();
        peer.Dispose();
    }

    [Test]
    public async Task Connects_over_a_unix_socket_and_takes_frames_that_come_with_the_head()
    {
        string directory = Directory.CreateTempSubdirectory("car-client-").FullName;
        try
        {
            using var server = FakeServer.Unix(directory + "/s");
            Task<FakePeer> accepting = server.AcceptAsync(FakePeer.Frame(FrameKind.Text, """{"jsonrpc":"2.0","id":5,"method":"early"}"""u8.ToArray()));
            RpcClient client = await RpcClient.ConnectAsync(server.Address, FakeServer.Deadline());
            FakePeer peer = await accepting;
            await Assert.That(await peer.ReadTextAsync()).StartsWith("""{"jsonrpc":"2.0","id":5,""");
            await FarewellAsync(client, peer);
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    [Test]
    [Arguments("HTTP/1.1 503 Service Unavailable\r\n\r\n", "it answered 'HTTP/1.1 503 Service Unavailable'")]
    [Arguments("SSH-2.0-OpenSSH\r\n\r\n", "it does not speak HTTP")]
    [Arguments("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n", "does not match the key")]
    [Arguments("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n", "it did not upgrade")]
    [Arguments("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n", "it did not upgrade")]
    [Arguments("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "does not match the key")]
    [Arguments("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n", "nobody offered")]
    [Arguments("", "closed the connection during the handshake")]
    public async Task Refuses_a_handshake_that_is_not_one(string answer, string reason)
    {
        using var server = FakeServer.Tcp();
        Task<RpcClient> connecting = RpcClient.ConnectAsync(server.Address, FakeServer.Deadline());
        using (FakePeer peer = await server.AcceptRawAsync())
        {
            string head = await peer.ReadHeadAsync();
            await Assert.That(head).StartsWith("GET / HTTP/1.1\r\nHost: 127.0.0.1:");
            await peer.SendAsync(Encoding.ASCII.GetBytes(answer.Replace("ACCEPT", FakeServer.Accept(FakeServer.Key(head)))));
        }
        RpcConnectionException? refused = await Assert.That(async () => await connecting).Throws<RpcConnectionException>();
        await Assert.That(refused!.Message).Contains(reason);
    }

    [Test]
    public async Task A_head_without_end_is_refused()
    {
        using var server = FakeServer.Tcp();
        Task<RpcClient> connecting = RpcClient.ConnectAsync(server.Address, FakeServer.Deadline());
        using FakePeer peer = await server.AcceptRawAsync();
        await peer.ReadHeadAsync();
        await peer.SendAsync(Encoding.ASCII.GetBytes("HTTP/1.1 101 x\r\nX: " + new string('y', ClientHandshake.MaxHeadBytes)));
        RpcConnectionException? refused = await Assert.That(async () => await connecting).Throws<RpcConnectionException>();
        await Assert.That(refused!.Message).Contains("does not end");
    }

    [Test]
    public async Task Nobody_there_is_said_in_words()
    {
        FakeServer server = FakeServer.Tcp();
        DaemonAddress gone = server.Address;
        server.Dispose();
        RpcConnectionException? refused = await Assert.That(async () => await RpcClient.ConnectAsync(gone, FakeServer.Deadline())).Throws<RpcConnectionException>();
        await Assert.That(refused!.Message).StartsWith($"cannot connect to {gone}: ");
        refused = await Assert.That(async () => await RpcClient.ConnectAsync(DaemonAddress.Unix("/nowhere/at/all"), FakeServer.Deadline())).Throws<RpcConnectionException>();
        await Assert.That(refused!.Message).IsEqualTo("cannot connect to unix:/nowhere/at/all: there is no such socket");
        await Assert.That(async () => await RpcClient.ConnectAsync(DaemonAddress.Unix("/" + new string('x', 200)), FakeServer.Deadline())).Throws<RpcConnectionException>();
    }

    [Test]
    [Arguments("ws://127.0.0.1:9100/", "ws://127.0.0.1:9100/", true)]
    [Arguments("ws://localhost:1", "ws://localhost:1/", true)]
    [Arguments("ws://[::1]:9100/a?b=c", "ws://[::1]:9100/a?b=c", true)]
    [Arguments("ws://10.0.0.1:9100/", "ws://10.0.0.1:9100/", false)]
    [Arguments("ws://example.org/", "ws://example.org:80/", false)]
    [Arguments("unix:/run/x.sock", "unix:/run/x.sock", true)]
    public async Task Reads_addresses(string text, string address, bool local)
    {
        DaemonAddress? read = DaemonAddress.TryParse(text);
        await Assert.That(read?.ToString()).IsEqualTo(address);
        await Assert.That(read!.IsLocal).IsEqualTo(local);
    }

    [Test]
    [Arguments("wss://127.0.0.1/")]
    [Arguments("http://127.0.0.1:9100/")]
    [Arguments("127.0.0.1:9100")]
    [Arguments("unix:")]
    [Arguments("ws://user@host/")]
    [Arguments("")]
    public async Task Knows_no_other_addresses(string text) => await Assert.That(DaemonAddress.TryParse(text)).IsNull();

    [Test]
    public async Task Random_bytes_differ_and_tokens_have_their_form()
    {
        byte[] bytes = new byte[1000];
        CarServer.Rpc.Transport.Native.Entropy.Fill(bytes);
        await Assert.That(bytes.Chunk(250).All(part => part.Distinct().Count() > 50)).IsTrue();
        string[] tokens = [.. Enumerable.Range(0, 100).Select(_ => CarServer.Rpc.Transport.Native.Entropy.Token())];
        await Assert.That(tokens.Distinct().Count()).IsEqualTo(100);
        await Assert.That(tokens.All(token => token.Length == 43 && token.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_'))).IsTrue();
    }
}

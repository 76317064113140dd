using System.Text;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>Many requests in flight over the Unix socket: each is answered once, in its turn, wherever the writes are cut.</summary>
public sealed class UnixSocketTests
{
    [Test]
    [Arguments(1, 1)]
    [Arguments(2, 1)]
    [Arguments(3, 24)]
    public async Task Requests_cut_anywhere_are_each_answered_once_and_in_order(int seed, int connections)
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");

        await Task.WhenAll(Enumerable.Range(0, connections).Select(async i =>
        {
            await using RawPeer peer = await daemon.ConnectRawAsync(daemon.Unix);
            await ConverseAsync(peer, new Random(seed * 100 + i), rounds: connections == 1 ? 150 : 15);
        }));
    }

    [Test]
    public async Task A_client_that_reads_late_gets_every_answer_once()
    {
        const int Requests = 3_000;
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RawPeer peer = await daemon.ConnectRawAsync(daemon.Unix);
        string value = new('v', 8_000);
        await ConverseAsync(peer, new Random(1), rounds: 5);
        await peer.SendTextAsync($$"""{"jsonrpc":"2.0","id":"set","method":"state.set","params":{"key":"big","value":"{{value}}"} }""");
        await peer.ReadTextAsync();

        // 24 MB of answers to 200 kB of requests: the daemon stops reading with some of them read and others not.
        var stream = new MemoryStream();
        for (int id = 0; id < Requests; id++)
            stream.Write(RawPeer.Frame(Op.Text, Encoding.UTF8.GetBytes($$"""{"jsonrpc":"2.0","id":{{id}},"method":"state.get","params":{"key":"big"} }""")));
        await peer.SendAsync(stream.ToArray().AsMemory(0, 64 * 1024));
        Task writing = peer.SendAsync(stream.ToArray().AsMemory(64 * 1024));
        for (int id = 0; id < Requests; id++)
            await Assert.That(await peer.ReadTextAsync()).StartsWith($$"""{"jsonrpc":"2.0","id":{{id}},"result":""");
        await writing;

        await ConverseAsync(peer, new Random(2), rounds: 5);
    }

    [Test]
    public async Task A_client_that_leaves_in_the_middle_of_a_frame_is_answered_up_to_there()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RawPeer peer = await daemon.ConnectRawAsync(daemon.Unix);
        await ConverseAsync(peer, new Random(1), rounds: 5);
        var stream = new MemoryStream();
        for (int id = 0; id < 64; id++) stream.Write(Ping(id));
        stream.Write(Ping(64).AsSpan(0, 20));

        await peer.SendAsync(stream.ToArray());
        peer.EndSending();

        for (int id = 0; id < 64; id++) await Assert.That(await peer.ReadTextAsync()).IsEqualTo(Pong(id));
        await Assert.That(await peer.TryReadFrameAsync()).IsNull();
    }

    private static byte[] Ping(int id) => RawPeer.Frame(Op.Text, Encoding.UTF8.GetBytes($$"""{"jsonrpc":"2.0","id":{{id}},"method":"ping","params":{} }"""));
    private static string Pong(int id) => $$"""{"jsonrpc":"2.0","id":{{id}},"result":"pong"}""";

    /// <summary>Rounds of up to a hundred requests, some of them large, written in pieces and then waited for; in most rounds the last twenty answers are left for the next.</summary>
    private static async Task ConverseAsync(RawPeer peer, Random random, int rounds)
    {
        int asked = 0, answered = 0;
        for (int round = 0; round < rounds; round++)
        {
            var stream = new MemoryStream();
            for (int i = random.Next(1, 100); i > 0; i--, asked++)
                stream.Write(random.Next(60) == 0 ? Set(asked, new string('x', random.Next(200_000))) : Ping(asked));
            Task writing = WriteAsync(peer, stream.ToArray(), random);
            for (int most = round % 5 == 4 ? answered : asked - 20; answered < most; answered++) await ReadAnswerAsync();
            await writing;
        }
        for (; answered < asked; answered++) await ReadAnswerAsync();

        async Task ReadAnswerAsync()
        {
            string answer = await peer.ReadTextAsync();
            if (!answer.StartsWith($$"""{"jsonrpc":"2.0","id":{{answered}},"result":""", StringComparison.Ordinal))
                throw new InvalidDataException($"instead of the answer to {answered} came {answer[..Math.Min(answer.Length, 200)]}");
        }

        static byte[] Set(int id, string value) =>
            RawPeer.Frame(Op.Text, Encoding.UTF8.GetBytes($$"""{"jsonrpc":"2.0","id":{{id}},"method":"state.set","params":{"key":"k","value":"{{value}}"} }"""));
    }

    private static async Task WriteAsync(RawPeer peer, ReadOnlyMemory<byte> bytes, Random random)
    {
        while (!bytes.IsEmpty)
        {
            int piece = random.Next(6) switch { 0 => 1, 1 => random.Next(2, 200), 2 => random.Next(200, 8_000), _ => bytes.Length };
            piece = Math.Min(piece, bytes.Length);
            await peer.SendAsync(bytes[..piece]);
            bytes = bytes[piece..];
        }
    }
}

using System.Text;
using CarServer.Rpc.Client;

namespace CarServer.Tests.Unit.Client;

internal sealed class ClientFramesTests
{
    private static readonly byte[] Key = [0x37, 0xFA, 0x21, 0x3D];

    [Test]
    public async Task Writes_the_masked_hello_of_the_rfc()
    {
        byte[] frame = new byte[32];
        int length = ClientFrames.Write(frame, FrameKind.Text, "Hello"u8, Key);
        await Assert.That(Convert.ToHexString(frame.AsSpan(0, length))).IsEqualTo("818537FA213D7F9F4D5158");
    }

    [Test]
    [Arguments(0, "8180")]
    [Arguments(125, "81FD")]
    [Arguments(126, "81FE007E")]
    [Arguments(65535, "81FEFFFF")]
    [Arguments(65536, "81FF0000000000010000")]
    public async Task Writes_the_length_in_its_shortest_form(int payload, string header)
    {
        byte[] frame = new byte[payload + ClientFrames.MaxHeaderBytes];
        int length = ClientFrames.Write(frame, FrameKind.Text, new byte[payload], Key);
        await Assert.That(Convert.ToHexString(frame.AsSpan(0, header.Length / 2))).IsEqualTo(header);
        await Assert.That(length).IsEqualTo(header.Length / 2 + 4 + payload);
    }

    [Test]
    [Arguments("C100", "reserved bits")]
    [Arguments("8180", "masked")]
    [Arguments("8300", "reserved opcode")]
    [Arguments("8B00", "reserved opcode")]
    [Arguments("0900", "fragmented or too long")]
    [Arguments("887E", "fragmented or too long")]
    [Arguments("8000", "out of order")]
    [Arguments("0100" + "8100", "out of order")]
    [Arguments("8111", "over 16 bytes")]
    [Arguments("817E0011", "over 16 bytes")]
    [Arguments("817F8000000000000000", "over 16 bytes")]
    [Arguments("0108" + "0000000000000000" + "8009", "over 16 bytes")]
    public async Task Refuses_what_no_server_may_send(string bytes, string rule)
    {
        RpcConnectionException? refused = await Assert.That(() => ReadAll(Convert.FromHexString(bytes), bytes.Length, 16)).Throws<RpcConnectionException>();
        await Assert.That(refused!.Message).Contains(rule);
    }

    [Test]
    public async Task Takes_a_message_of_exactly_the_limit()
    {
        List<string> whole = ReadAll(FakePeer.Frame(FrameKind.Text, new byte[16]), 64, 16);
        List<string> fragments = ReadAll([.. FakePeer.Frame(FrameKind.Text, new byte[8], final: false), .. FakePeer.Frame(FrameKind.Continuation, new byte[8])], 64, 16);
        await Assert.That(whole).Count().IsEqualTo(1);
        await Assert.That(fragments).Count().IsEqualTo(1);
    }

    [Test]
    public async Task Any_chunking_gives_the_same_messages()
    {
        byte[] large = Encoding.ASCII.GetBytes(new string('x', 70_000));
        byte[] stream =
        [
            .. FakePeer.Frame(FrameKind.Text, "one"u8.ToArray()),
            .. FakePeer.Frame(FrameKind.Text, "t"u8.ToArray(), final: false),
            .. FakePeer.Frame(FrameKind.Ping, "between"u8.ToArray()),
            .. FakePeer.Frame(FrameKind.Continuation, "w"u8.ToArray(), final: false),
            .. FakePeer.Frame(FrameKind.Continuation, [], final: false),
            .. FakePeer.Frame(FrameKind.Continuation, "o"u8.ToArray()),
            .. FakePeer.Frame(FrameKind.Binary, large),
            .. FakePeer.Frame(FrameKind.Text, []),
        ];
        string whole = string.Join('|', ReadAll(stream, stream.Length, 100_000));
        await Assert.That(whole).StartsWith("Text one|Ping between|Text two|Binary xxx");
        var random = new Random(6455);
        foreach (int chunk in (int[])[1, 2, 3, 7, 4095, 4096, 4097, 1 + random.Next(stream.Length)])
            await Assert.That(string.Join('|', ReadAll(stream, chunk, 100_000))).IsEqualTo(whole);
    }

    private static List<string> ReadAll(byte[] stream, int chunk, int limit)
    {
        var frames = new ClientFrames(limit);
        var messages = new List<string>();
        for (int at = 0; at < stream.Length;)
        {
            Memory<byte> space = frames.FreeSpace();
            int part = Math.Min(Math.Min(chunk, space.Length), stream.Length - at);
            stream.AsMemory(at, part).CopyTo(space);
            frames.Commit(part);
            at += part;
            while (frames.TryRead(out ServerMessage message)) messages.Add($"{message.Kind} {Encoding.UTF8.GetString(message.Payload.Span)}");
        }
        return messages;
    }
}

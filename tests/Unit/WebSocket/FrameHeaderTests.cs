using CarServer.Rpc.WebSocket;

namespace CarServer.Tests.Unit.WebSocket;

/// <summary>RFC 6455 section 5.2, frames drawn as bits.</summary>
public sealed class FrameHeaderTests
{
    private const int Room = 100_000;
    private const string Key = "00110111 11111010 00100001 00111101";

    [Test]
    //          fin rsv opcode mask length                        masking key   rule broken
    [Arguments("1   000 0001   1    0000101                                " + Key, null)]
    [Arguments("1   000 0010   1    0000000                                " + Key, null)]
    [Arguments("0   000 0001   1    0000101                                " + Key, null)]
    [Arguments("1   000 0001   1    1111101                                " + Key, null)]
    [Arguments("1   000 0001   1    1111110 00000000 01111110              " + Key, null)]
    [Arguments("1   000 0001   1    1111110 11111111 11111111              " + Key, null)]
    [Arguments("1   000 1000   1    0000000                                " + Key, null)]
    [Arguments("1   000 1001   1    1111101                                " + Key, null)]
    [Arguments("1   000 1010   1    0000001                                " + Key, null)]
    [Arguments("1   000 0001   0    0000101                                ", "client frame not masked (RFC 6455 5.1)")]
    [Arguments("1   100 0001   1    0000101                                ", "reserved bits set (RFC 6455 5.2)")]
    [Arguments("1   010 0001   1    0000101                                ", "reserved bits set (RFC 6455 5.2)")]
    [Arguments("1   001 0001   1    0000101                                ", "reserved bits set (RFC 6455 5.2)")]
    [Arguments("1   000 0011   1    0000101                                ", "reserved opcode (RFC 6455 5.2)")]
    [Arguments("1   000 0111   1    0000101                                ", "reserved opcode (RFC 6455 5.2)")]
    [Arguments("1   000 1011   1    0000101                                ", "reserved opcode (RFC 6455 5.2)")]
    [Arguments("1   000 1111   1    0000101                                ", "reserved opcode (RFC 6455 5.2)")]
    [Arguments("0   000 1000   1    0000000                                ", "fragmented control frame (RFC 6455 5.5)")]
    [Arguments("0   000 1001   1    0000000                                ", "fragmented control frame (RFC 6455 5.5)")]
    [Arguments("1   000 1001   1    1111110                                ", "control frame over 125 bytes (RFC 6455 5.5)")]
    [Arguments("1   000 1010   1    1111111                                ", "control frame over 125 bytes (RFC 6455 5.5)")]
    [Arguments("1   000 0000   1    0000101                                ", "continuation without a message (RFC 6455 5.4)")]
    [Arguments("1   000 0001   1    1111110 00000000 01111101              " + Key, "length not in its shortest form (RFC 6455 5.2)")]
    [Arguments("1   000 0001   1    1111111 00000000 00000000 00000000 00000000 00000000 00000000 11111111 11111111 " + Key, "length not in its shortest form (RFC 6455 5.2)")]
    [Arguments("1   000 0001   1    1111111 00000000 00000000 00000000 00000000 00000000 00000001 00000000 00000000 " + Key, null)]
    [Arguments("1   000 0001   1    1111111 00000000 00000000 00000000 00000000 00000000 00000001 10000110 10100000 " + Key, null)]
    [Arguments("1   000 0001   1    1111111 00000000 00000000 00000000 00000000 00000000 00000001 10000110 10100001 " + Key, "message over the limit")]
    [Arguments("1   000 0001   1    1111111 10000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 " + Key, "highest bit of a 64-bit length set (RFC 6455 5.2)")]
    [Arguments("1   000 0001   1    1111111 01111111 11111111 11111111 11111111 11111111 11111111 11111111 11111111 " + Key, "message over the limit")]
    public async Task Checks_the_header(string bits, string? broken) =>
        await Assert.That(Broken(Octets(bits), midMessage: false)).IsEqualTo(broken);

    [Test]
    [Arguments("0   000 0000   1    0000101 " + Key, null)]
    [Arguments("1   000 0000   1    0000101 " + Key, null)]
    [Arguments("1   000 1001   1    0000101 " + Key, null)]
    [Arguments("1   000 0001   1    0000101 ", "new message before the last one ended (RFC 6455 5.4)")]
    [Arguments("0   000 0010   1    0000101 ", "new message before the last one ended (RFC 6455 5.4)")]
    public async Task Checks_the_header_inside_a_message(string bits, string? broken) =>
        await Assert.That(Broken(Octets(bits), midMessage: true)).IsEqualTo(broken);

    [Test]
    [Arguments("1 000 0001 1 0000101 " + Key)]
    [Arguments("1 000 0001 1 1111110 00000001 00000000 " + Key)]
    [Arguments("1 000 0001 1 1111111 00000000 00000000 00000000 00000000 00000000 00000001 00000000 00000000 " + Key)]
    public async Task An_unfinished_header_is_no_header(string bits)
    {
        byte[] octets = Octets(bits);
        for (int length = 0; length < octets.Length; length++)
            await Assert.That(FrameHeader.TryParse(octets.AsSpan(0, length), out FrameHeader none) || none != default).IsFalse();
        await Assert.That(FrameHeader.TryParse(octets, out FrameHeader header)).IsTrue();
        await Assert.That(header.Size).IsEqualTo(octets.Length);
        await Assert.That(FrameHeader.TryParse([.. octets, 1, 2, 3], out FrameHeader same) && same == header).IsTrue();
    }

    [Test]
    public async Task The_fields_are_what_the_bits_say()
    {
        _ = FrameHeader.TryParse(Octets("0 000 0010 1 1111110 00000001 00000010 " + Key), out FrameHeader header);
        await Assert.That(header).IsEqualTo(new FrameHeader(false, Opcode.Binary, BitConverter.ToUInt32([0x37, 0xfa, 0x21, 0x3d]), 258, 8));
        await Assert.That(header.IsControl).IsFalse();
    }

    [Test]
    public async Task A_control_frame_takes_no_room_from_the_message()
    {
        _ = FrameHeader.TryParse(Octets("1 000 1001 1 1111101 " + Key), out FrameHeader ping);
        await Assert.That(ping.CheckLength(0)).IsNull();
    }

    private static string? Broken(byte[] octets, bool midMessage)
    {
        if (FrameHeader.CheckStart(octets[0], octets[1], midMessage) is { } atStart) return atStart.Rule;
        return FrameHeader.TryParse(octets, out FrameHeader header) ? header.CheckLength(Room)?.Rule : "not whole";
    }

    private static byte[] Octets(string bits)
    {
        string all = bits.Replace(" ", "", StringComparison.Ordinal);
        return [.. Enumerable.Range(0, all.Length / 8).Select(i => Convert.ToByte(all.Substring(i * 8, 8), 2))];
    }
}

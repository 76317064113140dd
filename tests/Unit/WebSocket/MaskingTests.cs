using CarServer.Rpc.WebSocket;

namespace CarServer.Tests.Unit.WebSocket;

/// <summary>The fast loop against the sentence of RFC 6455 section 5.3.</summary>
public sealed class MaskingTests
{
    private static readonly byte[] Key = [0x37, 0xfa, 0x21, 0x3d];

    [Test]
    public async Task Every_length_at_every_alignment_is_masked_as_by_the_naive_loop()
    {
        for (int length = 0; length <= 200; length++)
            for (int offset = 0; offset < 33; offset++)
            {
                byte[] memory = Numbers(length + offset + 40);
                byte[] expected = [.. memory];
                for (int i = 0; i < length; i++) expected[offset + i] ^= Key[i % 4];
                uint next = Masking.Apply(memory.AsSpan(offset, length), BitConverter.ToUInt32(Key));
                if (!memory.AsSpan().SequenceEqual(expected)) Assert.Fail($"length {length} at offset {offset}");
                if (next != BitConverter.ToUInt32([.. Key[(length % 4)..], .. Key[..(length % 4)]])) Assert.Fail($"the key after {length} octets");
            }
        await Task.CompletedTask;
    }

    [Test]
    public async Task A_payload_in_any_two_pieces_is_masked_as_in_one()
    {
        const int length = 131;
        byte[] whole = Numbers(length);
        Masking.Apply(whole, BitConverter.ToUInt32(Key));
        for (int cut = 0; cut <= length; cut++)
        {
            byte[] pieces = Numbers(length);
            uint key = Masking.Apply(pieces.AsSpan(0, cut), BitConverter.ToUInt32(Key));
            Masking.Apply(pieces.AsSpan(cut), key);
            await Assert.That(pieces.AsSpan().SequenceEqual(whole)).IsTrue().Because($"it was cut at {cut}");
        }
    }

    private static byte[] Numbers(int count) => [.. Enumerable.Range(0, count).Select(i => (byte)(i * 7))];
}

using System.Buffers.Binary;
using System.Diagnostics;
using CarServer.Tests.Support;

namespace CarServer.Tests.Fuzz;

/// <summary>Any octets, cut in any way, give the outcome of the reference parser, throw nothing and need bounded memory.</summary>
public sealed class FrameReaderFuzz
{
    [Test]
    public async Task Any_octets_in_any_chunking_have_one_outcome()
    {
        var random = new Random(6455);
        byte[] stream = new byte[4096];
        long start = Stopwatch.GetTimestamp(), octets = 0, violations = 0;
        for (int round = 0; round < FuzzBudget.ParserInputs; round++)
        {
            int length = round % 8 == 0 ? Noise(random, stream) : Mutation.Apply(random, stream, Frames(random, stream));
            ReadOnlySpan<byte> input = stream.AsSpan(0, length);
            int limit = 1 + random.Next(400);
            octets += length;
            string? failure = Try(input, limit, random);
            if (failure is not null) Assert.Fail($"{failure}; limit {limit}, octets {Convert.ToHexString(input)}");
            if (round % 61 == 0 && FrameReading.Tell(input, limit: limit).Contains("RFC", StringComparison.Ordinal)) violations++;
        }
        FuzzReport.Print($"frame parser: {FuzzBudget.ParserInputs:N0} inputs, each in 4 chunkings, {octets:N0} octets, about {100 * violations * 61 / FuzzBudget.ParserInputs} % with a violation, {Stopwatch.GetElapsedTime(start).TotalSeconds:0.0} s");
        await Assert.That(violations).IsGreaterThan(0);
    }

    /// <summary>What once failed, and inputs at the borders of the parser's own cases.</summary>
    [Test]
    [Arguments("81 FE 007E 00000000 'a'*125 C3", 126)]
    [Arguments("01 82 00000000 C3A9 80 80 00000000", 2)]
    [Arguments("01 82 00000000 C3A9 80 81 00000000 'x'", 2)]
    [Arguments("01 81 00000000 F0 89 80 00000000 80 83 00000000 9F9880", 400)]
    [Arguments("88 FE 007E 00000000", 1)]
    [Arguments("09 FF", 1)]
    public async Task A_known_input_has_one_outcome(string drawn, int limit) =>
        await Assert.That(Try(Drawing.Octets(drawn), limit, new Random(1))).IsNull();

    private static string? Try(ReadOnlySpan<byte> input, int limit, Random random)
    {
        ulong expected = FrameReference.Digest(input, limit);
        if (FrameReading.Digest(input, left => left, limit) != expected) return "whole, it is not what the reference hears";
        if (FrameReading.Digest(input, _ => 1, limit) != expected) return "octet by octet, it is not what the reference hears";
        if (FrameReading.Digest(input, left => 1 + random.Next(left), limit) != expected) return "in chance pieces, it is not what the reference hears";
        return FrameReading.Digest(input, _ => 1 + random.Next(7), limit) != expected ? "in small pieces, it is not what the reference hears" : null;
    }

    private static int Noise(Random random, byte[] into)
    {
        int length = random.Next(40);
        random.NextBytes(into.AsSpan(0, length));
        return length;
    }

    /// <summary>A few frames that are mostly right.</summary>
    private static int Frames(Random random, byte[] into)
    {
        int length = 0;
        bool midMessage = false;
        for (int count = 1 + random.Next(6); count > 0; count--)
        {
            bool control = random.Next(4) == 0, fin = control || random.Next(3) > 0;
            int opcode = control ? 8 + random.Next(3) : midMessage ? 0 : 1 + random.Next(2);
            if (!control) midMessage = !fin;
            int payload = random.Next(20) == 0 ? 120 + random.Next(10) : random.Next(12);
            if (control && payload > 125) payload = 125;
            into[length++] = (byte)((fin ? 0x80 : 0) | opcode);
            if (payload < 126 && random.Next(50) > 0) into[length++] = (byte)(0x80 | payload);
            else if (random.Next(3) > 0)
            {
                into[length++] = 0xFE;
                BinaryPrimitives.WriteUInt16BigEndian(into.AsSpan(length), (ushort)payload);
                length += 2;
            }
            else
            {
                into[length++] = 0xFF;
                BinaryPrimitives.WriteUInt64BigEndian(into.AsSpan(length), random.Next(4) == 0 ? (ulong)random.NextInt64(long.MinValue, long.MaxValue) : (ulong)payload);
                length += 8;
            }
            Span<byte> key = into.AsSpan(length, 4);
            random.NextBytes(key);
            length += 4;
            Span<byte> text = into.AsSpan(length, payload);
            Characters(random, text);
            if (opcode == 8 && payload >= 2) BinaryPrimitives.WriteUInt16BigEndian(text, (ushort)(random.Next(4) == 0 ? random.Next(6000) : 1000 + random.Next(16)));
            for (int i = 0; i < payload; i++) text[i] ^= key[i % 4];
            length += payload;
        }
        return length;
    }

    /// <summary>Characters of all lengths; the last one may be cut.</summary>
    private static void Characters(Random random, Span<byte> into)
    {
        while (!into.IsEmpty)
        {
            ReadOnlySpan<byte> character = random.Next(8) switch { 0 => "é"u8, 1 => "€"u8, 2 => "😀"u8, 3 => [0xED, 0x9F, 0xBF], 4 => [0xF4, 0x8F, 0xBF, 0xBF], _ => "a"u8 };
            character = character[..Math.Min(character.Length, into.Length)];
            character.CopyTo(into);
            into = into[character.Length..];
        }
    }
}

using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;
using CarServer.Rpc.WebSocket;

namespace CarServer.Tests.Bench;

/// <summary>The frame parser against a loop that copies the same octets and XORs them on the way: less, and they would still be masked.</summary>
internal static class FrameCases
{
    /// <summary>What an event loop reads at once.</summary>
    private const int ReadSize = 64 * 1024;

    private const uint MaskingKey = 0x3d21fa37;

    public static IEnumerable<Case> All()
    {
        yield return Parse("frames, 65 bytes each", Frames(payload: 59, total: ReadSize));
        yield return Parse("frames, 16 KiB each", Frames(payload: 16 * 1024 - 8, total: ReadSize));
        yield return Parse("one message of 1 MiB, read in pieces", Frames(payload: 1024 * 1024, total: 1024 * 1024 + FrameHeader.LongestSize));
    }

    private static Case Parse(string name, byte[] stream)
    {
        byte[] buffer = new byte[ReadSize];
        byte[] target = new byte[stream.Length];
        int messages = Count(stream, buffer);
        return new Case(name, "copy and XOR of the same bytes", Shown.Throughput(stream.Length),
            Timed.Loop(times =>
            {
                for (int i = 0; i < times; i++)
                    if (Count(stream, buffer) != messages) throw new InvalidOperationException("the parser lost a message");
            }),
            Timed.Loop(times =>
            {
                for (int i = 0; i < times; i++) CopyAndXor(stream, target, MaskingKey);
            }));
    }

    /// <summary>Reads the stream as a connection would: each piece is copied into the receive buffer, as the kernel does, and parsed there.</summary>
    private static int Count(byte[] stream, byte[] buffer)
    {
        var reader = new FrameReader();
        int messages = 0;
        for (int at = 0; at < stream.Length; at += ReadSize)
        {
            Span<byte> piece = buffer.AsSpan(0, Math.Min(ReadSize, stream.Length - at));
            stream.AsSpan(at, piece.Length).CopyTo(piece);
            while (reader.Read(piece, 32 * 1024 * 1024, out int consumed, out Incoming incoming) is var found and not FrameRead.NeedMore)
            {
                if (found == FrameRead.Violation) throw new InvalidOperationException(incoming.Violation!.Rule);
                piece = piece[consumed..];
                messages++;
            }
        }
        reader.Free();
        return messages;
    }

    private static void CopyAndXor(ReadOnlySpan<byte> source, Span<byte> target, uint key)
    {
        Vector<byte> mask = Vector.AsVectorByte(new Vector<uint>(key));
        int i = 0;
        for (; i + Vector<byte>.Count <= source.Length; i += Vector<byte>.Count) (new Vector<byte>(source[i..]) ^ mask).CopyTo(target[i..]);
        for (; i < source.Length; i++) target[i] = (byte)(source[i] ^ (byte)(key >> (8 * (i & 3))));
    }

    /// <summary>Masked text frames, as many as fit.</summary>
    private static byte[] Frames(int payload, int total)
    {
        byte[] frame = Frame(Enumerable.Repeat((byte)'a', payload).ToArray());
        byte[] stream = new byte[Math.Max(1, total / frame.Length) * frame.Length];
        for (int at = 0; at < stream.Length; at += frame.Length) frame.CopyTo(stream, at);
        return stream;
    }

    /// <summary>A whole text frame as a client sends it.</summary>
    public static byte[] Frame(ReadOnlySpan<byte> payload)
    {
        int extended = payload.Length < 126 ? 0 : payload.Length <= ushort.MaxValue ? 2 : 8;
        byte[] frame = new byte[2 + extended + 4 + payload.Length];
        frame[0] = 0x81;
        frame[1] = (byte)(0x80 | (extended == 0 ? payload.Length : extended == 2 ? 126 : 127));
        if (extended == 2) BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(2), (ushort)payload.Length);
        if (extended == 8) BinaryPrimitives.WriteUInt64BigEndian(frame.AsSpan(2), (ulong)payload.Length);
        MemoryMarshal.Write(frame.AsSpan(2 + extended), MaskingKey);
        for (int i = 0; i < payload.Length; i++) frame[6 + extended + i] = (byte)(payload[i] ^ (byte)(MaskingKey >> (8 * (i & 3))));
        return frame;
    }
}

using System.Runtime.CompilerServices;
using System.Text;
using CarServer.Rpc;
using CarServer.Rpc.WebSocket;

namespace CarServer.Tests.Support;

/// <summary>Feeds octets to a <see cref="FrameReader"/> and tells what came of them, to be compared between ways of cutting them.</summary>
internal static class FrameReading
{
    /// <summary>Everything in words: <c>Text 'hi'; Ping ''; 1002 client frame not masked (RFC 6455 5.1)</c>, and <c>…</c> at the end when a message has begun.</summary>
    /// <param name="nextChunk">The length of the next piece, from what is left.</param>
    public static string Tell(ReadOnlySpan<byte> stream, Func<int, int> nextChunk, int limit = 1 << 20)
    {
        var told = new StringBuilder();
        var listener = new Words(told);
        Feed(stream, nextChunk, limit, ref listener);
        return told.ToString();
    }

    public static string Tell(ReadOnlySpan<byte> stream, int chunk = int.MaxValue, int limit = 1 << 20) => Tell(stream, left => Math.Min(left, chunk), limit);

    /// <summary>The same as a number, without garbage: for millions of inputs.</summary>
    public static ulong Digest(ReadOnlySpan<byte> stream, Func<int, int> nextChunk, int limit)
    {
        var digest = new Digester();
        Feed(stream, nextChunk, limit, ref digest);
        return digest.Value;
    }

    internal interface IListener
    {
        void OnMessage(Opcode opcode, ReadOnlySpan<byte> payload);
        void OnViolation(FrameViolation violation);
        void OnEnd(bool midMessage);
    }

    private struct Words(StringBuilder told) : IListener
    {
        public readonly void OnMessage(Opcode opcode, ReadOnlySpan<byte> payload) => told.Append($"{opcode} '{Encoding.Latin1.GetString(payload)}'; ");
        public readonly void OnViolation(FrameViolation violation) => told.Append($"{(int)violation.Code} {violation.Rule}");
        public readonly void OnEnd(bool midMessage) => told.Append(midMessage ? "…" : "");
    }

    internal struct Digester : IListener
    {
        public ulong Value;

        public void OnMessage(Opcode opcode, ReadOnlySpan<byte> payload)
        {
            Mix((ulong)opcode | (ulong)payload.Length << 8);
            foreach (byte b in payload) Mix(b);
        }

        public void OnViolation(FrameViolation violation)
        {
            Mix((ulong)violation.Code << 40);
            foreach (char c in violation.Rule) Mix(c);
        }

        public void OnEnd(bool midMessage) => Mix(midMessage ? 3u : 5u);

        private void Mix(ulong value) => Value = (Value ^ value) * 1099511628211 + 1442695040888963407;
    }

    private static void Feed<TListener>(ReadOnlySpan<byte> stream, Func<int, int> nextChunk, int limit, ref TListener listener) where TListener : IListener
    {
        var reader = new FrameReader();
        byte[] octets = stream.ToArray();   // payloads are unmasked in place
        try
        {
            for (int at = 0; at < octets.Length;)
            {
                int length = Math.Clamp(nextChunk(octets.Length - at), 1, octets.Length - at);
                Span<byte> chunk = octets.AsSpan(at, length);
                at += length;
                while (true)
                {
                    FrameRead read = reader.Read(chunk, limit, out int consumed, out Incoming incoming);
                    CheckBounds(ref reader, at, limit);
                    if (read == FrameRead.Violation)
                    {
                        listener.OnViolation(incoming.Violation!);
                        return;
                    }
                    if (read == FrameRead.NeedMore) break;
                    if (incoming.Violation is not null) throw new InvalidOperationException("a message with a violation");
                    chunk = chunk[consumed..];
                    listener.OnMessage(incoming.Opcode, incoming.Payload);
                }
            }
            listener.OnEnd(reader.IsMidMessage);
        }
        finally
        {
            reader.Free();
        }
    }

    /// <summary>What the reader holds is measured by what came, never by what a header announced.</summary>
    private static void CheckBounds(ref FrameReader reader, int received, int limit)
    {
        ref GrowableBuffer message = ref Message(ref reader);
        if (message.Length > received || message.Length > limit || Capacity(ref message) > Math.Max(1024, 2 * received))
            throw new InvalidOperationException($"after {received} octets, limit {limit}, the reader holds {message.Length} in {Capacity(ref message)}");
    }

    [UnsafeAccessor(UnsafeAccessorKind.Field, Name = "_message")]
    private static extern ref GrowableBuffer Message(ref FrameReader reader);

    [UnsafeAccessor(UnsafeAccessorKind.Field, Name = "_capacity")]
    private static extern ref int Capacity(ref GrowableBuffer buffer);
}

/// <summary>UTF-8 by the table of well-formed byte sequences (Unicode, table 3-7), one octet at a time.</summary>
internal static class Utf8Reference
{
    /// <summary>-1: no continuation can make it valid. 0: valid. 1: valid so far, in the middle of a character.</summary>
    public static int Check(ReadOnlySpan<byte> text)
    {
        for (int i = 0; i < text.Length;)
        {
            (int more, int low, int high) = text[i] switch
            {
                <= 0x7F => (0, 0, 0),
                >= 0xC2 and <= 0xDF => (1, 0x80, 0xBF),
                0xE0 => (2, 0xA0, 0xBF),
                0xED => (2, 0x80, 0x9F),
                >= 0xE1 and <= 0xEF => (2, 0x80, 0xBF),
                0xF0 => (3, 0x90, 0xBF),
                >= 0xF1 and <= 0xF3 => (3, 0x80, 0xBF),
                0xF4 => (3, 0x80, 0x8F),
                _ => (-1, 0, 0),
            };
            if (more < 0) return -1;
            i++;
            for (; more > 0; more--, i++, (low, high) = (0x80, 0xBF))
            {
                if (i == text.Length) return 1;
                if (text[i] < low || text[i] > high) return -1;
            }
        }
        return 0;
    }
}

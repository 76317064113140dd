using System.Buffers;
using Microsoft.Win32.SafeHandles;

namespace CarServer.RunStore;

/// <summary>Finding lines in a JSONL file without reading all of it.</summary>
/// <remarks>A line exists if and only if its '\n' is in the file. Bytes after the last '\n' are a torn write and no line.</remarks>
internal static class JsonLines
{
    /// <summary>No line of ours is longer: the largest, an outcome, comes in one message of 32 MiB at most, and escapes treble that at worst.
    /// Beyond it nobody looks, so that a file of any size and kind costs neither much time nor much memory.</summary>
    /// <remarks>A daemon that is set to take larger messages can store an outcome that nobody can read back.</remarks>
    public const int MaxLineBytes = 128 * 1024 * 1024;

    /// <summary>Most lines fit in one such read; longer ones take several.</summary>
    private const int ChunkBytes = 16 * 1024;

    /// <summary>The position after the last '\n' before <paramref name="limit"/>; 0 when there is none.</summary>
    /// <exception cref="IOException">The line is longer than <see cref="MaxLineBytes"/>; or the file can't be read.</exception>
    public static long EndOfLastLine(SafeFileHandle file, long limit)
    {
        if (limit <= 0) return 0;
        Span<byte> last = stackalloc byte[1];
        if (RandomAccess.Read(file, last, limit - 1) == 1 && last[0] == (byte)'\n') return limit;   // the usual, undamaged file

        byte[] chunk = ArrayPool<byte>.Shared.Rent(ChunkBytes);
        try
        {
            for (long end = limit; end > 0;)
            {
                if (limit - end >= MaxLineBytes) throw TooLong();
                int length = (int)Math.Min(end, ChunkBytes);
                Fill(file, chunk.AsSpan(0, length), end - length);
                int newline = chunk.AsSpan(0, length).LastIndexOf((byte)'\n');
                end -= length;
                if (newline >= 0) return end + newline + 1;
            }
            return 0;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(chunk);
        }
    }

    /// <summary>The line that begins at <paramref name="start"/>, without its '\n'; null when none ends before <paramref name="limit"/>.</summary>
    public static byte[]? LineAt(SafeFileHandle file, long start, long limit)
    {
        byte[] chunk = ArrayPool<byte>.Shared.Rent(ChunkBytes);
        try
        {
            for (long at = start; at < limit;)
            {
                if (at - start >= MaxLineBytes) throw TooLong();
                int length = (int)Math.Min(limit - at, ChunkBytes);
                Fill(file, chunk.AsSpan(0, length), at);
                int newline = chunk.AsSpan(0, length).IndexOf((byte)'\n');
                if (newline >= 0)
                {
                    byte[] line = new byte[at + newline - start];
                    Fill(file, line, start);
                    return line;
                }
                at += length;
            }
            return null;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(chunk);
        }
    }

    /// <summary>The line that ends, '\n' included, at <paramref name="end"/>, and where it begins.</summary>
    public static byte[] LineBefore(SafeFileHandle file, long end, out long start)
    {
        start = EndOfLastLine(file, end - 1);
        byte[] line = new byte[end - 1 - start];
        Fill(file, line, start);
        return line;
    }

    /// <summary>In the system's words: file too large.</summary>
    public static IOException TooLong()
    {
        const int EFBIG = 27;
        return new IOException("a line is too long", EFBIG);
    }

    private static void Fill(SafeFileHandle file, Span<byte> target, long at)
    {
        while (!target.IsEmpty)
        {
            int read = RandomAccess.Read(file, target, at);
            if (read == 0) throw new EndOfStreamException("the file became shorter while it was read");
            target = target[read..];
            at += read;
        }
    }
}

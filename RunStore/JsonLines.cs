using System.Buffers;
using Microsoft.Win32.SafeHandles;

namespace CarServer.RunStore;

/// <summary>Finding lines in a JSONL file without reading all of it.</summary>
/// <remarks>A line exists if and only if its '\n' is in the file. Bytes after the last '\n' are a torn write and no line.</remarks>
internal static class JsonLines
{
    /// <summary>Most lines fit in one such read; longer ones take several.</summary>
    private const int ChunkBytes = 16 * 1024;

    /// <summary>The position after the last '\n' before <paramref name="limit"/>; 0 when there is none.</summary>
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

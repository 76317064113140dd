using System.Buffers;
using Microsoft.Win32.SafeHandles;

namespace CarServer.RunStore;

/// <summary>Which records of a trace are wanted. Positions count records from 0, <c>started</c> included; lines that are no record have none.</summary>
/// <param name="From">The first position.</param>
/// <param name="Until">The first position that is not wanted any more.</param>
/// <param name="Limit">Most records.</param>
/// <param name="MaxBytes">Most bytes, but at least one record.</param>
/// <param name="TurnsOnly">Only turns are wanted, and the position of a turn is its index.</param>
internal sealed record TraceQuery(
    long From = 0, long Until = long.MaxValue, long Limit = long.MaxValue, long MaxBytes = long.MaxValue, bool TurnsOnly = false);

/// <summary>Records of one trace file, byte for byte, with a comma between them: what stands between the brackets of a JSON array.</summary>
/// <remarks>
/// Opening reads the file once, to judge every line and to know the length; reading reads it again, a piece at a time, so that a trace of
/// any size costs one piece of memory. What is short is kept from the first reading. A trace only grows at its end, so both see the same.
/// </remarks>
internal sealed class TraceSlice : Stream
{
    private const int ReadBytes = 64 * 1024;

    private readonly SafeFileHandle? _file;   // null when there is nothing to read
    private readonly List<(long Start, long End)> _pieces = [];   // lines in a row that are wanted, each with its '\n'
    private ArrayBufferWriter<byte>? _short = new();
    private long _length;
    private long _read;
    private int _piece;
    private long _at;

    private TraceSlice(SafeFileHandle? file) => _file = file;

    /// <summary>Records in the slice.</summary>
    public int Count { get; private set; }

    /// <summary>The position behind the slice.</summary>
    public long End { get; private set; }

    /// <summary>Where to go on; null at the end of what was asked for.</summary>
    public long? Next { get; private set; }

    /// <summary>Whole lines that are no record. A torn tail is not among them: it never was a line.</summary>
    public int DamagedLines { get; private set; }

    public override long Length => _length;

    /// <exception cref="IOException">The file can't be read.</exception>
    public static TraceSlice Open(string path, TraceQuery query)
    {
        if (RunTrace.OpenForReading(path) is not { } file) return new TraceSlice(null);
        try
        {
            var slice = new TraceSlice(file);
            slice.Find(file, query);
            if (slice._short is not null) file.Dispose();
            return slice;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    public override int Read(Span<byte> buffer)
    {
        int length = (int)Math.Min(buffer.Length, _length - _read);
        if (length == 0) return 0;
        buffer = buffer[..length];
        if (_short is not null) _short.WrittenSpan.Slice((int)_read, length).CopyTo(buffer);
        else length = ReadFile(buffer);
        _read += length;
        return length;
    }

    private int ReadFile(Span<byte> buffer)
    {
        (long start, long end) = _pieces[_piece];
        if (_at < start) _at = start;
        int length = RandomAccess.Read(_file!, buffer[..(int)Math.Min(buffer.Length, end - _at)], _at);
        if (length == 0) throw new EndOfStreamException("the trace became shorter while it was read");
        // Records hold no '\n', so these are the ends of lines.
        buffer[..length].Replace((byte)'\n', (byte)',');
        _at += length;
        if (_at == end) _piece++;
        return length;
    }

    private void Find(SafeFileHandle file, TraceQuery query)
    {
        byte[] buffer = ArrayPool<byte>.Shared.Rent(ReadBytes);
        try
        {
            int held = 0;
            for (long at = 0; ;)
            {
                int read = RandomAccess.Read(file, buffer.AsSpan(held), at);
                if (read == 0) break;   // what is held now is a torn tail
                at += read;
                held += read;
                int taken = 0;
                for (int newline; (newline = buffer.AsSpan(taken, held - taken).IndexOf((byte)'\n')) >= 0; taken += newline + 1)
                {
                    if (!Take(buffer.AsSpan(taken, newline), at - held + taken, query)) return;
                }
                buffer.AsSpan(taken, held - taken).CopyTo(buffer);
                held -= taken;
                if (held < buffer.Length) continue;
                if (held >= JsonLines.MaxLineBytes) throw JsonLines.TooLong();
                buffer = Grow(buffer);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>False when no more is wanted.</summary>
    private bool Take(ReadOnlySpan<byte> line, long start, TraceQuery query)
    {
        RunTrace.LineKind kind = RunTrace.Peek(line, out int index);
        if (kind == RunTrace.LineKind.Damaged) DamagedLines++;
        if (kind == RunTrace.LineKind.Damaged || (query.TurnsOnly && kind != RunTrace.LineKind.Turn)) return true;
        long position = query.TurnsOnly ? index : End;
        if (position >= query.Until) return false;
        if (position >= query.From && (Count >= query.Limit || (Count > 0 && _length + line.Length > query.MaxBytes)))
        {
            Next = position;
            return false;
        }
        End = position + 1;
        if (position < query.From) return true;
        long end = start + line.Length + 1;
        if (_pieces.Count > 0 && _pieces[^1].End == start) _pieces[^1] = (_pieces[^1].Start, end);
        else _pieces.Add((start, end));
        int comma = Count == 0 ? 0 : 1;
        _length += comma + line.Length;
        if (_length > ReadBytes) _short = null;
        if (comma > 0) _short?.Write(","u8);
        _short?.Write(line);
        Count++;
        return true;
    }

    private static byte[] Grow(byte[] full)
    {
        byte[] bigger = ArrayPool<byte>.Shared.Rent(full.Length * 2);
        full.CopyTo(bigger, 0);
        ArrayPool<byte>.Shared.Return(full);
        return bigger;
    }

    protected override void Dispose(bool disposing)
    {
        _file?.Dispose();
        base.Dispose(disposing);
    }

    public override bool CanRead => true;
    public override bool CanSeek => false;
    public override bool CanWrite => false;
    public override long Position { get => _read; set => throw new NotSupportedException(); }
    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));
    public override void Flush() { }
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
    public override void SetLength(long value) => throw new NotSupportedException();
    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
}

using System.Buffers;
using Microsoft.Win32.SafeHandles;

namespace CarServer.RunStore;

/// <summary>The whole lines of a JSONL file, one after another, in little memory however large the file is.</summary>
internal sealed class LineReader : IDisposable
{
    /// <summary>Bytes of a line that is read; an event has some thousand at most. A longer line is shown as an empty one.</summary>
    public const int MaxLineBytes = 1024 * 1024;

    private const int ReadBytes = 64 * 1024;

    private readonly SafeFileHandle _file;
    private readonly long _limit;
    private byte[] _buffer = ArrayPool<byte>.Shared.Rent(ReadBytes);
    private int _start;   // of what is read and not yet given out
    private int _end;
    private long _at;     // in the file, of the buffer's end

    /// <param name="limit">Where reading ends; bytes behind it are not looked at.</param>
    /// <param name="start">Where the first line begins.</param>
    public LineReader(SafeFileHandle file, long limit, long start = 0) => (_file, _limit, _at) = (file, limit, start);

    /// <summary>Without its '\n'; good until the next call.</summary>
    public ReadOnlyMemory<byte> Line { get; private set; }

    /// <summary>Where the line begins in the file.</summary>
    public long LineStart { get; private set; }

    /// <summary>Where the next line begins: behind this one's '\n'.</summary>
    public long NextStart => _at - (_end - _start);

    /// <summary>False at the end: what is left has no '\n'.</summary>
    public bool TryRead()
    {
        LineStart = NextStart;
        bool isTooLong = false;
        int searched = 0;
        while (true)
        {
            int newline = _buffer.AsSpan(_start + searched, _end - _start - searched).IndexOf((byte)'\n');
            if (newline >= 0)
            {
                int length = searched + newline;
                Line = isTooLong ? default : _buffer.AsMemory(_start, length);
                _start += length + 1;
                return true;
            }
            searched = _end - _start;
            if (searched > MaxLineBytes)
            {
                isTooLong = true;
                _start = _end;
                searched = 0;
            }
            if (!TryFill()) return false;
        }
    }

    private bool TryFill()
    {
        if (_start > 0)
        {
            _buffer.AsSpan(_start, _end - _start).CopyTo(_buffer);
            (_start, _end) = (0, _end - _start);
        }
        if (_end == _buffer.Length)
        {
            byte[] bigger = ArrayPool<byte>.Shared.Rent(_buffer.Length * 2);
            _buffer.CopyTo(bigger, 0);
            ArrayPool<byte>.Shared.Return(_buffer);
            _buffer = bigger;
        }
        int room = (int)Math.Min(_buffer.Length - _end, _limit - _at);
        int read = room <= 0 ? 0 : RandomAccess.Read(_file, _buffer.AsSpan(_end, room), _at);
        _end += read;
        _at += read;
        return read > 0;
    }

    public void Dispose()
    {
        ArrayPool<byte>.Shared.Return(_buffer);
        _buffer = [];
    }
}

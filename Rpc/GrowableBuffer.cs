using System.Runtime.InteropServices;

namespace CarServer.Rpc;

/// <summary>A queue of bytes outside the managed heap: append at the end, consume from the front.</summary>
/// <remarks>
/// Grows with what is appended, never ahead of it by more than its own length, and lets go of its memory the moment it is emptied: a
/// 32 MiB message is no business of the collector's, and <see cref="IdleMemory"/> sees it back to the system. The owner is a single thread or holds a lock, and
/// calls <see cref="Free"/> at the end; there is no finalizer.
/// </remarks>
internal unsafe struct GrowableBuffer
{
    private const int SmallestCapacity = 1024;

    private byte* _memory;
    private int _capacity;
    private int _start;
    private int _end;

    public readonly int Length => _end - _start;
    public readonly bool IsEmpty => _end == _start;
    public readonly Span<byte> Bytes => new(_memory + _start, _end - _start);

    public void Append(ReadOnlySpan<byte> bytes)
    {
        if (bytes.IsEmpty) return;
        if (_capacity - _end < bytes.Length) MakeRoom(bytes.Length);
        bytes.CopyTo(new Span<byte>(_memory + _end, bytes.Length));
        _end += bytes.Length;
    }

    public void Consume(int count)
    {
        _start += count;
        if (_start == _end) Free();
    }

    public void Free()
    {
        IdleMemory.Count(_capacity);
        NativeMemory.Free(_memory);
        this = default;
    }

    private void MakeRoom(int more)
    {
        // Moving pays only when enough was consumed since the last move; else a slow reader would make every append move it all.
        if (_start > 0 && _start >= Length / 4)
        {
            Bytes.CopyTo(new Span<byte>(_memory, Length));
            _end -= _start;
            _start = 0;
            if (_capacity - _end >= more) return;
        }
        if ((long)_end + more > Array.MaxLength) throw new OutOfMemoryException("over the largest length of a buffer");
        int capacity = (int)Math.Min(Math.Max(Math.Max((long)_capacity * 2, SmallestCapacity), (long)_end + more), Array.MaxLength);
        _memory = (byte*)NativeMemory.Realloc(_memory, (nuint)capacity);
        _capacity = capacity;
    }
}

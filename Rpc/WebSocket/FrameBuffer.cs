using System.Buffers;
using System.Runtime.InteropServices;

namespace CarServer.Rpc.WebSocket;

/// <summary>Outgoing frames, one after another, ready for one write; a payload is written straight into its frame.</summary>
/// <remarks>
/// One thread at a time. Lives outside the managed heap for the reason <see cref="GrowableBuffer"/> does; <see cref="Clear"/> keeps a
/// small block for the next batch and gives a large one back. Threads of the pool keep one each and end without a word, hence the finalizer.
/// </remarks>
internal sealed unsafe class FrameBuffer : MemoryManager<byte>, IBufferWriter<byte>
{
    private const int KeptCapacity = 64 * 1024;
    private const int SmallestRoom = 512;   // what Utf8JsonWriter likes to ask for, with some to spare

    private byte* _memory;
    private int _capacity;
    private int _length;
    private int _frame = -1;
    private int _payload;
    private Opcode _opcode;

#pragma warning disable CA2015 // no span outlives the buffer: whoever took one goes on to use the buffer, at least to clear it
    ~FrameBuffer() => Release();
#pragma warning restore CA2015

    public bool IsEmpty => _length == 0;
    public int Length => _length;
    public ReadOnlySpan<byte> Written => new(_memory, _length);

    /// <summary>Starts a frame. One that was begun before and not ended, because writing it failed, is taken back.</summary>
    /// <param name="expectedLength">A guess at the payload's length; a good one saves moving the payload afterwards.</param>
    public void BeginFrame(Opcode opcode, int expectedLength = 0)
    {
        AbandonFrame();
        int header = FrameWriter.HeaderSize(expectedLength);
        EnsureRoom(header + expectedLength);
        _opcode = opcode;
        _frame = _length;
        _length += header;
        _payload = _length;
    }

    public void EndFrame()
    {
        int payload = _length - _payload;
        int header = FrameWriter.HeaderSize(payload);
        int reserved = _payload - _frame;
        if (header != reserved)
        {
            if (header > reserved) EnsureRoom(header - reserved);
            new ReadOnlySpan<byte>(_memory + _payload, payload).CopyTo(new Span<byte>(_memory + _frame + header, payload));
            _length = _frame + header + payload;
        }
        FrameWriter.WriteHeader(new Span<byte>(_memory + _frame, header), _opcode, payload);
        _frame = -1;
    }

    /// <summary>Takes back everything since <see cref="BeginFrame"/>.</summary>
    public void AbandonFrame()
    {
        if (_frame >= 0) _length = _frame;
        _frame = -1;
    }

    public void Append(ReadOnlySpan<byte> bytes)
    {
        EnsureRoom(bytes.Length);
        bytes.CopyTo(new Span<byte>(_memory + _length, bytes.Length));
        _length += bytes.Length;
    }

    public void AppendFrame(Opcode opcode, ReadOnlySpan<byte> payload)
    {
        BeginFrame(opcode, payload.Length);
        Append(payload);
        EndFrame();
    }

    public void Clear()
    {
        _length = 0;
        _frame = -1;
        if (_capacity > KeptCapacity) Release();
    }

    public void Advance(int count) => _length += count;

    public Span<byte> GetSpan(int sizeHint = 0)
    {
        EnsureRoom(Math.Max(sizeHint, SmallestRoom));
        return new Span<byte>(_memory + _length, _capacity - _length);
    }

    public Memory<byte> GetMemory(int sizeHint = 0)
    {
        EnsureRoom(Math.Max(sizeHint, SmallestRoom));
        return CreateMemory(_length, _capacity - _length);
    }

    /// <summary>The whole block, wherever it lies now: a <see cref="Memory{T}"/> handed out stays right when the block moves.</summary>
    public override Span<byte> GetSpan() => new(_memory, _capacity);
    public override MemoryHandle Pin(int elementIndex = 0) => new(_memory + elementIndex);
    public override void Unpin() { }
    protected override void Dispose(bool disposing) => Release();

    private void EnsureRoom(int more)
    {
        if (_capacity - _length >= more) return;
        if ((long)_length + more > Array.MaxLength) throw new OutOfMemoryException("over the largest length of a buffer");
        int capacity = (int)Math.Min(Math.Max(Math.Max((long)_capacity * 2, 4096), (long)_length + more), Array.MaxLength);
        _memory = (byte*)NativeMemory.Realloc(_memory, (nuint)capacity);
        _capacity = capacity;
    }

    private void Release()
    {
        IdleMemory.Count(_capacity);
        NativeMemory.Free(_memory);
        _memory = null;
        _capacity = 0;
    }
}

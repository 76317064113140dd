using System.Buffers;

namespace CarServer.RunStore;

/// <summary>Turns on their way into a run, in order: for each what its line says after the index (<see cref="TurnLine"/>).</summary>
/// <remarks>One owner at a time. The memory is lent: <see cref="Dispose"/> gives it back, and forgetting to only costs the collector some work.</remarks>
internal sealed class TurnBatch : IDisposable
{
    private readonly List<int> _ends = [];
    private byte[] _bytes = [];
    private int _length;

    public int Count => _ends.Count;

    /// <summary>A turn among them is too large even with its texts replaced; the batch can't be recorded as it was meant.</summary>
    public bool HasTooLarge { get; private set; }

    /// <summary>Bytes that the lines need at most.</summary>
    public int MaxSize => _length + (Count * TurnLine.LargestFrame);

    public ReadOnlySpan<byte> this[int turn]
    {
        get
        {
            int start = turn == 0 ? 0 : _ends[turn - 1];
            return _bytes.AsSpan(start, _ends[turn] - start);
        }
    }

    /// <summary>Encodes a turn and adds it. False: it is too large.</summary>
    public bool Add(RunTurn turn)
    {
        if (TurnLine.TryEncodeBody(turn) is not { } body)
        {
            HasTooLarge = true;
            return false;
        }
        Append(body);
        EndTurn();
        return true;
    }

    /// <summary>A piece of the turn that is being added.</summary>
    public void Append(ReadOnlySpan<byte> piece)
    {
        if (_bytes.Length - _length < piece.Length) Grow(piece.Length);
        piece.CopyTo(_bytes.AsSpan(_length));
        _length += piece.Length;
    }

    public void EndTurn() => _ends.Add(_length);

    /// <summary>Drops the last ones.</summary>
    public void Keep(int first)
    {
        _ends.RemoveRange(first, Count - first);
        _length = first == 0 ? 0 : _ends[^1];
    }

    public void Dispose()
    {
        if (_bytes.Length > 0) ArrayPool<byte>.Shared.Return(_bytes);
        _bytes = [];
        Keep(0);
    }

    private void Grow(int more)
    {
        byte[] bigger = ArrayPool<byte>.Shared.Rent(Math.Max(_bytes.Length * 2, Math.Max(4096, _length + more)));
        _bytes.AsSpan(0, _length).CopyTo(bigger);
        if (_bytes.Length > 0) ArrayPool<byte>.Shared.Return(_bytes);
        _bytes = bigger;
    }
}

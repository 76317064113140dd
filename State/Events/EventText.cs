using System.Buffers;
using System.Buffers.Text;
using System.Text;
using System.Text.Encodings.Web;

namespace CarServer.State.Events;

/// <summary>Writes JSON straight to where an event's line will stay. Whoever makes one has seen to it that there is room.</summary>
internal ref struct EventText(Span<byte> target)
{
    /// <summary>Bytes that one character of a text takes at most: an escape. A character of a surrogate pair takes no more.</summary>
    public const int CharBytes = 6;

    /// <summary>Bytes of a number, of a truth, or of a time with its quotes, at most.</summary>
    public const int ScalarBytes = 32;

    /// <summary>Where text can be copied as it is: what JSON escapes is in no identifier, path or word.</summary>
    private static readonly SearchValues<char> Plain =
        SearchValues.Create(" !#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~");

    private readonly Span<byte> _target = target;

    public int Length { get; private set; }

    public void Add(ReadOnlySpan<byte> json)
    {
        json.CopyTo(_target[Length..]);
        Length += json.Length;
    }

    /// <summary>A name of ours: nothing in it has to be escaped.</summary>
    public void AddName(string name)
    {
        _target[Length++] = (byte)'"';
        Length += Encoding.ASCII.GetBytes(name, _target[Length..]);
        Add("\":"u8);
    }

    /// <summary>Null is JSON's.</summary>
    public void AddText(string? text)
    {
        if (text is null) Add("null"u8);
        else AddText(text.AsSpan());
    }

    public void AddText(ReadOnlySpan<char> text)
    {
        _target[Length++] = (byte)'"';
        if (text.ContainsAnyExcept(Plain)) AddEscaped(text);
        else Length += Encoding.ASCII.GetBytes(text, _target[Length..]);
        _target[Length++] = (byte)'"';
    }

    public void AddNumber(long number)
    {
        Utf8Formatter.TryFormat(number, _target[Length..], out int digits);
        Length += digits;
    }

    /// <summary>A finite one; JSON has no others.</summary>
    public void AddNumber(double number)
    {
        number.TryFormat(_target[Length..], out int digits, provider: System.Globalization.CultureInfo.InvariantCulture);
        Length += digits;
    }

    /// <summary>UTC, without zeros at the end of the fraction.</summary>
    public void AddTime(DateTime utc)
    {
        _target[Length++] = (byte)'"';
        Utf8Formatter.TryFormat(utc, _target[Length..], out int written, 'O');
        int end = Length + written - 1;   // before the Z
        while (_target[end - 1] == '0') end--;
        if (_target[end - 1] == '.') end--;
        Length = end;
        Add("Z\""u8);
    }

    /// <summary>Only what JSON itself demands is escaped: a journal is read by people, and no browser takes it for markup.</summary>
    private void AddEscaped(ReadOnlySpan<char> text)
    {
        byte[] utf8 = ArrayPool<byte>.Shared.Rent(Encoding.UTF8.GetMaxByteCount(text.Length));
        int bytes = Encoding.UTF8.GetBytes(text, utf8);
        JavaScriptEncoder.UnsafeRelaxedJsonEscaping.EncodeUtf8(utf8.AsSpan(0, bytes), _target[Length..], out _, out int written);
        Length += written;
        ArrayPool<byte>.Shared.Return(utf8);
    }
}

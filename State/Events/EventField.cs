using CarServer.RunStore;

namespace CarServer.State.Events;

/// <summary>One field of an event's <c>data</c>. A field without a value is left out.</summary>
internal readonly struct EventField
{
    /// <summary>
    /// Most bytes of a text or value that an event repeats. A journal tells what happened; what was carried stands in the state, the
    /// result or the run's trace, and would otherwise be written three times.
    /// </summary>
    public const int MaxValueBytes = 4_096;

    private readonly string? _text;
    private readonly RawJson _json;
    private readonly long _bits;
    private readonly NumberKind _number;

    public EventField(string name, string? text) => (Name, _text) = (name, text);
    public EventField(string name, RawJson json) => (Name, _json) = (name, json);
    public EventField(string name, long number) => (Name, _bits, _number) = (name, number, NumberKind.Whole);
    public EventField(string name, double number) => (Name, _bits, _number) = (name, BitConverter.DoubleToInt64Bits(number), NumberKind.Real);
    public EventField(string name, bool value) => (Name, _bits, _number) = (name, value ? 1 : 0, NumberKind.Truth);

    private enum NumberKind : byte { None, Whole, Real, Truth }

    public string Name { get; }

    /// <summary>Null when the value is none.</summary>
    public string? Text => _text;

    /// <summary>The value as a number, truth as 1 and 0; 0 when it is none.</summary>
    public double Number => _number == NumberKind.Real ? BitConverter.Int64BitsToDouble(_bits) : _bits;

    /// <summary>Whether there is anything to write.</summary>
    internal bool HasValue => _text is not null || _number != NumberKind.None || !_json.IsAbsent;

    /// <summary>Bytes that name and value take at most, with what stands around them.</summary>
    internal int MaxBytes => Name.Length + EventText.ScalarBytes
        + (_text is not null ? Short(_text).Length * EventText.CharBytes : Math.Min(_json.Utf8.Length, MaxValueBytes));

    internal void WriteTo(ref EventText data)
    {
        // A value that is too long is named by its size only: half a JSON value is none.
        bool isTooLong = _text is null && _number == NumberKind.None && _json.Utf8.Length > MaxValueBytes;
        data.AddName(isTooLong ? Name + "_bytes" : Name);
        if (_text is not null) data.AddText(Short(_text));
        else if (_number == NumberKind.Whole) data.AddNumber(_bits);
        else if (_number == NumberKind.Real) data.AddNumber(Number);
        else if (_number == NumberKind.Truth) data.Add(_bits != 0 ? "true"u8 : "false"u8);
        else if (isTooLong) data.AddNumber(_json.Utf8.Length);
        else data.Add(_json.Utf8);
    }

    private static ReadOnlySpan<char> Short(string text)
    {
        // A character takes at most three bytes, so this stays within the limit; a pair is not cut in two.
        const int MaxChars = MaxValueBytes / 3;
        if (text.Length <= MaxChars) return text;
        return text.AsSpan(0, char.IsHighSurrogate(text[MaxChars - 1]) ? MaxChars - 1 : MaxChars);
    }
}

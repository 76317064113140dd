using System.Text.Json;
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

    private readonly string _name;
    private readonly string? _text;
    private readonly RawJson _json;
    private readonly long? _number;

    public EventField(string name, string? text) => (_name, _text) = (name, text);
    public EventField(string name, RawJson json) => (_name, _json) = (name, json);
    public EventField(string name, long number) => (_name, _number) = (name, number);

    internal void WriteTo(Utf8JsonWriter data)
    {
        if (_text is not null) data.WriteString(_name, Short(_text));
        else if (_number is { } number) data.WriteNumber(_name, number);
        else if (!_json.IsAbsent) WriteJson(data);
    }

    /// <summary>A value that is too long is named by its size only: half a JSON value is none.</summary>
    private void WriteJson(Utf8JsonWriter data)
    {
        if (_json.Utf8.Length > MaxValueBytes)
        {
            data.WriteNumber(_name + "_bytes", _json.Utf8.Length);
            return;
        }
        data.WritePropertyName(_name);
        data.WriteRawValue(_json.Utf8, skipInputValidation: true);
    }

    private static ReadOnlySpan<char> Short(string text)
    {
        // A character takes at most three bytes, so this stays within the limit; a pair is not cut in two.
        const int MaxChars = MaxValueBytes / 3;
        if (text.Length <= MaxChars) return text;
        return text.AsSpan(0, char.IsHighSurrogate(text[MaxChars - 1]) ? MaxChars - 1 : MaxChars);
    }
}

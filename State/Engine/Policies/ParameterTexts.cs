using System.Globalization;
using System.Text;
using System.Text.Json;
using CarServer.RunStore;

namespace CarServer.State.Engine.Policies;

/// <summary>The parameters of an action as texts to search in: a string's own text, any other value's compact JSON.</summary>
/// <remarks>
/// Whoever wants around a policy spells the same thing differently, so escapes are decoded first, in names and inside nested values too,
/// and of a name given twice every value counts: which one the tool takes is the tool's affair. Numbers keep their digits.
/// </remarks>
internal sealed class ParameterTexts
{
    private readonly List<(string Name, string Text)> _members = [];
    private readonly List<string> _nested = [];

    public static ParameterTexts Read(RawJson parameters)
    {
        var texts = new ParameterTexts();
        Utf8JsonReader reader = parameters.Reader();
        if (reader.TokenType != JsonTokenType.StartObject) return texts;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string name = Decoded(reader);
            reader.Read();
            texts._members.Add((name, texts.Text(ref reader)));
        }
        return texts;
    }

    /// <summary>Every value of the parameter, most often one or none.</summary>
    public IEnumerable<string> Of(string name)
    {
        foreach ((string member, string text) in _members)
        {
            if (string.Equals(member, name, StringComparison.Ordinal)) yield return text;
        }
    }

    /// <summary>Whether any value contains the keyword, as its text or in a string further inside.</summary>
    public bool Contain(string keyword)
    {
        foreach ((_, string text) in _members)
        {
            if (text.Contains(keyword, StringComparison.Ordinal)) return true;
        }
        foreach (string text in _nested)
        {
            if (text.Contains(keyword, StringComparison.Ordinal)) return true;
        }
        return false;
    }

    /// <summary>The value the reader stands on; leaves the reader on its last token.</summary>
    private string Text(ref Utf8JsonReader reader)
    {
        if (reader.TokenType == JsonTokenType.String) return Decoded(reader);
        if (reader.TokenType is not (JsonTokenType.StartObject or JsonTokenType.StartArray)) return Encoding.UTF8.GetString(reader.ValueSpan);

        var json = new StringBuilder();
        int outer = reader.CurrentDepth;
        bool comma = false;
        do
        {
            bool ends = reader.TokenType is JsonTokenType.EndObject or JsonTokenType.EndArray;
            if (comma && !ends) json.Append(',');
            switch (reader.TokenType)
            {
                case JsonTokenType.StartObject: json.Append('{'); break;
                case JsonTokenType.StartArray: json.Append('['); break;
                case JsonTokenType.EndObject: json.Append('}'); break;
                case JsonTokenType.EndArray: json.Append(']'); break;
                case JsonTokenType.PropertyName: AppendString(json, reader); json.Append(':'); break;
                case JsonTokenType.String: AppendString(json, reader); break;
                default: json.Append(Encoding.UTF8.GetString(reader.ValueSpan)); break;
            }
            comma = reader.TokenType is not (JsonTokenType.StartObject or JsonTokenType.StartArray or JsonTokenType.PropertyName);
        }
        while (!(reader.TokenType is JsonTokenType.EndObject or JsonTokenType.EndArray && reader.CurrentDepth == outer) && reader.Read());
        return json.ToString();
    }

    /// <summary>With the few escapes that JSON cannot do without.</summary>
    private void AppendString(StringBuilder json, in Utf8JsonReader reader)
    {
        string text = Decoded(reader);
        _nested.Add(text);
        json.Append('"');
        foreach (char c in text)
        {
            switch (c)
            {
                case '"' or '\\': json.Append('\\').Append(c); break;
                case '\n': json.Append("\\n"); break;
                case '\r': json.Append("\\r"); break;
                case '\t': json.Append("\\t"); break;
                case '\b': json.Append("\\b"); break;
                case '\f': json.Append("\\f"); break;
                case < ' ': json.Append(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}"); break;
                default: json.Append(c); break;
            }
        }
        json.Append('"');
    }

    /// <summary>The string or name the reader stands on. Half a surrogate pair stays one: the framework would refuse the whole string for it.</summary>
    internal static string Decoded(in Utf8JsonReader reader)
    {
        string raw = Encoding.UTF8.GetString(reader.ValueSpan);
        if (!reader.ValueIsEscaped) return raw;
        var text = new StringBuilder(raw.Length);
        for (int i = 0; i < raw.Length; i++)
        {
            if (raw[i] != '\\')
            {
                text.Append(raw[i]);
                continue;
            }
            char escape = raw[++i];
            if (escape == 'u')
            {
                text.Append((char)ushort.Parse(raw.AsSpan(i + 1, 4), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture));
                i += 4;
                continue;
            }
            text.Append(escape switch { 'n' => '\n', 'r' => '\r', 't' => '\t', 'b' => '\b', 'f' => '\f', _ => escape });
        }
        return text.ToString();
    }
}

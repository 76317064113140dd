using System.Text;
using System.Text.Json;
using CarServer.RunStore;

namespace CarServer.Rpc.CommandLine.Runs;

/// <summary>JSON for reading: an indented outline in which a text has its own lines. What it loses, types and quotes, <c>--json</c> shows.</summary>
internal static class ValueText
{
    private const string Indent = "  ";

    /// <summary>Characters of a value on one line; where there is a width, it cuts again.</summary>
    private const int MaxGlance = 200;

    /// <summary>The value as lines that are safe to print.</summary>
    public static List<string> Lines(RawJson value)
    {
        var lines = new List<string>();
        Utf8JsonReader reader = value.Reader();
        Add(lines, ref reader, indent: "", label: "");
        return lines;
    }

    /// <summary>The gist of a value on one line: the members of an object that are not empty, inner values as JSON.</summary>
    public static string Glance(RawJson? value)
    {
        if (value is not { } given || given.IsNull) return "";
        Utf8JsonReader reader = given.Reader();
        if (reader.TokenType == JsonTokenType.String) return Clip(TerminalText.OneLine(Text(ref reader)));
        if (reader.TokenType != JsonTokenType.StartObject) return Clip(TerminalText.OneLine(given.ToString()));
        var gist = new StringBuilder();
        while (gist.Length < MaxGlance && reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string name = Text(ref reader);
            reader.Read();
            string member = reader.TokenType == JsonTokenType.String ? Text(ref reader).Trim() : RawJsonConverter.ReadValue(ref reader).ToString();
            if (member.Length > 0) gist.Append(gist.Length > 0 ? ", " : "").Append(name).Append(": ").Append(member);
        }
        return Clip(TerminalText.OneLine(gist.ToString()));
    }

    /// <summary>The string that the reader stands on; one that spells no text, for it holds half a surrogate pair, with its escapes.</summary>
    public static string Text(ref Utf8JsonReader reader)
    {
        try { return reader.GetString()!; }
        catch (InvalidOperationException) { return Encoding.UTF8.GetString(reader.ValueSpan); }
    }

    private static string Clip(string line) => TerminalText.Cut(line, MaxGlance);

    private static void Add(List<string> lines, ref Utf8JsonReader reader, string indent, string label)
    {
        switch (reader.TokenType)
        {
            case JsonTokenType.StartObject or JsonTokenType.StartArray:
                AddMembers(lines, ref reader, indent, label);
                break;
            case JsonTokenType.String:
                AddText(lines, Text(ref reader), indent, label);
                break;
            default:
                lines.Add(Labelled(indent, label, Encoding.UTF8.GetString(reader.ValueSpan)));
                break;
        }
    }

    private static void AddMembers(List<string> lines, ref Utf8JsonReader reader, string indent, string label)
    {
        bool isObject = reader.TokenType == JsonTokenType.StartObject;
        int heading = lines.Count;
        string inner = label.Length > 0 ? indent + Indent : indent;
        while (reader.Read() && reader.TokenType is not (JsonTokenType.EndObject or JsonTokenType.EndArray))
        {
            string member = "-";
            if (isObject)
            {
                member = TerminalText.OneLine(Text(ref reader)) + ":";
                reader.Read();
            }
            Add(lines, ref reader, inner, member);
        }
        if (lines.Count == heading) lines.Add(Labelled(indent, label, isObject ? "{}" : "[]"));
        else if (label.Length > 0) lines.Insert(heading, indent + label);
    }

    private static void AddText(List<string> lines, string text, string indent, string label)
    {
        if (text.Length == 0) text = "\"\"";
        string[] own = TerminalText.Lines(text);
        if (own.Length == 1)
        {
            lines.Add(Labelled(indent, label, own[0]));
            return;
        }
        if (label.Length > 0)
        {
            lines.Add(indent + label);
            indent += Indent;
        }
        foreach (string line in own) lines.Add(indent + line);
    }

    private static string Labelled(string indent, string label, string text) => label.Length > 0 ? $"{indent}{label} {text}" : indent + text;
}

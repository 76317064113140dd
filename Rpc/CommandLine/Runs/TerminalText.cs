using System.Globalization;
using System.Text;

namespace CarServer.Rpc.CommandLine.Runs;

/// <summary>Text of a trace on its way to a terminal: it may neither steer the terminal nor hide what it says.</summary>
/// <remarks>
/// A control, a mark that turns the direction of writing or half a surrogate pair becomes the escape that JSON has for it. Joiners
/// stay: scripts and emoji need them.
/// </remarks>
internal static class TerminalText
{
    private const string Tab = "    ";

    /// <summary>All of it on one line: any white space is one space.</summary>
    public static string OneLine(string text)
    {
        var line = new StringBuilder(text.Length);
        bool space = false;
        foreach (char character in text)
        {
            // The separators of lines and paragraphs are white space to .NET, and something to show to us.
            bool white = char.IsWhiteSpace(character) && character is not ('\u2028' or '\u2029' or '\u0085');
            if (white) space = line.Length > 0;
            else
            {
                if (space) line.Append(' ');
                space = false;
                line.Append(character);
            }
        }
        return Escape(line.ToString());
    }

    /// <summary>Its own lines, each safe to print; a final newline makes no empty one. A carriage return alone would write over the line: it is shown.</summary>
    public static string[] Lines(string text)
    {
        string[] lines = text.Replace("\r\n", "\n").Split('\n');
        if (lines.Length > 1 && lines[^1].Length == 0) lines = lines[..^1];
        return Array.ConvertAll(lines, line => Escape(line.Replace("\t", Tab)));
    }

    /// <summary>What fits into so many columns, with an ellipsis in the last one when that is not all. Never splits what is seen as one character.</summary>
    public static string Cut(string line, int columns)
    {
        int width = 0, kept = 0;
        for (int at = 0; at < line.Length;)
        {
            int length = StringInfo.GetNextTextElementLength(line, at);
            width += ElementWidth(line.AsSpan(at, length));
            if (width > columns) return columns > 0 ? line[..kept] + "…" : "";
            at += length;
            if (width < columns) kept = at;
        }
        return line;
    }

    public static string PadRight(string line, int columns) => line + new string(' ', Math.Max(0, columns - Width(line)));

    /// <summary>Columns that a terminal gives to it.</summary>
    public static int Width(string line)
    {
        int width = 0;
        for (int at = 0, length; at < line.Length; at += length)
        {
            length = StringInfo.GetNextTextElementLength(line, at);
            width += ElementWidth(line.AsSpan(at, length));
        }
        return width;
    }

    private static string Escape(string text)
    {
        StringBuilder? safe = null;
        for (int at = 0, length; at < text.Length; at += length)
        {
            bool whole = Rune.DecodeFromUtf16(text.AsSpan(at), out Rune rune, out length) == System.Buffers.OperationStatus.Done;
            if (whole && IsHarmless(rune)) safe?.Append(text, at, length);
            else
            {
                safe ??= new StringBuilder(text, 0, at, text.Length + 16);
                foreach (char unit in text.AsSpan(at, length)) safe.Append(CultureInfo.InvariantCulture, $"\\u{(int)unit:x4}");
            }
        }
        return safe?.ToString() ?? text;
    }

    private static bool IsHarmless(Rune rune) => rune.Value is >= ' ' and < 0x7F or 0x200C or 0x200D || Rune.GetUnicodeCategory(rune) is not
        (UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator);

    /// <remarks>As wide as its widest part; a selector asks for the picture of a character, and pictures are wide.</remarks>
    private static int ElementWidth(ReadOnlySpan<char> element)
    {
        if (element is [>= ' ' and < '\x7F']) return 1;
        int width = 0;
        foreach (Rune rune in element.EnumerateRunes()) width = Math.Max(width, IsWide(rune.Value) || rune.Value == 0xFE0F ? 2 : IsMark(rune) ? 0 : 1);
        return width;
    }

    private static bool IsMark(Rune rune) =>
        Rune.GetUnicodeCategory(rune) is UnicodeCategory.NonSpacingMark or UnicodeCategory.EnclosingMark or UnicodeCategory.Format;

    /// <summary>The blocks that Unicode's East Asian Width calls wide, in large strokes: a column too many only cuts earlier.</summary>
    private static bool IsWide(int rune) => rune is
        (>= 0x1100 and <= 0x115F) or (>= 0x2E80 and <= 0xA4CF) or (>= 0xA960 and <= 0xA97F) or (>= 0xAC00 and <= 0xD7A3) or (>= 0xF900 and <= 0xFAFF)
        or (>= 0xFE30 and <= 0xFE6F) or (>= 0xFF00 and <= 0xFF60) or (>= 0xFFE0 and <= 0xFFE6) or (>= 0x1F300 and <= 0x1FAFF) or (>= 0x20000 and <= 0x3FFFD);
}

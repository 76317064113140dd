using System.Globalization;
using System.Text;

namespace CarServer.Tests.Support;

/// <summary>Octets as they are drawn in the tables of hostile input: readable, and nothing but what goes onto the wire.</summary>
/// <remarks>
/// Parts are set apart by spaces. <c>81FE</c>: octets in hexadecimal. <c>'hi'</c>: text as UTF-8, without a quote inside.
/// <c>'a'*125</c> and <c>FF*125</c>: so many times. <c>|</c>: what follows is written to the socket on its own.
/// </remarks>
internal static class Drawing
{
    /// <summary>The pieces, one for each write.</summary>
    public static List<byte[]> Pieces(string drawing)
    {
        var pieces = new List<byte[]>();
        var piece = new MemoryStream();
        for (int at = 0; at < drawing.Length;)
        {
            if (drawing[at] is ' ' or '\n')
            {
                at++;
                continue;
            }
            if (drawing[at] == '|')
            {
                pieces.Add(piece.ToArray());
                piece.SetLength(0);
                at++;
                continue;
            }
            byte[] octets = drawing[at] == '\'' ? Text(drawing, ref at) : Hexadecimal(drawing, ref at);
            int times = Times(drawing, ref at);
            for (int i = 0; i < times; i++) piece.Write(octets);
        }
        pieces.Add(piece.ToArray());
        return pieces;
    }

    public static byte[] Octets(string drawing) => [.. Pieces(drawing).SelectMany(piece => piece)];

    /// <summary>A frame as a client sends it, its masking key all zero so that the payload can be read.</summary>
    /// <param name="payload">Drawn.</param>
    public static string Frame(int opcode, string payload, bool fin = true)
    {
        byte[] header = RawPeer.FrameHeader(opcode, (ulong)Octets(payload).Length, fin);
        header.AsSpan(header.Length - 4).Clear();
        return $"{Convert.ToHexString(header)} {payload}";
    }

    /// <summary>A text message in one frame.</summary>
    public static string Text(string text) => Frame(Op.Text, $"'{text}'");

    private static byte[] Text(string drawing, ref int at)
    {
        int end = drawing.IndexOf('\'', at + 1);
        if (end < 0) throw new FormatException($"a quote is never closed: {drawing}");
        string text = drawing[(at + 1)..end];
        at = end + 1;
        return Encoding.UTF8.GetBytes(text);
    }

    private static byte[] Hexadecimal(string drawing, ref int at)
    {
        int start = at;
        while (at < drawing.Length && char.IsAsciiHexDigit(drawing[at])) at++;
        if (at == start) throw new FormatException($"what is '{drawing[at]}' in: {drawing}");
        return Convert.FromHexString(drawing.AsSpan(start, at - start));
    }

    private static int Times(string drawing, ref int at)
    {
        if (at >= drawing.Length || drawing[at] != '*') return 1;
        int start = ++at;
        while (at < drawing.Length && char.IsAsciiDigit(drawing[at])) at++;
        return int.Parse(drawing.AsSpan(start, at - start), CultureInfo.InvariantCulture);
    }
}

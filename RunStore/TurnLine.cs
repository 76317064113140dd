using System.Buffers;
using System.Buffers.Text;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using CarServer.RunStore.Contracts;

namespace CarServer.RunStore;

/// <summary>The one encoding of a turn, within the size rules of protocol 13.7.</summary>
/// <remarks>
/// The encoding is made in two steps: all that follows the index at any time, on any thread (<see cref="TryEncodeBody"/>), and the
/// index when the turn's place in the run is known (<see cref="Write"/>). The bytes are then the line in the file, the element of
/// the run's buffer and the payload of every notification.
/// </remarks>
internal static class TurnLine
{
    /// <summary>UTF-8 bytes of a string before the marker (protocol 13.7, 25): a prompt stays readable, a dumped file does not fill the trace.</summary>
    public const int MaxStringBytes = 16_384;

    /// <summary>Bytes of a whole line (protocol 13.7).</summary>
    public const int MaxLineBytes = 256 * 1024;

    /// <summary>Room kept for the index: the digits of the largest <see cref="int"/>.</summary>
    private const int IndexReserve = 10;

    private const string CutMarker = "…[truncated]";
    private const string ReplacedMarker = "…[truncated: turn exceeded 256 KiB]";

    private static readonly RawJson Replaced = RawJson.FromString(ReplacedMarker);

    private static ReadOnlySpan<byte> Head => "{\"record\":\"turn\",\"index\":"u8;

    /// <summary>Everything after the index, or null when the turn is too large even without parameters, output and prompt.</summary>
    public static byte[]? TryEncodeBody(RunTurn turn)
    {
        turn = turn with
        {
            Index = 0,
            Prompt = turn.Prompt is { } prompt ? Cut(prompt) : null,
            Parameters = turn.Parameters is { } parameters ? Cut(parameters) : null,
            Output = turn.Output is { } output ? Cut(output) : null,
            Extra = turn.Extra is { } extra ? Cut(extra) : null,
        };
        byte[] body = EncodeBody(turn);
        if (Fits(body)) return body;
        body = EncodeBody(turn with
        {
            Prompt = turn.Prompt is null ? null : ReplacedMarker,
            Parameters = turn.Parameters is null ? null : Replaced,
            Output = turn.Output is null ? null : Replaced,
            Extra = turn.Extra is null ? null : Replaced,
        });
        return Fits(body) ? body : null;
    }

    /// <summary>Bytes of a line that are not its body, '\n' included, at most.</summary>
    public static int LargestFrame => Head.Length + IndexReserve + 1;

    /// <summary>Bytes of a body whose line is within <see cref="MaxLineBytes"/>.</summary>
    public static int LargestBody => MaxLineBytes - Head.Length - IndexReserve;

    /// <summary>Writes the line and its '\n'. Returns the bytes of both.</summary>
    public static int Write(Span<byte> target, int index, ReadOnlySpan<byte> body)
    {
        Head.CopyTo(target);
        int length = Head.Length;
        Utf8Formatter.TryFormat(index, target[length..], out int digits);
        length += digits;
        body.CopyTo(target[length..]);
        length += body.Length;
        target[length] = (byte)'\n';
        return length + 1;
    }

    private static bool Fits(byte[] body) => body.Length <= LargestBody;

    private static byte[] EncodeBody(RunTurn turn)
    {
        var line = new ArrayBufferWriter<byte>(512);
        using (var writer = new Utf8JsonWriter(line, Contract.Compact))
            Json.RunRecord.WriteAll(writer, turn);
        return line.WrittenSpan[(Head.Length + 1)..].ToArray();   // the index written was the one digit 0
    }

    private static string Cut(string text)
    {
        if (text.Length <= MaxStringBytes / 3) return text;   // no UTF-16 unit takes more than three bytes
        byte[] utf8 = Encoding.UTF8.GetBytes(text);
        return utf8.Length <= MaxStringBytes ? text : Encoding.UTF8.GetString(utf8, 0, CharacterBorder(utf8)) + CutMarker;
    }

    /// <summary>Cuts every long string value inside; copies all other bytes as they stand.</summary>
    private static RawJson Cut(RawJson value)
    {
        ReadOnlySpan<byte> json = value.Utf8;
        if (json.Length <= MaxStringBytes + 2) return value;
        ArrayBufferWriter<byte>? output = null;
        int copied = 0;
        Utf8JsonReader reader = value.Reader();
        do
        {
            if (reader.TokenType != JsonTokenType.String || reader.ValueSpan.Length <= MaxStringBytes) continue;
            if (Shortened(ref reader) is not { } kept) continue;
            output ??= new ArrayBufferWriter<byte>(json.Length);
            output.Write(json[copied..(int)reader.TokenStartIndex]);
            output.Write("\""u8);
            output.Write(kept);
            output.Write(Encoding.UTF8.GetBytes(CutMarker));
            output.Write("\""u8);
            copied = (int)reader.BytesConsumed;
        }
        while (reader.Read());
        if (output is null) return value;
        output.Write(json[copied..]);
        return RawJson.FromCompact(output.WrittenSpan.ToArray());
    }

    /// <summary>What is kept of the string that the reader stands on, as JSON without quotes; null when it is short enough.</summary>
    private static byte[]? Shortened(ref Utf8JsonReader reader)
    {
        try
        {
            byte[] text = new byte[reader.ValueSpan.Length];
            if (reader.CopyString(text) <= MaxStringBytes) return null;
            return JsonEncodedText.Encode(text.AsSpan(0, CharacterBorder(text)), JavaScriptEncoder.UnsafeRelaxedJsonEscaping).EncodedUtf8Bytes.ToArray();
        }
        catch (InvalidOperationException)
        {
            // Half a surrogate pair, as JavaScript leaves it when it cuts inside an emoji, spells no text: the spelling itself is cut.
            return reader.ValueSpan[..SpellingBorder(reader.ValueSpan)].ToArray();
        }
    }

    /// <summary>The last border at or before <see cref="MaxStringBytes"/> that cuts neither an escape nor a character.</summary>
    private static int SpellingBorder(ReadOnlySpan<byte> json)
    {
        int border = 0;
        for (int next = 0; next <= MaxStringBytes; next += json[border] != '\\' ? 1 : json[border + 1] == 'u' ? 6 : 2) border = next;
        while ((json[border] & 0xC0) == 0x80) border--;
        return border;
    }

    /// <summary>The last border between two characters at or before <see cref="MaxStringBytes"/>.</summary>
    private static int CharacterBorder(ReadOnlySpan<byte> utf8)
    {
        int border = MaxStringBytes;
        while ((utf8[border] & 0xC0) == 0x80) border--;
        return border;
    }
}

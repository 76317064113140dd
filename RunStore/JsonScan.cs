using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace CarServer.RunStore;

/// <summary>Walks over JSON without making tokens of it, at about three times the speed of a reader that does.</summary>
/// <remarks>
/// For the usual text only. It answers when it is certain that a value is valid JSON and where it ends; whatever it is not certain of,
/// broken or merely rare, is <see cref="Unsure"/>, and the caller asks <see cref="System.Text.Json.Utf8JsonReader"/>, whose word counts.
/// The text must be valid UTF-8.
/// </remarks>
internal static class JsonScan
{
    public const int Unsure = -1;

    /// <summary>Deeper nesting is left to the reader: as many levels as one word has bits.</summary>
    private const int MaxDepth = 64;

    /// <summary>Where the token after the white space at <paramref name="at"/> begins; the length of the text when none does.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Token(ReadOnlySpan<byte> json, int at)
    {
        while ((uint)at < (uint)json.Length && json[at] is (byte)' ' or (byte)'\n' or (byte)'\r' or (byte)'\t') at++;
        return at;
    }

    /// <summary>Where the string ends whose opening quote stands before <paramref name="at"/>: after its closing one.</summary>
    /// <param name="hasEscapes">Whether what stands between the quotes is not yet its text.</param>
    public static int String(ReadOnlySpan<byte> json, int at, out bool hasEscapes)
    {
        hasEscapes = false;
        while (true)
        {
            at = Plain(json, at);
            if ((uint)at >= (uint)json.Length) return Unsure;
            byte found = json[at++];
            if (found == '"') return at;
            if (found != '\\' || (uint)at >= (uint)json.Length) return Unsure;
            hasEscapes = true;
            switch (json[at++])
            {
                case (byte)'"' or (byte)'\\' or (byte)'/' or (byte)'b' or (byte)'f' or (byte)'n' or (byte)'r' or (byte)'t':
                    break;
                case (byte)'u' when json.Length - at >= 4 && IsHex(json[at]) && IsHex(json[at + 1]) && IsHex(json[at + 2]) && IsHex(json[at + 3]):
                    at += 4;
                    break;
                default:
                    return Unsure;
            }
        }
    }

    /// <summary>Where the first byte is that does not stand for itself in a string; the length of the text when none is.</summary>
    /// <remarks>Sixteen at a time from the first one on: most strings end within them, so that a search which prepares itself would cost more.</remarks>
    private static int Plain(ReadOnlySpan<byte> json, int at)
    {
        ref byte text = ref MemoryMarshal.GetReference(json);
        for (; at <= json.Length - Vector128<byte>.Count; at += Vector128<byte>.Count)
        {
            Vector128<byte> piece = Vector128.LoadUnsafe(ref text, (nuint)at);
            Vector128<byte> stops = Vector128.Equals(piece, Vector128.Create((byte)'"')) | Vector128.Equals(piece, Vector128.Create((byte)'\\'))
                | Vector128.LessThan(piece, Vector128.Create((byte)' '));
            uint found = stops.ExtractMostSignificantBits();
            if (found != 0) return at + BitOperations.TrailingZeroCount(found);
        }
        while (at < json.Length && json[at] is not ((byte)'"' or (byte)'\\' or < (byte)' ')) at++;
        return at;
    }

    /// <summary>Where the value ends that begins at <paramref name="at"/>. Whether what follows may follow it is for the caller to see.</summary>
    /// <param name="isCompact">Becomes false when there is white space between its tokens.</param>
    public static int Value(ReadOnlySpan<byte> json, int at, ref bool isCompact)
    {
        ulong objects = 0;   // a bit for each level, the innermost lowest: is it an object?
        int depth = 0;
        while (true)
        {
            if ((uint)at >= (uint)json.Length) return Unsure;
            switch (json[at])
            {
                case (byte)'"':
                    at = String(json, at + 1, out _);
                    break;
                case (byte)'{' or (byte)'[':
                    if (depth == MaxDepth) return Unsure;
                    bool isObject = json[at] == '{';
                    int first = Skip(json, at + 1, ref isCompact);
                    if ((uint)first >= (uint)json.Length) return Unsure;
                    if (json[first] == (isObject ? '}' : ']'))
                    {
                        at = first + 1;
                        break;
                    }
                    depth++;
                    objects = objects << 1 | (isObject ? 1UL : 0);
                    at = isObject ? Name(json, first, ref isCompact) : first;
                    if (at < 0) return Unsure;
                    continue;
                case (byte)'t':
                    at = Word(json, at, "true"u8);
                    break;
                case (byte)'f':
                    at = Word(json, at, "false"u8);
                    break;
                case (byte)'n':
                    at = Word(json, at, "null"u8);
                    break;
                default:
                    at = Number(json, at);
                    break;
            }
            while (true)
            {
                if (at < 0 || depth == 0) return at;
                at = Skip(json, at, ref isCompact);
                if ((uint)at >= (uint)json.Length) return Unsure;
                bool inObject = (objects & 1) != 0;
                if (json[at] == ',')
                {
                    at = Skip(json, at + 1, ref isCompact);
                    if (inObject) at = Name(json, at, ref isCompact);
                    if (at < 0) return Unsure;
                    break;
                }
                if (json[at] != (inObject ? '}' : ']')) return Unsure;
                at++;
                depth--;
                objects >>= 1;
            }
        }
    }

    /// <summary>From a member's name to its value.</summary>
    private static int Name(ReadOnlySpan<byte> json, int at, ref bool isCompact)
    {
        if ((uint)at >= (uint)json.Length || json[at] != '"') return Unsure;
        at = String(json, at + 1, out _);
        if (at < 0) return Unsure;
        at = Skip(json, at, ref isCompact);
        return (uint)at < (uint)json.Length && json[at] == ':' ? Skip(json, at + 1, ref isCompact) : Unsure;
    }

    private static int Skip(ReadOnlySpan<byte> json, int at, ref bool isCompact)
    {
        if ((uint)at >= (uint)json.Length || json[at] > ' ') return at;
        isCompact = false;
        return Token(json, at);
    }

    private static int Word(ReadOnlySpan<byte> json, int at, ReadOnlySpan<byte> word) => json[at..].StartsWith(word) ? at + word.Length : Unsure;

    private static int Number(ReadOnlySpan<byte> json, int at)
    {
        if (json[at] == '-') at++;
        int digits = Digits(json, at);
        if (digits == at || (digits > at + 1 && json[at] == '0')) return Unsure;
        at = digits;
        if ((uint)at < (uint)json.Length && json[at] == '.')
        {
            digits = Digits(json, at + 1);
            if (digits == at + 1) return Unsure;
            at = digits;
        }
        if ((uint)at >= (uint)json.Length || json[at] is not ((byte)'e' or (byte)'E')) return at;
        at++;
        if ((uint)at < (uint)json.Length && json[at] is (byte)'+' or (byte)'-') at++;
        digits = Digits(json, at);
        return digits == at ? Unsure : digits;
    }

    private static int Digits(ReadOnlySpan<byte> json, int at)
    {
        while ((uint)at < (uint)json.Length && char.IsAsciiDigit((char)json[at])) at++;
        return at;
    }

    private static bool IsHex(byte b) => char.IsAsciiHexDigit((char)b);
}

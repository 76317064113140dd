using System.Globalization;
using System.Text;

namespace CarServer.RunStore;

/// <summary>Ids as file names (protocol 6.3, 14.1): <c>a-z 0-9 - _ .</c> stay, every other byte becomes <c>%</c> and two hex digits.</summary>
/// <remarks>
/// A leading '.' is encoded too, so that no id can be <c>.nobackup</c> or a directory link; a trailing one, which Windows drops; and the
/// first letter of what Windows takes for a device, <c>con</c> or <c>com1.txt</c>. Two ids never meet in one name, not even on a file
/// system that ignores case.
/// </remarks>
internal static class RunPath
{
    public const string Extension = ".jsonl";

    /// <summary>Bytes of an encoded id: with its extension it stays below the 255 that file systems allow.</summary>
    public const int MaxNameBytes = 200;

    private static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>False: the id is empty, <c>.</c>, <c>..</c>, no Unicode text, or longer than <see cref="MaxNameBytes"/> once encoded.</summary>
    public static bool TryEncode(string id, out string name)
    {
        name = "";
        if (id is "" or "." or ".." || id.Length > MaxNameBytes) return false;
        byte[] utf8;
        try
        {
            utf8 = Strict.GetBytes(id);
        }
        catch (EncoderFallbackException)
        {
            return false;   // half a surrogate pair has no bytes of its own; replacing it would let two ids meet
        }
        var encoded = new StringBuilder(utf8.Length);
        for (int i = 0; i < utf8.Length; i++)
        {
            byte b = utf8[i];
            bool kept = b is (>= (byte)'a' and <= (byte)'z') or (>= (byte)'0' and <= (byte)'9') or (byte)'-' or (byte)'_'
                || (b == (byte)'.' && i > 0 && i < utf8.Length - 1);
            if (i == 0 && IsDevice(id)) kept = false;
            if (kept) encoded.Append((char)b);
            else encoded.Append('%').Append(b.ToString("x2", CultureInfo.InvariantCulture));
        }
        if (encoded.Length > MaxNameBytes) return false;
        name = encoded.ToString();
        return true;
    }

    /// <summary>Whatever follows the first '.' is no part of a device's name. Capitals are encoded anyway.</summary>
    private static bool IsDevice(string id)
    {
        int dot = id.IndexOf('.', StringComparison.Ordinal);
        ReadOnlySpan<char> name = dot < 0 ? id : id.AsSpan(0, dot);
        return name is "con" or "prn" or "aux" or "nul" || (name.Length == 4 && (name.StartsWith("com") || name.StartsWith("lpt")) && char.IsAsciiDigit(name[3]));
    }

    /// <summary>The id behind a name. Names that <see cref="TryEncode"/> did not make come back as they are.</summary>
    public static string Decode(string name)
    {
        if (!name.Contains('%')) return name;
        var utf8 = new List<byte>(name.Length);
        for (int i = 0; i < name.Length; i++)
        {
            if (name[i] == '%' && i + 2 < name.Length
                && byte.TryParse(name.AsSpan(i + 1, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out byte b))
            {
                utf8.Add(b);
                i += 2;
            }
            else
            {
                utf8.AddRange(Encoding.UTF8.GetBytes([name[i]]));
            }
        }
        return Encoding.UTF8.GetString([.. utf8]);
    }
}

using System.Text.RegularExpressions;

namespace CarServer.State.Engine;

/// <summary>Regular expressions of others, for an engine whose time is linear in the text that it looks at. Not in what it looks for: making one ready is bounded here.</summary>
internal static class LinearRegex
{
    /// <summary>
    /// Different characters of one expression, and different classes and numbered characters of it: the engine tells all that they match apart, in
    /// time and memory that grow with their square and worse. 100 take a tenth of a second and 15 MiB, 4,000 two minutes and 12 GiB. All of ASCII is 95.
    /// </summary>
    public const int MaxKinds = 112;

    /// <param name="spelled">The same expression as .NET spells it, when it does so differently.</param>
    /// <exception cref="ArgumentException">It is no such expression.</exception>
    /// <exception cref="NotSupportedException">It looks around or back, or is too large.</exception>
    public static Regex Compile(string pattern, TimeSpan timeout, RegexOptions options = RegexOptions.None, string? spelled = null) => Kinds(pattern) <= MaxKinds
        ? new Regex(spelled ?? pattern, options | RegexOptions.NonBacktracking | RegexOptions.CultureInvariant, timeout)
        : throw new NotSupportedException();

    private static int Kinds(string pattern)
    {
        var characters = new HashSet<char>();
        var sets = new HashSet<string>(StringComparer.Ordinal);
        for (int i = 0; i < pattern.Length; i++)
        {
            characters.Add(pattern[i]);
            if (pattern[i] == '[') sets.Add(pattern[i..EndOfClass(pattern, i + 1)]);
            else if (pattern[i] == '\\' && i + 1 < pattern.Length && pattern[i + 1] is 'x' or 'u' or 'c' or 'p' or 'P' or (>= '0' and <= '9'))
                sets.Add(pattern[i..Math.Min(i + 6, pattern.Length)]);
        }
        return characters.Count + sets.Count;
    }

    private static int EndOfClass(string pattern, int at)
    {
        while (at < pattern.Length && pattern[at] != ']') at += pattern[at] == '\\' ? 2 : 1;
        return Math.Min(at, pattern.Length);
    }
}

namespace CarServer.State.Engine.Basics;

/// <summary>A file pattern: <c>*</c> and <c>?</c> inside a name, <c>**</c> for any number of directories. Without a <c>/</c> it is about the name alone. Time grows with pattern times path.</summary>
internal sealed class Glob
{
    private readonly string[] _steps;
    private readonly bool _isNameOnly;

    /// <exception cref="BasicException">It is none.</exception>
    public Glob(string pattern)
    {
        if (pattern.Length is 0 or > BasicLimits.MaxPatternChars) throw new BasicException($"a file pattern has 1 to {BasicLimits.MaxPatternChars} characters");
        if (pattern.Contains('{')) throw new BasicException("a file pattern has no '{…}': ask once for each form");
        _steps = pattern.TrimStart('/').Split('/');
        _isNameOnly = !pattern.Contains('/');
    }

    /// <param name="path">From where the search began, without a <c>/</c> in front.</param>
    public bool IsMatch(string path)
    {
        ReadOnlySpan<char> name = path.AsSpan(path.LastIndexOf('/') + 1);
        if (_isNameOnly) return IsMatch(_steps[0], name);

        string[] names = path.Split('/');
        // reached[i]: the steps so far match the first i names.
        bool[] reached = new bool[names.Length + 1];
        reached[0] = true;
        foreach (string step in _steps)
        {
            bool[] next = new bool[names.Length + 1];
            for (int i = 0; i <= names.Length; i++)
            {
                if (step == "**") next[i] = reached[i] || i > 0 && next[i - 1];
                else if (i < names.Length && reached[i] && IsMatch(step, names[i])) next[i + 1] = true;
            }
            reached = next;
        }
        return reached[^1];
    }

    /// <summary>Of two stars only the later one has to be tried again: what the earlier one took was the shortest.</summary>
    private static bool IsMatch(ReadOnlySpan<char> pattern, ReadOnlySpan<char> name)
    {
        int p = 0, n = 0, star = -1, resume = 0;
        while (n < name.Length)
        {
            if (p < pattern.Length && pattern[p] == '*')
            {
                star = p++;
                resume = n;
            }
            else if (p < pattern.Length && (pattern[p] == '?' || pattern[p] == name[n]))
            {
                p++;
                n++;
            }
            else if (star >= 0)
            {
                p = star + 1;
                n = ++resume;
            }
            else
            {
                return false;
            }
        }
        while (p < pattern.Length && pattern[p] == '*') p++;
        return p == pattern.Length;
    }
}

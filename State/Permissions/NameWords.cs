namespace CarServer.State.Permissions;

/// <summary>The words that names of tools and parameters are made of: <c>git_push</c>, <c>gitPush</c>, <c>mcp__git__push</c> and <c>git.push</c> have the same.</summary>
internal static class NameWords
{
    /// <summary>Lower case, in their order.</summary>
    public static List<string> Of(ReadOnlySpan<char> name)
    {
        var words = new List<string>();
        int start = 0;
        for (int i = 0; i <= name.Length; i++)
        {
            bool isWord = i < name.Length && char.IsLetterOrDigit(name[i]);
            if (isWord && !(i > start && BeginsWord(name, i))) continue;
            if (i > start) words.Add(name[start..i].ToString().ToLowerInvariant());
            start = isWord ? i : i + 1;
        }
        return words;
    }

    /// <summary>What a tool does, as far as its name says: the first word behind the namespaces; empty when there is none.</summary>
    public static string Verb(ReadOnlySpan<char> tool)
    {
        int space = Math.Max(tool.LastIndexOfAny('.', '/', ':'), tool.LastIndexOf("__") is >= 0 and var at ? at + 1 : -1);
        List<string> words = Of(tool[(space + 1)..]);
        int verb = words.Count > 1 && RiskWords.Places.Contains(words[0]) ? 1 : 0;
        return verb < words.Count ? words[verb] : "";
    }

    /// <summary>Whether the word at this place, alone or with the next one, is among them.</summary>
    public static bool IsIn(HashSet<string> known, List<string> words, int at) =>
        known.Contains(words[at]) || (at + 1 < words.Count && known.Contains(words[at] + " " + words[at + 1]));

    /// <summary>A capital behind a small letter, or the last of several capitals: <c>get|User</c>, <c>HTTP|Request</c>.</summary>
    private static bool BeginsWord(ReadOnlySpan<char> name, int i) =>
        char.IsUpper(name[i]) && (!char.IsUpper(name[i - 1]) || (i + 1 < name.Length && char.IsLower(name[i + 1])));
}

using System.Text.Json;
using CarServer.RunStore;
using CarServer.State.Engine.Policies;

namespace CarServer.State.Permissions;

/// <summary>What the parameters of a tool call give away: its command line, the names of secrets, what it is aimed at, a few phrases.</summary>
/// <remarks>Texts are looked at with their escapes decoded, and matched from border to border: <c>farm</c> has no <c>rm</c> in it.</remarks>
internal sealed class ParameterRisk
{
    [Flags]
    private enum Role : byte { None = 0, CommandLine = 1, Target = 2 }

    private HashSet<string>? _command;

    /// <summary>Something in them needs full access.</summary>
    public bool Demands { get; private set; }

    /// <summary>Something in them cannot be undone.</summary>
    public bool Destroys { get; private set; }

    public static ParameterRisk Read(RawJson parameters)
    {
        var risk = new ParameterRisk();
        risk.Walk(parameters.Reader());
        if (risk._command is { } words && IsDangerous(words)) risk.Demands = risk.Destroys = true;
        return risk;
    }

    private void Walk(Utf8JsonReader reader)
    {
        // What is inside a value has its role too, unless a name further inside gives it another.
        Span<Role> roles = stackalloc Role[RawJsonConverter.MaxDepth + 2];
        Role named = Role.None;
        do
        {
            int depth = reader.CurrentDepth;
            switch (reader.TokenType)
            {
                case JsonTokenType.PropertyName:
                    named = roles[depth - 1] | RoleOf(ParameterTexts.Decoded(reader));
                    break;
                case JsonTokenType.StartObject or JsonTokenType.StartArray:
                    roles[depth] = named;
                    break;
                case JsonTokenType.EndObject or JsonTokenType.EndArray:
                    named = depth == 0 ? Role.None : roles[depth - 1];
                    break;
                case JsonTokenType.String:
                    Look(ParameterTexts.Decoded(reader), named);
                    break;
            }
        }
        while (reader.Read());
    }

    private Role RoleOf(string name)
    {
        List<string> words = NameWords.Of(name);
        if (words.Count == 0) return Role.None;
        for (int i = 0; i < words.Count; i++)
            if (NameWords.IsIn(RiskWords.SecretNames, words, i)) Demands = true;
        if (words[^1] == "token" && (words.Count == 1 || !RiskWords.ListTokens.Contains(words[^2]))) Demands = true;
        return (words.Count == 1 && RiskWords.CommandLine.Contains(words[0]) ? Role.CommandLine : Role.None)
            | (RiskWords.Targets.Contains(words[^1]) ? Role.Target : Role.None);
    }

    private void Look(string text, Role role)
    {
        foreach ((string first, string second) in RiskWords.Phrases)
            if (HasPhrase(text, first, second)) Demands = Destroys = true;
        if ((role & Role.Target) != 0 && LeadsToSecrets(text)) Demands = true;
        if ((role & Role.CommandLine) == 0) return;
        foreach (string word in CommandWords(text))
        {
            if (LeadsToSecrets(word)) Demands = true;
            (_command ??= new HashSet<string>(StringComparer.Ordinal)).Add(word[(word.LastIndexOf('/') + 1)..]);
        }
    }

    private static bool IsDangerous(HashSet<string> words)
    {
        if (words.Overlaps(RiskWords.Commands)) return true;
        foreach ((string program, string[] subcommands) in RiskWords.Subcommands)
            if (words.Contains(program) && Array.Exists(subcommands, words.Contains)) return true;
        return false;
    }

    /// <summary>As a shell would: quotes and backslashes vanish, its other signs part words.</summary>
    private static string[] CommandWords(string line) => line.ToLowerInvariant().Replace("\"", "").Replace("'", "").Replace("\\", "")
        .Split([' ', '\t', '\n', '\r', ';', '|', '&', '(', ')', '<', '>', '`', '$', '{', '}', ',', '='], StringSplitOptions.RemoveEmptyEntries);

    private static bool HasPhrase(string text, string first, string second)
    {
        for (int at = 0; (at = text.IndexOf(first, at, StringComparison.OrdinalIgnoreCase)) >= 0; at++)
        {
            int behind = at + first.Length, next = behind;
            while (next < text.Length && char.IsWhiteSpace(text[next])) next++;
            if (next == behind || (at > 0 && IsWordPart(text[at - 1]))) continue;
            int end = next + second.Length;
            if (string.Compare(text, next, second, 0, second.Length, StringComparison.OrdinalIgnoreCase) == 0 && (end >= text.Length || !IsWordPart(text[end]))) return true;
        }
        return false;
    }

    private static bool IsWordPart(char c) => char.IsLetterOrDigit(c) || c is '_' or '-';

    private static bool LeadsToSecrets(string path)
    {
        string[] parts = path.ToLowerInvariant().Split(['/', '\\'], StringSplitOptions.RemoveEmptyEntries);
        for (int i = 0; i < parts.Length; i++)
            if (RiskWords.SecretParts.Contains(parts[i]) || (i > 0 && RiskWords.SecretParts.Contains(parts[i - 1] + "/" + parts[i]))) return true;
        return parts.Length > 0 && Array.Exists(RiskWords.SecretExtensions, extension => parts[^1].EndsWith(extension, StringComparison.Ordinal));
    }
}

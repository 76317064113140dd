using System.Text.RegularExpressions;

namespace CarServer.Tests.Unit.Rules;

internal sealed record ShapeMember(string Name, bool IsOptional, Shape? Shape)
{
    public override string ToString() => Name + (IsOptional ? "?" : "") + (Shape is null ? "" : $":{Shape}");
}

/// <summary>The words for a method's params, <c>{ key, value?, list: [ { name }, … ] }</c>, taken apart.</summary>
/// <param name="Element">Set for a list; then there are no members.</param>
internal sealed partial record Shape(IReadOnlyList<ShapeMember> Members, Shape? Element)
{
    /// <exception cref="FormatException">It is none.</exception>
    public static Shape Parse(string text)
    {
        var words = new Queue<string>(Word().Matches(text).Select(match => match.Value));
        Shape shape = ReadShape(words);
        // "{ a } or { b }, c?": alternatives, and members that go with each of them.
        while (words.TryDequeue(out string? word))
        {
            Shape more = word switch
            {
                "or" => ReadShape(words),
                "," => new Shape([ReadMember(words)], null),
                _ => throw new FormatException($"'{word}' is not expected in: {text}"),
            };
            shape = new Shape([.. shape.Members, .. more.Members], null);
        }
        return shape;
    }

    public override string ToString() => Element is null ? $"{{{string.Join(',', Members)}}}" : $"[{Element}]";

    private static Shape ReadShape(Queue<string> words)
    {
        if (TryTake(words, "["))
        {
            Shape element = ReadShape(words);
            Take(words, ",");
            Take(words, "…");
            Take(words, "]");
            return new Shape([], element);
        }
        Take(words, "{");
        var members = new List<ShapeMember>();
        while (!TryTake(words, "}"))
        {
            if (members.Count > 0) Take(words, ",");
            members.Add(ReadMember(words));
        }
        return new Shape(members, null);
    }

    private static ShapeMember ReadMember(Queue<string> words)
    {
        string name = words.TryDequeue(out string? word) && char.IsLetter(word[0]) ? word : throw new FormatException($"a member is missing before '{word}'");
        bool optional = TryTake(words, "?");
        if (!TryTake(words, ":")) return new ShapeMember(name, optional, null);
        if (words.Take(2).ToArray() is ["[", [var letter, ..]] && char.IsLetter(letter))
        {
            Take(words, "[");
            words.Dequeue();   // the name of the elements' type
            Take(words, "]");
            return new ShapeMember(name, optional, null);
        }
        if (words.TryPeek(out string? next) && next is "{" or "[") return new ShapeMember(name, optional, ReadShape(words));
        words.TryDequeue(out _);   // the name of a type
        return new ShapeMember(name, optional, null);
    }

    private static bool TryTake(Queue<string> words, string wanted)
    {
        if (!words.TryPeek(out string? word) || word != wanted) return false;
        words.Dequeue();
        return true;
    }

    private static void Take(Queue<string> words, string wanted)
    {
        if (!TryTake(words, wanted)) throw new FormatException($"'{wanted}' is missing before '{words.FirstOrDefault()}'");
    }

    [GeneratedRegex(@"\w+|\S")]
    private static partial Regex Word();
}

using System.Text;
using System.Text.RegularExpressions;

namespace CarServer.State.Engine.Schemas;

/// <summary>Regular expressions as JSON Schema means them, ECMA-262, for an engine whose time is linear in the text.</summary>
/// <remarks>
/// What the two dialects spell alike and mean differently is spelled anew: <c>$</c> is the end and nothing before it, and <c>\d</c> and
/// <c>\w</c> are ASCII. What only one of them has is refused, and so is looking around and looking back, which take more than linear time.
/// A character beyond U+FFFF counts as two.
/// <para>The engine keeps what it has learnt of the texts it met, tens of MiB at worst, and a client may register thousands of expressions: so
/// that memory is the collector's to take. It is made again when the expression is next asked for, in a fraction of a millisecond as a rule.</para>
/// </remarks>
internal sealed class EcmaPattern
{
    private readonly WeakReference<Regex> _made;

    /// <exception cref="ArgumentException">It is no such expression.</exception>
    /// <exception cref="NotSupportedException">It needs more than linear time, or too many states.</exception>
    public EcmaPattern(string text)
    {
        Text = text;
        _made = new WeakReference<Regex>(Make());
    }

    /// <summary>As the schema has it.</summary>
    public string Text { get; }

    public Regex Regex
    {
        get
        {
            if (_made.TryGetTarget(out Regex? made)) return made;
            _made.SetTarget(made = Make());
            return made;
        }
    }

    private Regex Make() => LinearRegex.Compile(Text, SchemaLimits.MatchTimeout, spelled: Translate(Text));

    private static string Translate(string pattern)
    {
        var output = new StringBuilder(pattern.Length + 16);
        bool inClass = false;
        for (int i = 0; i < pattern.Length; i++)
        {
            char c = pattern[i];
            switch (c)
            {
                case '\\' when i + 1 < pattern.Length:
                    output.Append(Escape(pattern[++i], inClass));
                    // A set of characters begins and ends no range; spelled out it would.
                    if (inClass && IsSet(pattern[i]) && i + 2 < pattern.Length && pattern[i + 1] == '-' && pattern[i + 2] != ']')
                    {
                        output.Append(@"\-");
                        i++;
                    }
                    break;
                case '-' when inClass && i + 2 < pattern.Length && pattern[i + 1] == '\\' && IsSet(pattern[i + 2]):
                    output.Append(@"\-");
                    break;
                case '[' when inClass:
                    output.Append(@"\[");   // only .NET takes it for the begin of a subtraction
                    break;
                case '[':
                    inClass = true;
                    output.Append('[');
                    if (i + 1 < pattern.Length && pattern[i + 1] == '^') output.Append(pattern[++i]);
                    if (i + 1 < pattern.Length && pattern[i + 1] == ']') throw new ArgumentException(pattern);   // the empty class
                    break;
                case ']' when inClass:
                    inClass = false;
                    output.Append(']');
                    break;
                case '$' when !inClass:
                    output.Append(@"\z");
                    break;
                case '.' when !inClass:
                    output.Append(@"[^\n\r\u2028\u2029]");
                    break;
                case '(' when !inClass && i + 1 < pattern.Length && pattern[i + 1] == '?' && !IsGroup(pattern.AsSpan(i + 2)):
                    throw new ArgumentException(pattern);
                default:
                    output.Append(c);
                    break;
            }
        }
        return output.ToString();
    }

    private static bool IsGroup(ReadOnlySpan<char> kind) => kind is [':' or '=' or '!' or '<', ..];

    private static bool IsSet(char escaped) => escaped is 'd' or 'w' or 's' or 'S' or 'p' or 'P';

    private static string Escape(char escaped, bool inClass) => escaped switch
    {
        'd' => inClass ? "0-9" : "[0-9]",
        'w' => inClass ? "A-Za-z0-9_" : "[A-Za-z0-9_]",
        'D' when !inClass => "[^0-9]",
        'W' when !inClass => "[^A-Za-z0-9_]",
        'D' or 'W' or 'A' or 'Z' or 'z' or 'G' or 'a' or 'e' => throw new ArgumentException(escaped.ToString()),
        '/' => "/",
        _ => @"\" + escaped,
    };
}

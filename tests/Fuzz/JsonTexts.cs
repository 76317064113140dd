using System.Text;

namespace CarServer.Tests.Fuzz;

/// <summary>JSON-RPC messages by chance: mostly right, with everything that is odd about JSON, and sometimes damaged.</summary>
internal static class JsonTexts
{
    private static readonly string[] Scalars =
    [
        "0", "-0", "1", "1.0", "-1.5e10", "1e400", "123456789012345678901234567890", "null", "true", "false", "\"\"", "\"a\"", "\"2.0\"", "\"\\u0032.0\"", "\"\\ud800\"",
        "\"\\ud83d\\ude00\"", "\"é😀\"", "\"\\n\\\"\\\\\\/\"", "\"\\u0000\"", "01", "tru", "\"\\x\"", "\"", "NaN", "-", "1.", "\"a\nb\"",
    ];

    private static readonly string[] Names = ["jsonrpc", "method", "id", "params", "result", "error", "x", "", "\\u0069d", "m\\u0065thod", "\\ud800", "JSONRPC", "\\n", "i\\/d"];

    public static string Message(Random random)
    {
        var text = new StringBuilder();
        switch (random.Next(12))
        {
            case 0: Value(random, text, 3); break;
            case 1 or 2:
                text.Append('[');
                for (int count = random.Next(5), i = 0; i < count; i++) Object(random, text.Append(i > 0 ? "," : ""));
                text.Append(']');
                break;
            case 3:
                int deep = 120 + random.Next(14);
                text.Append("{\"jsonrpc\":\"2.0\",\"method\":\"a\",\"id\":1,\"params\":").Append('[', deep).Append(random.Next(2) == 0 ? "" : "1").Append(']', deep).Append('}');
                break;
            default: Object(random, text); break;
        }
        if (random.Next(40) == 0) text.Append(random.Next(2) == 0 ? " " : "x");
        return text.ToString();
    }

    public static void Value(Random random, StringBuilder text, int depth)
    {
        Space(random, text);
        int kind = random.Next(depth > 0 ? 6 : 4);
        if (kind < 4) text.Append(Scalars[random.Next(random.Next(12) == 0 ? Scalars.Length : Scalars.Length - 8)]);
        else
        {
            text.Append(kind == 4 ? '[' : '{');
            for (int count = random.Next(4), i = 0; i < count; i++)
            {
                if (i > 0) text.Append(',');
                Space(random, text);
                if (kind == 5) text.Append('"').Append(Names[random.Next(Names.Length)]).Append("\":");
                Value(random, text, depth - 1);
            }
            Space(random, text);
            text.Append(kind == 4 ? ']' : '}');
        }
        Space(random, text);
    }

    private static void Object(Random random, StringBuilder text)
    {
        var members = new List<(string Name, string? Value)>();
        if (random.Next(12) > 0) members.Add(("jsonrpc", random.Next(12) > 0 ? "\"2.0\"" : null));
        if (random.Next(8) > 0) members.Add(("method", random.Next(12) > 0 ? "\"state.get\"" : null));
        if (random.Next(5) > 0) members.Add(("id", null));
        for (int more = random.Next(4); more > 0; more--) members.Add((Names[random.Next(Names.Length)], null));
        text.Append('{');
        bool first = true;
        foreach ((string name, string? value) in members.OrderBy(_ => random.Next()).ToArray())
        {
            text.Append(first ? "" : ",").Append('"').Append(name).Append("\":");
            if (value is null) Value(random, text, 2);
            else text.Append(value);
            first = false;
        }
        text.Append('}');
    }

    private static void Space(Random random, StringBuilder text)
    {
        if (random.Next(10) == 0) text.Append(" \t\r\n"[random.Next(4)]);
    }
}

using System.CommandLine;
using System.Text;
using System.Text.Json;
using CarServer.RunStore;

namespace CarServer.Rpc.CommandLine;

/// <summary><c>car-server methods</c>: what the running daemon says of itself in <c>rpc.discover</c>, for people.</summary>
internal static class MethodsCommand
{
    public static Verb Build(Surroundings surroundings)
    {
        var command = new Verb("methods", "List the methods of the running daemon, or describe one with its schemas.");
        var method = new Argument<string>("METHOD") { Description = "The one to describe.", Arity = ArgumentArity.ZeroOrOne };
        var json = new Option<bool>("--json") { Description = "As OpenRPC, the way the daemon says it." };
        command.Arguments.Add(method);
        command.Options.Add(json);
        var verb = new ClientVerb(command, surroundings);
        command.SetAction((parsed, _) => verb.RunAsync(parsed, async (client, deadline) =>
        {
            RawJson discovered = await client.CallAsync("rpc.discover", abandoned: deadline);
            using JsonDocument document = JsonDocument.Parse(discovered.Memory, new JsonDocumentOptions { MaxDepth = RawJsonConverter.MaxDepth });
            if (!document.RootElement.TryGetProperty("methods", out JsonElement methods) || methods.ValueKind != JsonValueKind.Array)
                return verb.Fail(ExitCode.Failed, "error: the answer to rpc.discover lists no methods");

            string? name = parsed.GetValue(method);
            bool raw = parsed.GetValue(json);
            if (name is null)
            {
                if (raw) surroundings.PrintLine(IndentedJson.From(discovered));
                else surroundings.Print(Table(methods));
                return ExitCode.Ok;
            }
            foreach (JsonElement row in methods.EnumerateArray())
            {
                if (Text(row, "name") != name) continue;
                if (raw) surroundings.PrintLine(IndentedJson.From(RawJson.Parse(row.GetRawText())));
                else surroundings.Print(Describe(row));
                return ExitCode.Ok;
            }
            return verb.Fail(ExitCode.Failed, $"error: unknown method: {name}");
        }));
        return command;
    }

    internal static string Table(JsonElement methods)
    {
        var rows = new List<string[]>();
        foreach (JsonElement row in methods.EnumerateArray()) rows.Add([Text(row, "name"), Text(row, "x-access"), Shape(row), Text(row, "summary")]);
        rows.Sort((a, b) => string.CompareOrdinal(a[0], b[0]));
        rows.Insert(0, ["METHOD", "ACCESS", "PARAMS", "SUMMARY"]);
        int[] widths = [0, 0, 0];
        foreach (string[] row in rows)
            for (int column = 0; column < 3; column++) widths[column] = Math.Clamp(row[column].Length, widths[column], 48);
        var text = new StringBuilder();
        foreach (string[] row in rows)
        {
            for (int column = 0; column < 3; column++) text.Append(row[column].PadRight(widths[column])).Append("  ");
            text.Append(row[3]).Append('\n');
        }
        return text.ToString();
    }

    internal static string Describe(JsonElement row)
    {
        var text = new StringBuilder();
        text.Append(Text(row, "name")).Append(' ').Append(Shape(row)).Append('\n');
        if (Text(row, "x-access") is { Length: > 0 } access) text.Append("access: ").Append(access).Append('\n');
        foreach (string part in (ReadOnlySpan<string>)[Text(row, "summary"), Text(row, "description")])
            if (part.Length > 0) text.Append('\n').Append(part).Append('\n');
        foreach (JsonElement parameter in Params(row))
            Schema(text, $"param {Text(parameter, "name")}{(IsRequired(parameter) ? null : " (optional)")}", parameter);
        if (row.TryGetProperty("result", out JsonElement result) && result.ValueKind == JsonValueKind.Object) Schema(text, "result", result);
        return text.ToString();
    }

    private static void Schema(StringBuilder text, string heading, JsonElement content)
    {
        text.Append('\n').Append(heading).Append('\n');
        if (Text(content, "description") is { Length: > 0 } description) text.Append("  ").Append(description).Append('\n');
        if (!content.TryGetProperty("schema", out JsonElement schema)) return;
        foreach (string line in Encoding.UTF8.GetString(IndentedJson.From(RawJson.Parse(schema.GetRawText()))).Split('\n'))
            text.Append("  ").Append(line).Append('\n');
    }

    /// <summary>The params in words: the daemon's own when it says them, else made from the list.</summary>
    private static string Shape(JsonElement row)
    {
        if (Text(row, "x-params") is { Length: > 0 } words) return words;
        var names = new List<string>();
        foreach (JsonElement parameter in Params(row)) names.Add(Text(parameter, "name") + (IsRequired(parameter) ? null : "?"));
        return names.Count == 0 ? "{}" : $"{{ {string.Join(", ", names)} }}";
    }

    private static IEnumerable<JsonElement> Params(JsonElement row) =>
        row.TryGetProperty("params", out JsonElement parameters) && parameters.ValueKind == JsonValueKind.Array ? parameters.EnumerateArray() : [];

    private static bool IsRequired(JsonElement parameter) => parameter.TryGetProperty("required", out JsonElement required) && required.ValueKind == JsonValueKind.True;

    private static string Text(JsonElement element, string name) =>
        element.ValueKind == JsonValueKind.Object && element.TryGetProperty(name, out JsonElement value) && value.ValueKind == JsonValueKind.String ? value.GetString()! : "";
}

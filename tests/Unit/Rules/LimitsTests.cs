using System.Globalization;
using System.Reflection;
using System.Text;
using System.Text.RegularExpressions;
using CarServer.Rpc.Transport;

namespace CarServer.Tests.Unit.Rules;

/// <summary>Every limit is in <c>docs/limits.md</c> with its value and its reason, both taken from the code.</summary>
public sealed partial class LimitsTests
{
    private static readonly (string Namespace, string Heading)[] Layers =
        [("CarServer.Rpc", "The wire"), ("CarServer.State", "What the daemon holds"), ("CarServer.RunStore", "The disk")];

    [Test]
    public async Task The_limits_are_the_approved_ones() => await ApprovedText.IsAsync("limits.md", Describe());

    [Test]
    public async Task A_limit_of_the_wire_has_a_reason()
    {
        string[] bare = [.. Limits().Where(limit => limit.DeclaringType!.Name.EndsWith("Limits", StringComparison.Ordinal) && Reason(limit).Length == 0).Select(Name)];
        await Assert.That(bare).IsEmpty();
    }

    private static string Describe()
    {
        var text = new StringBuilder("""
            # Limits

            Made from the code by `tests/Unit/Rules/LimitsTests.cs`; not to be edited. What passes a limit of the wire is answered or closed with a
            reason, never left hanging.

            """);
        foreach ((string space, string heading) in Layers)
        {
            text.Append($"\n## {heading}\n\n| Limit | Value | Why |\n| --- | --- | --- |\n");
            foreach (FieldInfo limit in Limits().Where(limit => (limit.DeclaringType!.Namespace + ".").StartsWith(space + ".", StringComparison.Ordinal)))
                text.Append($"| `{Name(limit)}` | {Value(limit)} | {Reason(limit)} |\n");
        }
        return text.ToString();
    }

    /// <summary>All constants of a class of limits, and those that are named so elsewhere; what our own client obeys is not the daemon's.</summary>
    private static IEnumerable<FieldInfo> Limits() => typeof(Limits).Assembly.GetTypes()
        .Where(type => type.Namespace is { } space && space != "CarServer.Rpc.Client" && Layers.Any(layer => (space + ".").StartsWith(layer.Namespace + ".", StringComparison.Ordinal)))
        .OrderBy(type => type.Namespace, StringComparer.Ordinal).ThenBy(type => type.Name, StringComparer.Ordinal)
        .SelectMany(type => type.GetFields(BindingFlags.Static | BindingFlags.Public | BindingFlags.DeclaredOnly)
            .Where(field => field.FieldType == typeof(TimeSpan) || field.IsLiteral && (field.FieldType == typeof(int) || field.FieldType == typeof(long) || field.FieldType == typeof(ulong)))
            .Where(field => type.Name.EndsWith("Limits", StringComparison.Ordinal) || LimitName().IsMatch(field.Name))
            .OrderBy(field => field.MetadataToken));

    private static string Name(FieldInfo limit) => $"{limit.DeclaringType!.Name}.{limit.Name}";

    private static string Value(FieldInfo limit)
    {
        object value = limit.GetValue(null)!;
        if (value is TimeSpan time) return time < TimeSpan.FromSeconds(1) ? $"{time.TotalMilliseconds:0} ms" : $"{time.TotalSeconds:0} s";
        ulong number = Convert.ToUInt64(value, CultureInfo.InvariantCulture);
        if (limit.Name.EndsWith("Ms", StringComparison.Ordinal)) return string.Create(CultureInfo.InvariantCulture, $"{number:#,0} ms");
        if (!limit.Name.Contains("Bytes", StringComparison.Ordinal) && limit.Name != "OutboxHighWater") return number.ToString("#,0", CultureInfo.InvariantCulture);
        return number % (1024 * 1024) == 0 ? $"{number / (1024 * 1024)} MiB" : number % 1024 == 0 ? $"{number / 1024} KiB" : string.Create(CultureInfo.InvariantCulture, $"{number:#,0} bytes");
    }

    /// <summary>The documentation comment above the constant, without its markup.</summary>
    private static string Reason(FieldInfo limit)
    {
        Source source = Source.Product.Single(file => file.Namespace == limit.DeclaringType!.Namespace && Regex.IsMatch(file.Text, $@"\b(?:class|struct|record) {limit.DeclaringType!.Name}\b"));
        string[] lines = source.Text.Split('\n');
        int at = Array.FindIndex(lines, line => Regex.IsMatch(line, $@"^\s+public (?:const|static readonly) \w+ {limit.Name}\b"));
        var comment = new List<string>();
        while (at > 0 && lines[--at].TrimStart() is ['/', '/', '/', .. var words]) comment.Insert(0, words.Trim());
        string text = Tag().Replace(Reference().Replace(string.Join(' ', comment), "`$1`"), "");
        return Spaces().Replace(text, " ").Trim().Replace("|", "\\|");
    }

    [GeneratedRegex(@"^(?:Default)?Max[A-Z]|^GraceMs$|^DefaultMs$")]
    private static partial Regex LimitName();

    [GeneratedRegex("""<(?:see|paramref|c)(?: (?:cref|name|langword)=")?>?([^"<>]+)(?:"\s*/>|</c>)""")]
    private static partial Regex Reference();

    [GeneratedRegex("</?[a-z]+[^>]*>")]
    private static partial Regex Tag();

    [GeneratedRegex(" {2,}")]
    private static partial Regex Spaces();
}

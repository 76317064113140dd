using System.Text;
using System.Text.Json;
using CarServer.Rpc.JsonRpc;
using CarServer.Rpc.Methods;
using CarServer.RunStore.Contracts;

namespace CarServer.Tests.Unit.Rules;

/// <summary>The method table is what the daemon promises: its text is approved, and its words agree with the types that are read.</summary>
public sealed class MethodTableTests
{
    /// <summary>Members that a shape calls required although the type does not: the handler itself asks for them, with its own error.</summary>
    private static readonly Dictionary<string, string> RequiredByTheHandler = new()
    {
        ["server.handshake protocol_version"] = "what is missing is answered with -32006, as a wrong version is",
        ["equivalent proposal_a"] = "one of two spellings",
        ["equivalent proposal_b"] = "one of two spellings",
        ["equivalent p1"] = "one of two spellings",
        ["equivalent p2"] = "one of two spellings",
        ["agent_permissions.set_default preset"] = "one of two alternatives",
        ["agent_permissions.set_default tier"] = "one of two alternatives",
        ["agent_permissions.set_default mode"] = "one of two alternatives",
        ["permission.approve fingerprint"] = "one of two alternatives",
        ["permission.approve required_tier"] = "one of two alternatives",
        ["permission.approve action"] = "one of two alternatives",
        ["permission.reject fingerprint"] = "one of two alternatives",
        ["permission.reject required_tier"] = "one of two alternatives",
        ["permission.reject action"] = "one of two alternatives",
        ["session.auth token"] = "one of two alternatives",
        ["session.auth host_token"] = "one of two alternatives",
    };

    [Test]
    public async Task The_table_is_the_approved_one() => await ApprovedText.IsAsync("methods.md", Describe());

    [Test]
    public async Task Every_row_has_a_summary_that_is_a_sentence()
    {
        foreach (Method method in AllMethods.Table.All)
        {
            await Assert.That(method.Summary.Length).IsGreaterThan(10).Because(method.Name);
            await Assert.That(char.IsUpper(method.Summary[0]) && method.Summary[^1] is '.').IsTrue().Because($"{method.Name}: {method.Summary}");
        }
    }

    /// <summary>The shape is the error text of a bad call; a member that it leaves out, or invents, would mislead whoever reads it.</summary>
    [Test]
    public async Task Every_shape_names_the_members_that_are_read()
    {
        var problems = new List<string>();
        foreach (Method method in AllMethods.Table.All)
        {
            using JsonDocument schema = JsonDocument.Parse(method.ParamsType.Schema());
            Compare(method.Name, Shape.Parse(method.Shape), schema.RootElement, problems);
        }
        await Assert.That(problems).IsEmpty();
    }

    [Test]
    public async Task A_shape_is_read_as_it_is_written()
    {
        await Assert.That(Shape.Parse("{}").ToString()).IsEqualTo("{}");
        await Assert.That(Shape.Parse("{ a, b?, c: { d?, e }, f?: [ { g }, … ], h: Outcome }").ToString()).IsEqualTo("{a,b?,c:{d?,e},f?:[{g}],h}");
        await Assert.That(Shape.Parse("{ a, b? } or { c }, d?").ToString()).IsEqualTo("{a,b?,c,d?}");
        await Assert.That(() => Shape.Parse("{ a")).ThrowsExactly<FormatException>();
        await Assert.That(() => Shape.Parse("{ a } b")).ThrowsExactly<FormatException>();
    }

    private static void Compare(string path, Shape shape, JsonElement schema, List<string> problems)
    {
        if (shape.Element is { } element)
        {
            if (!schema.TryGetProperty("items", out JsonElement item)) problems.Add($"{path} is no list");
            else Compare(path + "[]", element, item, problems);
            return;
        }
        Dictionary<string, JsonElement> read = schema.GetProperty("properties").EnumerateObject().ToDictionary(property => property.Name, property => property.Value);
        string?[] required = schema.TryGetProperty("required", out JsonElement names) ? [.. names.EnumerateArray().Select(name => name.GetString())] : [];
        foreach (string name in read.Keys.Except(shape.Members.Select(member => member.Name))) problems.Add($"{path} does not tell of {name}");
        foreach (ShapeMember member in shape.Members)
        {
            if (!read.TryGetValue(member.Name, out JsonElement property))
            {
                problems.Add($"{path} invents {member.Name}");
                continue;
            }
            if (member.IsOptional == required.Contains(member.Name) && !RequiredByTheHandler.ContainsKey($"{path} {member.Name}"))
                problems.Add($"{path} calls {member.Name} {(member.IsOptional ? "optional" : "required")}");
            if (member.Shape is { } inner) Compare($"{path}.{member.Name}", inner, property, problems);
        }
    }

    private static string Describe()
    {
        var text = new StringBuilder("""
            # Methods

            Made from the method table by `tests/Unit/Rules/MethodTableTests.cs`; not to be edited. *Access*: `anyone` who is connected, a `client`
            that has authenticated, or the `host`. `car-server methods NAME` shows a method's schemas, `rpc.discover` all of them.

            | Method | Access | Params | What it does |
            | --- | --- | --- | --- |

            """);
        foreach (Method method in AllMethods.Table.All)
        {
            string access = method.Access.ToString().ToLowerInvariant() + (method.NeedsHandshake ? ", after the handshake" : "");
            text.Append($"| `{method.Name}` | {access} | `{method.Shape}` | {method.Summary.Replace("|", "\\|")} |\n");
        }
        return text.ToString();
    }
}

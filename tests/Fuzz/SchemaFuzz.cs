using System.Text.Json;
using CarServer.RunStore;
using CarServer.State.Engine.Schemas;
using CarServer.Tests.Support;

namespace CarServer.Tests.Fuzz;

/// <summary>The compiled check decides as a plain reading of the same schema does; and whatever stands in a schema, it is taken or refused, never a crash.</summary>
public sealed class SchemaFuzz
{
    private static readonly string[] Names = ["a", "b", "ab", "x1", ""];

    [Test]
    public async Task The_verdict_is_that_of_a_plain_reading()
    {
        var random = new Random(2020);
        int fitting = 0, compared = 0;
        for (int round = 0; round < FuzzBudget.Schemas; round++)
        {
            string text = Root(random);
            if (!JsonSchema.TryCompile(RawJson.Parse(text), out JsonSchema compiled, out string problem))
            {
                // Drawn references may go in circles; nothing else of what is drawn here is wrong.
                if (!problem.Contains("$ref leads back") && !problem.Contains("behind each other")) Assert.Fail($"{problem}: {text}");
                continue;
            }
            using JsonDocument schema = JsonDocument.Parse(text);
            for (int i = 0; i < 8; i++)
            {
                string drawn = Value(random, 3);
                using JsonDocument value = JsonDocument.Parse(drawn);
                bool plain = PlainSchema.Fits(schema.RootElement, schema.RootElement, value.RootElement);
                SchemaProblem? told = compiled.Problem(RawJson.Parse(drawn));
                if (plain != told is null) Assert.Fail($"told: {told?.ToString() ?? "fits"}; plainly it {(plain ? "fits" : "does not")}: {drawn} under {text}");
                compared++;
                if (plain) fitting++;
            }
        }
        FuzzReport.Print($"schemas: {compared:N0} verdicts, {fitting:N0} fit");
        await Assert.That(fitting).IsGreaterThan(compared / 10).And.IsLessThan(compared * 9 / 10);
    }

    [Test]
    public async Task Any_object_is_taken_or_refused_as_a_schema()
    {
        var random = new Random(2021);
        int taken = 0;
        for (int round = 0; round < FuzzBudget.Schemas; round++)
        {
            byte[] octets = System.Text.Encoding.UTF8.GetBytes(Root(random));
            int length = Mutation.Apply(random, octets, octets.Length);
            RawJson text;
            try
            {
                text = RawJson.Parse(octets.AsSpan(0, length));
            }
            catch (JsonException)
            {
                continue;
            }
            if (!JsonSchema.TryCompile(text, out JsonSchema compiled, out _)) continue;
            taken++;
            compiled.Problem(RawJson.Parse(Value(random, 3)));
        }
        await Assert.That(taken).IsGreaterThan(0);
    }

    private static string Root(Random random) =>
        $$"""{"$defs":{"p":{{Schema(random, 2)}},"q":{{Schema(random, 2)}} }{{string.Concat(Keywords(random, 3).Select(keyword => "," + keyword))}} }""";

    private static string Schema(Random random, int depth) => random.Next(12) switch
    {
        0 => "true",
        1 => "false",
        _ => $"{{{string.Join(',', Keywords(random, depth))}}}",
    };

    private static IEnumerable<string> Keywords(Random random, int depth)
    {
        int count = random.Next(1, 4);
        return Enumerable.Range(0, count).Select(_ => Keyword(random, depth)).DistinctBy(keyword => keyword[..keyword.IndexOf(':')]);
    }

    private static string Keyword(Random random, int depth)
    {
        string Inner() => Schema(random, depth - 1);
        string Several() => $"[{string.Join(',', Enumerable.Range(0, random.Next(1, 4)).Select(_ => Inner()))}]";
        string Members(string[] names) => $"{{{string.Join(',', names.OrderBy(_ => random.Next()).Take(random.Next(1, 4)).Select(name => $"\"{name}\":{Inner()}"))}}}";
        string Few() => random.Next(4).ToString();
        return random.Next(depth > 0 ? 30 : 17) switch
        {
            0 or 1 => $"\"type\":{Type(random)}",
            2 => $"\"type\":[{Type(random)},{Type(random)}]",
            3 => $"\"enum\":[{string.Join(',', Enumerable.Range(0, 4).Select(_ => Value(random, 1)))}]",
            4 => $"\"const\":{Value(random, 1)}",
            5 => $"\"minimum\":{Number(random)}",
            6 => $"\"maximum\":{Number(random)}",
            7 => $"\"exclusiveMinimum\":{Number(random)}",
            8 => $"\"exclusiveMaximum\":{Number(random)}",
            9 => $"\"multipleOf\":{((string[])["1", "0.5", "2e0", "0.1", "3"])[random.Next(5)]}",
            10 => $"\"minLength\":{Few()}",
            11 => $"\"maxLength\":{Few()}",
            12 => $"\"pattern\":\"{((string[])["^a", "b", "[0-9]+", "^(a|b)*$"])[random.Next(4)]}\"",
            13 => random.Next(2) == 0 ? $"\"minItems\":{Few()}" : $"\"maxItems\":{Few()}",
            14 => random.Next(2) == 0 ? $"\"minProperties\":{Few()}" : $"\"maxProperties\":{Few()}",
            15 => $"\"required\":[\"{Names[random.Next(Names.Length)]}\",\"{Names[random.Next(Names.Length)]}\"]",
            16 => "\"uniqueItems\":true",
            17 => $"\"items\":{Inner()}",
            18 => $"\"prefixItems\":{Several()}",
            19 or 20 => $"\"properties\":{Members(Names)}",
            21 => $"\"patternProperties\":{Members(["^a", "b$", "[0-9]"])}",
            22 => $"\"additionalProperties\":{Inner()}",
            23 => $"\"propertyNames\":{Inner()}",
            24 => $"\"allOf\":{Several()}",
            25 => $"\"anyOf\":{Several()}",
            26 => $"\"oneOf\":{Several()}",
            27 => $"\"not\":{Inner()}",
            28 => $"\"if\":{Inner()},\"then\":{Inner()},\"else\":{Inner()}",
            _ => $"\"$ref\":\"{((string[])["#", "#/$defs/p", "#/$defs/q"])[random.Next(3)]}\"",
        };
    }

    private static string Type(Random random) => ((string[])["\"null\"", "\"boolean\"", "\"string\"", "\"number\"", "\"integer\"", "\"array\"", "\"object\""])[random.Next(7)];

    private static string Number(Random random) => ((string[])["0", "1", "2", "-1", "1.0", "1.5", "2e0", "0.1", "10", "1e1", "-0.5"])[random.Next(11)];

    private static string Value(Random random, int depth) => random.Next(depth > 0 ? 9 : 6) switch
    {
        0 => "null",
        1 => random.Next(2) == 0 ? "true" : "false",
        2 or 3 => Number(random),
        4 or 5 => ((string[])["\"\"", "\"a\"", "\"ab\"", "\"\\u0061\"", "\"x1\"", "\"äö\"", "\"😀\""])[random.Next(7)],
        6 => $"[{string.Join(',', Enumerable.Range(0, random.Next(4)).Select(_ => Value(random, depth - 1)))}]",
        _ => $"{{{string.Join(',', Names.OrderBy(_ => random.Next()).Take(random.Next(4)).Select(name => $"\"{name}\":{Value(random, depth - 1)}"))}}}",
    };
}

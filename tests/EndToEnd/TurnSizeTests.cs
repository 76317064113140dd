using System.Text;
using System.Text.Json;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>The size rules of protocol 13.7 and 25, for turns that are recorded and for those of proposals.</summary>
public sealed class TurnSizeTests
{
    private const int MaxString = 16_384, MaxTurn = 256 * 1024;
    private const string Cut = "…[truncated]";
    private const string Replaced = "…[truncated: turn exceeded 256 KiB]";

    /// <summary>Strings as they stand in JSON: the part before the star so often, then the rest; what is kept of them in the same way.</summary>
    public static IEnumerable<(string Unit, int Times, string Tail, int Kept)> Strings() =>
    [
        ("a", MaxString, "", MaxString),
        ("a", MaxString + 1, "", MaxString),
        ("a", 100_000, "", MaxString),
        ("é", MaxString / 2, "", MaxString / 2),
        ("é", MaxString / 2 + 1, "", MaxString / 2),
        ("€", MaxString / 3, "", MaxString / 3),            // 16,383 bytes: the next one does not fit
        ("€", MaxString / 3 + 1, "", MaxString / 3),
        ("😀", MaxString / 4, "", MaxString / 4),
        ("😀", MaxString / 4 + 1, "", MaxString / 4),
        ("\\u00e9", MaxString / 2, "", MaxString / 2),       // three times as long in JSON, and not cut
        ("\\u00e9", MaxString / 2 + 1, "", MaxString / 2),
        ("\\ud83d\\ude00", MaxString / 4 + 1, "", MaxString / 4),
        ("\\n", MaxString, "", MaxString),
        ("\\n", MaxString + 1, "", MaxString),
        ("\\\"", MaxString + 1, "", MaxString),
        ("a", MaxString, "é", MaxString),
        ("a", MaxString - 1, "é", MaxString - 1),             // the character that would be cut in two is left out
        ("a", MaxString - 3, "😀", MaxString - 3),
    ];

    [Test, MethodDataSource(nameof(Strings)), DisplayName("$times times $unit and $tail")]
    public async Task A_string_is_cut_at_the_last_whole_character_before_the_limit(string unit, int times, string tail, int kept)
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer peer = await StartAsync(daemon);
        string json = $"\"{string.Concat(Enumerable.Repeat(unit, times))}{tail}\"";
        string text = JsonElement.Parse(json).GetString()!;
        string character = JsonElement.Parse($"\"{unit}\"").GetString()!;
        string expected = Encoding.UTF8.GetByteCount(text) <= MaxString ? text : string.Concat(Enumerable.Repeat(character, kept)) + Cut;

        JsonElement turn = await RecordedAsync(daemon, peer, $$"""{"prompt":{{json}},"parameters":{"a":[1,{"b":{{json}}}],"c":"short"},"output":{{json}}}""");

        await Assert.That(turn.GetProperty("prompt").GetString()).IsEqualTo(expected);
        await Assert.That(turn.GetProperty("output").GetString()).IsEqualTo(expected);
        await Assert.That(turn.GetProperty("parameters").GetProperty("a")[1].GetProperty("b").GetString()).IsEqualTo(expected);
        await Assert.That(turn.GetProperty("parameters").GetProperty("c").GetString()).IsEqualTo("short");
    }

    /// <summary>Half a surrogate pair spells no text; such a string is cut by its spelling, never inside an escape.</summary>
    [Test]
    [Arguments("\\ud800", 1)]
    [Arguments("\\udfff", 5)]
    [Arguments("é\\ud800", 3)]
    public async Task A_string_that_is_no_text_is_cut_between_its_escapes(string unit, int shift)
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer peer = await StartAsync(daemon);
        string json = new string('a', shift) + string.Concat(Enumerable.Repeat(unit, 5_000));

        string output = (await RecordedAsync(daemon, peer, $$"""{"output":["{{json}}"]}""")).GetProperty("output")[0].GetRawText();

        string kept = output[1..^(Cut.Length + 1)];
        await Assert.That(output).EndsWith(Cut + "\"");
        await Assert.That(json.StartsWith(kept, StringComparison.Ordinal)).IsTrue();
        await Assert.That(Encoding.UTF8.GetByteCount(kept)).IsBetween(MaxString - 6, MaxString);
        // What follows begins with a whole escape or character.
        await Assert.That(json[kept.Length] is '\\' or 'é').IsTrue();
    }

    /// <summary>Each of them is over the limit by what cannot be cut: many strings, a long name, a long number, many small values.</summary>
    [Test]
    [Arguments("strings")]
    [Arguments("name")]
    [Arguments("number")]
    [Arguments("values")]
    [Arguments("escapes")]
    public async Task A_turn_over_256_KiB_keeps_its_small_members_and_says_what_it_lost(string kind)
    {
        string value = kind switch
        {
            "strings" => $"[{string.Join(',', Enumerable.Repeat($"\"{new string('s', MaxString)}\"", 17))}]",
            "name" => $$"""{"{{new string('n', MaxTurn)}}":1}""",
            "number" => new string('1', MaxTurn),
            "values" => $"[{string.Join(',', Enumerable.Repeat("null", 60_000))}]",
            _ => $"[{string.Join(',', Enumerable.Repeat($"\"{string.Concat(Enumerable.Repeat("\\u0061", MaxString))}\"", 3))}]",
        };
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer peer = await StartAsync(daemon);

        JsonElement turn = await RecordedAsync(daemon, peer, $$$"""{"tool":"t","prompt":"p","output":{{{value}}},"cli_outcome":{"kind":"failed"}}""");

        await Assert.That(turn.GetRawText()).IsEqualTo(
            $$$"""{"record":"turn","index":0,"prompt":"{{{Replaced}}}","tool":"t","output":"{{{Replaced}}}","cli_outcome":{"kind":"failed"},"verifier_verdict":"not_run"}""");
    }

    [Test]
    public async Task A_turn_that_is_too_large_without_them_refuses_the_whole_batch()
    {
        string large = new('x', MaxTurn);
        string[] tooLarge =
        [
            $$"""{"tool":"{{large}}"}""",
            $$$"""{"cli_outcome":{"kind":"failed","stdout_tail":"{{{large}}}"}}""",
            $$$"""{"cli_outcome":{"kind":"failed","stderr_tail":"{{{large}}}"},"output":[{{{new string('1', MaxTurn)}}}]}""",
        ];
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer peer = await StartAsync(daemon);

        foreach (string turn in tooLarge)
        {
            await Assert.That(await RecordAsync(peer, $$"""[{"tool":"fine"},{{turn}}]""")).IsEqualTo(
                """{"run_id":"r","base_index":0,"count":0,"ok":false,"dropped":"turn_too_large"}""");
        }

        await Assert.That(Follower.Turns(daemon.Home.Trace("a", "r")).Length).IsEqualTo(0);
        await Assert.That(await RecordAsync(peer, """[{"tool":"fine"}]""")).IsEqualTo("""{"run_id":"r","base_index":0,"count":1,"ok":true}""");
    }

    [Test]
    public async Task A_line_has_exactly_256_KiB_at_most_whatever_its_index()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer peer = await StartAsync(daemon);
        // Ten digits are kept for the index.
        int room = MaxTurn - """{"record":"turn","index":,"tool":"","verifier_verdict":"not_run"}""".Length - 10;

        await Assert.That(await RecordAsync(peer, $$"""[{"tool":"{{new string('t', room + 1)}}"}]""")).Contains("turn_too_large");
        await Assert.That(await RecordAsync(peer, $$"""[{"tool":"{{new string('t', room)}}"}]""")).Contains("\"ok\":true");

        await Assert.That(Follower.Turns(daemon.Home.Trace("a", "r")).Single().Length).IsEqualTo(MaxTurn - 9);
    }

    [Test]
    public async Task A_batch_of_the_largest_message_is_taken()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer peer = await StartAsync(daemon);
        string turn = $$"""{"prompt":"{{new string('p', 120_000)}}"}""";

        await Assert.That(await RecordAsync(peer, $"[{string.Join(',', Enumerable.Repeat(turn, 256))}]")).IsEqualTo("""{"run_id":"r","base_index":0,"count":256,"ok":true}""");

        byte[][] turns = Follower.Turns(daemon.Home.Trace("a", "r"));
        await Assert.That(turns.Length).IsEqualTo(256);
        await Assert.That(turns.All(line => line.Length is > MaxString and < MaxString + 200)).IsTrue();
    }

    /// <summary>Whatever is taken can be read back; what is too deep is refused at the door.</summary>
    [Test]
    public async Task Values_may_nest_until_the_message_is_too_deep_and_come_back_from_any_depth()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RawPeer peer = await daemon.ConnectRawAsync();
        await CallAsync("runs.start", """{"intent":"test","agent_id":"a","idempotency_key":"r"}""");
        int taken = 0, refused = 0;
        for (int depth = 100; depth <= 140; depth++)
        {
            string deep = $"{new string('[', depth)}{new string(']', depth)}";
            string answer = await CallAsync("runs.record_turns", $$"""{"run_id":"r","turns":[{"output":{{deep}}}]}""");
            if (answer.Contains("\"ok\":true", StringComparison.Ordinal))
            {
                await Assert.That(refused).IsEqualTo(0).Because($"{depth} is deeper than what was refused");
                string trace = await CallAsync("runs.get_trace", $$"""{"run_id":"r","cursor":{{++taken}}}""");
                await Assert.That(trace).Contains($"\"output\":{deep},");
                await Assert.That(await CallAsync("runs.subscribe", """{"run_id":"r"}""")).Contains($"\"output\":{deep},");
                await CallAsync("runs.unsubscribe", """{"run_id":"r"}""");
            }
            else
            {
                refused++;
                await Assert.That(answer).Contains("\"error\":{\"code\":-3260");
            }
        }
        await Assert.That(taken).IsGreaterThan(20);
        await Assert.That(refused).IsGreaterThan(0);
        await Assert.That(await CallAsync("runs.list", """{"agent_id":"a"}""")).Contains($"\"turn_count\":{taken}}}");

        async Task<string> CallAsync(string method, string parameters)
        {
            await peer.SendTextAsync($$"""{"jsonrpc":"2.0","id":1,"method":"{{method}}","params":{{parameters}}}""");
            return await peer.ReadTextAsync();
        }
    }

    [Test]
    public async Task The_turns_of_a_proposal_keep_the_same_rules()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer peer = await StartAsync(daemon);
        await peer.RegisterToolsAsync("t");
        string longText = new('x', 20_000);
        peer.Tools = call => Task.FromResult(call.Parameters.GetProperty("size").GetString() == "long" ? $"\"{longText}\"" : $"[{new string('1', MaxTurn)}]");

        await peer.CallAsync("proposal.submit", $$$"""
            {"proposal":{"actions":[
              {"type":"tool_call","tool":"t","parameters":{"size":"long","prompt":"{{{longText}}}"}},
              {"type":"tool_call","tool":"t","parameters":{"size":"larger still"}}]}}
            """);

        JsonElement[] turns = [.. Follower.Turns(daemon.Home.Trace("a", "r")).Select(line => JsonElement.Parse(line))];
        string cut = longText[..MaxString] + Cut;
        await Assert.That(turns[0].GetProperty("prompt").GetString()).IsEqualTo(cut);
        await Assert.That(turns[0].GetProperty("parameters").GetProperty("prompt").GetString()).IsEqualTo(cut);
        await Assert.That(turns[0].GetProperty("output").GetString()).IsEqualTo(cut);
        await Assert.That(turns[1].GetProperty("parameters").GetString()).IsEqualTo(Replaced);
        await Assert.That(turns[1].GetProperty("output").GetString()).IsEqualTo(Replaced);
    }

    private static async Task<RpcPeer> StartAsync(TestDaemon daemon)
    {
        RpcPeer peer = await daemon.ConnectAsync();
        await peer.CallAsync("runs.start", """{"intent":"test","agent_id":"a","idempotency_key":"r"}""");
        return peer;
    }

    private static async Task<string> RecordAsync(RpcPeer peer, string turns) =>
        (await peer.CallAsync("runs.record_turns", $$"""{"run_id":"r","turns":{{turns}}}""")).GetRawText();

    /// <summary>Records one turn and reads it back from the disk.</summary>
    private static async Task<JsonElement> RecordedAsync(TestDaemon daemon, RpcPeer peer, string turn)
    {
        await Assert.That(await RecordAsync(peer, $"[{turn}]")).Contains("\"ok\":true");
        return JsonElement.Parse(Follower.Turns(daemon.Home.Trace("a", "r")).Single());
    }
}

using System.Text;
using System.Text.Json;
using CarServer.RunStore;
using TUnit.Core;

namespace CarServer.Tests.Unit.RunStore;

public sealed class TurnLineTests
{
    private const string Cut = "…[truncated]";
    private const string Replaced = "…[truncated: turn exceeded 256 KiB]";

    private static JsonElement Encode(RunTurn turn, int index = 0)
    {
        byte[] body = TurnLine.TryEncodeBody(turn)!;
        byte[] line = new byte[TurnLine.LargestFrame + body.Length];
        return JsonElement.Parse(line.AsSpan(0, TurnLine.Write(line, index, body)));
    }

    /// <summary>An error may show half a character: what the calculator says of an emoji is one.</summary>
    [Test]
    public async Task A_text_that_is_no_Unicode_is_written_with_a_replacement() =>
        await Assert.That(RawJson.FromString("unexpected '\ud83d'\n").ToString()).IsEqualTo("\"unexpected '\ufffd'\\n\"");

    [Test]
    [Arguments(0)]
    [Arguments(9)]
    [Arguments(10)]
    [Arguments(int.MaxValue)]
    public async Task The_line_is_what_the_serializer_itself_would_write(int index)
    {
        var turn = new RunTurn(99, "p", "t", RawJson.EmptyObject, RawJson.Parse("[1,\"\\u00e9\"]"));
        byte[] body = TurnLine.TryEncodeBody(turn)!;
        byte[] line = new byte[TurnLine.LargestFrame + body.Length];
        int length = TurnLine.Write(line, index, body);
        await Assert.That(Encoding.UTF8.GetString(line, 0, length)).IsEqualTo(Encoding.UTF8.GetString((turn with { Index = index }).ToLine()));
    }

    [Test]
    public async Task A_string_is_cut_one_byte_past_the_limit()
    {
        string atLimit = new('a', TurnLine.MaxStringBytes);
        JsonElement kept = Encode(new RunTurn(Prompt: atLimit, Output: RawJson.FromString(atLimit)));
        await Assert.That(kept.GetProperty("prompt").GetString()).IsEqualTo(atLimit);
        await Assert.That(kept.GetProperty("output").GetString()).IsEqualTo(atLimit);
        JsonElement cut = Encode(new RunTurn(Prompt: atLimit + "b", Output: RawJson.FromString(atLimit + "b")));
        await Assert.That(cut.GetProperty("prompt").GetString()).IsEqualTo(atLimit + Cut);
        await Assert.That(cut.GetProperty("output").GetString()).IsEqualTo(atLimit + Cut);
    }

    [Test]
    public async Task A_cut_falls_between_two_characters()
    {
        string text = "a" + string.Concat(Enumerable.Repeat("😀", 5_000));
        string expected = "a" + string.Concat(Enumerable.Repeat("😀", (TurnLine.MaxStringBytes - 1) / 4)) + Cut;
        JsonElement cut = Encode(new RunTurn(Prompt: text, Parameters: RawJson.FromString(text)));
        await Assert.That(cut.GetProperty("prompt").GetString()).IsEqualTo(expected);
        await Assert.That(cut.GetProperty("parameters").GetString()).IsEqualTo(expected);
    }

    [Test]
    public async Task Only_the_long_strings_inside_a_value_are_touched()
    {
        string longText = new('x', 20_000);
        string escaped = string.Concat(Enumerable.Repeat("\\u0061", 10_000));   // 60,000 bytes that spell 10,000 characters
        RawJson value = RawJson.Parse($$"""{"a":[1.50,"{{longText}}",{"\u0062":"\n"}],"c":"{{longText}}","d":"{{escaped}}"}""");
        byte[] body = TurnLine.TryEncodeBody(new RunTurn(Parameters: value))!;
        string short16 = new('x', TurnLine.MaxStringBytes);
        await Assert.That(Encoding.UTF8.GetString(body)).Contains(
            $$"""{"a":[1.50,"{{short16}}{{Cut}}",{"\u0062":"\n"}],"c":"{{short16}}{{Cut}}","d":"{{escaped}}"}""");
    }

    /// <summary>What JavaScript makes of a text that it cut inside an emoji.</summary>
    [Test]
    public async Task A_long_string_with_half_a_character_in_it_is_cut_too()
    {
        RawJson value = RawJson.Parse("[\"" + new string('x', 20_000) + "\\ud83d\"]");
        JsonElement cut = Encode(new RunTurn(Output: value));
        await Assert.That(cut.GetProperty("output")[0].GetString()).IsEqualTo(new string('x', TurnLine.MaxStringBytes) + Cut);
    }

    [Test]
    public async Task A_turn_over_256_KiB_loses_the_large_fields_it_has()
    {
        int overhead = TurnLine.TryEncodeBody(new RunTurn(Output: RawJson.Parse("[0]")))!.Length - 1;
        int room = TurnLine.MaxLineBytes - "{\"record\":\"turn\",\"index\":".Length - 10 - overhead;
        RawJson fits = RawJson.Parse("[" + new string('1', room) + "]");
        RawJson tooBig = RawJson.Parse("[" + new string('1', room + 1) + "]");
        await Assert.That(Encode(new RunTurn(Output: fits)).GetProperty("output").ValueKind).IsEqualTo(JsonValueKind.Array);
        byte[] body = TurnLine.TryEncodeBody(new RunTurn(Output: fits))!;
        await Assert.That(TurnLine.Write(new byte[TurnLine.LargestFrame + body.Length], int.MaxValue, body) - 1).IsEqualTo(TurnLine.MaxLineBytes);

        JsonElement replaced = Encode(new RunTurn(Prompt: "p", Tool: "t", Output: tooBig));
        await Assert.That(replaced.GetProperty("output").GetString()).IsEqualTo(Replaced);
        await Assert.That(replaced.GetProperty("prompt").GetString()).IsEqualTo(Replaced);
        await Assert.That(replaced.GetProperty("tool").GetString()).IsEqualTo("t");
        await Assert.That(replaced.TryGetProperty("parameters", out _)).IsFalse();
    }

    [Test]
    public async Task A_turn_that_is_too_large_without_them_is_refused() =>
        await Assert.That(TurnLine.TryEncodeBody(new RunTurn(Tool: new string('t', TurnLine.MaxLineBytes)))).IsNull();
}

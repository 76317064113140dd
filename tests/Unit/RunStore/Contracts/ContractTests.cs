using System.Text;
using System.Text.Json;
using CarServer.RunStore;
using CarServer.RunStore.Contracts;
using CarServer.Tests.Support;

namespace CarServer.Tests.Unit.RunStore.Contracts;

/// <summary>What a refusal tells, and what the framework's serializer does otherwise; the rest is <c>ContractFuzz</c>'s.</summary>
public sealed class ContractTests
{
    [Test]
    [Arguments("""{"key":5}""", "$.key")]
    [Arguments("""{"value":{"\ud800":1},"key":5}""", "$.key")]
    [Arguments("""{"value":[1,{"a":[2]}],"key":"a","key":"b"}""", "$.key")]
    [Arguments("""{"value":1}""", "$")]
    [Arguments("""[]""", "$")]
    [Arguments("""{"key":"\ud800"}""", "$.key")]
    public async Task A_refusal_names_the_place(string json, string path) => await Assert.That(Refused(Json.StateSetParams, json).Path).IsEqualTo(path);

    [Test]
    public async Task A_place_in_lists_and_maps_has_their_numbers_and_names()
    {
        await Assert.That(Refused(Json.RecordTurnsParams, """{"run_id":"r","turns":[{},{"parameters":[[1],2]},{"cli_outcome":{"kind":1}}]}""").Path).IsEqualTo("$.turns[2].cli_outcome.kind");
        await Assert.That(Refused(Json.EventQuery, """{"data_matches":{"a":"","odd name":1}}""").Path).IsEqualTo("$.data_matches['odd name']");
    }

    [Test]
    public async Task A_long_name_is_cut()
    {
        string path = Refused(Json.EventQuery, "{\"data_matches\":{\"" + new string('n', 1_000) + "\":1}}").Path!;
        await Assert.That(path).IsEqualTo("$.data_matches." + new string('n', 64) + "…");
    }

    [Test]
    public async Task A_refusal_names_the_line()
    {
        await Assert.That(Refused(Json.AgentPostures, "{\n  \"default\": {},\n}").LineNumber).IsEqualTo(1);
        await Assert.That(Refused(Json.AgentPostures, "{\n\n  oops\n}").LineNumber).IsEqualTo(2);
    }

    [Test]
    public async Task The_word_of_a_union_comes_once()
    {
        Refused(Json.RunRecord, """{"record":"turn","index":3,"record":"ended"}""");
        Refused(Json.RunRecord, """{"index":3}""");
        await Assert.That(Json.RunRecord.Parse("""{"index":3,"record":"turn"}""")).IsTypeOf<RunTurn>();
    }

    [Test]
    public async Task Depth_has_an_end()
    {
        int levels = RawJsonConverter.MaxWrappedDepth;
        string Deep(int more) => $$"""{"key":"k","value":{{new string('[', levels - 1 + more)}}{{new string(']', levels - 1 + more)}}}""";
        await Assert.That(Json.StateSetParams.Parse(Deep(0))).IsNotNull();
        Refused(Json.StateSetParams, Deep(1));
    }

    [Test]
    public async Task Exactly_one_value_is_read()
    {
        Refused(Json.StateSetParams, """{"key":"k"} {}""");
        Refused(Json.StateSetParams, "");
        await Assert.That(Json.StateSetParams.Parse("null")).IsNull();
    }

    private static JsonException Refused<T>(IReads<T> contract, string json)
    {
        try { contract.Parse(Encoding.UTF8.GetBytes(json)); }
        catch (JsonException e) { return e; }
        throw new InvalidOperationException($"was read: {json}");
    }
}

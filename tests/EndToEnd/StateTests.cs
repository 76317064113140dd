using System.Text.Json;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>Protocol 9.</summary>
public sealed class StateTests
{
    [Test]
    public async Task What_was_set_is_read_back()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();

        await Assert.That((await peer.CallAsync("state.get", """{"key":"k"}""")).ValueKind).IsEqualTo(JsonValueKind.Null);
        await Assert.That((await peer.CallAsync("state.exists", """{"key":"k"}""")).GetBoolean()).IsFalse();
        await Assert.That((await peer.CallAsync("state.set", """{"key":"k","value":{"a":[1,2]} }""")).GetString()).IsEqualTo("ok");
        await Assert.That((await peer.CallAsync("state.get", """{"key":"k"}""")).GetRawText()).IsEqualTo("""{"a":[1,2]}""");
        await Assert.That((await peer.CallAsync("state.exists", """{"key":"k"}""")).GetBoolean()).IsTrue();
    }

    [Test]
    [Arguments("1e400")]
    [Arguments("9223372036854775808")]
    [Arguments("0.1000")]
    [Arguments("-0")]
    [Arguments("\"a\\u0000b\\n\\ud83d\\ude00\"")]
    [Arguments("[[[[]]],{\"\":null}]")]
    [Arguments("\"\"")]
    public async Task A_value_comes_back_as_it_was_written(string value)
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();

        await peer.CallAsync("state.set", $$"""{"key":"k","value":{{value}} }""");

        await Assert.That((await peer.CallAsync("state.get", """{"key":"k"}""")).GetRawText()).IsEqualTo(value);
    }

    [Test]
    public async Task A_value_left_out_is_null_and_the_key_exists()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();

        await peer.CallAsync("state.set", """{"key":"k"}""");

        await Assert.That((await peer.CallAsync("state.get", """{"key":"k"}""")).ValueKind).IsEqualTo(JsonValueKind.Null);
        await Assert.That((await peer.CallAsync("state.exists", """{"key":"k"}""")).GetBoolean()).IsTrue();
    }

    [Test]
    public async Task Keys_are_sorted_and_a_snapshot_holds_every_value()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();
        foreach (string key in (string[])["b", "a", "B", "ä"]) await peer.CallAsync("state.set", $$"""{"key":"{{key}}","value":"{{key}}"}""");

        string[] keys = [.. (await peer.CallAsync("state.keys")).EnumerateArray().Select(k => k.GetString()!)];
        JsonElement snapshot = await peer.CallAsync("state.snapshot");

        await Assert.That(keys).IsEquivalentTo((string[])["B", "a", "b", "ä"], TUnit.Assertions.Enums.CollectionOrdering.Matching);
        await Assert.That(snapshot.EnumerateObject().Count()).IsEqualTo(4);
        await Assert.That(snapshot.GetProperty("ä").GetString()).IsEqualTo("ä");
    }

    [Test]
    public async Task A_tenant_and_the_unscoped_caller_never_see_each_others_keys()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();

        await peer.CallAsync("state.set", """{"key":"k","value":"unscoped"}""");
        await peer.CallAsync("state.set", """{"key":"k","value":"of t","tenant_id":"t"}""");
        await peer.CallAsync("state.set", """{"key":"only","value":1,"tenant_id":"t"}""");

        await Assert.That((await peer.CallAsync("state.get", """{"key":"k"}""")).GetString()).IsEqualTo("unscoped");
        await Assert.That((await peer.CallAsync("state.get", """{"key":"k","tenant_id":""}""")).GetString()).IsEqualTo("unscoped");
        await Assert.That((await peer.CallAsync("state.get", """{"key":"k","tenant_id":"t"}""")).GetString()).IsEqualTo("of t");
        await Assert.That((await peer.CallAsync("state.exists", """{"key":"k","tenant_id":"u"}""")).GetBoolean()).IsFalse();
        await Assert.That((await peer.CallAsync("state.keys")).GetRawText()).IsEqualTo("""["k"]""");
        await Assert.That((await peer.CallAsync("state.keys", """{"tenant_id":"t"}""")).GetRawText()).IsEqualTo("""["k","only"]""");
        await Assert.That((await peer.CallAsync("state.snapshot")).GetRawText()).IsEqualTo("""{"k":"unscoped"}""");
        await Assert.That((await peer.CallAsync("state.get", """{"key":"tenant:t:k"}""")).ValueKind).IsEqualTo(JsonValueKind.Null);
    }

    [Test]
    public async Task State_belongs_to_its_connection()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer one = await daemon.ConnectAsync();
        await using RpcPeer other = await daemon.ConnectAsync(daemon.Unix);

        await one.CallAsync("state.set", """{"key":"k","value":1}""");

        await Assert.That((await other.CallAsync("state.keys")).GetRawText()).IsEqualTo("[]");
    }

    [Test]
    public async Task A_call_without_its_key_is_told_what_the_method_takes()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer peer = await daemon.ConnectAsync();

        RpcFailure failure = await peer.CallFailsAsync("state.set", """{"value":1}""");

        await Assert.That(failure.Code).IsEqualTo(-32602);
        await Assert.That(failure.Text).StartsWith("state.set requires { key, value");
    }
}

using CarServer.Rpc.JsonRpc;
using CarServer.Rpc.Methods;
using CarServer.RunStore.Contracts;
using CarServer.State;
using CarServer.State.Sessions;
using CarServer.Tests.Support;

namespace CarServer.Tests.Unit.JsonRpc;

/// <summary>What a method does from the bytes of its params is what it does from its contract, and it does it without memory.</summary>
public sealed class DirectHandlerTests
{
    private static readonly string[] Keys = ["\"a\"", "\"b\"", "\"\"", "\"\\u0061\"", "\"é😀\"", $"\"{new string('k', 255)}é\"", $"\"{new string('k', 300)}\"", "\"tenant:a\"", "\"\\ud800\"", "null", "1", "{}"];
    private static readonly string[] Values = ["1", "null", "\"x\"", "{\"a\":[1,true]}", "{ \"a\" : 1 }", "[1, 2]", "\"a b\"", "1e400"];

    [Test]
    public async Task Both_ways_come_to_the_same()
    {
        using var home = new TempHome();
        await using ServerState state = ServerState.Standalone(home.Journals);
        var direct = new ClientSession("000000000001", new FakeChannel(), state);
        var contract = new ClientSession("000000000002", new FakeChannel(), state);
        Method[] plain =
        [
            Method.Row("state.get", "{ key, tenant_id? }", "", Json.StateKeyParams, Scalar.Raw, StateMethods.Get),
            Method.Row("state.set", "{ key, value?, tenant_id? }", "", Json.StateSetParams, Scalar.Text, StateMethods.Set),
            Method.Row("ping", "{}", "", Json.NoParams, Scalar.Text, static (_, _) => "pong"),
        ];
        var random = new Random(9);
        for (int round = 0; round < 20_000; round++)
        {
            Method method = plain[random.Next(plain.Length)];
            string parameters = Params(random);
            string expected = await TellAsync(method, state, contract, parameters);
            string told = await TellAsync(AllMethods.Table.Find(method.Name)!, state, direct, parameters);
            if (told != expected) Assert.Fail($"{method.Name} {parameters}: {told}, by the contract {expected}");
        }
        string snapshot = await MethodCall.ResultAsync(AllMethods.Table.Find("state.snapshot")!, state, direct, "{}");
        await Assert.That(snapshot).IsEqualTo(await MethodCall.ResultAsync(AllMethods.Table.Find("state.snapshot")!, state, contract, "{}"));
        await Assert.That(direct.StateBytes).IsEqualTo(contract.StateBytes);
    }

    [Test]
    [Arguments("ping", "{}")]
    [Arguments("state.get", """{"key":"k"}""")]
    [Arguments("state.set", """{"key":"k","value":{"speed":42,"on":true}}""")]
    public async Task A_request_is_served_without_memory(string method, string parameters)
    {
        // The value that is set is the one that is there already; another one has to be kept, and that is all it takes.
        await using var wire = new WireHarness([.. AllMethods.Table.All,
            Method.Row("allocated", "{}", "", Json.NoParams, Scalar.Int64, static (_, _) => GC.GetAllocatedBytesForCurrentThread())]);
        await using RpcPeer peer = await wire.ConnectAsync();
        await peer.CallAsync("state.set", """{"key":"k","value":{"speed":42,"on":true}}""");
        async Task<long> AllocatedByAsync(int requests)
        {
            long before = (await peer.CallAsync("allocated")).GetInt64();
            for (int i = 0; i < requests; i++) await peer.CallAsync(method, parameters);
            return (await peer.CallAsync("allocated")).GetInt64() - before;
        }
        await AllocatedByAsync(100);   // what is made once

        // The probe's own answer is the same both times.
        await Assert.That(await AllocatedByAsync(500)).IsEqualTo(await AllocatedByAsync(0));
    }

    private static string Params(Random random)
    {
        string space = random.Next(4) == 0 ? " " : "";
        var members = new List<string>();
        if (random.Next(20) > 0) members.Add($"\"key\"{space}:{space}{Keys[random.Next(random.Next(3) == 0 ? Keys.Length : 3)]}");
        if (random.Next(3) > 0) members.Add($"{space}\"value\":{Values[random.Next(Values.Length)]}{space}");
        if (random.Next(8) == 0) members.Add($"\"tenant_id\":{(random.Next(2) == 0 ? "\"t\"" : "null")}");
        if (random.Next(20) == 0) members.Add("\"key\":\"b\"");
        if (random.Next(20) == 0) members.Add("\"more\":[1]");
        if (random.Next(2) == 0) members.Reverse();
        return random.Next(40) switch { 0 => "null", 1 => "[]", 2 => "{}", _ => $"{{{space}{string.Join(",", members)}{space}}}" };
    }

    private static async Task<string> TellAsync(Method method, ServerState state, ClientSession session, string parameters)
    {
        try
        {
            return await MethodCall.ResultAsync(method, state, session, parameters);
        }
        catch (Exception e) when (e is RpcException or RefusedException)
        {
            return e.Message;
        }
    }
}

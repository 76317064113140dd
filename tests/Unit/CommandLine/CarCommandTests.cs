using System.Text;
using CarServer.Rpc.Client;
using CarServer.Rpc.CommandLine;
using CarServer.Rpc.Methods;
using CarServer.Tests.Unit.Client;

namespace CarServer.Tests.Unit.CommandLine;

/// <summary>The verbs as a shell sees them: arguments in; text, error text and exit code out.</summary>
internal sealed class CarCommandTests
{
    private sealed class Shell(params string[] variables)
    {
        private readonly MemoryStream _out = new();
        private readonly StringWriter _error = new();

        public MemoryStream In { get; } = new();
        public string Out => Encoding.UTF8.GetString(_out.ToArray());
        public string Error => _error.ToString();

        public Task<int> RunAsync(params string[] args) =>
            CarCommand.RunAsync(args, new Surroundings(TestLayers.Environment([.. variables, "CAR_HOME=/nowhere"]), Platform.Linux, "/here", In, _out, _error));
    }

    [Test]
    public async Task The_examples_of_call_are_methods_of_this_daemon()
    {
        var shell = new Shell();
        await shell.RunAsync("call", "--help");
        string[] methods = [.. shell.Out.Split('\n').Select(line => line.Trim().Split(' ')).Where(words => words is ["car-server", "call", not ['<', ..], ..]).Select(words => words[2])];
        await Assert.That(methods).IsNotEmpty();
        await Assert.That(methods.Where(method => AllMethods.Table.Find(method) is null)).IsEmpty();
    }

    [Test]
    [Arguments("frob", "there is no command 'frob'")]
    [Arguments("config --bogus", "'--bogus'")]
    [Arguments("--bogus", "'--bogus'")]
    [Arguments("config extra", "'extra'")]
    [Arguments("config --port", "'--port'")]
    [Arguments("config --port 70000", "--port must have a port from 0 to 65535, got '70000'")]
    [Arguments("config --port -1", "got '-1'")]
    [Arguments("config --port 1 --port 2", "--port is given 2 times")]
    [Arguments("config --no-socket=maybe", "'maybe'")]
    [Arguments("serve --auth-token-file /nowhere/token", "cannot read the token file /nowhere/token")]
    [Arguments("call", "'call'")]
    [Arguments("call m {", "the params are not JSON (line 1, byte 2)")]
    [Arguments("call m 1,2", "the params are not JSON")]
    [Arguments("call m @/nowhere/file", "cannot read the params from '@/nowhere/file'")]
    [Arguments("call m --timeout 0", "--timeout must be seconds, more than 0 and at most 86400, got '0'")]
    [Arguments("ping --timeout soon", "--timeout must be seconds")]
    [Arguments("ping --url http://x/", "--url must be ws://HOST:PORT/ or unix:PATH, got 'http://x/'")]
    public async Task A_mistake_is_one_sentence_and_exit_code_2(string args, string sentence)
    {
        var shell = new Shell();
        int exit = await shell.RunAsync(args.Split(' '));
        await Assert.That(shell.Error).StartsWith("car-server: ");
        await Assert.That(shell.Error).Contains(sentence);
        await Assert.That(shell.Error.TrimEnd('\n').Contains('\n')).IsFalse();
        await Assert.That(exit).IsEqualTo(2);
        await Assert.That(shell.Out).IsEqualTo("");
    }

    [Test]
    public async Task A_relative_car_home_is_refused_by_its_value()
    {
        var error = new StringWriter();
        int exit = await CarCommand.RunAsync([], new Surroundings(TestLayers.Environment("CAR_HOME=some/where"), Platform.Linux, "/here", Stream.Null, Stream.Null, error));
        await Assert.That(exit).IsEqualTo(ExitCode.Usage);
        await Assert.That(error.ToString()).Contains("some/where");
    }

    [Test]
    [Arguments("ping")]
    [Arguments("methods")]
    [Arguments("call a.b")]
    [Arguments("stop")]
    [Arguments("wait-ready --timeout 0.05")]
    public async Task Nobody_there_is_exit_code_3(string verb)
    {
        FakeServer server = FakeServer.Tcp();
        string url = server.Address.ToString();
        server.Dispose();
        var shell = new Shell();
        await Assert.That(await shell.RunAsync([.. verb.Split(' '), "--url", url])).IsEqualTo(3);
        await Assert.That(shell.Error).StartsWith("error: ");
        await Assert.That(shell.Out).IsEqualTo("");
    }

    [Test]
    [Arguments("--help", "wait-ready")]
    [Arguments("serve --help", "[variable: CAR_SERVER_SOCKET] [file: socket]")]
    [Arguments("--port 0 --help", "CAR_TOOL_TIMEOUT")]
    [Arguments("call --help", "@proposal.json")]
    [Arguments("call --help", "Each call is a connection of its own")]
    [Arguments("stop --help", "130  stopped at once by a second signal")]
    public async Task Help_is_made_to_be_read(string args, string part)
    {
        var shell = new Shell();
        await Assert.That(await shell.RunAsync(args.Split(' '))).IsEqualTo(0);
        await Assert.That(shell.Out).Contains(part);
        await Assert.That(shell.Error).IsEqualTo("");
    }

    [Test]
    [Arguments("version")]
    [Arguments("--version")]
    public async Task The_version_has_no_build_suffix(string args)
    {
        var shell = new Shell();
        await Assert.That(await shell.RunAsync(args)).IsEqualTo(0);
        await Assert.That(shell.Out).IsEqualTo($"car-server {CarCommand.Version}\n");
        await Assert.That(shell.Out.Contains('+')).IsFalse();
    }

    [Test]
    public async Task Config_names_value_and_origin()
    {
        var shell = new Shell("CAR_AUTH_TOKEN=hunter2");
        await Assert.That(await shell.RunAsync("config", "--bind", "127.0.0.1:1", "--bind", ":2", "--no-socket", "--no-approvals=false")).IsEqualTo(0);
        string[] lines = shell.Out.Split('\n');
        await Assert.That(Words("bind")).IsEqualTo("bind 127.0.0.1:1, 127.0.0.1:2 flag --bind");
        await Assert.That(Words("socket")).IsEqualTo("socket none flag --no-socket");
        await Assert.That(Words("no_approvals")).IsEqualTo("no_approvals false flag --no-approvals");
        await Assert.That(Words("auth_token")).IsEqualTo("auth_token (set) environment CAR_AUTH_TOKEN");
        await Assert.That(Words("log_level")).IsEqualTo("log_level warning default");

        string Words(string name) => string.Join(' ', lines.First(line => line.StartsWith(name + " ")).Split(' ', StringSplitOptions.RemoveEmptyEntries));
    }

    [Test]
    public async Task Config_as_json_has_every_setting()
    {
        var shell = new Shell();
        await Assert.That(await shell.RunAsync("config", "--json", "--require-auth")).IsEqualTo(0);
        using var document = System.Text.Json.JsonDocument.Parse(shell.Out);
        await Assert.That(document.RootElement.GetProperty("settings").GetArrayLength()).IsEqualTo(Settings.All.Count);
        await Assert.That(document.RootElement.GetProperty("notices")[0].GetString()).StartsWith("--require-auth is deprecated");
    }

    [Test]
    [Arguments("""{"b":1.0,"a":["é\u0041"]}""", "", """{"b":1.0,"a":["é\u0041"]}""" + "\n")]
    [Arguments("""{"b":1.0,"a":["é\u0041",{}]}""", "--pretty", "{\n  \"b\": 1.0,\n  \"a\": [\n    \"é\\u0041\",\n    {}\n  ]\n}\n")]
    [Arguments("null", "", "null\n")]
    [Arguments("\"text\"", "--pretty", "\"text\"\n")]
    public async Task Call_authenticates_and_prints_the_result_as_it_came(string result, string option, string printed)
    {
        using var server = FakeServer.Tcp();
        var shell = new Shell("CAR_AUTH_TOKEN=t\"1");
        shell.In.Write("""{ "key": "city" }"""u8);
        shell.In.Position = 0;
        Task<int> running = shell.RunAsync(["call", "state.get", "-", "--url", server.Address.ToString(), .. option.Split(' ', StringSplitOptions.RemoveEmptyEntries)]);
        using FakePeer peer = await server.AcceptAsync();
        await Assert.That(await peer.ReadTextAsync()).IsEqualTo("""{"jsonrpc":"2.0","id":1,"method":"session.auth","params":{"token":"t\"1"}}""");
        await peer.SendTextAsync("""{"jsonrpc":"2.0","id":1,"result":{"ok":true,"auth_enabled":false}}""");
        await Assert.That(await peer.ReadTextAsync()).IsEqualTo("""{"jsonrpc":"2.0","id":2,"method":"state.get","params":{"key":"city"}}""");
        await peer.SendTextAsync($$"""{"jsonrpc":"2.0","id":2,"result":{{result}}}""");
        await peer.ReadCloseAsync();
        peer.Dispose();
        await Assert.That(await running).IsEqualTo(0);
        await Assert.That(shell.Out).IsEqualTo(printed);
        await Assert.That(shell.Error).IsEqualTo("");
    }

    [Test]
    public async Task An_error_goes_to_stderr_with_exit_code_1_and_cannot_steer_the_terminal()
    {
        using var server = FakeServer.Tcp();
        var shell = new Shell();
        Task<int> running = shell.RunAsync("call", "state.get", "--url", server.Address.ToString());
        using FakePeer peer = await server.AcceptAsync();
        await peer.ReadTextAsync();
        await peer.SendTextAsync("""{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"state.get requires { key }\u001b[2J"}}""");
        await peer.ReadCloseAsync();
        peer.Dispose();
        await Assert.That(await running).IsEqualTo(1);
        await Assert.That(shell.Error.TrimEnd()).IsEqualTo("error -32602: state.get requires { key } [2J");
        await Assert.That(shell.Out).IsEqualTo("");
    }

    [Test]
    public async Task A_silent_daemon_is_exit_code_1_after_the_timeout()
    {
        using var server = FakeServer.Tcp();
        var shell = new Shell();
        Task<int> running = shell.RunAsync("call", "slow", "--timeout", "0.3", "--url", server.Address.ToString());
        using FakePeer peer = await server.AcceptAsync();
        await peer.ReadTextAsync();
        await peer.ReadCloseAsync();
        peer.Dispose();
        await Assert.That(await running).IsEqualTo(1);
        await Assert.That(shell.Error.TrimEnd()).IsEqualTo("error: no answer within 0.3 s");
    }

    [Test]
    public async Task A_notification_has_no_id_and_prints_nothing()
    {
        using var server = FakeServer.Tcp();
        var shell = new Shell();
        Task<int> running = shell.RunAsync("call", "tools.progress", "{}", "--notify", "--url", server.Address.ToString());
        using FakePeer peer = await server.AcceptAsync();
        await Assert.That(await peer.ReadTextAsync()).IsEqualTo("""{"jsonrpc":"2.0","method":"tools.progress","params":{}}""");
        await peer.ReadCloseAsync();
        peer.Dispose();
        await Assert.That(await running).IsEqualTo(0);
        await Assert.That(shell.Out).IsEqualTo("");
    }

    [Test]
    public async Task Ping_prints_the_round_trip()
    {
        using var server = FakeServer.Tcp();
        var shell = new Shell();
        Task<int> running = shell.RunAsync("ping", "--url", server.Address.ToString());
        using FakePeer peer = await server.AcceptAsync();
        await Assert.That(await peer.ReadTextAsync()).Contains("\"ping\"");
        await peer.SendTextAsync("""{"jsonrpc":"2.0","id":1,"result":"pong"}""");
        await peer.ReadCloseAsync();
        peer.Dispose();
        await Assert.That(await running).IsEqualTo(0);
        await Assert.That(shell.Out).StartsWith("pong ");
        await Assert.That(shell.Out).EndsWith(" ms\n");
    }

    private const string Discovered = """
        {"openrpc":"1.3.2","methods":[
          {"name":"state.set","summary":"Stores a value.","x-access":"client","params":[{"name":"key","required":true,"schema":{"type":"string"}},{"name":"value","schema":{}}],"result":{"name":"ok","schema":{"type":"boolean"}}},
          {"name":"runs.list","summary":"Lists runs.","x-access":"host","x-params":"{ limit? }","params":[]}]}
        """;

    [Test]
    [Arguments("", 0, "runs.list  host    { limit? }       Lists runs.\nstate.set  client  { key, value? }  Stores a value.\n")]
    [Arguments("state.set", 0, "state.set { key, value? }\naccess: client\n\nStores a value.\n\nparam key\n  {\n    \"type\": \"string\"\n  }\n")]
    [Arguments("state.nothing", 1, "")]
    public async Task Methods_reads_what_the_daemon_says_of_itself(string method, int exit, string part)
    {
        using var server = FakeServer.Tcp();
        var shell = new Shell();
        Task<int> running = shell.RunAsync(["methods", .. method.Split(' ', StringSplitOptions.RemoveEmptyEntries), "--url", server.Address.ToString()]);
        using FakePeer peer = await server.AcceptAsync();
        await Assert.That(await peer.ReadTextAsync()).Contains("rpc.discover");
        await peer.SendTextAsync($$"""{"jsonrpc":"2.0","id":1,"result":{{Discovered}}}""");
        await peer.ReadCloseAsync();
        peer.Dispose();
        await Assert.That(await running).IsEqualTo(exit);
        await Assert.That(shell.Out).Contains(part);
    }

    [Test]
    public async Task Wait_ready_tries_again_until_the_token_is_taken()
    {
        using var server = FakeServer.Tcp();
        var shell = new Shell("CAR_AUTH_TOKEN=t");
        Task<int> running = shell.RunAsync("wait-ready", "--url", server.Address.ToString());
        using (FakePeer starting = await server.AcceptRawAsync()) await starting.ReadHeadAsync();
        using (FakePeer early = await server.AcceptAsync())
        {
            await early.ReadTextAsync();
            await early.SendTextAsync("""{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"auth failed: token mismatch"}}""");
            await early.ReadCloseAsync();
        }
        using (FakePeer ready = await server.AcceptAsync())
        {
            await ready.ReadTextAsync();
            await ready.SendTextAsync("""{"jsonrpc":"2.0","id":1,"result":{"ok":true,"auth_enabled":true}}""");
            await ready.ReadTextAsync();
            await ready.SendTextAsync("""{"jsonrpc":"2.0","id":2,"result":"pong"}""");
            await ready.ReadCloseAsync();
        }
        await Assert.That(await running).IsEqualTo(0);
        await Assert.That(shell.Out + shell.Error).IsEqualTo("");
    }

    [Test]
    public async Task Stop_waits_until_the_connection_closes_and_nobody_answers()
    {
        FakeServer server = FakeServer.Tcp();
        var shell = new Shell();
        Task<int> running = shell.RunAsync("stop", "--url", server.Address.ToString());
        using (FakePeer peer = await server.AcceptAsync())
        {
            await Assert.That(await peer.ReadTextAsync()).Contains("server.shutdown");
            await peer.SendTextAsync("""{"jsonrpc":"2.0","id":1,"result":{"ok":true}}""");
            await Assert.That(running.IsCompleted).IsFalse();
            await peer.SendAsync(FakePeer.Frame(FrameKind.Close, [1001 >> 8, 1001 & 0xFF]));
            await peer.ReadFrameAsync();
        }
        using (FakePeer still = await server.AcceptAsync()) await still.ReadCloseAsync();
        server.Dispose();
        await Assert.That(await running).IsEqualTo(0);
    }
}

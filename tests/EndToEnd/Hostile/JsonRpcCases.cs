using CarServer.Tests.Support;
using static CarServer.Tests.Support.Drawing;

namespace CarServer.Tests.EndToEnd.Hostile;

/// <summary>JSON and JSON-RPC 2.0, and what a stranger may say before <c>session.auth</c>.</summary>
internal static class JsonRpcCases
{
    private const string ParseError = "id null: -32700", InvalidRequest = "id null: -32600", InvalidParams = "id 1: -32602", Unknown = "id 1: -32601", Pong = """id 1: "pong" """;
    private const string Ping = """{"jsonrpc":"2.0","method":"ping","id":1}""";
    private const string PingOf = """{"jsonrpc":"2.0","method":"ping","id":""";
    private const string Notified = """{"jsonrpc":"2.0","method":"ping"}""";
    private const string Ok = """id 1: "ok" """;

    public static IEnumerable<HostileCase> All => Texts.Concat(Ids).Select(row => row with { Send = Text(row.Send), Heard = Trimmed(row.Heard) })
        .Concat(Strangers.Select(row => row with { At = At.Guarded, Heard = Trimmed(row.Heard) }));

    private static string Trimmed(string heard) => heard.Replace("\" ", "\"", StringComparison.Ordinal);

    /// <summary>Every id is echoed as it was written.</summary>
    private static IEnumerable<HostileCase> Ids =>
        from id in (string[])
        [
            "0", "-0", "-1", "1.0", "0.1", "1.50", "1e400", "-1E+400", "1e-400", "9223372036854775807", "9223372036854775808", "18446744073709551616",
            "123456789012345678901234567890", "0.1000000000000000055511151231257827", "null", "\"\"", "\"a\"", "\"\\u0000\"", "\"\\u0041\"", "\"\\ud83d\\ude00\"",
            "\"\\ud800\"", "\"\\udc00\\ud800\"", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"é😀\"", "\"\u007f\"", "\"</script>\"", "\"null\"", "\"1\"",
        ]
        select new HostileCase($"the id {(id.Length == 0 ? "of nothing" : id)}", $"{PingOf}{id}}}", $"id {id}: \"pong\"");

    private static IEnumerable<HostileCase> Texts =>
    [
        // ------------------------------------------------------------ no JSON
        new("an empty message", "", ParseError),
        new("white space alone", " \t\r\n ", ParseError),
        new("half a word", "nul", ParseError),
        new("a word", "hello", ParseError),
        new("an object that does not end", "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":1", ParseError),
        new("a string that does not end", "{\"jsonrpc\":\"2.0\",\"method\":\"pi", ParseError),
        new("something behind the object", Ping + "x", ParseError),
        new("two objects", Ping + Ping, ParseError),
        new("a bracket too many", Ping + "}", ParseError),
        new("a comma at the end", """{"jsonrpc":"2.0","method":"ping","id":1,}""", ParseError),
        new("a comment", """{"jsonrpc":"2.0",/*x*/"method":"ping","id":1}""", ParseError),
        new("a name without quotes", """{jsonrpc:"2.0","method":"ping","id":1}""", ParseError),
        new("a name without a value", """{"jsonrpc"}""", ParseError),
        new("NaN", $"{PingOf}NaN}}", ParseError),
        new("Infinity", $"{PingOf}Infinity}}", ParseError),
        new("a leading zero", $"{PingOf}01}}", ParseError),
        new("a plus sign", $"{PingOf}+1}}", ParseError),
        new("a point without digits", $"{PingOf}1.}}", ParseError),
        new("an exponent without digits", $"{PingOf}1e}}", ParseError),
        new("a minus alone", $"{PingOf}-}}", ParseError),
        new("hexadecimal", $"{PingOf}0x1}}", ParseError),
        new("a raw newline in a string", $"{PingOf}\"a\nb\"}}", ParseError),
        new("a raw NUL in a string", $"{PingOf}\"a\0b\"}}", ParseError),
        new("an unknown escape", $"{PingOf}\"\\x41\"}}", ParseError),
        new("a short escape", $"{PingOf}\"\\u12\"}}", ParseError),
        new("an escape of no digits", $"{PingOf}\"\\uZZZZ\"}}", ParseError),
        new("a byte order mark", "\uFEFF" + Ping, ParseError),
        new("no-break space as white space", "\u00A0" + Ping, ParseError),
        new("mismatched brackets", """{"a":[}]""", ParseError),
        new("a fault behind a good id", """{"jsonrpc":"2.0","method":"ping","id":1,"params":{"a":tru}}""", ParseError),
        new("a fault behind a wrong version", """{"jsonrpc":"1.0","method":"ping","id":1""", ParseError),

        // ------------------------------------------------------------ JSON, but no request
        new("a number", "1", InvalidRequest),
        new("a string", "\"ping\"", InvalidRequest),
        new("null", "null", InvalidRequest),
        new("true", "true", InvalidRequest),
        new("an empty object", "{}", InvalidRequest),
        new("no jsonrpc", """{"method":"ping","id":1}""", "id 1: -32600"),
        new("version 1.0", """{"jsonrpc":"1.0","method":"ping","id":1}""", "id 1: -32600"),
        new("the version as a number", """{"jsonrpc":2.0,"method":"ping","id":1}""", "id 1: -32600"),
        new("the version null", """{"jsonrpc":null,"method":"ping","id":1}""", "id 1: -32600"),
        new("the version with a space", """{"jsonrpc":"2.0 ","method":"ping","id":1}""", "id 1: -32600"),
        new("the version as a lone surrogate", """{"jsonrpc":"\ud800","method":"ping","id":1}""", "id 1: -32600"),
        new("the version in escapes is the version", """{"jsonrpc":"\u0032\u002e\u0030","method":"ping","id":1}""", Pong),
        new("members in escapes are the members", """{"\u006asonrpc":"2.0","m\u0065thod":"p\u0069ng","i\u0064":1}""", Pong),
        new("members in capitals are others", """{"JSONRPC":"2.0","Method":"ping","ID":1}""", InvalidRequest),
        new("an id without a method is a reply to nothing", """{"jsonrpc":"2.0","params":{},"id":1}""", ""),
        new("neither method nor id", """{"jsonrpc":"2.0","params":{}}""", InvalidRequest),
        new("a method that is a number", """{"jsonrpc":"2.0","method":1,"id":1}""", "id 1: -32600"),
        new("a method that is null", """{"jsonrpc":"2.0","method":null,"id":1}""", "id 1: -32600"),
        new("a method that is an array", """{"jsonrpc":"2.0","method":["ping"],"id":1}""", "id 1: -32600"),
        new("a fault without an id is answered all the same", """{"jsonrpc":"2.0","method":1}""", InvalidRequest),
        new("unknown members are skipped", """{"jsonrpc":"2.0","x":{"a":[1,2,{"b":null}]},"method":"ping","y":"\ud800","id":1}""", Pong),
        new("an unknown member named by a lone surrogate is skipped", """{"\ud800":1,"jsonrpc":"2.0","method":"ping","id":1}""", Pong),
        new("white space everywhere", " {\t\"jsonrpc\" :\r\n\"2.0\" , \"method\" : \"ping\" , \"id\" : 1 } ", Pong),

        // ------------------------------------------------------------ ids
        new("an id that is true", $"{PingOf}true}}", InvalidRequest),
        new("an id that is an object", $"{PingOf}{{}}}}", InvalidRequest),
        new("an id that is an array", $"{PingOf}[1]}}", InvalidRequest),
        new("an id of 4 KiB", $"{PingOf}\"{new string('x', 4094)}\"}}", $"id \"{new string('x', 19)}…4096: \"pong\""),
        new("an id of one byte more", $"{PingOf}\"{new string('x', 4095)}\"}}", InvalidRequest),
        new("a number of 4 KiB", $"{PingOf}{new string('1', 4096)}}}", $"id {new string('1', 20)}…4096: \"pong\""),

        // ------------------------------------------------------------ members that come twice
        new("jsonrpc twice", """{"jsonrpc":"2.0","jsonrpc":"2.0","method":"ping","id":1}""", "id 1: -32600"),
        new("method twice", """{"jsonrpc":"2.0","method":"ping","method":"ping","id":1}""", "id 1: -32600"),
        new("method twice, once in escapes", """{"jsonrpc":"2.0","method":"ping","meth\u006fd":"ping","id":1}""", "id 1: -32600"),
        new("id twice: neither is echoed", """{"jsonrpc":"2.0","method":"ping","id":1,"id":2}""", InvalidRequest),
        new("id twice, the first of a wrong kind", """{"jsonrpc":"2.0","method":"ping","id":{},"id":2}""", InvalidRequest),
        new("params twice", """{"jsonrpc":"2.0","method":"ping","id":1,"params":{},"params":{}}""", "id 1: -32600"),
        new("an unknown member twice", """{"jsonrpc":"2.0","method":"ping","id":1,"x":1,"x":2}""", Pong),
        new("a param twice", """{"jsonrpc":"2.0","method":"state.set","params":{"key":"a","key":"b"},"id":1}""", InvalidParams),

        // ------------------------------------------------------------ depth: levels of arrays and objects in a message
        new("128 levels", Nested(127, ""), Pong),
        new("128 levels with a value in the last", Nested(127, "1"), Pong),
        new("129 levels", Nested(128, ""), "id 1: -32600"),
        new("129 levels with a value in the last", Nested(128, "1"), "id 1: -32600"),
        new("129 levels outside params", "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":1,\"x\":" + new string('[', 128) + new string(']', 128) + "}", "id 1: -32600"),
        new("a hundred thousand levels of arrays", new string('[', 100_000), InvalidRequest),
        new("a hundred thousand levels of objects", string.Concat(Enumerable.Repeat("{\"a\":", 100_000)), InvalidRequest),
        new("128 levels in a batch", $"[{Nested(126, "1")}]", $"[{Pong}]"),
        new("129 levels in a batch", $"[{Nested(127, "")}]", InvalidRequest),
        new("100 levels as a value of the state", $$"""[{"jsonrpc":"2.0","method":"state.set","params":{"key":"k","value":{{new string('[', 100)}}{{new string(']', 100)}}},"id":1},{"jsonrpc":"2.0","method":"state.get","params":{"key":"k"},"id":2}]""", $"[{Ok}, id 2: {new string('[', 20)}…200]"),
        new("126 levels as a value of the state", $$"""{"jsonrpc":"2.0","method":"state.set","params":{"key":"k","value":{{new string('[', 126)}}1{{new string(']', 126)}}},"id":1}""", Ok),

        // ------------------------------------------------------------ batches
        new("an empty batch", "[]", InvalidRequest),
        new("an empty batch with white space", " [ ] ", InvalidRequest),
        new("a batch of one", $"[{Ping}]", $"[{Pong}]"),
        new("a batch of 256", $"[{string.Join(',', Enumerable.Repeat(Ping, 256))}]", $"[{string.Join(", ", Enumerable.Repeat(Pong.Trim(), 256))}]"),
        new("a batch of 257", $"[{string.Join(',', Enumerable.Repeat(Ping, 257))}]", InvalidRequest),
        new("a batch of half a million numbers", $"[{string.Join(',', Enumerable.Repeat("1", 500_000))}]", InvalidRequest),
        new("a batch of numbers", "[1,2,3]", $"[{InvalidRequest}, {InvalidRequest}, {InvalidRequest}]"),
        new("a batch of everything", $$"""[{{Ping}},{{Notified}},1,{"jsonrpc":"2.0","method":"nobody","id":2},[],{},{"jsonrpc":"2.0","id":"cb-1","result":1},{{PingOf}}"z"}]""",
            $"[{Pong}, {InvalidRequest}, id 2: -32601, {InvalidRequest}, {InvalidRequest}, id \"z\": \"pong\"]"),
        new("a batch of notifications alone", $"[{Notified},{Notified}]", ""),
        new("a batch of replies alone", """[{"jsonrpc":"2.0","id":"cb-1","result":1},{"jsonrpc":"2.0","id":"cb-2","error":{"code":1,"message":"x"}}]""", ""),
        new("a batch in a batch", $"[[{Ping}]]", $"[{InvalidRequest}]"),
        new("a batch that is no JSON in its last member", $"[{Ping},{Ping},{{]", ParseError),
        new("a batch that does not end", $"[{Ping},", ParseError),
        new("a batch with a comma at the end", $"[{Ping},]", ParseError),
        new("a batch with something behind it", $"[{Ping}]1", ParseError),
        new("a batch with ids that are the same", $"[{Ping},{Ping}]", $"[{Pong}, {Pong}]"),
        new("a batch with a lone surrogate in a member's name", $$"""[{"\ud800":1,"jsonrpc":"2.0","method":"ping","id":1}]""", $"[{Pong}]"),

        // ------------------------------------------------------------ methods
        new("an unknown method", """{"jsonrpc":"2.0","method":"nobody","id":1}""", Unknown),
        new("an empty method", """{"jsonrpc":"2.0","method":"","id":1}""", Unknown),
        new("a method in capitals", """{"jsonrpc":"2.0","method":"PING","id":1}""", Unknown),
        new("a method with a NUL", """{"jsonrpc":"2.0","method":"ping\u0000","id":1}""", Unknown),
        new("a method of a lone surrogate", """{"jsonrpc":"2.0","method":"\ud800","id":1}""", "id 1: -32600"),
        new("a method of a lone low surrogate", """{"jsonrpc":"2.0","method":"ping\udc00","id":1}""", "id 1: -32600"),
        new("a method of a mebibyte", $$"""{"jsonrpc":"2.0","method":"{{new string('m', 1 << 20)}}","id":1}""", Unknown),
        new("a method of a mebibyte of escapes", $$"""{"jsonrpc":"2.0","method":"{{string.Concat(Enumerable.Repeat("\\u006d", 1 << 17))}}","id":1}""", Unknown),
        new("a method cut inside a pair of surrogates", $$"""{"jsonrpc":"2.0","method":"{{new string('m', 127)}}😀","id":1}""", Unknown),
        new("an unknown notification", """{"jsonrpc":"2.0","method":"nobody"}""", ""),
        new("a notification with wrong params", """{"jsonrpc":"2.0","method":"state.get","params":[]}""", ""),
        new("a notification of ping", Notified, ""),

        // ------------------------------------------------------------ params
        new("params that are a string", """{"jsonrpc":"2.0","method":"ping","params":"x","id":1}""", "id 1: -32600"),
        new("params that are a number", """{"jsonrpc":"2.0","method":"ping","params":1,"id":1}""", "id 1: -32600"),
        new("params that are true", """{"jsonrpc":"2.0","method":"ping","params":true,"id":1}""", "id 1: -32600"),
        new("params that are null", """{"jsonrpc":"2.0","method":"ping","params":null,"id":1}""", Pong),
        new("params by position where names are wanted", """{"jsonrpc":"2.0","method":"state.get","params":["k"],"id":1}""", InvalidParams),
        new("no params where some are wanted", """{"jsonrpc":"2.0","method":"state.get","id":1}""", InvalidParams),
        new("a key that is a number", """{"jsonrpc":"2.0","method":"state.get","params":{"key":1},"id":1}""", InvalidParams),
        new("a key that is null", """{"jsonrpc":"2.0","method":"state.get","params":{"key":null},"id":1}""", InvalidParams),
        new("a key of a lone surrogate", """{"jsonrpc":"2.0","method":"state.get","params":{"key":"\ud800"},"id":1}""", InvalidParams),
        new("a param named by a lone surrogate", """{"jsonrpc":"2.0","method":"state.get","params":{"\ud800":1,"key":"k"},"id":1}""", InvalidParams),
        new("a value with a lone surrogate is carried as it is", """[{"jsonrpc":"2.0","method":"state.set","params":{"key":"k","value":["\ud800",1e400,-0]},"id":1},{"jsonrpc":"2.0","method":"state.get","params":{"key":"k"},"id":2}]""", $"[{Ok}, id 2: [\"\\ud800\",1e400,-0]]"),
        new("a state key of a lone surrogate in a proposal", Proposal("""{"type":"state_write","parameters":{"key":"\ud800","value":1}}"""), "id 1: rejected"),
        new("a parameter named by a lone surrogate in a proposal", Proposal("""{"type":"state_write","parameters":{"\ud800":1,"key":"k","value":1}}"""), "id 1: succeeded"),
        new("an action type of a lone surrogate", Proposal("""{"type":"\ud800"}"""), InvalidParams),
        new("an action id of a lone surrogate", Proposal("""{"id":"\ud800","type":"state_read","parameters":{"key":"k"}}"""), InvalidParams),
        new("an operator of a lone surrogate", Proposal("""{"type":"assertion","parameters":{"key":"k","operator":"\ud800","value":1}}"""), "id 1: rejected"),
        new("a precondition of a lone surrogate", Proposal("""{"type":"state_read","parameters":{"key":"k"},"preconditions":[{"key":"k","operator":"contains","value":"\ud800"}]}"""), "id 1: rejected"),
        new("a schema with a lone surrogate", """{"jsonrpc":"2.0","method":"tools.register","params":[{"name":"t","description":"","parameters":{"type":"\ud800","required":["\ud800"],"properties":{"\ud800":{"type":"string"}}}}],"id":1}""", InvalidParams),
        new("a run whose prompt has a lone surrogate", """{"jsonrpc":"2.0","method":"runs.start","params":{"agent_id":"a","intent":"\ud800"},"id":1}""", InvalidParams),
        new("a tool schema that is a number", """{"jsonrpc":"2.0","method":"tools.register","params":[1],"id":1}""", InvalidParams),
        new("a proposal that is an array", """{"jsonrpc":"2.0","method":"proposal.submit","params":{"proposal":[]},"id":1}""", InvalidParams),
        new("actions that are an object", """{"jsonrpc":"2.0","method":"proposal.submit","params":{"proposal":{"actions":{}}},"id":1}""", InvalidParams),

        // ------------------------------------------------------------ size
        new("a key of a mebibyte", $$"""{"jsonrpc":"2.0","method":"state.get","params":{"key":"{{new string('k', 1 << 20)}}"},"id":1}""", "id 1: null"),
        new("a value of a mebibyte", $$"""[{"jsonrpc":"2.0","method":"state.set","params":{"key":"k","value":"{{new string('v', 1 << 20)}}"},"id":1},{"jsonrpc":"2.0","method":"state.get","params":{"key":"k"},"id":2}]""", $"[{Ok}, id 2: \"{new string('v', 19)}…{(1 << 20) + 2}]"),
        new("a string of a mebibyte of escapes", $$"""{"jsonrpc":"2.0","method":"state.get","params":{"key":"{{string.Concat(Enumerable.Repeat("\\n", 1 << 19))}}"},"id":1}""", "id 1: null"),
        new("a number of a mebibyte", $$"""{"jsonrpc":"2.0","method":"state.set","params":{"key":"k","value":{{new string('7', 1 << 20)}}},"id":1}""", Ok),
        new("a hundred thousand unknown members", $"{{{Members},{Ping[1..]}", Pong),
        new("a hundred thousand unknown members that are the same", $"{{{string.Concat(Enumerable.Repeat("\"k\":1,", 100_000))}{Ping[1..]}", Pong),
        new("a hundred thousand params", $$"""{"jsonrpc":"2.0","method":"state.get","params":{{{Members}},"key":"k"},"id":1}""", "id 1: null"),
        new("a hundred thousand keys in a value", $$"""{"jsonrpc":"2.0","method":"state.set","params":{"key":"k","value":{ {{Members}} } },"id":1}""", Ok),
        new("a mebibyte of white space", new string(' ', 1 << 20) + Ping, Pong),

        // ------------------------------------------------------------ replies to nothing
        new("a reply to nothing", """{"jsonrpc":"2.0","id":"cb-1","result":1}""", ""),
        new("an error reply to nothing", """{"jsonrpc":"2.0","id":"cb-1","error":{"code":1,"message":"x"}}""", ""),
        new("a reply with a number for an id", """{"jsonrpc":"2.0","id":1,"result":1}""", ""),
        new("a reply with null for an id", """{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"x"}}""", ""),
        new("a reply with a lone surrogate for an id", """{"jsonrpc":"2.0","id":"\ud800","result":1}""", ""),
    ];

    /// <summary>Auth is on, and nobody has authenticated yet (protocol 6.2).</summary>
    private static IEnumerable<HostileCase> Strangers =>
    [
        new("a stranger's call", Text(Ping), "id 1: -32001, close 1008"),
        new("a stranger's call of a method that is not there", Text("""{"jsonrpc":"2.0","method":"nobody","id":1}"""), "id 1: -32001, close 1008"),
        new("a stranger's call of a method of lone surrogates", Text("""{"jsonrpc":"2.0","method":"\ud800","id":1}"""), "id 1: -32001, close 1008"),
        new("a stranger's notification", Text(Notified), "close 1008"),
        new("a stranger's batch", Text($"[{Ping}]"), "id null: -32001, close 1008"),
        new("a stranger's empty batch", Text("[]"), "id null: -32001, close 1008"),
        new("a stranger's batch with the right token", Text($"[{Auth(HostileCase.Token)}]"), "id null: -32001, close 1008"),
        new("a stranger's reply", Text("""{"jsonrpc":"2.0","id":"cb-1","result":1}"""), ""),
        new("a stranger's text that is no JSON", Text("{"), "id null: -32700"),
        new("a stranger's text that is no request", Text("1"), "id null: -32600"),
        new("a stranger's ping frame", "89 82 00000000 'hi'", "pong 'hi'"),
        new("a stranger's close", "88 82 00000000 03E8", "close 1000"),
        new("a stranger's message of 64 KiB", Frame(Op.Text, $"'{{' 20*{64 * 1024 - 1}"), "id null: -32700"),
        new("a stranger's message of one byte more", Convert.ToHexString(RawPeer.FrameHeader(Op.Text, 64 * 1024 + 1)), "close 1009"),
        new("a stranger's fragments of 64 KiB and a byte", $"{Frame(Op.Text, $"20*{64 * 1024}", fin: false)} 80 81 00000000 20", "close 1009"),
        new("a wrong token", Text(Auth("not it")), "id 1: -32603"),
        new("an empty token", Text(Auth("")), "id 1: -32603"),
        new("no token", Text("""{"jsonrpc":"2.0","method":"session.auth","id":1}"""), "id 1: -32602"),
        new("a token that is a number", Text("""{"jsonrpc":"2.0","method":"session.auth","params":{"token":1},"id":1}"""), "id 1: -32602"),
        new("a token of 60 KiB", Text(Auth(new string('t', 60 * 1024))), "id 1: -32603"),
        new("a token of lone surrogates", Text(Auth("\\ud800")), "id 1: -32602"),
        new("a wrong host token", Text("""{"jsonrpc":"2.0","method":"session.auth","params":{"host_token":"x"},"id":1}"""), "id 1: -32603"),
        new("a wrong token, then a call", $"{Text(Auth("not it"))} {Text(PingOf + "2}")}", "id 1: -32603, id 2: -32001, close 1008"),
        new("a wrong token, then the right one, then a call", $"{Text(Auth("not it"))} {Text(Auth(HostileCase.Token))} {Text(Ping)}", $"id 1: -32603, {Known}, {Pong}"),
        new("the right token and a call in one packet", $"{Text(Auth(HostileCase.Token))} {Text(Ping)}", $"{Known}, {Pong}"),
        new("the right token and a message over 64 KiB behind it", $"{Text(Auth(HostileCase.Token))} {Frame(Op.Text, $"'{Ping}' 20*{70_000}")}", $"{Known}, {Pong}"),
        new("the right token as a notification, then a call", $"{Text(Auth(HostileCase.Token).Replace(",\"id\":1", "", StringComparison.Ordinal))} {Text(Ping)}", Pong),
        new("the right token with a letter more", Text(Auth(HostileCase.Token + "x")), "id 1: -32603"),
        new("nothing counts behind a stranger's call", $"{Text(Ping)} {Text(Ping)} {Text(Auth("x"))}", "id 1: -32001, close 1008"),
        new("a wrong token as a notification", Text("""{"jsonrpc":"2.0","method":"session.auth","params":{"token":"x"}}"""), ""),
        new("a binary message behind a stranger's call is not heard", $"{Text(Ping)} 82 81 00000000 00 88 82 00000000 03E8", "id 1: -32001, close 1008"),
    ];

    private static readonly string Members = string.Join(',', Enumerable.Range(0, 100_000).Select(i => $"\"k{i}\":{i}"));

    private const string Known = """id 1: {"ok":true,"auth_enabled":true}""";

    private static string Auth(string token) => $$$"""{"jsonrpc":"2.0","method":"session.auth","params":{"token":"{{{token}}}"},"id":1}""";

    private static string Proposal(string action) => $$"""{"jsonrpc":"2.0","method":"proposal.submit","params":{"proposal":{"source":"test","actions":[{{action}}]} },"id":1}""";

    /// <summary>A ping whose params are so many levels deep.</summary>
    private static string Nested(int arrays, string innermost) =>
        $$"""{"jsonrpc":"2.0","method":"ping","id":1,"params":{"a":{{new string('[', arrays - 1)}}{{innermost}}{{new string(']', arrays - 1)}} } }""";
}

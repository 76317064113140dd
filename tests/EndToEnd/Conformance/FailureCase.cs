using System.Text.Json;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd.Conformance;

/// <summary>What becomes of the action that a case is about.</summary>
internal enum Outcome
{
    Succeeds, FailsOnce, Fails, TimesOut, FalseAssertion, MissingParameter, WrongType, DeniedByPolicy, FalsePrecondition, MissingDependency, UnregisteredTool, NoTool,
}

/// <summary>Where it stands among others.</summary>
internal enum Position
{
    Alone,
    /// <summary>Of a level with peers that may abort.</summary>
    First, Last,
    /// <summary>Between a level before it and one behind.</summary>
    Between,
    /// <summary>In the middle of peers that may be skipped: they run together unless the action itself may abort.</summary>
    AmongSkips,
}

/// <summary>One row of protocol 10.3 in one place: an action, what becomes of it, and what that means for the proposal.</summary>
internal sealed record FailureCase(string Behavior, int MaxRetries, Outcome Outcome, Position Position)
{
    public const string Tools = """[{"name":"subject"},{"name":"peer"},{"name":"denied"},{"name":"strict","parameters":{"type":"object","properties":{"n":{"type":"number"}},"required":["n"]}}]""";
    public const string Policy = """{"name":"no","rule":"deny_tool","target":"denied"}""";
    private const int TimeoutMs = 20;

    public static IEnumerable<FailureCase> All(string behavior) =>
        from outcome in Enum.GetValues<Outcome>() from position in Enum.GetValues<Position>() from retries in behavior == "retry" ? (int[])[0, 1, 2] : [2]
        select new FailureCase(behavior, retries, outcome, position);

    /// <summary>Names the case on its connection: the proposal, its tenant, and what its actions' ids begin with.</summary>
    public string Id => $"{Outcome}-{Position}-{MaxRetries}";

    // ---------------------------------------------------------------- what is sent

    private bool HasBefore => Position is Position.Last or Position.Between or Position.AmongSkips;
    private bool HasAfter => Position is Position.First or Position.AmongSkips;
    private bool HasLater => Position is Position.First or Position.Between or Position.AmongSkips;

    /// <summary>Idempotent, so that asking for it again shows whether its success is remembered.</summary>
    private string Before => Peer("before", "b");

    private string Peer(string name, string effect) =>
        $$"""{"id":"{{Id}}.{{name}}","type":"tool_call","tool":"peer","parameters":{"case":"{{Id}}.{{name}}"},"idempotent":true,"expected_effects":{"{{effect}}":1},"failure_behavior":"{{(Position == Position.AmongSkips ? "skip" : "abort")}}"}""";

    private string Subject
    {
        get
        {
            (string tool, string parameters, string more) = Outcome switch
            {
                Outcome.TimesOut => ("subject", "{}", $",\"timeout_ms\":{TimeoutMs}"),
                Outcome.MissingParameter => ("strict", "{}", ""),
                Outcome.WrongType => ("strict", """{"n":"one"}""", ""),
                Outcome.DeniedByPolicy => ("denied", "{}", ""),
                Outcome.FalsePrecondition => ("subject", "{}", ""","preconditions":[{"key":"init","operator":"not_exists"}]"""),
                Outcome.MissingDependency => ("subject", "{}", ""","state_dependencies":["init","nowhere"]"""),
                Outcome.UnregisteredTool => ("nobody", "{}", ""),
                _ => ("subject", "{}", ""),
            };
            string what = Outcome switch
            {
                Outcome.NoTool => "\"type\":\"tool_call\"",
                Outcome.FalseAssertion => """ "type":"assertion","parameters":{"key":"init","value":"other"} """,
                _ => $$""" "type":"tool_call","tool":"{{tool}}","parameters":{{parameters}}{{more}} """,
            };
            string after = Position == Position.Between ? $",\"dependencies\":[\"{Id}.before\"]" : "";
            return $$"""{"id":"{{Id}}.subject",{{what}},"failure_behavior":"{{Behavior}}","max_retries":{{MaxRetries}},"expected_effects":{"s":1}{{after}} }""";
        }
    }

    private string Later => $$"""{"id":"{{Id}}.later","type":"state_write","parameters":{"key":"l","value":1},"dependencies":["{{Id}}.subject"]}""";

    private string Submission(string proposal, params string?[] actions) =>
        $$"""{"proposal":{"id":"{{proposal}}","actions":[{{string.Join(',', actions.OfType<string>())}}]},"scope":{"tenantId":"{{Id}}"} }""";

    // ---------------------------------------------------------------- what the protocol says of it

    private bool IsDispatched => Outcome is Outcome.Succeeds or Outcome.FailsOnce or Outcome.Fails or Outcome.TimesOut or Outcome.FalseAssertion;
    private int Attempts => !IsDispatched ? 0 : Outcome switch
    {
        Outcome.Succeeds => 1,
        Outcome.FailsOnce => Behavior == "retry" && MaxRetries > 0 ? 2 : 1,
        _ => Behavior == "retry" ? MaxRetries + 1 : 1,
    };
    private bool Succeeds => Outcome == Outcome.Succeeds || (Outcome == Outcome.FailsOnce && Attempts == 2);
    private string Status => Succeeds ? "succeeded" : IsDispatched ? "failed" : "rejected";
    private bool Stops => !Succeeds && Behavior != "skip";
    private bool RollsBack => Status == "failed" && Behavior == "abort";
    private bool RunsOneByOne => Position != Position.AmongSkips || Behavior == "abort";
    private string AfterStatus => Stops && RunsOneByOne ? "skipped" : "succeeded";
    private string LaterStatus => Stops ? "skipped" : "succeeded";

    private string? Error => Succeeds ? null : Outcome switch
    {
        Outcome.FailsOnce or Outcome.Fails => $"attempt {Attempts} broke",
        Outcome.TimesOut => $"action timed out after {TimeoutMs}ms",
        Outcome.FalseAssertion => "assertion failed",
        Outcome.MissingParameter => "missing required parameter 'n' for tool 'strict'",
        Outcome.WrongType => "tool 'strict' parameter validation: ",
        Outcome.DeniedByPolicy => "tool 'denied' denied",
        Outcome.FalsePrecondition => "precondition failed",
        Outcome.MissingDependency => "state dependency 'nowhere' not found",
        Outcome.UnregisteredTool => "tool 'nobody' is not registered",
        _ => "tool_call action has no tool specified",
    };

    /// <summary>The actions in their order, each with the key that it writes and its output for a success.</summary>
    private IEnumerable<(string Name, string Status, string Key, string Output)> Ends()
    {
        if (HasBefore) yield return ("before", "succeeded", "b", "\"done\"");
        yield return ("subject", Status, "s", $"\"attempt {Attempts}\"");
        if (HasAfter) yield return ("after", AfterStatus, "a", "\"done\"");
        if (HasLater) yield return ("later", LaterStatus, "l", "null");
    }

    /// <summary>A line for each action, then cost, state, the subject's attempts and events, the proposal's end, and what asking again brings.</summary>
    private string Expected()
    {
        (string Name, string Status, string Key, string Output)[] ends = [.. Ends()];
        int Count(string status) => ends.Count(end => end.Status == status);
        int attempts = Outcome == Outcome.FalseAssertion ? 0 : Attempts;
        int peers = ends.Count(end => end is { Name: "before" or "after", Status: "succeeded" });
        IEnumerable<string> kept = RollsBack ? [] : ends.Where(end => end.Status == "succeeded").Select(end => $"\"{end.Key}\":1");
        return string.Concat(ends.Select(end => $"{end.Name} {end.Status}" + (end.Status == "succeeded" ? $"{(RollsBack ? " rolled_back" : "")} {end.Output} {{\"{end.Key}\":1}}\n" : " null {}\n")))
            + $"tool_calls {peers + attempts} executed {Count("succeeded") + Count("failed")} skipped {Count("skipped")} rejected {Count("rejected")} retries {Math.Max(Attempts - 1, 0)}\n"
            + $"state {string.Join(',', kept.Append("\"init\":0").Order(StringComparer.Ordinal))}\n"
            + $"attempts {string.Join(' ', Enumerable.Range(1, attempts))}\n"
            + $"events {Events}\n"
            + $"end {(RollsBack ? "state_snapshot state_rollback" : "-")}\n"
            + (HasBefore ? $"again {(RollsBack ? "action_validated action_executing action_succeeded state_changed" : "action_deduplicated state_changed")}\n" : "");
    }

    /// <summary>Of the action itself (protocol 10.4).</summary>
    private string Events => !IsDispatched
        ? (Outcome == Outcome.DeniedByPolicy ? "policy_violation action_rejected" : "action_rejected")
        : "action_validated action_executing " + string.Concat(Enumerable.Repeat("action_retrying ", Attempts - 1)) + (Succeeds ? "action_succeeded state_changed" : "action_failed");

    // ---------------------------------------------------------------- what happens

    /// <summary>Answers the callbacks of any case.</summary>
    public static Task<string> AnswerAsync(ToolRequest call)
    {
        if (!call.ActionId.EndsWith(".subject", StringComparison.Ordinal)) return Task.FromResult("\"done\"");
        Outcome outcome = Enum.Parse<Outcome>(call.ActionId.Split('-')[0]);
        int attempt = call.Params.GetProperty("attempt").GetInt32();
        return outcome switch
        {
            Outcome.Fails => throw new ToolFailed($"attempt {attempt} broke"),
            Outcome.FailsOnce when attempt == 1 => throw new ToolFailed($"attempt {attempt} broke"),
            Outcome.TimesOut => Never,
            _ => Task.FromResult($"\"attempt {attempt}\""),
        };
    }

    private static readonly Task<string> Never = new TaskCompletionSource<string>().Task;

    /// <summary>Plays the case on a connection that others use at the same time.</summary>
    /// <returns>What was not as expected, or null.</returns>
    public async Task<string?> PlayAsync(RpcPeer peer)
    {
        await peer.CallAsync("state.set", $$"""{"key":"init","value":0,"tenant_id":"{{Id}}"}""");
        JsonElement result = await peer.CallAsync("proposal.submit", Submission(Id, HasBefore ? Before : null, Subject, HasAfter ? Peer("after", "a") : null, HasLater ? Later : null));
        string state = (await peer.CallAsync("state.snapshot", $$"""{"tenant_id":"{{Id}}"}""")).GetRawText();
        string[] told = await EventsAsync(peer, Id);
        string again = "";
        if (HasBefore)
        {
            await peer.CallAsync("proposal.submit", Submission(Id + "-again", Before));
            again = $"again {Of("before", await EventsAsync(peer, Id + "-again"))}\n";
        }

        JsonElement cost = result.GetProperty("cost");
        string[] errors = [.. result.GetProperty("results").EnumerateArray().Where(one => one.GetProperty("action_id").GetString() == Id + ".subject").Select(one => one.GetProperty("error").GetString() ?? "")];
        string end = string.Join(' ', told.Where(one => one.StartsWith("state_", StringComparison.Ordinal) && one.EndsWith(' ')).Select(one => one.TrimEnd()));
        string actual = string.Concat(result.GetProperty("results").EnumerateArray().Select(Line))
            + $"tool_calls {cost.GetProperty("tool_calls")} executed {cost.GetProperty("actions_executed")} skipped {cost.GetProperty("actions_skipped")} rejected {cost.GetProperty("actions_rejected")} retries {cost.GetProperty("retries")}\n"
            + $"state {string.Join(',', state[1..^1].Split(',').Order(StringComparer.Ordinal))}\n"
            + $"attempts {string.Join(' ', peer.ToolCalls.Where(call => call.ActionId == Id + ".subject").Select(call => call.Params.GetProperty("attempt").GetRawText()))}\n"
            + $"events {Of("subject", told)}\n"
            + $"end {(end.Length == 0 ? "-" : end)}\n" + again;
        string expected = Expected();
        if (actual != expected) return $"{this}\n{actual}instead of\n{expected}";
        bool rightError = Error is null ? errors[0].Length == 0 : errors[0].StartsWith(Error, StringComparison.Ordinal);
        return rightError ? null : $"{this}: error '{errors[0]}' instead of '{Error}'";
    }

    private string Line(JsonElement result)
    {
        string name = result.GetProperty("action_id").GetString()![(Id.Length + 1)..];
        bool rolledBack = result.TryGetProperty("rolled_back", out JsonElement flag);
        return $"{name} {result.GetProperty("status").GetString()}{(rolledBack ? " rolled_back" + (flag.GetBoolean() ? "" : " false") : "")} {result.GetProperty("output").GetRawText()} {result.GetProperty("state_changes").GetRawText()}\n";
    }

    private string Of(string name, string[] told) => string.Join(' ', told.Where(one => one.EndsWith($" {Id}.{name}", StringComparison.Ordinal)).Select(one => one.Split(' ')[0]));

    /// <summary>Kind and action id of a proposal's events, the oldest first.</summary>
    private static async Task<string[]> EventsAsync(RpcPeer peer, string proposal) =>
        [.. (await peer.CallAsync("events.query", $$"""{"proposal_id":"{{proposal}}"}""")).GetProperty("events").EnumerateArray().Reverse()
            .Select(one => $"{one.GetProperty("kind").GetString()} {one.GetProperty("action_id").GetString()}")];
}

using System.Text;

namespace CarServer.Tests.Fuzz.Engine;

/// <summary>What one attempt of a tool comes to, and when.</summary>
/// <param name="Ticks">0: at once, before the call returns.</param>
internal readonly record struct Attempt(long Ticks, bool Succeeds);

/// <param name="Operator">Null: left out.</param>
internal sealed record Condition(string Key, string? Operator, string Value)
{
    public string Json => $$"""{"key":"{{Key}}"{{(Operator is null ? "" : $",\"operator\":\"{Operator}\"")}},"value":{{Value}}}""";
}

/// <summary>One action of a generated proposal, with what its tool is going to do.</summary>
internal sealed record PlannedAction(string Id, string Type)
{
    public string? Tool { get; init; }

    /// <summary>A tool's parameters; for the other types they follow from <see cref="Operand"/>.</summary>
    public string ToolParameters { get; init; } = "{}";

    /// <summary>Null: the action names no key.</summary>
    public Condition? Operand { get; init; }

    public IReadOnlyList<Condition> Preconditions { get; init; } = [];
    public IReadOnlyList<(string Key, string Value)> Effects { get; init; } = [];
    public IReadOnlyList<string> StateDependencies { get; init; } = [];
    public IReadOnlyList<string> Dependencies { get; init; } = [];
    public bool Idempotent { get; init; }
    public string Behavior { get; init; } = "abort";
    public int MaxRetries { get; init; } = 3;
    public int? TimeoutMs { get; init; }
    public IReadOnlyList<Attempt> Script { get; init; } = [new(0, true)];

    public string? WrittenKey => Type == "state_write" ? Operand?.Key : null;

    /// <summary>The script's last attempt stands for all later ones.</summary>
    public Attempt Scripted(int attempt) => Script[Math.Min(attempt, Script.Count) - 1];

    public string Json
    {
        get
        {
            var json = new StringBuilder($$"""{"id":"{{Id}}","type":"{{Type}}","failure_behavior":"{{Behavior}}","max_retries":{{MaxRetries}}""");
            if (Tool is not null) json.Append($",\"tool\":\"{Tool}\"");
            json.Append(",\"parameters\":").Append(Type == "tool_call" ? ToolParameters : Operand?.Json ?? "{}");
            if (Preconditions.Count > 0) json.Append($",\"preconditions\":[{string.Join(',', Preconditions.Select(one => one.Json))}]");
            if (Effects.Count > 0) json.Append($$""","expected_effects":{{{string.Join(',', Effects.Select(one => $"\"{one.Key}\":{one.Value}"))}}}""");
            if (StateDependencies.Count > 0) json.Append($",\"state_dependencies\":[{Quoted(StateDependencies)}]");
            if (Dependencies.Count > 0) json.Append($",\"dependencies\":[{Quoted(Dependencies)}]");
            if (Idempotent) json.Append(",\"idempotent\":true");
            if (TimeoutMs is { } ms) json.Append($",\"timeout_ms\":{ms}");
            return json.Append('}').ToString();
        }
    }

    private static string Quoted(IEnumerable<string> texts) => string.Join(',', texts.Select(text => $"\"{text}\""));
}

/// <summary>A generated proposal and whose it is.</summary>
internal sealed record Plan(string Id, string? Tenant, IReadOnlyList<PlannedAction> Actions)
{
    public string Json => $$"""{"id":"{{Id}}","actions":[{{string.Join(",\n  ", Actions.Select(action => action.Json))}}]}""";

    public override string ToString() => $"tenant {Tenant ?? "-"}: {Json}\n  tools: "
        + string.Join(' ', Actions.Where(action => action.Tool is not null).Select(action => $"{action.Id}={string.Join('/', action.Script.Select(one => $"{one.Ticks}{(one.Succeeds ? "+" : "-")}"))}"));
}

/// <summary>A rule in force while a session's proposals run.</summary>
internal sealed record Rule(string Name, string Kind, string? Target = null, string? Key = null, string? Pattern = null, string? Value = null);

/// <summary>Proposals that follow each other on one connection.</summary>
internal sealed record SessionPlan(IReadOnlyList<Rule> Rules, IReadOnlyList<Plan> Plans)
{
    public override string ToString() => $"rules: {string.Join(", ", Rules)}\n{string.Join('\n', Plans)}";
}

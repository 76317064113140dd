namespace CarServer.State.Engine.Analysis;

/// <summary>One of the checks of <c>verify</c>: its name on the wire, and how far it reaches.</summary>
/// <remarks>No record: each is one of a kind, and equal texts would have to be hashed to find that out.</remarks>
internal sealed class Check(string name, string verifies, string cannotVerify, EvidenceTier tier = EvidenceTier.DecisionProcedure)
{
    public string Name { get; } = name;
    public string Verifies { get; } = verifies;
    public string CannotVerify { get; } = cannotVerify;
    public EvidenceTier Tier { get; } = tier;

    public static readonly Check ActionIds = new("action_ids",
        "every action has an id of its own", "that an id means to others what it means here");

    public static readonly Check ActionCount = new("action_count",
        "the plan has a usual number of actions", "that a long plan is a bad one");

    public static readonly Check RepeatedCalls = new("repeated_calls",
        "no tool is called again with identical parameters", "that a repeated call is a mistake: polling repeats on purpose", EvidenceTier.Heuristic);

    public static readonly Check Tools = new("tools",
        "every tool call names a tool that is registered now", "that the tool will still be registered, and answer, when the plan runs");

    public static readonly Check Parameters = new("parameters",
        "parameters fit their tool's schema; keys of the state can be written", "what the schema does not declare, and whether a value makes sense");

    public static readonly Check Preconditions = new("preconditions",
        "preconditions hold when their action's turn comes", "changes that no action declares");

    public static readonly Check Assertions = new("assertions",
        "assertions hold when their turn comes", "changes that no action declares");

    public static readonly Check StateDependencies = new("state_dependencies",
        "every key that an action depends on is there when its turn comes", "that an earlier action really writes what it declares");

    public static readonly Check Ordering = new("dependencies",
        "dependencies name other actions and can all be kept", "an order that nobody declared");

    public static readonly Check Conflicts = new("write_conflicts",
        "no key has two writers in no particular order", "writes that are not declared, and writers outside of this plan");

    public static readonly Check StateLimits = new("state_limits",
        "the state stays within what a session may hold", "what other proposals add meanwhile");

    public static readonly Check[] All =
        [ActionIds, ActionCount, RepeatedCalls, Tools, Parameters, Preconditions, Assertions, StateDependencies, Ordering, Conflicts, StateLimits];
}

/// <summary>The issues as they are found: all are counted, the first of each severity are kept.</summary>
internal sealed class Findings
{
    private readonly List<Found> _kept = [];
    private readonly Dictionary<Check, int> _byCheck = [];
    private readonly int[] _bySeverity = new int[3];

    public int Of(Check check) => _byCheck.GetValueOrDefault(check);
    public int Of(Severity severity) => _bySeverity[(int)severity];

    /// <summary>Issues that are not in the list.</summary>
    public int LeftOut => _bySeverity.Sum() - _kept.Count;

    public void Add(Check check, int index, AgentAction action, Severity severity, string message)
    {
        _byCheck[check] = Of(check) + 1;
        if (_bySeverity[(int)severity]++ >= AnalysisLimits.MaxIssues) return;
        _kept.Add(new Found(index, _kept.Count, new Issue(action.Id, severity, Cut(message), check.Tier)));
    }

    /// <summary>By action, and for each in the order they were found.</summary>
    public List<Issue> List()
    {
        _kept.Sort(static (a, b) => a.Action == b.Action ? a.Place.CompareTo(b.Place) : a.Action.CompareTo(b.Action));
        return _kept.ConvertAll(static kept => kept.Issue);
    }

    private sealed class Found(int action, int place, Issue issue)
    {
        public int Action { get; } = action;
        public int Place { get; } = place;
        public Issue Issue { get; } = issue;
    }

    private static string Cut(string message) =>
        message.Length <= AnalysisLimits.MaxMessageChars ? message : Excerpt.Of(message, AnalysisLimits.MaxMessageChars - 1);
}

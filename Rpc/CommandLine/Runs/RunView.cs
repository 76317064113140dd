using CarServer.RunStore;

namespace CarServer.Rpc.CommandLine.Runs;

/// <summary>A run on the terminal, record by record.</summary>
internal sealed class RunView(Screen screen, bool full)
{
    /// <summary>Of one value: what is longer is looked for by scrolling, and hides the turns around it.</summary>
    private const int MostLines = 24;

    /// <summary>Of one value: some twenty lines of an 80-column terminal.</summary>
    private const int MostCharacters = 1_600;

    private const int LabelColumns = 12;

    private DateTime? _startedAt;
    private bool _ended;
    private int _turns;

    public void Add(RawJson record)
    {
        switch (TraceReader.Parse(record))
        {
            case RunStarted started: Begin(started); break;
            case RunTurn turn: Turn(turn); break;
            case RunEnded ended: End(ended); break;
            default:
                screen.Line();
                Field("unknown", ValueText.Lines(record));
                break;
        }
    }

    /// <summary>After the last record there is: tells when that is not the end of the run.</summary>
    public void Finish()
    {
        if (_ended) return;
        screen.Line();
        screen.Line($"{RunWords.Status(RunStatus.InProgress)}, {RunWords.Count(_turns, "turn")} so far");
    }

    private void Begin(RunStarted started)
    {
        _startedAt = started.StartedAt;
        screen.Line(screen.Bold($"run {TerminalText.OneLine(started.RunId)}"));
        Field("intent", TerminalText.Lines(started.Intent));
        if (started.OutcomeDescription is { } wanted) Field("wanted", TerminalText.Lines(wanted));
        Field("agent", [TerminalText.OneLine(started.AgentId)]);
        Field("started", [TimeText.Of(started.StartedAt)]);
    }

    private void Turn(RunTurn turn)
    {
        _turns++;
        TurnGlance glance = TurnGlance.Of(turn);
        screen.Line();
        screen.Line($"{screen.Dim($"#{glance.Index}")}  {screen.Bold(glance.Tool)}  {screen.Outcome(glance.Outcome, glance.Word)}{(glance.Took is { } took ? $"  {took}" : "")}");
        if (turn.Prompt is { } prompt) Field("prompt", TerminalText.Lines(prompt));
        if (turn.Parameters is { } parameters) Field("parameters", ValueText.Lines(parameters));
        if (turn.Output is { } output) Field("output", ValueText.Lines(output));
        if (turn.VerifierVerdict != VerifierVerdict.NotRun) Field("verdict", [turn.VerifierVerdict.ToString().ToLowerInvariant()]);
        if (turn.CliOutcome is { } cli) Program(cli);
        if (turn.Extra is { } extra) Field("extra", ValueText.Lines(extra));
        if (turn.PolicyRejected == true) Field("policy", ["rejected"]);
    }

    private void Program(CliOutcome cli)
    {
        string how = cli.Kind switch { CliOutcomeKind.Succeeded => "succeeded", CliOutcomeKind.Failed => "failed", _ => "timed out" };
        Field("program", [cli.ExitCode is { } code ? $"{how}, exit code {code}" : how]);
        if (cli.StdoutTail is { Length: > 0 } stdout) Field("stdout", TerminalText.Lines(stdout));
        if (cli.StderrTail is { Length: > 0 } stderr) Field("stderr", TerminalText.Lines(stderr));
    }

    private void End(RunEnded ended)
    {
        _ended = true;
        screen.Line();
        screen.Line(EndLine(screen, ended, _turns, _startedAt));
        if (ended.Termination is not RunOutcome { Outcome: var outcome }) return;
        if (outcome.Summary is { Length: > 0 } summary) Field("summary", TerminalText.Lines(summary));
        foreach (Evidence evidence in outcome.Evidence ?? [])
        {
            string data = ValueText.Glance(evidence.Data);
            Field("evidence", [TerminalText.OneLine(evidence.Description), .. data.Length > 0 ? [data] : (string[])[]]);
        }
    }

    /// <summary><c>completed: success  12 turns in 3.4 s</c>, the same in every verb.</summary>
    public static string EndLine(Screen screen, RunEnded ended, int turns, DateTime? startedAt)
    {
        string took = startedAt is { } started ? $" in {TimeText.Of(ended.EndedAt - started)}" : "";
        return $"{screen.Outcome(RunWords.Colour(ended.Termination), RunWords.How(ended.Termination))}  {RunWords.Count(turns, "turn")}{took}";
    }

    private void Field(string label, IReadOnlyList<string> lines)
    {
        int shown = 0, characters = 0;
        for (; shown < lines.Count && (full || (shown < MostLines && characters < MostCharacters)); shown++)
        {
            string line = lines[shown];
            string fitting = full ? line : TerminalText.Cut(line, MostCharacters - characters);
            characters += line.Length;
            screen.Line("  " + (shown == 0 ? screen.Dim(label.PadRight(LabelColumns)) : new string(' ', LabelColumns)) + fitting);
        }
        if (full || (shown == lines.Count && characters <= MostCharacters)) return;
        int hiddenCharacters = lines.Skip(shown).Sum(line => line.Length) + Math.Max(0, characters - MostCharacters);
        string hidden = (shown < lines.Count ? $"{RunWords.Count(lines.Count - shown, "line")}, " : "") + RunWords.Count(hiddenCharacters, "character");
        screen.Line(screen.Dim($"  {"",-LabelColumns}… {hidden} more, --full shows all"));
    }
}

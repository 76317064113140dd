using CarServer.RunStore;

namespace CarServer.Rpc.CommandLine.Runs;

/// <summary>A run as it goes: a line for each turn.</summary>
internal sealed class RunLines(Screen screen)
{
    private const int IndexColumns = 5;
    private const int WordColumns = 12;

    private DateTime? _startedAt;
    private int _turns;

    public void Show(RawJson raw, RunRecord? record)
    {
        switch (record)
        {
            case RunStarted started:
                _startedAt = started.StartedAt;
                string head = $"run {TerminalText.OneLine(started.RunId)}";
                screen.Line($"{screen.Bold(head)}  {TerminalText.OneLine(started.AgentId)}, since {TimeText.Of(started.StartedAt)}");
                screen.Line(screen.Fit(TerminalText.OneLine(started.Intent), 0));
                break;
            case RunTurn turn:
                _turns++;
                screen.Line(Line(TurnGlance.Of(turn)));
                break;
            case RunEnded ended:
                screen.Line(RunView.EndLine(screen, ended, _turns, _startedAt));
                if (ended.Termination is RunOutcome { Outcome.Summary: { Length: > 0 } summary }) screen.Line(screen.Fit(TerminalText.OneLine(summary), 0));
                break;
            default:
                screen.Line(screen.Fit(TerminalText.OneLine(raw.ToString()), 0));
                break;
        }
    }

    private string Line(TurnGlance turn)
    {
        string index = $"#{turn.Index}".PadRight(IndexColumns), word = turn.Word.PadRight(WordColumns);
        string took = turn.Took is null ? "" : turn.Took + "  ";
        string gist = string.Join(" ", ((string[])[turn.Given, turn.Came.Length > 0 ? $"→ {turn.Came}" : ""]).Where(part => part.Length > 0));
        int taken = index.Length + word.Length + TerminalText.Width(turn.Tool) + took.Length + 4;
        return $"{screen.Dim(index)} {screen.Outcome(turn.Outcome, word)} {screen.Bold(turn.Tool)}  {took}{screen.Dim(screen.Fit(gist, taken))}".TrimEnd();
    }
}

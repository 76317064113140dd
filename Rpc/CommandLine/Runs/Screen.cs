namespace CarServer.Rpc.CommandLine.Runs;

/// <summary>Where the lines for people go: colours and a width on a terminal, neither elsewhere.</summary>
internal sealed class Screen
{
    /// <summary>A very narrow terminal wraps; a column of single letters would tell nothing.</summary>
    private const int MinColumns = 16;

    private readonly Surroundings _surroundings;
    private readonly bool _colours;

    public Screen(Surroundings surroundings)
    {
        _surroundings = surroundings;
        Columns = surroundings.Columns();
        _colours = Columns is not null && surroundings.Environment("TERM") != "dumb" && surroundings.Environment("NO_COLOR") is null or "";
    }

    /// <summary>Null when the output is no terminal: then nothing is cut for width.</summary>
    public int? Columns { get; }

    public string Dim(string text) => Style("2", text);
    public string Bold(string text) => Style("1", text);

    /// <summary>The word in the colour of an outcome.</summary>
    public string Outcome(TurnOutcome outcome, string text) => Style(outcome switch
    {
        TurnOutcome.Ok => "32",
        TurnOutcome.Failed => "31",
        TurnOutcome.Rejected => "33",
        _ => "35",
    }, text);

    /// <summary>One write for the line: what is shown of a live run is never half a line.</summary>
    public void Line(string text = "") => _surroundings.Print(text + "\n");

    /// <summary>Beside the output, so that what is piped on stays what was asked for.</summary>
    public void Note(string text) => _surroundings.Error.WriteLine(TerminalText.OneLine(text));

    /// <summary>Cuts text that has no colours yet to what is left of a line.</summary>
    public string Fit(string text, int taken) => Columns is { } columns ? TerminalText.Cut(text, Math.Max(columns - taken, MinColumns)) : text;

    private string Style(string code, string text) => _colours && text.Length > 0 ? $"\e[{code}m{text}\e[0m" : text;
}

using System.CommandLine;
using System.Globalization;
using CarServer.Rpc.Client;
using CarServer.RunStore;

namespace CarServer.Rpc.CommandLine.Runs;

internal static class ListCommand
{
    private const string AgentVariable = "CAR_AGENT_ID";

    /// <summary>A screenful or two; whoever wants all of them says so.</summary>
    private const int DefaultLimit = 50;

    /// <summary>Every run carries its intent, at most 64 KiB: an answer stays far below what the daemon lets pile up.</summary>
    private const int PageRuns = 200;

    public static Verb Build(Surroundings surroundings)
    {
        var command = new Verb("list", "List the runs of an agent, newest first.");
        var agent = new Option<string>("--agent") { Description = $"Whose runs. [variable: {AgentVariable}]", HelpName = "ID" };
        var status = new Option<string>("--status") { Description = "Only those in_progress, completed or incomplete.", HelpName = "STATUS" };
        var limit = new Option<string>("--limit") { Description = $"How many at most (default {DefaultLimit}).", HelpName = "N" };
        var json = new Option<bool>("--json") { Description = "As JSON, the way the daemon says it." };
        foreach (Option option in (ReadOnlySpan<Option>)[agent, status, limit, json]) command.Options.Add(option);
        var verb = new ClientVerb(command, surroundings);
        command.SetAction((parsed, _) =>
        {
            string whose = parsed.GetValue(agent) ?? StateRoot.Given(surroundings.Environment(AgentVariable))
                ?? throw new UsageException($"whose runs? Give --agent ID, or set {AgentVariable}");
            int most = Limit(parsed.GetValue(limit));
            string? only = Status(parsed.GetValue(status));
            return verb.RunAsync(parsed, async (client, deadline) =>
            {
                RunsPage runs = await ReadAsync(client, whose, only, most, deadline);
                if (parsed.GetValue(json))
                    surroundings.PrintLine(IndentedJson.From(RawJson.Parse($"{{\"agent_id\":{RawJson.FromString(runs.AgentId)},\"runs\":[{string.Join(',', runs.Runs)}]}}")));
                else Print(new Screen(surroundings), runs);
                return ExitCode.Ok;
            });
        });
        return command;
    }

    private static async Task<RunsPage> ReadAsync(RpcClient client, string agentId, string? status, int most, CancellationToken deadline)
    {
        var runs = new List<RawJson>();
        RunsPage page;
        string? before = null;
        do
        {
            string more = (status is null ? "" : $",\"status\":\"{status}\"") + (before is null ? "" : $",\"before\":{RawJson.FromString(before)}");
            RawJson asked = RawJson.Parse($"{{\"agent_id\":{RawJson.FromString(agentId)},\"limit\":{Math.Min(PageRuns, most - runs.Count)}{more}}}");
            page = RunsWire.Read("runs.list", await client.CallAsync("runs.list", asked, deadline), Json.RunsPage);
            runs.AddRange(page.Runs);
            before = page.NextBefore;
        }
        while (before is not null && runs.Count < most);
        return page with { Runs = runs };
    }

    private static void Print(Screen screen, RunsPage page)
    {
        var runs = new RunSummary[page.Runs.Count];
        for (int i = 0; i < runs.Length; i++) runs[i] = RunsWire.Read("runs.list", page.Runs[i], Json.RunSummary);
        if (runs.Length == 0)
        {
            screen.Note($"no runs of {page.AgentId}");
            return;
        }
        string[][] rows = [["RUN", "STATUS", "TURNS", "STARTED", "DURATION"], .. runs.Select(Row)];
        int[] widths = new int[rows[0].Length];
        foreach (string[] row in rows)
            for (int column = 0; column < widths.Length; column++) widths[column] = Math.Max(widths[column], TerminalText.Width(row[column]));
        for (int row = 0; row < rows.Length; row++)
        {
            string line = string.Concat(rows[row].Select((cell, column) => TerminalText.PadRight(cell, widths[column]) + "  "));
            string intent = row == 0 ? "INTENT" : screen.Fit(TerminalText.OneLine(runs[row - 1].Intent), TerminalText.Width(line));
            screen.Line(row == 0 ? screen.Dim(line + intent) : line + intent);
        }
        if (page.NextBefore is not null) screen.Note($"older ones are not shown; --limit {runs.Length * 2} shows more");
    }

    private static string[] Row(RunSummary run) =>
    [
        TerminalText.OneLine(run.RunId), RunWords.Status(run.Status), run.TurnCount.ToString(CultureInfo.InvariantCulture),
        TimeText.Of(run.StartedAt), run.EndedAt is { } ended ? TimeText.Of(ended - run.StartedAt) : "",
    ];

    private static int Limit(string? text) =>
        text is null ? DefaultLimit
        : int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int most) && most > 0 ? most
        : throw new UsageException($"--limit must be a number from 1 on, got '{text}'");

    private static string? Status(string? text) =>
        text is null || RunWords.Statuses.Contains(text) ? text
        : throw new UsageException($"--status must be {string.Join(", ", RunWords.Statuses)}, got '{text}'");
}

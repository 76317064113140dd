using System.CommandLine;
using CarServer.RunStore;

namespace CarServer.Rpc.CommandLine.Runs;

internal static class GcCommand
{
    public static Verb Build(Surroundings surroundings)
    {
        var command = new Verb("gc", "Remove the finished runs that the retention settings no longer keep. The daemon does so by itself too; needs the host token.");
        var dryRun = new Option<bool>("--dry-run") { Description = "Remove nothing, tell what would go." };
        var json = new Option<bool>("--json") { Description = "As JSON, the way the daemon says it." };
        command.Options.Add(dryRun);
        command.Options.Add(json);
        var verb = new ClientVerb(command, surroundings);
        command.SetAction((parsed, _) => verb.RunAsync(parsed, async (client, deadline) =>
        {
            RawJson said = await client.CallAsync("runs.gc", RawJson.Parse(parsed.GetValue(dryRun) ? """{"dry_run":true}""" : "{}"), deadline);
            if (parsed.GetValue(json)) surroundings.PrintLine(IndentedJson.From(said));
            else Print(new Screen(surroundings), RunsWire.Read("runs.gc", said, Json.CollectedRuns));
            return ExitCode.Ok;
        }));
        return command;
    }

    private static void Print(Screen screen, CollectedRuns collected)
    {
        string done = collected.DryRun ? "would remove" : "removed";
        foreach (CollectedRun run in collected.Removed)
        {
            string[] told = [run.RunId, run.AgentId, RunWords.Status(run.Status), $"started {TimeText.Of(run.StartedAt)}", Why(run.Reason, collected)];
            screen.Line($"{done} {string.Join("  ", told.Select(TerminalText.OneLine))}");
        }
        if (collected.RemovedCount > collected.Removed.Count) screen.Line($"{done} {RunWords.Count(collected.RemovedCount - collected.Removed.Count, "more run")}");
        if (collected.JournalsRemoved > 0) screen.Line($"{done} {RunWords.Count(collected.JournalsRemoved, "journal")} of connections");
        if (collected.Removed.Count + collected.JournalsRemoved == 0) screen.Note("nothing to remove");
    }

    /// <summary>The reason is the name of the setting that was exceeded; a setting of another version is named as it is.</summary>
    private static string Why(string reason, CollectedRuns collected) => reason switch
    {
        "max_per_agent" => $"beyond the agent's newest {collected.MaxPerAgent}",
        "max_age_days" => $"older than {RunWords.Count(collected.MaxAgeDays, "day")}",
        _ => reason,
    };
}

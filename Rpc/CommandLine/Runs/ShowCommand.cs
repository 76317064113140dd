using System.CommandLine;
using System.Text;
using CarServer.RunStore;

namespace CarServer.Rpc.CommandLine.Runs;

internal static class ShowCommand
{
    public static Verb Build(Surroundings surroundings)
    {
        var command = new Verb("show", "Show a run: its intent, each turn with what was given and what came of it, and its end.");
        Argument<string> run = RunsCommand.RunId();
        var full = new Option<bool>("--full") { Description = "Cut no long value." };
        var json = new Option<bool>("--json") { Description = "The records as JSON, uncut." };
        command.Arguments.Add(run);
        command.Options.Add(full);
        command.Options.Add(json);
        var verb = new ClientVerb(command, surroundings);
        command.SetAction((parsed, _) => verb.RunAsync(parsed, async (client, deadline) =>
        {
            var trace = new TraceReader(client, parsed.GetValue(run)!);
            if (parsed.GetValue(json))
            {
                List<RawJson> records = [];
                await foreach (RawJson record in trace.RecordsAsync(0, deadline)) records.Add(record);
                string all = $"{{\"run_id\":{RawJson.FromString(parsed.GetValue(run)!)},\"records\":[{string.Join(',', records)}]}}";
                // Not parsed: around the deepest value that a turn may hold it is deeper than what a client may send.
                surroundings.PrintLine(IndentedJson.From(RawJson.FromCompact(Encoding.UTF8.GetBytes(all))));
                return ExitCode.Ok;
            }
            var view = new RunView(new Screen(surroundings), parsed.GetValue(full));
            await foreach (RawJson record in trace.RecordsAsync(0, deadline)) view.Add(record);
            view.Finish();
            return ExitCode.Ok;
        }));
        return command;
    }
}

using System.CommandLine;

namespace CarServer.Rpc.CommandLine.Runs;

/// <summary><c>car-server runs</c>: what agents did, as the running daemon knows it.</summary>
internal static class RunsCommand
{
    public static Verb Build(Surroundings surroundings)
    {
        var command = new Verb("runs", "List, show, follow, export and collect the runs of agents.")
        {
            More = () => """
                Examples:
                  car-server runs list --agent me
                  car-server runs watch 62bb080b-cc40-4f39-beaa-1f4b5e5e92da
                  car-server runs export 62bb080b-cc40-4f39-beaa-1f4b5e5e92da --format html --output run.html
                """,
        };
        foreach (Func<Surroundings, Verb> build in (ReadOnlySpan<Func<Surroundings, Verb>>)
            [ListCommand.Build, ShowCommand.Build, WatchCommand.Build, ExportCommand.Build, GcCommand.Build])
            command.Subcommands.Add(build(surroundings));
        // The parser's own words for a command that is missing, or is none of these, do not name it.
        command.SetAction((Action<ParseResult>)(_ => throw new UsageException($"runs needs one of {string.Join(", ", command.Subcommands.Select(one => one.Name))} (see car-server runs --help)")));
        return command;
    }

    /// <summary>The argument of the commands that are about one run.</summary>
    public static Argument<string> RunId() => new("RUN_ID") { Description = "The run, as 'car-server runs list' names it." };
}

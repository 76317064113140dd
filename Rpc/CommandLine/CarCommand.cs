using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;
using System.Reflection;
using CarServer.Rpc.CommandLine.Runs;
using CarServer.RunStore;

namespace CarServer.Rpc.CommandLine;

/// <summary>The command line: which verbs there are, and how one of them is run.</summary>
internal static class CarCommand
{
    private static readonly (string Name, Func<Surroundings, Verb> Build)[] Verbs =
    [
        ("serve", ServeCommand.Build),
        ("call", CallCommand.Build),
        ("methods", MethodsCommand.Build),
        ("runs", RunsCommand.Build),
        ("ping", PingCommand.Build),
        ("wait-ready", WaitReadyCommand.Build),
        ("stop", StopCommand.Build),
        ("config", ConfigCommand.Build),
        ("version", VersionCommand.Build),
    ];

    /// <summary>As in the release notes: <c>0.21.0</c>, without the commit that the build may have added.</summary>
    public static string Version =>
        (typeof(CarCommand).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "unknown").Split('+')[0];

    /// <returns>One of <see cref="ExitCode"/>.</returns>
    public static Task<int> RunAsync(string[] args) => RunAsync(args, Surroundings.OfProcess());

    internal static async Task<int> RunAsync(string[] args, Surroundings surroundings)
    {
        try
        {
            return await InvokeAsync(WithVerb(args), surroundings);
        }
        catch (UsageException e)
        {
            surroundings.Error.WriteLine($"car-server: {e.Message}");
            return ExitCode.Usage;
        }
        catch (OutputException e)
        {
            if (e.HasNoReader) return ExitCode.NoReader;
            surroundings.Error.WriteLine($"car-server: cannot write to standard output: {PrivateFiles.Reason(e)}");
            return ExitCode.Failed;
        }
    }

    /// <summary><c>car-server --port 0</c> is <c>car-server serve --port 0</c>.</summary>
    private static string[] WithVerb(string[] args) => args switch
    {
        ["--version"] => ["version"],
        ["-h" or "--help" or "-?", ..] => args,
        [] or [['-', ..], ..] => ["serve", .. args],
        _ => args,
    };

    private static async Task<int> InvokeAsync(string[] args, Surroundings surroundings)
    {
        // No RootCommand: its options look their descriptions up in resources, by reflection, at every start.
        var help = new HelpWithMore(new HelpAction { MaxWidth = surroundings.Columns() ?? int.MaxValue });
        var root = new Command("car-server", "The daemon of the Common Agent Runtime, and a client for it. Without a command: serve.");
        root.Options.Add(new Option<bool>("--help", "-h", "-?") { Description = "Show help and usage information", Recursive = true, Action = help });
        root.Options.Add(new Option<bool>("--version") { Description = "Show version information" });   // see WithVerb
        // Only the chosen verb is built: the others cost the daemon's start-up time for nothing.
        int chosen = Array.FindIndex(Verbs, verb => verb.Name == args[0]);
        if (chosen < 0 && args[0] is not ['-', ..]) throw new UsageException($"there is no command '{args[0]}' (see car-server --help)");
        if (chosen >= 0) root.Subcommands.Add(Verbs[chosen].Build(surroundings));
        else foreach ((_, Func<Surroundings, Verb> build) in Verbs) root.Subcommands.Add(build(surroundings));

        // '@file' is a value of 'call', not a file with more arguments.
        ParseResult parsed = root.Parse(args, new ParserConfiguration { ResponseFileTokenReplacer = null });
        if (parsed.Errors.Count > 0 && parsed.Action != help)
            throw new UsageException($"{parsed.Errors[0].Message.TrimEnd('.')} (see car-server {(chosen >= 0 ? Verbs[chosen].Name + " " : null)}--help)");
        var invocation = new InvocationConfiguration
        {
            EnableDefaultExceptionHandler = false,
            ProcessTerminationTimeout = null,   // signals are ours (ServeCommand)
            Error = surroundings.Error,
        };
        // The parser's own default is Console.Out, which is made when it is first asked for: only help writes there.
        if (parsed.Action == help) invocation.Output = new StreamWriter(surroundings.Out) { AutoFlush = true };
        return await parsed.InvokeAsync(invocation);
    }

    /// <summary>The parser's help, and behind it what the parser does not know.</summary>
    private sealed class HelpWithMore(HelpAction help) : SynchronousCommandLineAction
    {
        public override int Invoke(ParseResult parsed)
        {
            help.Invoke(parsed);
            TextWriter output = parsed.InvocationConfiguration.Output;
            if (parsed.CommandResult.Command is Verb { More: { } more }) output.WriteLine($"{more().TrimEnd()}\n");
            output.WriteLine(ExitCode.Help);
            return ExitCode.Ok;
        }
    }
}

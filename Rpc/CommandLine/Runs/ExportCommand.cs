using System.CommandLine;
using CarServer.RunStore;

namespace CarServer.Rpc.CommandLine.Runs;

internal static class ExportCommand
{
    private static readonly string[] Formats = ["jsonl", "html"];

    public static Verb Build(Surroundings surroundings)
    {
        var command = new Verb("export", "Write a run's trace as it stands, or as one page to look at.")
        {
            More = () => """
                jsonl is the records byte for byte, one a line. html is a page that needs nothing beside itself and asks no network.
                Both hold what tools were given and returned: the file is for its owner only, and appears whole or not at all.
                """,
        };
        Argument<string> run = RunsCommand.RunId();
        var format = new Option<string>("--format") { Description = string.Join(" or ", Formats) + ".", HelpName = "FORMAT", Required = true };
        var output = new Option<string>("--output") { Description = "The file to write (default: standard output).", HelpName = "FILE" };
        command.Arguments.Add(run);
        command.Options.Add(format);
        command.Options.Add(output);
        var verb = new ClientVerb(command, surroundings);
        command.SetAction((parsed, _) =>
        {
            string wanted = parsed.GetValue(format)!;
            if (!Formats.Contains(wanted)) throw new UsageException($"--format must be {string.Join(" or ", Formats)}, got '{wanted}'");
            string? path = parsed.GetValue(output) is { } file ? PrivateOutput.Check(Path.GetFullPath(file, surroundings.Directory)) : null;
            return verb.RunAsync(parsed, async (client, deadline) =>
            {
                var records = new TraceReader(client, parsed.GetValue(run)!).RecordsAsync(0, deadline);
                try
                {
                    if (path is null)
                    {
                        var buffered = new BufferedStream(surroundings.Out, PrivateOutput.BufferBytes);
                        await WriteAsync(buffered);
                        buffered.Flush();
                    }
                    else await PrivateOutput.WriteAsync(path, WriteAsync);
                    return ExitCode.Ok;
                }
                catch (Exception e) when (path is not null && e is IOException or UnauthorizedAccessException)
                {
                    return verb.Fail(ExitCode.Failed, $"error: cannot write {path}: {PrivateFiles.Reason(e)}");
                }

                async Task WriteAsync(Stream target)
                {
                    if (wanted == "html") await HtmlExport.WriteAsync(target, records);
                    else await foreach (RawJson record in records)
                    {
                        target.Write(record.Utf8);
                        target.Write("\n"u8);
                    }
                }
            });
        });
        return command;
    }
}

using System.CommandLine;
using System.Text.Json;
using CarServer.RunStore;

namespace CarServer.Rpc.CommandLine;

internal static class CallCommand
{
    public static Verb Build(Surroundings surroundings)
    {
        var command = new Verb("call", "Call a method of the running daemon and print its result as JSON.")
        {
            More = () => """
                Examples:
                  car-server call server.info --pretty
                  car-server call runs.list '{"agent_id":"me"}'
                  car-server call proposal.submit @proposal.json
                Each call is a connection of its own: state, tools and runs that it makes end with it.
                """,
        };
        var method = new Argument<string>("METHOD") { Description = "The name, such as state.get; 'car-server methods' lists them." };
        var parameters = new Argument<string>("PARAMS") { Description = "The params as JSON; '-' reads them from standard input, '@FILE' from a file.", Arity = ArgumentArity.ZeroOrOne };
        var pretty = new Option<bool>("--pretty") { Description = "Indent the result." };
        var notify = new Option<bool>("--notify") { Description = "Send a notification: no reply, nothing printed." };
        command.Arguments.Add(method);
        command.Arguments.Add(parameters);
        command.Options.Add(pretty);
        command.Options.Add(notify);
        var verb = new ClientVerb(command, surroundings);
        command.SetAction((parsed, _) =>
        {
            string name = parsed.GetValue(method)!;
            RawJson given = Params(parsed.GetValue(parameters), surroundings);
            return verb.RunAsync(parsed, async (client, deadline) =>
            {
                if (parsed.GetValue(notify)) await client.NotifyAsync(name, given);
                else
                {
                    RawJson result = await client.CallAsync(name, given, deadline);
                    surroundings.PrintLine(parsed.GetValue(pretty) ? IndentedJson.From(result) : result.Utf8);
                }
                return ExitCode.Ok;
            });
        });
        return command;
    }

    private static RawJson Params(string? text, Surroundings surroundings)
    {
        if (text is null) return default;
        byte[] json;
        try
        {
            json = text switch
            {
                "-" => ReadAll(surroundings.In),
                ['@', .. var file] => File.ReadAllBytes(Path.GetFullPath(file, surroundings.Directory)),
                _ => System.Text.Encoding.UTF8.GetBytes(text),
            };
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw new UsageException($"cannot read the params from '{text}'");
        }
        try { return RawJson.Parse(json); }
        catch (JsonException e)
        {
            throw new UsageException(e.LineNumber is { } line ? $"the params are not JSON (line {line + 1}, byte {e.BytePositionInLine + 1})" : "the params are not one JSON value");
        }
    }

    private static byte[] ReadAll(Stream input)
    {
        var all = new MemoryStream();
        input.CopyTo(all);
        return all.ToArray();
    }
}

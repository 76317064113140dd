using System.CommandLine;
using System.Diagnostics;
using System.Globalization;

namespace CarServer.Rpc.CommandLine;

internal static class PingCommand
{
    public static Verb Build(Surroundings surroundings)
    {
        var command = new Verb("ping", "Call ping on the running daemon and print how long the answer took.");
        var verb = new ClientVerb(command, surroundings, defaultTimeout: 5);
        command.SetAction((parsed, _) => verb.RunAsync(parsed, async (client, deadline) =>
        {
            long sent = Stopwatch.GetTimestamp();
            await client.CallAsync("ping", default, deadline);
            double milliseconds = Stopwatch.GetElapsedTime(sent).TotalMilliseconds;
            surroundings.Print(string.Create(CultureInfo.InvariantCulture, $"pong {milliseconds:0.000} ms\n"));
            return ExitCode.Ok;
        }));
        return command;
    }
}

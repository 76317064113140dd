using System.CommandLine;
using System.Diagnostics;
using CarServer.Rpc.Client;
using CarServer.RunStore;

namespace CarServer.Rpc.CommandLine.Runs;

internal static class WatchCommand
{
    /// <summary>Before the first look for a daemon that went away; doubled for each further one, up to the longest.</summary>
    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(3);

    /// <summary>For connecting once and being let in.</summary>
    private static readonly TimeSpan ConnectTime = TimeSpan.FromSeconds(30);

    public static Verb Build(Surroundings surroundings)
    {
        var command = new Verb("watch", "Follow a run live, a line for each turn, until it ends. Outlives a restart of the daemon.")
        {
            More = () => "Ctrl-C leaves the run alone and exits with 130. Lost connections and healed gaps are told on stderr.",
        };
        Argument<string> run = RunsCommand.RunId();
        var json = new Option<bool>("--json") { Description = "Each record as one line of JSON, as it stands in the trace." };
        command.Arguments.Add(run);
        command.Options.Add(json);
        var verb = new ClientVerb(command, surroundings, timeoutHelp: "Seconds to look for a daemon that went away (default: without end).");
        command.SetAction((parsed, _) =>
        {
            var screen = new Screen(surroundings);
            Action<RawJson, RunRecord?> show = parsed.GetValue(json) ? (record, _) => surroundings.PrintLine(record.Utf8) : new RunLines(screen).Show;
            return RunAsync(verb, verb.Finder(parsed), new RunWatch(parsed.GetValue(run)!, show, screen.Note), verb.GivenTimeout(parsed), screen.Note);
        });
        return command;
    }

    private static async Task<int> RunAsync(ClientVerb verb, DaemonFinder finder, RunWatch watch, TimeSpan? patience, Action<string> note)
    {
        try
        {
            (RpcClient client, DaemonAddress address) = await OpenAsync(finder);
            // What answers at another address later on is not the daemon that has this run.
            finder = finder with { Addresses = [address] };
            while (!await FollowedToTheEndAsync(watch, client, note)) client = await FindAgainAsync(finder, patience, note);
            return ExitCode.Ok;
        }
        catch (RpcErrorException e) { return verb.Fail(ExitCode.Failed, $"error {e.Code}: {e.Message}"); }
        catch (RpcConnectionException e) { return verb.Fail(ExitCode.Unreachable, $"error: {e.Message}"); }
    }

    private static async Task<bool> FollowedToTheEndAsync(RunWatch watch, RpcClient client, Action<string> note)
    {
        await using (client)
        {
            try
            {
                await watch.FollowAsync(client);
                return true;
            }
            catch (RpcConnectionException e)
            {
                note($"connection lost ({e.Message}), looking for the daemon");
                return false;
            }
        }
    }

    private static async Task<RpcClient> FindAgainAsync(DaemonFinder finder, TimeSpan? patience, Action<string> note)
    {
        long lost = Stopwatch.GetTimestamp();
        for (TimeSpan pause = FirstPause; ; pause = pause * 2 < LongestPause ? pause * 2 : LongestPause)
        {
            await Task.Delay(pause);
            try
            {
                (RpcClient client, _) = await OpenAsync(finder);
                note("connected again");
                return client;
            }
            // Also when the token is refused: its file may be a dead daemon's, about to be written anew.
            catch (Exception e) when (e is RpcConnectionException or RpcErrorException)
            {
                if (patience is { } most && Stopwatch.GetElapsedTime(lost) >= most)
                    throw new RpcConnectionException($"the daemon did not come back within {ClientVerb.Seconds(most)}: {e.Message}");
            }
        }
    }

    private static async Task<(RpcClient Client, DaemonAddress Address)> OpenAsync(DaemonFinder finder)
    {
        using var deadline = new CancellationTokenSource(ConnectTime);
        RpcClient? client = null;
        try
        {
            (client, DaemonAddress address) = await finder.ConnectAsync(deadline.Token);
            await ClientVerb.AuthenticateAsync(client, finder.CredentialFor(address), deadline.Token);
            return (client, address);
        }
        catch (Exception e)
        {
            if (client is not null) await client.DisposeAsync();
            if (e is OperationCanceledException) throw new RpcConnectionException($"no daemon answered within {ClientVerb.Seconds(ConnectTime)}");
            throw;
        }
    }
}

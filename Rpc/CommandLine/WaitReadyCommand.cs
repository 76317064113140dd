using System.CommandLine;
using CarServer.Rpc.Client;

namespace CarServer.Rpc.CommandLine;

internal static class WaitReadyCommand
{
    /// <summary>Short beside the time a daemon needs to start, long beside the price of a refused connection.</summary>
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(20);

    public static Verb Build(Surroundings surroundings)
    {
        var command = new Verb("wait-ready", "Wait until the daemon accepts connections, takes the token and answers. Prints nothing.");
        var verb = new ClientVerb(command, surroundings);
        command.SetAction((parsed, _) => RunAsync(verb, verb.Finder(parsed), verb.Timeout(parsed)));
        return command;
    }

    private static async Task<int> RunAsync(ClientVerb verb, DaemonFinder finder, TimeSpan timeout)
    {
        using var deadline = new CancellationTokenSource(timeout);
        string last = "it does not answer";
        while (true)
        {
            try
            {
                (RpcClient client, DaemonAddress address) = await finder.ConnectAsync(deadline.Token);
                await using (client)
                {
                    // A refused token is one more reason to wait: the file may be a dead daemon's, about to be written anew.
                    await ClientVerb.AuthenticateAsync(client, finder.CredentialFor(address), deadline.Token);
                    await client.CallAsync("ping", default, deadline.Token);
                    return ExitCode.Ok;
                }
            }
            catch (Exception e) when (e is RpcConnectionException or RpcErrorException) { last = e.Message; }
            catch (OperationCanceledException) { return GiveUp(); }

            try { await Task.Delay(Pause, deadline.Token); }
            catch (OperationCanceledException) { return GiveUp(); }
        }

        int GiveUp() => verb.Fail(ExitCode.Unreachable, $"error: no daemon was ready within {ClientVerb.Seconds(timeout)}: {last}");
    }
}

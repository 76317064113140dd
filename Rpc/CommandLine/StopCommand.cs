using System.CommandLine;
using CarServer.Rpc.Client;

namespace CarServer.Rpc.CommandLine;

internal static class StopCommand
{
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(20);

    public static Verb Build(Surroundings surroundings)
    {
        var command = new Verb("stop", "Ask the running daemon to stop, and wait until it has.")
        {
            More = () => """
                Finds the daemon by its Unix socket; one that has none must be named with --url. Shows the host token that lies
                beside the daemon's own token.
                """,
        };
        var verb = new ClientVerb(command, surroundings);
        command.SetAction((parsed, _) => RunAsync(verb, verb.Finder(parsed).WithoutDefault(), verb.Timeout(parsed)));
        return command;
    }

    private static async Task<int> RunAsync(ClientVerb verb, DaemonFinder finder, TimeSpan timeout)
    {
        using var deadline = new CancellationTokenSource(timeout);
        RpcClient client;
        DaemonAddress address;
        try { (client, address) = await finder.ConnectAsync(deadline.Token); }
        catch (RpcConnectionException e) { return verb.Fail(ExitCode.Unreachable, $"error: {e.Message}"); }
        catch (OperationCanceledException) { return verb.Fail(ExitCode.Unreachable, $"error: no daemon answered within {ClientVerb.Seconds(timeout)}"); }

        return await verb.GuardAsync(timeout, async () =>
        {
            await using (client)
            {
                await ClientVerb.AuthenticateAsync(client, finder.HostCredentialFor(address), deadline.Token);
                try { await client.CallAsync("server.shutdown", abandoned: deadline.Token); }
                // It may be gone before its answer is out: then it did what it was asked for.
                catch (RpcConnectionException) { }
                await client.Ended.WaitAsync(deadline.Token);
            }
            while (await AnswersAsync(address, deadline.Token)) await Task.Delay(Pause, deadline.Token);
            return ExitCode.Ok;
        });
    }

    private static async Task<bool> AnswersAsync(DaemonAddress address, CancellationToken deadline)
    {
        try
        {
            await using RpcClient client = await RpcClient.ConnectAsync(address, deadline);
            return true;
        }
        catch (RpcConnectionException) { return false; }
    }
}

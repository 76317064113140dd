using System.CommandLine;
using System.Globalization;
using CarServer.Rpc.Client;
using CarServer.RunStore;

namespace CarServer.Rpc.CommandLine;

/// <summary>What every verb that talks to a daemon has in common: its options, finding the daemon, and what its failures are called.</summary>
internal sealed class ClientVerb
{
    private readonly Surroundings _surroundings;
    private readonly Option<string> _url = new("--url") { Description = "Where the daemon is: ws://HOST:PORT/ or unix:PATH. [variable: CAR_DAEMON_URL]", HelpName = "URL" };
    private readonly Option<string> _socket = new("--socket") { Description = "The daemon's Unix socket. [variable: CAR_SERVER_SOCKET]", HelpName = "PATH" };
    private readonly Option<string> _token = new("--token") { Description = "The token to show. Default: the daemon's own file. [variable: CAR_AUTH_TOKEN]", HelpName = "TOKEN" };
    private readonly Option<string> _timeout;
    private readonly int _defaultTimeout;

    /// <param name="timeoutHelp">What the timeout bounds; null: the verb as a whole.</param>
    public ClientVerb(Command command, Surroundings surroundings, int defaultTimeout = 30, string? timeoutHelp = null)
    {
        _surroundings = surroundings;
        _defaultTimeout = defaultTimeout;
        _timeout = new Option<string>("--timeout") { Description = timeoutHelp ?? $"Seconds to wait, all in all (default {defaultTimeout}).", HelpName = "SECONDS" };
        foreach (Option option in (ReadOnlySpan<Option>)[_url, _socket, _token, _timeout]) command.Options.Add(option);
    }

    public DaemonFinder Finder(ParseResult parsed) => DaemonFinder.Resolve(
        parsed.GetValue(_url), parsed.GetValue(_socket), parsed.GetValue(_token), _surroundings.Environment, _surroundings.Platform, _surroundings.Directory);

    public TimeSpan Timeout(ParseResult parsed) => GivenTimeout(parsed) ?? TimeSpan.FromSeconds(_defaultTimeout);

    /// <summary>Null when there is no <c>--timeout</c>.</summary>
    public TimeSpan? GivenTimeout(ParseResult parsed)
    {
        if (parsed.GetValue(_timeout) is not { } text) return null;
        // A day is more than anybody waits at a terminal, and keeps the timer in its range.
        if (!double.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double seconds) || seconds is not (> 0 and <= 86_400))
            throw new UsageException($"--timeout must be seconds, more than 0 and at most 86400, got '{text}'");
        return TimeSpan.FromSeconds(seconds);
    }

    /// <summary>Connects, authenticates when there is a token, and runs the body; every failure becomes a line and an exit code.</summary>
    public async Task<int> RunAsync(ParseResult parsed, Func<RpcClient, CancellationToken, Task<int>> body)
    {
        DaemonFinder finder = Finder(parsed);
        TimeSpan timeout = Timeout(parsed);
        using var deadline = new CancellationTokenSource(timeout);
        RpcClient client;
        DaemonAddress address;
        try { (client, address) = await finder.ConnectAsync(deadline.Token); }
        catch (RpcConnectionException e) { return Fail(ExitCode.Unreachable, $"error: {e.Message}"); }
        catch (OperationCanceledException) { return Fail(ExitCode.Unreachable, $"error: no daemon answered within {Seconds(timeout)}"); }

        await using (client)
        {
            return await GuardAsync(timeout, async () =>
            {
                await AuthenticateAsync(client, finder.CredentialFor(address), deadline.Token);
                return await body(client, deadline.Token);
            });
        }
    }

    /// <summary>Turns what goes wrong on an open connection into a line and an exit code.</summary>
    public async Task<int> GuardAsync(TimeSpan timeout, Func<Task<int>> body)
    {
        try { return await body(); }
        catch (RpcErrorException e) { return Fail(ExitCode.Failed, string.Create(CultureInfo.InvariantCulture, $"error {e.Code}: {e.Message}")); }
        catch (RpcConnectionException e) { return Fail(ExitCode.Failed, $"error: {e.Message}"); }
        catch (OperationCanceledException) { return Fail(ExitCode.Failed, $"error: no answer within {Seconds(timeout)}"); }
    }

    /// <summary><c>session.auth</c>, unless there is nothing to show. A daemon without authentication takes anything.</summary>
    public static async Task AuthenticateAsync(RpcClient client, Credential? credential, CancellationToken abandoned)
    {
        if (credential is not { } shown) return;
        if (!shown.IsNamed && client.IsServedByAnotherUser)
        {
            // A connection that has ended has no owner any more; then why it ended is what the caller should hear.
            await client.PingAsync(abandoned);
            throw new RpcConnectionException("what answers there runs as another user; no token was shown");
        }
        await client.CallAsync("session.auth", RawJson.Parse($"{{\"{shown.Kind}\":{RawJson.FromString(shown.Token)}}}"), abandoned);
    }

    public int Fail(int exitCode, string line)
    {
        // Part of it may come from the other end; it must not steer the terminal.
        _surroundings.Error.WriteLine(string.Create(line.Length, line, static (shown, given) =>
        {
            for (int i = 0; i < shown.Length; i++) shown[i] = char.IsControl(given[i]) ? ' ' : given[i];
        }));
        return exitCode;
    }

    public static string Seconds(TimeSpan time) => string.Create(CultureInfo.InvariantCulture, $"{time.TotalSeconds:0.###} s");
}

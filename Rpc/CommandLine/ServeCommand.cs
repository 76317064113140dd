using System.CommandLine;
using System.Runtime.InteropServices;
using System.Text;
using CarServer.Rpc.Transport;

namespace CarServer.Rpc.CommandLine;

/// <summary><c>car-server serve</c>: parse, start, wait, stop.</summary>
/// <remarks>
/// SIGTERM and SIGINT ask for the ordered stop; a second one exits at once with <see cref="ExitCode.ForcedQuit"/>. SIGHUP asks too, so
/// that a closed terminal does not leave token and socket behind, but never forces: shell and kernel may both send one. Under
/// <c>nohup</c> it stays ignored.
/// </remarks>
internal static class ServeCommand
{
    /// <summary>A file has reached the limit that <c>ulimit -f</c> sets. The same number on Linux and macOS.</summary>
    private const int SigXfsz = 25;

    public static Verb Build(Surroundings surroundings)
    {
        var command = new Verb("serve", "Run the daemon until it is told to stop.") { More = More };
        SettingOptions.AddTo(command);
        command.SetAction((parsed, _) => RunAsync(parsed, surroundings));
        return command;
    }

    private static string More()
    {
        var text = new StringBuilder("""
            A value comes from the command line, else from its variable, else from the [server] table of <root>/config.toml, else it
            is the default; 'car-server config' shows which. A path that starts with ~/.car/ lies below the state root.

            Settings without an option:

            """);
        foreach (Setting setting in Settings.All)
            if (setting.Flag is null) text.Append($"  {setting.Name,-26}").Append(setting.HelpText).Append('\n');
        return text.ToString();
    }

    private static async Task<int> RunAsync(ParseResult parsed, Surroundings surroundings)
    {
        ServeSettings settings = SettingOptions.Resolve(parsed, surroundings);
        DaemonOptions options = settings.Options;
        if (settings.AuthTokenFile is { } file) options = options with { AuthToken = TokenFile.Take(file) };

        using var stopping = new CancellationTokenSource();
        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
        using var hangUp = PosixSignalRegistration.Create(PosixSignal.SIGHUP, Stop);
        using var fileTooLarge = PosixSignalRegistration.Create((PosixSignal)SigXfsz, static signal => signal.Cancel = true);   // that write fails; no more
        try
        {
            return await Daemon.RunAsync(options, settings.Notices, Announce, stopping.Token);
        }
        catch (DaemonStartException e)
        {
            throw new UsageException(e.Message);
        }

        // For scripts that chose port 0; the log is on stderr. A daemon whose start nobody follows serves all the same.
        void Announce(string lines)
        {
            try { surroundings.Print(lines); }
            catch (OutputException) { }
        }

        void Stop(PosixSignalContext signal)
        {
            signal.Cancel = true;
            if (!stopping.IsCancellationRequested) stopping.Cancel();
            else if (signal.Signal != PosixSignal.SIGHUP) Environment.Exit(ExitCode.ForcedQuit);
        }
    }
}

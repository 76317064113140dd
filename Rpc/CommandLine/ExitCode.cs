namespace CarServer.Rpc.CommandLine;

/// <summary>What the process tells its parent. Stable: scripts and service managers decide by these.</summary>
internal static class ExitCode
{
    public const int Ok = 0;

    /// <summary>It ran and did not succeed: the daemon answered with an error, did not answer in time, or hung up.</summary>
    public const int Failed = 1;

    /// <summary>A mistake in the command line, the environment or the file. The same call will fail again: a service manager should not restart.</summary>
    public const int Usage = 2;

    /// <summary>No daemon answers at the address.</summary>
    public const int Unreachable = 3;

    /// <summary>A second signal ended the daemon before its ordered stop did. 128 + SIGINT, as a shell would report it, and does for a command that Ctrl-C ended.</summary>
    public const int ForcedQuit = 130;

    /// <summary>Nobody reads the output any more. 128 + SIGPIPE, as a shell reports it of the programs that the signal ends.</summary>
    public const int NoReader = 141;

    public const string Help = """
        Exit codes:
          0    done
          1    the daemon answered with an error, or not in time
          2    usage, or a configuration that is refused
          3    no daemon answers at the address
          130  stopped at once by a second signal, a client command by Ctrl-C
          141  nobody reads the output any more
        """;
}

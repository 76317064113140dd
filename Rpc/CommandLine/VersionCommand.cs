using System.CommandLine;

namespace CarServer.Rpc.CommandLine;

internal static class VersionCommand
{
    public static Verb Build(Surroundings surroundings)
    {
        var command = new Verb("version", "Print the version of this executable.");
        command.SetAction(_ => { surroundings.Print($"car-server {CarCommand.Version}\n"); return ExitCode.Ok; });
        return command;
    }
}

using System.CommandLine;

namespace CarServer.Rpc.CommandLine;

internal static class ConfigCommand
{
    public static Verb Build(Surroundings surroundings)
    {
        var command = new Verb("config", "Print each setting that 'serve' would use with the same options, and where it comes from. Starts nothing.");
        var json = new Option<bool>("--json") { Description = "As JSON." };
        command.Options.Add(json);
        SettingOptions.AddTo(command);
        command.SetAction(parsed =>
        {
            ServeSettings settings = SettingOptions.Resolve(parsed, surroundings);
            if (parsed.GetResult(json) is { Implicit: false }) surroundings.Out.Write(ConfigReport.Json(settings));
            else surroundings.Print(ConfigReport.Text(settings));
            return ExitCode.Ok;
        });
        return command;
    }
}

using CarServer.Rpc.CommandLine;

namespace CarServer.Tests.Unit.CommandLine;

/// <summary>Every setting in every combination of layers. A new row without samples here fails.</summary>
internal sealed class SettingsPrecedenceTests
{
    /// <summary>Three different values, and what each is shown as: on the command line, in the variable, in the file.</summary>
    private static readonly Dictionary<string, (string Flag, string Variable, string File)> Samples = new()
    {
        ["home"] = ("", "/srv/car", ""),
        ["bind"] = ("127.0.0.1:1", "", "127.0.0.1:3"),
        ["host"] = ("127.0.0.2", "", "127.0.0.4"),
        ["port"] = ("1", "", "3"),
        ["socket"] = ("/a/1", "/a/2", "/a/3"),
        ["no_socket"] = ("true", "", "false"),
        ["no_auth"] = ("true", "0", "true"),
        ["require_auth"] = ("true", "", ""),
        ["auth_token"] = ("secret-1", "secret-2", ""),
        ["auth_token_file"] = ("/a/1", "/a/2", "/a/3"),
        ["no_approvals"] = ("false", "1", "false"),
        ["enforce_tiers"] = ("false", "1", "false"),
        ["i_know_this_is_reachable"] = ("true", "", ""),
        ["journal_dir"] = ("/a/1", "", "/a/3"),
        ["workspace"] = ("/a/1", "", "/a/3"),
        ["durability"] = ("fsync", "", "os"),
        ["agents_manifest"] = ("/a/1", "/a/2", "/a/3"),
        ["mcp_bind"] = ("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"),
        ["a2a_bind"] = ("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"),
        ["log_level"] = ("trace", "", "critical"),
        ["log_format"] = ("json", "", "text"),
        ["allow_origin"] = ("https://one.example", "", "http://three.example:8080"),
        ["require_handshake"] = ("true", "", "false"),
        ["max_connections"] = ("1", "", "3"),
        ["max_message_bytes"] = ("1024", "", "4096"),
        ["handler_timeout"] = ("", "2", "3"),
        ["tool_timeout"] = ("", "2", ""),
        ["inference_max_concurrent"] = ("", "2", ""),
        ["mobile_runtime_url"] = ("", "http://two.example", ""),
    };

    public static IEnumerable<(string Name, bool Flag, bool Variable, bool File)> Combinations()
    {
        foreach (Setting setting in Settings.All)
            for (int bits = 0; bits < 8; bits++)
            {
                (bool flag, bool variable, bool file) = ((bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0);
                if ((flag && setting.Flag is null) || (variable && setting.Variable is null) || (file && !setting.InFile)) continue;
                yield return (setting.Name, flag, variable, file);
            }
    }

    [Test]
    [MethodDataSource(nameof(Combinations))]
    public async Task The_highest_layer_wins_and_is_named(string name, bool flag, bool variable, bool file)
    {
        Setting setting = Settings.All.First(row => row.Name == name);
        (string Flag, string Variable, string File) sample = Samples[name];
        ServeSettings settings = TestLayers.Resolve(
            flag ? $"{setting.Flag} {sample.Flag}" : "",
            file ? $"[server]\n{name} = {(long.TryParse(sample.File, out _) || sample.File is "true" or "false" ? sample.File : $"\"{sample.File}\"")}\n" : "",
            Platform.Linux,
            variable ? [$"{setting.Variable}={sample.Variable}"] : []);

        Value value = settings.Table.First(row => row.Setting == setting);
        Origin origin = flag ? Origin.Flag : variable ? Origin.Environment : file ? Origin.File : Origin.Default;
        await Assert.That(value.Origin).IsEqualTo(origin);
        string expected = origin switch { Origin.Flag => sample.Flag, Origin.Environment => sample.Variable, Origin.File => sample.File, _ => value.Text };
        if (setting.ValueName is null) expected = expected switch { "1" => "true", "0" => "false", _ => expected };
        if (setting.IsSecret && origin != Origin.Default) expected = "(set)";
        await Assert.That(value.Text).IsEqualTo(expected);
        if (origin == Origin.File) await Assert.That(value.Source).IsEqualTo($"/home/ada/.car/config.toml: {name}");
        if (origin == Origin.Flag) await Assert.That(value.Source).IsEqualTo(setting.Flag!);
        if (origin == Origin.Environment) await Assert.That(value.Source).IsEqualTo(setting.Variable!);
    }

    [Test]
    public async Task Names_flags_and_variables_are_used_once_and_follow_one_form()
    {
        await Assert.That(Settings.All.Select(row => row.Name).Distinct().Count()).IsEqualTo(Settings.All.Count);
        foreach (Setting setting in Settings.All)
        {
            if (setting.Flag is { } flag) await Assert.That(flag).IsEqualTo("--" + setting.Name.Replace('_', '-'));
            await Assert.That(setting.Help).EndsWith(".");
        }
    }

    [Test]
    public async Task A_blank_variable_is_unset()
    {
        ServeSettings settings = TestLayers.Resolve(variables: ["CAR_AUTH_TOKEN=  ", "CAR_NO_AUTH=", "CAR_SERVER_SOCKET=", "CAR_HOME= "]);
        await Assert.That(settings.Table.All(value => !value.IsGiven)).IsTrue();
        await Assert.That(settings.Options.Root).IsEqualTo("/home/ada/.car");
    }

    [Test]
    public async Task The_defaults_are_the_protocols()
    {
        ServeSettings settings = TestLayers.Resolve();
        await Assert.That(string.Join(' ', settings.Options.Binds)).IsEqualTo("127.0.0.1:9100");
        await Assert.That(settings.Options.SocketPath).IsEqualTo("/home/ada/.car/run/car-server.sock");
        await Assert.That(settings.Options.SocketIsExplicit).IsFalse();
        await Assert.That(settings.Options.RootIsExplicit).IsFalse();
        await Assert.That(settings.Options.TokenDirectory).IsEqualTo("/home/ada/.config/ai.parslee.car");
        await Assert.That(settings.Options.JournalDirectory).IsEqualTo("/home/ada/.car/journals");
        await Assert.That(settings.Options.AgentsManifest).IsEqualTo("/home/ada/.car/agents.json");
        await Assert.That(settings.Options.HandlerTimeout).IsEqualTo(TimeSpan.FromMinutes(30));
        await Assert.That(settings.Notices).IsEmpty();
    }
}

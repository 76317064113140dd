using CarServer.Rpc.CommandLine;
using CarServer.Tests.Support;

namespace CarServer.Tests.Unit.CommandLine;

internal sealed class ServeSettingsTests
{
    [Test]
    //         flags                                     file                                          TCP                            socket
    [Arguments("--bind 127.0.0.1:0",                     "",                                           "127.0.0.1:0",                 "default")]
    [Arguments("--bind :0",                              "",                                           "127.0.0.1:0",                 "default")]
    [Arguments("--bind [::1]:9100 --bind localhost:9101", "",                                          "[::1]:9100 127.0.0.1:9101",   "default")]
    [Arguments("--bind 127.0.0.1:0 --bind 127.0.0.1:0",  "",                                           "127.0.0.1:0 127.0.0.1:0",     "default")]
    [Arguments("--bind unix:/x",                         "",                                           "",                            "/x")]
    [Arguments("--bind unix:x",                          "",                                           "",                            "/here/x")]
    [Arguments("--bind unix:/x --bind 127.0.0.1:1",      "",                                           "127.0.0.1:1",                 "/x")]
    [Arguments("--bind unix:/x --port 5",                "",                                           "127.0.0.1:5",                 "/x")]
    [Arguments("--bind unix:/x",                         "port = 5",                                   "",                            "/x")]
    [Arguments("--port 5",                               "bind = ['unix:/x', '127.0.0.1:1']",          "127.0.0.1:5",                 "/x")]
    [Arguments("--bind 127.0.0.1:1",                     "port = 5\nhost = '127.0.0.9'",               "127.0.0.1:1",                 "default")]
    [Arguments("--host ::1",                             "port = 5",                                   "[::1]:5",                     "default")]
    [Arguments("--port :0",                              "",                                           "127.0.0.1:0",                 "default")]
    [Arguments("--host localhost --port 1",              "",                                           "127.0.0.1:1",                 "default")]
    [Arguments("--no-socket",                            "socket = '/x'",                              "127.0.0.1:9100",              "none")]
    [Arguments("--socket /x",                            "no_socket = true",                           "127.0.0.1:9100",              "/x")]
    [Arguments("--no-socket false",                      "no_socket = true",                           "127.0.0.1:9100",              "default")]
    [Arguments("--socket /y",                            "bind = 'unix:/x'",                           "",                            "/y")]
    [Arguments("",                                       "bind = []",                                  "",                            "default")]
    [Arguments("--socket ~/.car/run/a",                  "",                                           "127.0.0.1:9100",              "/home/ada/.car/run/a")]
    [Arguments("",                                       "socket = 'run/a'",                           "127.0.0.1:9100",              "/home/ada/.car/run/a")]
    public async Task Listens_where_it_was_told(string flags, string file, string tcp, string socket)
    {
        DaemonOptionsText told = new(TestLayers.Resolve(flags, file.Length > 0 ? "[server]\n" + file : ""));
        await Assert.That(told.Tcp).IsEqualTo(tcp);
        await Assert.That(told.Socket).IsEqualTo(socket == "default" ? "/home/ada/.car/run/car-server.sock" : socket);
    }

    private sealed record DaemonOptionsText(ServeSettings Settings)
    {
        public string Tcp => string.Join(' ', Settings.Options.Binds);
        public string Socket => Settings.Options.SocketPath ?? "none";
    }

    [Test]
    //         flags                                   variable                    file                     the sentence has
    [Arguments("",                                     "CAR_HOME=relative/home",   "",                      "CAR_HOME must be an absolute path, got 'relative/home'")]
    [Arguments("",                                     "HOME=",                    "",                      "HOME is not set to an absolute path")]
    [Arguments("--port 65536",                         "",                         "",                      "--port must have a port from 0 to 65535, got '65536'")]
    [Arguments("--port -1",                            "",                         "",                      "got '-1'")]
    [Arguments("--port 0x10",                          "",                         "",                      "got '0x10'")]
    [Arguments("--port 1 2",                           "",                         "",                      "--port is given 2 times, and takes one value")]
    [Arguments("",                                     "",                         "port = 70000",          "/home/ada/.car/config.toml: port must have a port from 0 to 65535, got '70000'")]
    [Arguments("--bind 127.0.0.1",                     "",                         "",                      "--bind must be HOST:PORT or unix:PATH, got '127.0.0.1'")]
    [Arguments("--bind 127.0.0.1:x",                   "",                         "",                      "--bind must have a port from 0 to 65535, got '127.0.0.1:x'")]
    [Arguments("--bind example.org:1",                 "",                         "",                      "--bind must have an IP address or 'localhost' as its host, got 'example.org:1'")]
    [Arguments("--bind ::1:9100",                      "",                         "",                      "--bind must have its IPv6 address in brackets, got '::1:9100'")]
    [Arguments("--bind 9100:1",                        "",                         "",                      "--bind must have an IP address or 'localhost' as its host")]
    [Arguments("--bind unix:",                         "",                         "",                      "--bind must be a path")]
    [Arguments("--bind unix:/a unix:/b",               "",                         "",                      "--bind may name one unix: socket, not two, got 'unix:/b'")]
    [Arguments("--bind 127.0.0.1:1 127.0.0.1:1",       "",                         "",                      "--bind names an address twice, got '127.0.0.1:1'")]
    [Arguments("--host example.org",                   "",                         "",                      "--host must have an IP address or 'localhost' as its host, got 'example.org'")]
    [Arguments("--bind 127.0.0.1:1 --port 2",          "",                         "",                      "--bind and --port contradict each other")]
    [Arguments("--bind 127.0.0.1:1 --host ::1",        "",                         "",                      "--bind and --host contradict each other")]
    [Arguments("--bind unix:/a --socket /b",           "",                         "",                      "--bind and --socket contradict each other")]
    [Arguments("--no-socket --socket /b",              "",                         "",                      "--no-socket and --socket contradict each other")]
    [Arguments("--no-socket --bind unix:/a",           "",                         "",                      "--no-socket and --bind contradict each other")]
    [Arguments("--no-auth --require-auth",             "",                         "",                      "--no-auth and --require-auth contradict each other")]
    [Arguments("--no-auth --auth-token t",             "",                         "",                      "--no-auth and --auth-token contradict each other")]
    [Arguments("--no-auth --auth-token-file f",        "",                         "",                      "--no-auth and --auth-token-file contradict each other")]
    [Arguments("--auth-token t --auth-token-file f",   "",                         "",                      "--auth-token and --auth-token-file contradict each other")]
    [Arguments("--no-socket",                          "",                         "bind = []",             "nothing to listen on: there is neither a TCP address nor a Unix socket")]
    [Arguments("--no-socket",                          "",                         "bind = 'unix:/a'",      "nothing to listen on")]
    [Arguments("--auth-token ''",                      "",                         "",                      "--auth-token is empty")]
    [Arguments("--socket ''",                          "",                         "",                      "--socket must be a path")]
    [Arguments("--journal-dir ''",                     "",                         "",                      "--journal-dir must be a path")]
    [Arguments("--no-auth --bind 0.0.0.0:9100",        "",                         "",                      "0.0.0.0:9100 can be reached by other machines and authentication is off: drop --no-auth or add --i-know-this-is-reachable")]
    [Arguments("--host 192.168.1.5",                   "CAR_NO_AUTH=1",            "",                      "192.168.1.5:9100 can be reached by other machines and authentication is off: drop CAR_NO_AUTH")]
    [Arguments("--no-auth --host ::",                  "",                         "",                      "[::]:9100 can be reached by other machines")]
    [Arguments("",                                     "CAR_NO_AUTH=yes",          "",                      "CAR_NO_AUTH must be true or false, got 'yes'")]
    [Arguments("",                                     "CAR_HANDLER_TIMEOUT=soon", "",                      "CAR_HANDLER_TIMEOUT must be a whole number from 1 to 2592000, got 'soon'")]
    [Arguments("",                                     "CAR_HANDLER_TIMEOUT=0",    "",                      "CAR_HANDLER_TIMEOUT must be")]
    [Arguments("",                                     "CAR_MCP_BIND=9102",        "",                      "CAR_MCP_BIND must be HOST:PORT")]
    [Arguments("--log-level loud",                     "",                         "",                      "--log-level must be trace, debug, information, warning, error or critical, got 'loud'")]
    [Arguments("--log-format xml",                     "",                         "",                      "--log-format must be text or json, got 'xml'")]
    [Arguments("--allow-origin example.org",           "",                         "",                      "--allow-origin must be an origin such as https://app.example, got 'example.org'")]
    [Arguments("--allow-origin https://a.example/",    "",                         "",                      "--allow-origin must be an origin")]
    [Arguments("--allow-origin https://a.example/x",   "",                         "",                      "--allow-origin must be an origin")]
    [Arguments("--allow-origin null",                  "",                         "",                      "--allow-origin must be an origin")]
    [Arguments("--durability always",                  "",                         "",                      "--durability must be os or fsync, got 'always'")]
    [Arguments("--max-connections 0",                  "",                         "",                      "--max-connections must be a whole number from 1 to 1000000, got '0'")]
    [Arguments("--max-message-bytes 1023",             "",                         "",                      "--max-message-bytes must be a whole number from 1024 to 1073741824, got '1023'")]
    [Arguments("--max-message-bytes 99999999999",      "",                         "",                      "--max-message-bytes must be a whole number")]
    [Arguments("",                                     "",                         "colour = 'red'",        "/home/ada/.car/config.toml: [server] has no setting 'colour'")]
    [Arguments("",                                     "",                         "auth_token = 't'",      "'auth_token' cannot stand in the file, only on the command line as --auth-token")]
    [Arguments("",                                     "",                         "port = 1\nport = 2",    "port is set twice")]
    [Arguments("",                                     "",                         "port = [1]",            "port takes one value, not an array")]
    [Arguments("",                                     "",                         "port = 1.5",            "port must be a string, a number, true or false")]
    [Arguments("",                                     "",                         "bind = [1.5]",          "or an array of strings")]
    [Arguments("",                                     "",                         "port = ",               "/home/ada/.car/config.toml: line 2 is not TOML")]
    public async Task Refuses_with_one_sentence(string flags, string variable, string file, string sentence)
    {
        UsageException? refused = await Assert.That(() => TestLayers.Resolve(
            flags, file.Length > 0 ? "[server]\n" + file : "", Platform.Linux, variable.Length > 0 ? [variable] : [])).Throws<UsageException>();
        await Assert.That(refused!.Message).Contains(sentence);
        await Assert.That(refused.Message.Contains('\n')).IsFalse();
    }

    [Test]
    [Arguments("--auth-token hunter2\u0001x")]
    [Arguments("--auth-token hunter2 hunter2")]
    [Arguments("--auth-token hunter2 --auth-token-file f")]
    [Arguments("--no-auth --auth-token hunter2")]
    public async Task A_refusal_never_shows_a_secret(string flags)
    {
        UsageException? refused = await Assert.That(() => TestLayers.Resolve(flags)).Throws<UsageException>();
        await Assert.That(refused!.Message.Contains("hunter2")).IsFalse();
    }

    [Test]
    public async Task A_report_never_shows_a_secret()
    {
        ServeSettings settings = TestLayers.Resolve("--auth-token hunter2");
        string report = ConfigReport.Text(settings) + System.Text.Encoding.UTF8.GetString(ConfigReport.Json(settings));
        await Assert.That(report.Contains("hunter2")).IsFalse();
        await Assert.That(report).Contains("(set)");
        await Assert.That(settings.Options.AuthToken).IsEqualTo("hunter2");
    }

    [Test]
    [Arguments("--no-auth", "CAR_AUTH_TOKEN=t", true, "none", "none")]
    [Arguments("--auth-token t", "CAR_NO_AUTH=1", false, "t", "none")]
    [Arguments("--auth-token-file /f", "CAR_AUTH_TOKEN=t", false, "none", "/f")]
    [Arguments("--auth-token t", "CAR_AUTH_TOKEN_FILE=/f", false, "t", "none")]
    [Arguments("", "CAR_AUTH_TOKEN= t ", false, "t", "none")]
    [Arguments("--require-auth", "CAR_NO_AUTH=1", true, "none", "none")]
    public async Task Of_two_that_exclude_each_other_the_higher_layer_wins(string flags, string variable, bool noAuth, string token, string file)
    {
        ServeSettings settings = TestLayers.Resolve(flags, variables: [variable]);
        await Assert.That(settings.Options.NoAuth).IsEqualTo(noAuth);
        await Assert.That(settings.Options.AuthToken ?? "none").IsEqualTo(token);
        await Assert.That(settings.AuthTokenFile ?? "none").IsEqualTo(file);
    }

    [Test]
    [Arguments("--require-auth", "", "--require-auth is deprecated and has no effect")]
    [Arguments("--auth-token t", "", "the token in --auth-token can be read by every process")]
    [Arguments("--mcp-bind 127.0.0.1:1", "", "--mcp-bind is accepted, but MCP is not served by this build")]
    [Arguments("", "CAR_A2A_BIND=127.0.0.1:1", "CAR_A2A_BIND is accepted, but A2A is not served by this build")]
    [Arguments("", "CAR_INFERENCE_MAX_CONCURRENT=2", "CAR_INFERENCE_MAX_CONCURRENT is accepted, but inference is not served")]
    [Arguments("--host 0.0.0.0", "", "0.0.0.0:9100 can be reached by other machines, and the token crosses the network unencrypted")]
    [Arguments("--host 0.0.0.0 --no-auth --i-know-this-is-reachable", "", "everybody who can reach 0.0.0.0:9100 has full access")]
    public async Task Notices_say_what_a_user_may_not_expect(string flags, string variable, string notice)
    {
        ServeSettings settings = TestLayers.Resolve(flags, variables: variable.Length > 0 ? [variable] : []);
        await Assert.That(string.Join('\n', settings.Notices)).StartsWith(notice);
    }

    [Test]
    [Arguments("--auth-token-file f")]
    [Arguments("--mcp-bind disabled")]
    [Arguments("--no-auth")]
    public async Task Other_starts_have_nothing_to_say(string flags) => await Assert.That(TestLayers.Resolve(flags).Notices).IsEmpty();

    [Test]
    public async Task A_flag_stands_in_for_a_broken_line_of_the_file()
    {
        ServeSettings settings = TestLayers.Resolve("--log-level debug", "[server]\nlog_level = 'loud'\n");
        await Assert.That(settings.Options.LogLevel).IsEqualTo(Microsoft.Extensions.Logging.LogLevel.Debug);
    }

    [Test]
    public async Task Other_tables_of_the_file_are_somebody_elses()
    {
        ServeSettings settings = TestLayers.Resolve(file: "port = 1\n[runs]\nport = 2\n[server]\nport = 3\n[[server_list]]\nport = 5\n");
        await Assert.That(settings.Options.Binds[0].Port).IsEqualTo(3);
    }

    [Test]
    public async Task A_default_socket_path_that_is_too_long_is_left_out_and_a_named_one_refused()
    {
        string home = "/" + new string('h', 100);
        ServeSettings settings = TestLayers.Resolve(variables: [$"CAR_HOME={home}"]);
        await Assert.That(settings.Options.SocketPath).IsNull();
        await Assert.That(settings.Notices[0]).StartsWith("no Unix socket: its path would be over the 107 bytes");

        await Assert.That(TestLayers.Resolve("--socket /" + new string('s', 106)).Options.SocketPath).IsNotNull();
        UsageException? refused = await Assert.That(() => TestLayers.Resolve("--socket /" + new string('s', 107))).Throws<UsageException>();
        await Assert.That(refused!.Message).Contains("--socket must be at most 107 bytes long");
        await Assert.That(() => TestLayers.Resolve("--socket /" + new string('s', 103), platform: Platform.MacOS)).Throws<UsageException>();
    }

    [Test]
    public async Task Only_a_flag_or_a_variable_makes_the_socket_explicit()
    {
        await Assert.That(TestLayers.Resolve("--bind unix:/x").Options.SocketIsExplicit).IsTrue();
        await Assert.That(TestLayers.Resolve(variables: ["CAR_SERVER_SOCKET=/x"]).Options.SocketIsExplicit).IsTrue();
        await Assert.That(TestLayers.Resolve(file: "[server]\nsocket = '/x'").Options.SocketIsExplicit).IsFalse();
    }

    /// <summary>Nobody means to give all of a home away, whichever name it has.</summary>
    [Test]
    public async Task A_home_behind_a_link_is_no_workspace_by_either_name()
    {
        if (!OperatingSystem.IsLinux()) Skip.Test("names alone are compared elsewhere");
        using var disk = new TempHome();
        string home = disk.In("home"), link = disk.In("link"), inside = disk.In("home", "project");
        Directory.CreateDirectory(inside);
        Directory.CreateSymbolicLink(link, home);
        string? From(string directory, string known) => TestLayers.ResolveIn(directory, variables: [$"HOME={known}", "CAR_HOME=/elsewhere"]).Options.Workspace;
        await Assert.That(From(home, link)).IsNull();
        await Assert.That(From(link, home)).IsNull();
        await Assert.That(From(disk.Path, link)).IsNull();
        await Assert.That(From(inside, link)).IsEqualTo(inside);
    }
}

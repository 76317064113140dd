using System.Diagnostics;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>Another user of the same machine gets nothing, whatever else is open. Needs root, to become somebody else.</summary>
public sealed class OtherUserTests
{
    private const int OtherUser = 65534;

    [Test]
    public async Task Gets_no_upgrade_over_TCP_even_with_the_token()
    {
        await using TestDaemon daemon = await StartAsync();

        string answer = await SayAsOtherAsync(daemon.Port, RawPeer.UpgradeRequest($"127.0.0.1:{daemon.Port}"));

        await Assert.That(answer).StartsWith("HTTP/1.1 403 ");
        await Assert.That(answer).Contains("another user");
        await using RpcPeer own = await daemon.ConnectAsync();
        await Assert.That((await own.CallAsync("ping")).GetString()).IsEqualTo("pong");
    }

    [Test]
    [Arguments("/auth-token")]
    [Arguments("/health")]
    public async Task Gets_nothing_from_the_side_port(string path)
    {
        await using TestDaemon daemon = await StartAsync();

        string answer = await SayAsOtherAsync(daemon.Port + 1, $"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");

        await Assert.That(answer).StartsWith("HTTP/1.1 403 ");
        await Assert.That(answer).DoesNotContain(daemon.AuthToken);
    }

    [Test]
    public async Task Cannot_connect_to_the_socket()
    {
        await using TestDaemon daemon = await StartAsync();
        using var shared = new SharedBinary();

        // The path itself is no secret; the directories above it and its own mode are what keeps others out.
        (int exitCode, string errors) = await RunAsOtherAsync([shared.Path, "ping", "--socket", daemon.Socket!, "--token", daemon.AuthToken]);

        await Assert.That(exitCode).IsEqualTo(3).Because(errors);
    }

    [Test]
    public async Task Cannot_connect_to_the_socket_even_where_its_directory_is_open()
    {
        using var open = new TempHome();
        File.SetUnixFileMode(open.Path, (UnixFileMode)0b111_111_111);
        string socket = open.In("s");
        await using TestDaemon daemon = await StartAsync("--socket", socket);
        using var shared = new SharedBinary();

        await Assert.That(File.GetUnixFileMode(socket)).IsEqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite);
        (int exitCode, string errors) = await RunAsOtherAsync([shared.Path, "ping", "--socket", socket, "--token", daemon.AuthToken]);
        await Assert.That(exitCode).IsEqualTo(3).Because(errors);

        // And should somebody loosen the mode: the kernel still says who it is.
        File.SetUnixFileMode(socket, (UnixFileMode)0b110_110_110);
        (exitCode, errors) = await RunAsOtherAsync([shared.Path, "ping", "--socket", socket, "--token", daemon.AuthToken]);
        await Assert.That(exitCode).IsNotEqualTo(0);
        await Assert.That(errors).Contains("403");
    }

    [Test]
    public async Task Is_not_taken_for_root_by_leaving_before_it_is_looked_at()
    {
        // Without auth nothing but the user stands between a stranger and the methods.
        await using TestDaemon daemon = await StartAsync("--no-auth");

        // The kernel finishes the connection by itself. When the daemon looks, nobody holds the other end any more.
        daemon.Signal(CarProcess.SigStop);
        byte[] stop = RawPeer.Frame(Op.Text, """{"jsonrpc":"2.0","id":1,"method":"server.shutdown"}"""u8);
        string said = RawPeer.UpgradeRequest($"127.0.0.1:{daemon.Port}").Replace("\r\n", "\\r\\n") + string.Concat(stop.Select(b => $"\\x{b:x2}"));
        await RunAsOtherAsync(["bash", "-c", $"exec 3<>/dev/tcp/127.0.0.1/{daemon.Port}; printf '{said}' >&3"]);
        await Eventually.TrueAsync("only the kernel knows of the stranger's socket", () => File.ReadLines("/proc/net/tcp").Any(line => line.Contains($":{daemon.Port:X4} 05 ", StringComparison.Ordinal)));
        daemon.Signal(CarProcess.SigContinue);

        await using RpcPeer own = await daemon.ConnectAsync();
        await Assert.That((await own.CallAsync("ping")).GetString()).IsEqualTo("pong");
        await Eventually.TrueAsync("the stranger's connection is over", async () => (await own.CallAsync("server.info")).GetProperty("connections").GetInt32() == 1);
        await Assert.That((await own.CallAsync("ping")).GetString()).IsEqualTo("pong");
        await Assert.That(await daemon.TerminateAsync()).IsEqualTo(0);
        await Assert.That(daemon.Errors).Contains("status=403");
    }

    [Test]
    public async Task Gets_no_upgrade_through_another_address_of_the_machine()
    {
        System.Net.IPAddress? address = System.Net.NetworkInformation.NetworkInterface.GetAllNetworkInterfaces()
            .SelectMany(network => network.GetIPProperties().UnicastAddresses).Select(unicast => unicast.Address)
            .FirstOrDefault(a => a.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork && !System.Net.IPAddress.IsLoopback(a));
        if (address is null) Skip.Test("this machine has no other address");
        await using TestDaemon daemon = await StartAsync("--bind", $"{address}:0");
        int port = int.Parse(daemon.Output.Single(line => line.StartsWith($"listening on ws://{address}:", StringComparison.Ordinal)).Split(':')[^1].TrimEnd('/'), System.Globalization.CultureInfo.InvariantCulture);

        await Assert.That(await SayAsOtherAsync(port, RawPeer.UpgradeRequest($"{address}:{port}"), $"{address}")).StartsWith("HTTP/1.1 403 ");
    }

    [Test]
    public async Task Who_listens_in_the_daemons_place_is_shown_no_token_from_our_files()
    {
        SkipUnlessRootOnLinux();
        using var shared = new SharedBinary();
        using var theirs = new TempHome();
        File.SetUnixFileMode(theirs.Path, (UnixFileMode)0b111_111_111);
        using Process stranger = Process.Start(AsOther([shared.Path, "serve", "--bind", "127.0.0.1:0", "--no-socket", "--no-auth"], theirs))!;
        try
        {
            string listening = (await stranger.StandardOutput.ReadLineAsync().Soon("the stranger's port"))!;
            string url = listening["listening on ".Length..];
            using var ours = new TempHome();
            Directory.CreateDirectory(ours.TokenDirectory);
            File.WriteAllText(ours.HostTokenFile, "host-secret");
            File.WriteAllText(ours.AuthTokenFile, "auth-secret");

            CommandOutcome outcome = await CarProcess.RunAsync(ours.Path, ["ping", "--url", url]);
            await Assert.That(outcome.ExitCode).IsEqualTo(1).Because(outcome.ToString());
            await Assert.That(outcome.Errors).Contains("runs as another user; no token was shown");
            // A token that is named goes where it is told to.
            await Assert.That((await CarProcess.RunAsync(ours.Path, ["ping", "--url", url, "--token", "named"])).ExitCode).IsEqualTo(0);
        }
        finally
        {
            stranger.Kill();
        }
    }

    private static void SkipUnlessRootOnLinux()
    {
        if (!OperatingSystem.IsLinux()) Skip.Test("the owner of a TCP peer is known on Linux only");
        if (Environment.UserName != "root") Skip.Test("needs root, to become another user");
    }

    private static Task<TestDaemon> StartAsync(params string[] arguments)
    {
        SkipUnlessRootOnLinux();
        return TestDaemon.StartAsync(["--log-level", "info", .. arguments]);
    }

    private static async Task<string> SayAsOtherAsync(int port, string request, string address = "127.0.0.1")
    {
        string said = request.Replace("\r\n", "\\r\\n");
        (_, string output) = await RunAsOtherAsync(["bash", "-c", $"exec 3<>/dev/tcp/{address}/{port}; printf '{said}' >&3; cat <&3"]);
        return output;
    }

    /// <summary>Runs a command as a user who owns nothing here; returns both its outputs together.</summary>
    private static async Task<(int ExitCode, string Output)> RunAsOtherAsync(string[] command)
    {
        using Process process = Process.Start(AsOther(command))!;
        try
        {
            Task<string> output = process.StandardOutput.ReadToEndAsync(), errors = process.StandardError.ReadToEndAsync();
            await process.WaitForExitAsync().Soon($"the end of {string.Join(' ', command)}");
            return (process.ExitCode, await output + await errors);
        }
        finally
        {
            if (!process.HasExited) process.Kill(entireProcessTree: true);
        }
    }

    private static ProcessStartInfo AsOther(string[] command, TempHome? home = null)
    {
        var start = new ProcessStartInfo("setpriv", [$"--reuid={OtherUser}", $"--regid={OtherUser}", "--clear-groups", "--", .. command])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = "/",
        };
        if (home is not null) start.Environment["CAR_HOME"] = home.In("own");   // made, and so owned, by the other user
        return start;
    }

    /// <summary>The executable where everybody may run it: the checkout may lie in a private directory.</summary>
    private sealed class SharedBinary : IDisposable
    {
        private readonly TempHome _directory = new();

        public SharedBinary()
        {
            File.SetUnixFileMode(_directory.Path, (UnixFileMode)0b111_101_101);
            File.Copy(Repository.Binary, Path);
            File.SetUnixFileMode(Path, (UnixFileMode)0b111_101_101);
        }

        public string Path => _directory.In("car-server");

        public void Dispose() => _directory.Dispose();
    }
}

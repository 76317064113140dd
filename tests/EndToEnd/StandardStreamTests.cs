using System.Diagnostics;
using CarServer.Tests.Support;
using TUnit.Core;

namespace CarServer.Tests.EndToEnd;

/// <summary>What the commands write to: a pipe that is closed, a full disk, a terminal.</summary>
public sealed class StandardStreamTests
{
    private static async Task<CommandOutcome> ShellAsync(string home, string script)
    {
        var start = new ProcessStartInfo("/bin/sh", ["-c", script, Repository.Binary])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["CAR_HOME"] = home;
        using Process shell = Process.Start(start)!;
        Task<string> errors = shell.StandardError.ReadToEndAsync();
        string output = await shell.StandardOutput.ReadToEndAsync().Soon(script);
        await shell.WaitForExitAsync().Soon(script);
        return new CommandOutcome(shell.ExitCode, output, await errors);
    }

    [Test]
    public async Task A_command_that_nobody_reads_any_more_ends()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        await using RpcPeer agent = await daemon.ConnectAsync();
        string run = (await agent.CallAsync("runs.start", """{"intent":"watched","agent_id":"a"}""")).GetProperty("run_id").GetString()!;

        // The reader goes after the first line; the turn that comes then finds nobody, and the run is still open.
        Task<CommandOutcome> watched = ShellAsync(daemon.Home.Path, $"{{ \"$0\" runs watch {run}; echo $? >&2; }} | head -n 1");
        string step = """{"proposal":{"actions":[{"id":"s","type":"state_write","parameters":{"key":"k","value":1}}]}}""";
        while (!watched.IsCompleted)
        {
            await agent.CallAsync("proposal.submit", step);
            await Task.Delay(50);
        }
        CommandOutcome outcome = await watched;
        await Assert.That(outcome.Output).StartsWith($"run {run}");
        await Assert.That(outcome.Errors.Trim()).IsEqualTo("141");
    }

    [Test]
    [Arguments("exec \"$0\" version >/dev/full", "car-server: cannot write to standard output: no space left on device")]
    [Arguments("exec \"$0\" version >&-", "car-server: cannot write to standard output: bad file descriptor")]
    public async Task An_output_that_takes_nothing_is_told(string script, string error)
    {
        if (!OperatingSystem.IsLinux()) return;   // only there is a device that is always full
        using var home = new TempHome();
        CommandOutcome outcome = await ShellAsync(home.Path, script);
        await Assert.That(outcome.Errors.Trim()).IsEqualTo(error);
        await Assert.That(outcome.ExitCode).IsEqualTo(1);
    }

    [Test]
    public async Task A_daemon_serves_whoever_reads_its_output()
    {
        using var home = new TempHome();
        CommandOutcome outcome = await ShellAsync(home.Path,
            "\"$0\" serve --port 0 --log-level error >&- & \"$0\" wait-ready --timeout 20 >/dev/null && \"$0\" ping && \"$0\" stop >/dev/null; wait $!");
        await Assert.That(outcome.ExitCode).IsEqualTo(0).Because(outcome.ToString());
    }

    [Test]
    [Arguments("version")]
    [Arguments("--help")]
    public async Task A_terminal_gets_what_is_said_and_nothing_else(string arguments)
    {
        if (!OperatingSystem.IsLinux()) return;   // elsewhere the tool that makes a terminal has other options
        using var home = new TempHome();
        CommandOutcome outcome = await ShellAsync(home.Path, $"script -qec \"'$0' {arguments}\" /dev/null </dev/null");
        await Assert.That(outcome.Output).IsNotEmpty();
        await Assert.That(outcome.Output.Contains('\e')).IsFalse();
    }
}

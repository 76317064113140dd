using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;

namespace CarServer.Tests.Support;

/// <summary>What a finished command left: its exit code and both outputs whole.</summary>
internal sealed record CommandOutcome(int ExitCode, string Output, string Errors)
{
    public override string ToString() => $"exit {ExitCode}\n{Output}\n{Errors}";
}

/// <summary>Starts the published executable with an environment that holds nothing of the machine's own daemon.</summary>
internal static class CarProcess
{
    /// <summary>Runs a command to its end.</summary>
    /// <param name="home">Becomes <c>CAR_HOME</c>; null for none.</param>
    public static async Task<CommandOutcome> RunAsync(string? home, IEnumerable<string> arguments,
        IReadOnlyDictionary<string, string>? environment = null, string input = "")
    {
        using Process process = Start(home, arguments, environment, redirectInput: true);
        try
        {
            Task<string> output = process.StandardOutput.ReadToEndAsync();
            Task<string> errors = process.StandardError.ReadToEndAsync();
            try
            {
                await process.StandardInput.WriteAsync(input);
                process.StandardInput.Close();
            }
            catch (IOException) { }   // a command that reads no input may be gone already
            await process.WaitForExitAsync().Soon($"the end of car-server {string.Join(' ', arguments)}");
            return new CommandOutcome(process.ExitCode, await output, await errors);
        }
        finally
        {
            if (!process.HasExited) process.Kill(entireProcessTree: true);
        }
    }

    /// <param name="before">What a shell does before it becomes the executable: <c>umask 0</c>, <c>ulimit</c>. Null: there is no shell.</param>
    /// <param name="binary">Null for <see cref="Repository.Binary"/>.</param>
    internal static Process Start(string? home, IEnumerable<string> arguments, IReadOnlyDictionary<string, string>? environment, bool redirectInput,
        string? before = null, string? binary = null)
    {
        binary ??= Repository.Binary;
        if (!File.Exists(binary)) throw new FileNotFoundException($"{binary} is missing; make it with ./build.sh build");
        string[] command = before is null ? [binary, .. arguments] : ["/bin/sh", "-c", before + "; exec \"$0\" \"$@\"", binary, .. arguments];
        var start = new ProcessStartInfo(command[0], command[1..])
        {
            RedirectStandardInput = redirectInput,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardInputEncoding = redirectInput ? new UTF8Encoding(false) : null,
            StandardOutputEncoding = Encoding.UTF8,
            StandardErrorEncoding = Encoding.UTF8,
        };
        foreach (string name in start.Environment.Keys.ToArray())
            if (name.StartsWith("CAR_", StringComparison.Ordinal) || name is "XDG_RUNTIME_DIR") start.Environment.Remove(name);
        if (home is not null) start.Environment["CAR_HOME"] = home;
        foreach ((string name, string value) in environment ?? new Dictionary<string, string>()) start.Environment[name] = value;
        return Process.Start(start) ?? throw new InvalidOperationException("the process did not start");
    }

    /// <summary>Resident bytes. On Linux from the kernel's exact count: the one in <c>stat</c> lags by some pages for each processor.</summary>
    internal static long ResidentBytes(Process process)
    {
        string rollup = $"/proc/{process.Id}/smaps_rollup";
        if (File.Exists(rollup))
            foreach (string line in File.ReadLines(rollup))
                if (line.StartsWith("Rss:", StringComparison.Ordinal))
                    return long.Parse(line.AsSpan(4, line.Length - 4 - "kB".Length).Trim(), CultureInfo.InvariantCulture) * 1024;
        process.Refresh();
        return process.WorkingSet64;
    }

    /// <summary>Sends a signal of the operating system; <see cref="Process.Kill()"/> knows only the one that cannot be handled.</summary>
    internal static void Signal(Process process, int signal)
    {
        if (kill(process.Id, signal) != 0) throw new InvalidOperationException($"kill({process.Id}, {signal}): errno {Marshal.GetLastPInvokeError()}");
    }

    /// <summary>A shell starts what it puts in the background with SIGINT ignored, and that is inherited: daemons that tests start must hear it.</summary>
    [System.Runtime.CompilerServices.ModuleInitializer]
    internal static void HearInterrupts() => signal(SigInt, 0);

    internal const int SigInt = 2;
    internal const int SigTerm = 15;

    /// <summary>Stops a process until <see cref="SigContinue"/>: what the kernel does meanwhile on its own is then done for sure.</summary>
    internal static readonly int SigStop = OperatingSystem.IsMacOS() ? 17 : 19;
    internal static readonly int SigContinue = OperatingSystem.IsMacOS() ? 19 : 18;

    [DllImport("libc")]
    private static extern nint signal(int signal, nint handler);

    [DllImport("libc", SetLastError = true)]
    private static extern int kill(int pid, int signal);
}

using System.Diagnostics;
using System.Globalization;
using CarServer.Tests.EndToEnd.Crash;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>kill -9 at any moment costs nothing that was acknowledged (protocol 13, 14 and check 10 of section 24).</summary>
public sealed class CrashTests
{
    private const int Writers = 3;

    /// <summary>An agent with more ended runs than are kept (protocol 14.2), and some more in each round.</summary>
    private const string Collected = "collected";
    private const int Kept = 50, NewRuns = 10;

    private static int Rounds => FuzzBudget.IsLong ? 200 : 20;

    [Test]
    public async Task What_was_acknowledged_before_a_kill_is_there_once_after_it()
    {
        int seed = Environment.GetEnvironmentVariable("CAR_SEED") is { } given ? int.Parse(given, CultureInfo.InvariantCulture) : Random.Shared.Next();
        var random = new Random(seed);
        var ledger = new Ledger();
        long start = Stopwatch.GetTimestamp();
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        try
        {
            for (int round = 0; round < Rounds; round++)
            {
                await WriteUntilKilledAsync(daemon, ledger, round, random);
                AddEndedRuns(daemon, round);
                if (random.Next(2) == 0) await KillWhileItStartsAsync(daemon, random);
                await daemon.RestartAsync();
                await ledger.CheckAsync(daemon);
                ledger.Close();
                await Assert.That(KeptRuns(daemon).SequenceEqual(NewestRuns(round))).IsTrue().Because($"those are kept: {string.Join(' ', KeptRuns(daemon))}");
            }

            // Two more starts find nothing more to do: what ends a run and what removes one do it once.
            Dictionary<string, byte[]> before = Traces(daemon);
            for (int again = 0; again < 2; again++)
            {
                await daemon.KillAsync();
                await daemon.RestartAsync();
                Dictionary<string, byte[]> after = Traces(daemon);
                await Assert.That(after.Keys.Order(StringComparer.Ordinal).SequenceEqual(before.Keys.Order(StringComparer.Ordinal))).IsTrue();
                foreach ((string path, byte[] bytes) in after) await Assert.That(bytes.AsSpan().SequenceEqual(before[path])).IsTrue().Because(path);
            }

            // Or nothing was tested: some runs were completed, some were cut off, turns were acknowledged, and events seen.
            FuzzReport.Print($"crash test: {Rounds} rounds, {ledger.Completed} runs completed, {ledger.CutOff} cut off, {ledger.Turns:N0} turns acknowledged, {ledger.Followed:N0} followed, {ledger.Unheard} last batches not acknowledged, {Stopwatch.GetElapsedTime(start).TotalSeconds:0.0} s");
            await Assert.That(ledger.Completed).IsGreaterThan(0);
            await Assert.That(ledger.CutOff).IsGreaterThan(0);
            await Assert.That(ledger.Turns).IsGreaterThan(Rounds);
            await Assert.That(ledger.Followed).IsGreaterThan(Rounds);
        }
        catch (Exception e)
        {
            throw new InvalidOperationException($"CAR_SEED={seed}: {e.Message}", e);
        }
    }

    private static async Task WriteUntilKilledAsync(TestDaemon daemon, Ledger ledger, int round, Random random)
    {
        var writers = new List<Writer>();
        for (int i = 0; i < Writers; i++) writers.Add(await Writer.ConnectAsync(daemon, ledger, $"agent-{round}-{i}"));
        Task[] work = [.. writers.Select(writer => writer.WorkAsync())];
        // The moment is what this test is about; it is drawn, not waited for.
        await Task.Delay(TimeSpan.FromMilliseconds(random.NextDouble() * 150));
        await daemon.KillAsync();
        await Task.WhenAll(work).Soon("the end of the writers");
        foreach (Writer writer in writers) await writer.DisposeAsync();
    }

    /// <summary>Dies on the way to 'ready', perhaps while it ends what was open or removes what is old. The start after it has to find its way.</summary>
    private static async Task KillWhileItStartsAsync(TestDaemon daemon, Random random)
    {
        using Process process = CarProcess.Start(daemon.Home.Path, ["serve", "--bind", "127.0.0.1:0", "--no-auth"], null, redirectInput: false);
        await Task.Delay(TimeSpan.FromMilliseconds(random.NextDouble() * 40));
        process.Kill();
        await process.WaitForExitAsync().Soon("its end");
    }

    /// <summary>Ended runs of an agent of their own; a later one has a later start.</summary>
    private static void AddEndedRuns(TestDaemon daemon, int round)
    {
        Directory.CreateDirectory(daemon.Home.In("runs", Collected));
        int first = round == 0 ? 0 : Kept + round * NewRuns;
        for (int i = first; i < Kept + (round + 1) * NewRuns; i++)
        {
            string at = DateTime.UtcNow.Date.AddDays(-1).AddSeconds(i).ToString("yyyy-MM-ddTHH:mm:ssZ", CultureInfo.InvariantCulture);
            File.WriteAllText(daemon.Home.Trace(Collected, Name(i)), $$$"""
                {"record":"started","run_id":"{{{Name(i)}}}","agent_id":"{{{Collected}}}","intent":"","outcome_description":null,"started_at":"{{{at}}}"}
                {"record":"ended","run_id":"{{{Name(i)}}}","agent_id":"{{{Collected}}}","termination":{"kind":"incomplete"},"ended_at":"{{{at}}}"}

                """);
        }
    }

    private static IEnumerable<string> NewestRuns(int round) => Enumerable.Range((round + 1) * NewRuns, Kept).Select(Name);

    private static IEnumerable<string> KeptRuns(TestDaemon daemon) =>
        Directory.GetFiles(daemon.Home.In("runs", Collected)).Select(path => Path.GetFileNameWithoutExtension(path)).Order(StringComparer.Ordinal);

    private static string Name(int run) => run.ToString("d6", CultureInfo.InvariantCulture);

    private static Dictionary<string, byte[]> Traces(TestDaemon daemon) =>
        daemon.Home.Files().Where(path => path.StartsWith("runs/", StringComparison.Ordinal) && path.EndsWith(".jsonl", StringComparison.Ordinal))
            .ToDictionary(path => path, path => File.ReadAllBytes(daemon.Home.In(path)));
}

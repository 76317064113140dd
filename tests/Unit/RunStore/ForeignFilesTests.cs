using System.Diagnostics;
using CarServer.RunStore;
using CarServer.State.Runs;
using CarServer.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using TUnit.Core;
using static CarServer.Tests.Unit.RunStore.RunCatalogTests;

namespace CarServer.Tests.Unit.RunStore;

/// <summary>Files in the tree that no daemon wrote: they cost neither the start nor memory, and the runs beside them are looked after all the same.</summary>
public sealed class ForeignFilesTests
{
    /// <summary>Too large to be read, or to be held. It has no blocks on the disk.</summary>
    private const long Huge = 40L << 30;

    private static void Fill(string path, long holes, params ReadOnlySpan<string> behind)
    {
        using FileStream file = File.Open(path, FileMode.Append);
        foreach (string text in behind)
        {
            file.SetLength(file.Length + holes);
            file.Seek(0, SeekOrigin.End);
            file.Write(System.Text.Encoding.UTF8.GetBytes(text));
        }
    }

    [Test]
    [Arguments("one without a newline", false, new[] { "" })]
    [Arguments("one huge line", false, new[] { "\n" })]
    [Arguments("a trace with a huge tail", true, new[] { "" })]
    [Arguments("a trace with a huge line behind it", true, new[] { "\n" })]
    [Arguments("a trace with a huge line and a turn behind it", true, new[] { "\n{\"record\":\"turn\",\"index\":0}\n" })]
    public async Task A_huge_file_is_passed_over_and_left_where_it_is(string what, bool isTrace, string[] behind)
    {
        using var home = new TempHome();
        string odd = Write(home, "a", "odd", Now, null);
        if (!isTrace) await File.WriteAllTextAsync(odd, "");
        Fill(odd, Huge, behind);
        long length = new FileInfo(odd).Length;
        Write(home, "a", "beside", Now, null);
        var log = new LogLines();
        long start = Stopwatch.GetTimestamp();

        await using var appender = new Appender(log);
        var sweep = new StoreSweep(Catalog(home), new Retention(0, 0), Now, log) { Adopter = appender };
        await sweep.RunAsync(CancellationToken.None);
        await Assert.That(Catalog(home).List("a").Any(run => run is { RunId: "beside", Status: RunStatus.Incomplete })).IsTrue();
        

        using var runs = new RunRegistry(Catalog(home), appender, log, TimeProvider.System);
        await Assert.That(() => runs.ReadTrace("odd", new TraceQuery(), _ => true)).Throws<CarServer.State.RefusedException>();
        await Assert.That(Stopwatch.GetElapsedTime(start)).IsLessThan(TimeSpan.FromSeconds(10)).Because(what);
        await Assert.That(new FileInfo(odd).Length).IsGreaterThanOrEqualTo(length);
        await Assert.That(log.All.Any(line => line.Contains("file too large"))).IsTrue();
    }

    [Test]
    public async Task Damage_without_end_is_not_looked_through()
    {
        using var home = new TempHome();
        string odd = Write(home, "a", "odd", Now, null);
        await File.AppendAllTextAsync(odd, new string('\n', 100_000));
        await Assert.That(() => RunTrace.Summarise(odd, "a", "odd")).Throws<IOException>();
    }

    [Test]
    [Timeout(30_000)]
    public async Task A_pipe_or_a_link_named_like_a_trace_is_no_trace_to_a_reader(CancellationToken late)
    {
        using var home = new TempHome();
        string elsewhere = Write(home, "b", "elsewhere", Now, Now);
        Write(home, "a", "run", Now, Now);
        using (Process made = Process.Start("mkfifo", home.Trace("a", "pipe"))) await made.WaitForExitAsync(late);
        File.CreateSymbolicLink(home.Trace("a", "link"), elsewhere);
        File.CreateSymbolicLink(home.Trace("a", "away"), home.Trace("a", "pipe"));

        await using var appender = new Appender(NullLogger.Instance);
        using var runs = new RunRegistry(Catalog(home), appender, NullLogger.Instance, TimeProvider.System);
        foreach (string id in (string[])["pipe", "link", "away"])
        {
            using (TraceSlice read = runs.ReadTrace(id, new TraceQuery(), static _ => true)!.Value.Slice)
                await Assert.That((read.Count, read.Length)).IsEqualTo((0, 0L));
            await Assert.That(Catalog(home).Find(id)!.Summarise()).IsNull();
            // The name is taken all the same: a run of that key would write to whatever is there.
            await Assert.That((await runs.StartAsync("c", "a", "intent", null, id)).IsOpen).IsFalse();
        }
    }
}

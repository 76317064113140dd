using CarServer.RunStore;
using CarServer.State;
using CarServer.State.Runs;
using CarServer.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using TUnit.Core;
using static CarServer.Tests.Unit.RunStore.RunCatalogTests;

namespace CarServer.Tests.Unit.RunStore;

/// <summary>One key, one run: whatever the index says, and whoever else has the root.</summary>
public sealed class RunIndexTests
{
    [Test]
    public async Task A_new_key_is_looked_up_in_the_index_and_in_no_other_agents_directory()
    {
        await using var house = new House();
        await house.StartAsync("first", "k");
        Write(house.Home, "copied", "by-hand", Now, Now);
        await Assert.That(await house.StartAsync("second", "k")).IsEqualTo("belongs to another");
        await Assert.That(await house.StartAsync("second", "new")).IsEqualTo("second");
        // Nobody looked where it lies, or it would have been found; a reader does, and after an hour's pass so does a start.
        await Assert.That(await house.StartAsync("third", "by-hand")).IsEqualTo("third");
        Write(house.Home, "copied", "too", Now, Now);
        await Assert.That(house.Catalog.Find("too")!.AgentId).IsEqualTo("copied");
        house.Runs.Indexing.Run();
        await Assert.That(await house.StartAsync("third", "too")).IsEqualTo("belongs to another");
        await Assert.That(await house.StartAsync("copied", "too")).IsEqualTo("copied");
    }

    [Test]
    public async Task Runs_without_a_key_are_in_the_index_too()
    {
        await using var house = new House();
        string id = (await house.Runs.StartAsync("c", "a", "", null)).RunId;
        await Assert.That(house.Catalog.Index.AgentOf(id)).IsEqualTo("a");
        await using var other = new House(house.Home);
        await Assert.That(await other.StartAsync("b", id)).IsEqualTo("belongs to another");
    }

    [Test]
    public async Task A_root_from_before_the_index_answers_the_same_while_it_is_made_and_after()
    {
        using var home = new TempHome();
        for (int agent = 0; agent < 20; agent++) Write(home, $"name:{agent}", $"k{agent}", Now, Now);
        File.CreateSymbolicLink(home.Trace("name%3a1", "link"), home.Trace("name%3a0", "k0"));
        await using var house = new House(home);
        await Assert.That(await house.StartAsync("b", "k7")).IsEqualTo("belongs to another");
        await Eventually.TrueAsync("the index is made", () => house.Catalog.Index.IsComplete);
        await Assert.That(house.Catalog.Index.AgentOf("k19")).IsEqualTo("name%3a19");
        foreach (string taken in (string[])["k19", "link"]) await Assert.That(await house.StartAsync("b", taken)).IsEqualTo("belongs to another");
        await Assert.That(await house.StartAsync("name:19", "k19")).IsEqualTo("name:19");
        await Assert.That(await house.StartAsync("b", "new")).IsEqualTo("b");
    }

    /// <summary>An older version may have written to the root since: a process believes the index when it has compared it.</summary>
    [Test]
    public async Task A_new_process_does_not_rely_on_what_an_earlier_one_called_complete()
    {
        await using var house = new House();
        await house.StartAsync("a", "k");
        Write(house.Home, "b", "of-another-version", Now, Now);
        await using var next = new House(house.Home);
        await Assert.That(await next.StartAsync("a", "of-another-version")).IsEqualTo("belongs to another");
    }

    [Test]
    [Arguments("a")]
    [Arguments("b")]
    public async Task An_entry_whose_start_died_before_its_trace_keeps_nobody_from_the_key(string next)
    {
        await using var house = new House();
        await house.StartAsync("a", "other");
        house.Catalog.AddToIndex("a", "k");
        await Assert.That(await house.StartAsync(next, "k")).IsEqualTo(next);
        await Assert.That(house.Catalog.Index.AgentOf("k")).IsEqualTo(next);
        await using var other = new House(house.Home);
        await Assert.That(await other.StartAsync(next == "a" ? "b" : "a", "k")).IsEqualTo("belongs to another");
    }

    [Test]
    public async Task What_a_person_removed_is_free_and_what_he_moved_is_found()
    {
        await using var before = new House();
        foreach (string key in (string[])["file", "directory", "moved"]) await before.StartAsync(key, key);
        File.Delete(before.Home.Trace("file", "file"));
        Directory.Delete(before.Home.In("runs", "directory"), recursive: true);
        Directory.Move(before.Home.In("runs", "moved"), before.Home.In("runs", "elsewhere"));

        await using var house = new House(before.Home);
        house.Runs.Indexing.Run();
        await Assert.That(house.Catalog.Find("moved")!.AgentId).IsEqualTo("elsewhere");
        await Assert.That(await house.StartAsync("new", "file")).IsEqualTo("new");
        await Assert.That(await house.StartAsync("new", "directory")).IsEqualTo("new");
        await Assert.That(await house.StartAsync("new", "moved")).IsEqualTo("belongs to another");
    }

    [Test]
    public async Task Without_its_index_or_a_way_to_write_it_a_root_is_searched()
    {
        await using var house = new House();
        await house.StartAsync("a", "k1");
        Directory.Delete(house.Home.In("runs", ".index"), recursive: true);
        await Assert.That(await house.StartAsync("a", "k2")).IsEqualTo("a");

        await using var next = new House();
        await next.StartAsync("a", "k1");
        Directory.CreateDirectory(next.Home.In("runs", ".index", "k2", "in the way"));
        await Assert.That(await next.StartAsync("a", "k2")).IsEqualTo("a");
        await Assert.That(next.Catalog.Index.IsComplete).IsFalse();
        foreach (House one in (House[])[house, next])
        {
            await using var other = new House(one.Home);
            foreach (string key in (string[])["k1", "k2"]) await Assert.That(await other.StartAsync("b", key)).IsEqualTo("belongs to another");
        }
    }

    [Test]
    public async Task Two_daemons_that_are_asked_at_once_start_one_run_for_a_key()
    {
        await using var one = new House();
        await using var two = new House(one.Home);
        House[] houses = [one, two];
        const int Keys = 40;
        (string Key, string Result)[] results = await Task.WhenAll(
            from key in Enumerable.Range(0, Keys) from agent in (string[])["a", "b", "c"] from house in houses
            select Task.Run(async () => ($"k{key}", await house.StartAsync(agent, $"k{key}"))));
        string[] traces = [.. one.Home.Files().Where(static path => path.EndsWith(".jsonl", StringComparison.Ordinal))];
        await Assert.That(traces.Length).IsEqualTo(Keys);
        foreach (string trace in traces) await Assert.That((await File.ReadAllLinesAsync(one.Home.In(trace))).Length).IsEqualTo(1);
        foreach (var key in results.GroupBy(static result => result.Key))
        {
            string owner = traces.Single(trace => trace.EndsWith($"/{key.Key}.jsonl", StringComparison.Ordinal)).Split('/')[1];
            await Assert.That(key.Count(result => result.Result == owner)).IsEqualTo(2);   // in either daemon
            await Assert.That(key.Count(static result => result.Result == "belongs to another")).IsEqualTo(4);
        }
    }

    [Test]
    public async Task A_start_waits_for_whoever_is_at_its_key()
    {
        await using var house = new House();
        await house.StartAsync("a", "other");
        Task<string> starting;
        using (house.Catalog.TryClaim("b", "k"))
        {
            await Assert.That(house.Catalog.TryClaim("c", "k")).IsNull();
            starting = house.StartAsync("a", "k");
            await Assert.That(await house.StartAsync("a", "k too")).IsEqualTo("a");
            await Assert.That(starting.IsCompleted).IsFalse();
            Write(house.Home, "b", "k", Now, null);
            house.Catalog.AddToIndex("b", "k");
        }
        await Assert.That(await starting.Soon("the end of the wait")).IsEqualTo("belongs to another");
    }

    [Test]
    public async Task A_run_that_is_kept_no_longer_leaves_the_index_and_stays_while_its_key_is_held()
    {
        await using var house = new House();
        await house.StartAsync("a", "new");
        foreach (string key in (string[])["old", "held"])
        {
            house.Catalog.AddToIndex("a", key);
            Write(house.Home, "a", key, Now.AddDays(-40), Now.AddDays(-40));
        }
        using (house.Catalog.TryClaim("a", "held")) await SweepAsync();
        await Assert.That(house.Catalog.Index.AgentOf("old")).IsNull();
        await Assert.That(house.Catalog.Index.AgentOf("held")).IsEqualTo("a");
        await Assert.That(File.Exists(house.Home.Trace("a", "held"))).IsTrue();
        await Assert.That(await house.StartAsync("b", "old")).IsEqualTo("b");
        await SweepAsync();
        await Assert.That(await house.StartAsync("b", "held")).IsEqualTo("b");

        Task SweepAsync() => new StoreSweep(house.Catalog, new Retention(), Now, NullLogger.Instance).RunAsync(CancellationToken.None);
    }

    [Test]
    public async Task What_dead_daemons_left_in_the_index_goes_after_an_hour()
    {
        await using var house = new House();
        await house.StartAsync("a", "k");
        foreach (string name in (string[])["gone", "starting"]) house.Catalog.AddToIndex("a", name);
        foreach (string name in (string[])["gone", "k"]) File.SetLastWriteTimeUtc(house.Home.In("runs", ".index", name), DateTime.UtcNow.AddHours(-2));
        house.Runs.Indexing.Run();
        await Assert.That(new DirectoryInfo(house.Home.In("runs", ".index")).EnumerateFileSystemInfos().Select(static entry => entry.Name))
            .IsEquivalentTo([".complete", ".holds", "k", "starting"]);
    }

    [Test]
    public async Task An_entry_that_leads_out_of_the_tree_is_none()
    {
        await using var house = new House();
        using var elsewhere = new TempHome();
        await house.StartAsync("a", "k");
        Write(elsewhere, "b", "x", Now, Now);
        File.CreateSymbolicLink(house.Home.In("runs", ".index", "x"), elsewhere.In("runs", "b"));
        File.CreateSymbolicLink(house.Home.In("runs", ".index", "y"), "../..");
        await Assert.That(house.Catalog.Find("x")).IsNull();
        await Assert.That(house.Catalog.Index.AgentOf("y")).IsNull();
    }

    /// <summary>A daemon's runs, without the daemon.</summary>
    private sealed class House(TempHome? shared = null) : IAsyncDisposable
    {
        private readonly Appender _appender = new(NullLogger.Instance);

        public TempHome Home { get; } = shared ?? new TempHome();
        public RunCatalog Catalog => _catalog ??= RunCatalogTests.Catalog(Home);
        public RunRegistry Runs => _runs ??= new RunRegistry(Catalog, _appender, NullLogger.Instance, TimeProvider.System);
        private RunCatalog? _catalog;
        private RunRegistry? _runs;

        /// <summary>Whose run it is then.</summary>
        public async Task<string> StartAsync(string agentId, string key)
        {
            try
            {
                return (await Runs.StartAsync("c", agentId, "", null, key)).AgentId;
            }
            catch (RefusedException e) when (e.Message == $"idempotency_key `{key}` belongs to a run of another agent")
            {
                return "belongs to another";
            }
        }

        public async ValueTask DisposeAsync()
        {
            await _appender.DisposeAsync();
            Runs.Dispose();
            if (shared is null) Home.Dispose();
        }
    }
}

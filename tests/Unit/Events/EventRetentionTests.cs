using System.Globalization;
using System.Text;
using System.Text.Json;
using CarServer.RunStore;
using CarServer.State.Events;
using CarServer.Tests.Support;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace CarServer.Tests.Unit.Events;

/// <summary>What a policy keeps, in memory and in the journal (protocol 12.2).</summary>
public sealed class EventRetentionTests
{
    [Test]
    public async Task Memory_follows_the_policy_at_once_and_from_then_on()
    {
        await using var setup = new Setup();
        setup.Record(0, 10);
        await Assert.That(await setup.Log.RetainAsync(new EventRetention(MaxEvents: 4))).IsEqualTo(6);
        setup.Record(10, 1);
        await Assert.That(setup.Memory()).IsEqualTo("7-10");
        await Assert.That(await setup.Log.RetainAsync(new EventRetention(MaxEvents: 0))).IsEqualTo(4);
        setup.Record(11, 1);
        await Assert.That(setup.Log.Count).IsEqualTo(0);
        await setup.Log.RetainAsync(new EventRetention());
        setup.Record(12, 2);
        await Assert.That(setup.Memory()).IsEqualTo("12-13");
    }

    [Test]
    public async Task What_has_become_too_old_is_gone_when_somebody_looks()
    {
        await using var setup = new Setup();
        await setup.Log.RetainAsync(new EventRetention(MaxAgeSecs: 10));
        setup.Record(0, 5);
        setup.Clock.Advance(TimeSpan.FromSeconds(10));
        setup.Record(5, 5);
        await Assert.That(setup.Memory()).IsEqualTo("0-9");
        setup.Clock.Advance(TimeSpan.FromSeconds(1));
        await Assert.That(setup.Memory()).IsEqualTo("5-9");
        setup.Clock.Advance(TimeSpan.FromDays(1));
        await Assert.That(setup.Log.Count).IsEqualTo(0);
        await setup.Log.RetainAsync(new EventRetention(MaxAgeSecs: long.MaxValue));   // before the calendar's first day
        setup.Record(10, 1);
        await Assert.That(setup.Memory()).IsEqualTo("10-10");
    }

    [Test]
    [Arguments(1_023, 0, "0-1022")]       // one line short of a surplus worth a file
    [Arguments(1_024, 0, "")]
    [Arguments(5_000, 4_000, "0-4999")]   // 1,000 lines
    [Arguments(5_000, 3_900, "0-4999")]   // 1,100 lines, less than a quarter
    [Arguments(5_000, 3_700, "1300-4999")]
    public async Task The_journal_is_compacted_when_it_is_worth_it(int lines, int maxEvents, string kept)
    {
        await using var setup = new Setup();
        setup.Record(0, lines);
        await setup.Log.RetainAsync(new EventRetention(MaxEvents: maxEvents));
        await setup.FlushAsync();
        await Assert.That(setup.Journal()).IsEqualTo(kept);
        setup.Record(lines, 1);
        await setup.FlushAsync();
        await Assert.That(setup.Journal()).EndsWith($"{lines}");
        await Assert.That(File.GetUnixFileMode(setup.Path)).IsEqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite);
        await Assert.That(setup.Home.Files().Count()).IsEqualTo(1);
    }

    [Test]
    public async Task By_age_only_what_is_too_old_and_stands_at_the_front_goes()
    {
        await using var setup = new Setup();
        setup.Record(0, 2_000);
        setup.Clock.Advance(TimeSpan.FromSeconds(60));
        setup.Record(2_000, 1_000);
        await setup.Log.RetainAsync(new EventRetention(MaxAgeSecs: 30));
        await Assert.That(setup.Journal()).IsEqualTo("2000-2999");
    }

    [Test]
    public async Task A_journal_that_grows_under_a_policy_stays_bounded_and_loses_nothing_it_should_keep()
    {
        await using var setup = new Setup();
        await setup.Log.RetainAsync(new EventRetention(MaxEvents: 100));
        for (int i = 0; i < 200; i++)
        {
            setup.Record(i * 100, 100);
            if (i % 8 == 0) await Task.Delay(1);   // compactions go on beside the appends
        }
        await setup.Log.RetainAsync(new EventRetention(MaxEvents: 100));
        await setup.FlushAsync();   // one that finds nothing to do does not wait for the file
        string[] range = setup.Journal().Split('-');
        await Assert.That(range[1]).IsEqualTo("19999");
        await Assert.That(20_000 - int.Parse(range[0], CultureInfo.InvariantCulture)).IsBetween(100, 1_124);
    }

    [Test]
    public async Task A_compacted_chain_is_verified_from_what_is_left()
    {
        await using var setup = new Setup();
        setup.Log.EnableChain();
        setup.Record(0, 3_000);
        await setup.Log.RetainAsync(new EventRetention(MaxEvents: 500));
        setup.Record(3_000, 10);
        EventChain.Check check = await setup.Log.VerifyChainAsync(default);
        await Assert.That((check.Verified, check.TamperedAt)).IsEqualTo((510, null));
    }

    [Test]
    [Arguments("open")]
    [Arguments("write")]
    [Arguments("sync")]
    [Arguments("rename")]
    public async Task A_disk_that_refuses_leaves_the_journal_as_it_was_and_no_copy(string step)
    {
        var disk = new FaultyDisk();
        var log = new LogLines();
        await using var setup = new Setup(disk, log);
        setup.Record(0, 3_000);
        await setup.FlushAsync();
        if (step == "open") disk.OnOpen = path => { if (path.EndsWith(".new", StringComparison.Ordinal)) throw FaultyDisk.Full(); };
        if (step == "write") disk.OnWrite = static (_, _, _) => throw FaultyDisk.Full();
        if (step == "sync") disk.OnSync = static () => throw FaultyDisk.Full();
        if (step == "rename") disk.OnRename = static () => throw FaultyDisk.Full();
        await setup.Log.RetainAsync(new EventRetention(MaxEvents: 10));
        await Assert.That(setup.Journal()).IsEqualTo("0-2999");
        await Assert.That(setup.Home.Files().Count()).IsEqualTo(1);
        await Assert.That(log.All.Single()).Contains("not compacted: no space left on device");

        (disk.OnOpen, disk.OnWrite, disk.OnSync, disk.OnRename) = (null, null, null, null);
        setup.Record(3_000, 1);
        await setup.Log.RetainAsync(new EventRetention(MaxEvents: 10));
        await Assert.That(setup.Journal()).IsEqualTo("2991-3000");
    }

    [Test]
    public async Task What_is_appended_between_copy_and_rename_is_in_the_new_file()
    {
        var disk = new FaultyDisk();
        await using var setup = new Setup(disk);
        setup.Record(0, 3_000);
        int syncs = 0;
        // The copy has just been made durable, and the writing thread is about to be asked for the rest.
        disk.OnSync = () => { if (syncs++ == 0) setup.Record(3_000, 500); };
        await setup.Log.RetainAsync(new EventRetention(MaxEvents: 10));
        await setup.FlushAsync();
        await Assert.That(setup.Journal()).IsEqualTo("2990-3499");
    }

    [Test]
    public async Task A_journal_that_somebody_replaced_is_not_overwritten()
    {
        var disk = new FaultyDisk();
        await using var setup = new Setup(disk);
        setup.Record(0, 3_000);
        disk.OnSync = () =>
        {
            File.Delete(setup.Path);
            File.WriteAllText(setup.Path, "theirs\n");
        };
        await setup.Log.RetainAsync(new EventRetention(MaxEvents: 10));
        await Assert.That(await File.ReadAllTextAsync(setup.Path)).IsEqualTo("theirs\n");
    }

    [Test]
    public async Task With_fsync_the_new_journal_and_its_name_are_durable()
    {
        var disk = new FaultyDisk();
        await using var setup = new Setup(disk, durability: Durability.Fsync);
        setup.Record(0, 3_000);
        await setup.Log.RetainAsync(new EventRetention(MaxEvents: 10));
        await Assert.That(disk.Synced).IsEquivalentTo((string[])["file", "file", setup.Home.Path], TUnit.Assertions.Enums.CollectionOrdering.Matching);
    }

    [Test]
    public async Task Copies_left_over_by_a_crash_are_removed_when_they_are_old()
    {
        using var home = new TempHome();
        foreach (string name in (string[])["0123456789ab.jsonl.new", "ba9876543210.jsonl.new", "notes.jsonl.new"]) await File.WriteAllTextAsync(home.In(name), "{}\n");
        DateTime now = DateTime.UtcNow;
        File.SetLastWriteTimeUtc(home.In("0123456789ab.jsonl.new"), now.AddHours(-2));
        File.SetLastWriteTimeUtc(home.In("notes.jsonl.new"), now.AddHours(-2));
        Journals.Collect(home.Path, new Retention(), now, _ => false, dryRun: true, NullLogger.Instance);
        await Assert.That(home.Files().Count()).IsEqualTo(3);
        Journals.Collect(home.Path, new Retention(), now, _ => false, dryRun: false, NullLogger.Instance);
        await Assert.That(home.Files()).IsEquivalentTo((string[])["ba9876543210.jsonl.new", "notes.jsonl.new"]);
    }

    private sealed class Setup : IAsyncDisposable
    {
        private readonly Appender _appender;

        public Setup(Disk? disk = null, ILogger? log = null, Durability durability = Durability.Os)
        {
            _appender = new Appender(log ?? NullLogger.Instance, durability, disk);
            Log = new EventLog(Path, _appender, Clock);
        }

        public TempHome Home { get; } = new();
        public string Path => Home.In("j.jsonl");
        public ManualClock Clock { get; } = new();
        public EventLog Log { get; }

        public void Record(int first, int count)
        {
            for (int i = first; i < first + count; i++) Log.Record(EventKind.Consolidated, i.ToString(CultureInfo.InvariantCulture), null);
            Log.Flush();
        }

        public Task FlushAsync() => _appender.FlushAsync();

        public string Memory() => Range(Log.Latest().Select(line => Encoding.UTF8.GetString(line.Span)));
        public string Journal() => Range(File.ReadAllLines(Path));

        /// <summary>The action ids, which have to be numbers in a row.</summary>
        private static string Range(IEnumerable<string> lines)
        {
            int[] numbers = [.. lines.Select(line => int.Parse(JsonDocument.Parse(line).RootElement.GetProperty("action_id").GetString()!, CultureInfo.InvariantCulture))];
            if (numbers.Length == 0) return "";
            return numbers.SequenceEqual(Enumerable.Range(numbers[0], numbers.Length)) ? $"{numbers[0]}-{numbers[^1]}" : string.Join(',', numbers);
        }

        public async ValueTask DisposeAsync()
        {
            await _appender.DisposeAsync();
            Home.Dispose();
        }
    }
}

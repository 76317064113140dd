using System.Runtime.InteropServices;
using System.Text;
using CarServer.RunStore;
using CarServer.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Win32.SafeHandles;
using TUnit.Core;

namespace CarServer.Tests.Unit.RunStore;

public sealed partial class AppenderTests
{
    private static byte[] Line(string text) => Encoding.UTF8.GetBytes(text + "\n");

    [Test]
    public async Task Nothing_is_on_disk_before_the_first_append()
    {
        using var home = new TempHome();
        await using var appender = new Appender(NullLogger.Instance);
        appender.File(home.In("runs", "a", "r.jsonl"));
        await appender.FlushAsync();
        await Assert.That(home.Files()).IsEmpty();
        await Assert.That(Directory.Exists(home.In("runs"))).IsFalse();
    }

    [Test]
    public async Task A_torn_last_line_is_cut_and_appending_goes_on()
    {
        using var home = new TempHome();
        byte[] whole = Line("{\"n\":1}").Concat(Line("{\"n\":22}")).ToArray();
        await using var appender = new Appender(NullLogger.Instance);
        for (int length = 0; length <= whole.Length; length++)
        {
            string path = home.In($"{length}.jsonl");
            await File.WriteAllBytesAsync(path, whole[..length]);
            await appender.AppendAsync(appender.File(path), Line("{\"n\":333}"));
            int kept = Array.LastIndexOf(whole[..length], (byte)'\n') + 1;
            await Assert.That(await File.ReadAllTextAsync(path)).IsEqualTo(Encoding.UTF8.GetString(whole, 0, kept) + "{\"n\":333}\n");
        }
    }

    [Test]
    public async Task A_torn_tail_longer_than_a_read_is_cut_whole()
    {
        using var home = new TempHome();
        string path = home.In("f.jsonl");
        await File.WriteAllTextAsync(path, "{}\n" + new string('x', 100_000));
        var log = new LogLines();
        await using var appender = new Appender(log);
        await appender.AppendAsync(appender.File(path), Line("[]"));
        await Assert.That(await File.ReadAllTextAsync(path)).IsEqualTo("{}\n[]\n");
        await Assert.That(log.All.Single()).Contains("cut 100000 bytes");
    }

    [LibraryImport("libc", EntryPoint = "umask")]
    private static partial uint Umask(uint mask);

    [Test, NotInParallel]
    [Arguments(0u)]
    [Arguments(0x1FFu)]   // 0777: takes even the owner's bits
    public async Task Directories_and_files_are_the_owners_alone_whatever_the_umask(uint umask)
    {
        using var home = new TempHome();
        uint before = Umask(umask);
        try
        {
            await using var appender = new Appender(NullLogger.Instance);
            await appender.AppendAsync(appender.File(home.In("runs", "a", "r.jsonl")), Line("{}"));
        }
        finally
        {
            Umask(before);
        }
        await Assert.That(Convert.ToString((int)File.GetUnixFileMode(home.In("runs")), 8)).IsEqualTo("700");
        await Assert.That(Convert.ToString((int)File.GetUnixFileMode(home.In("runs", "a")), 8)).IsEqualTo("700");
        await Assert.That(Convert.ToString((int)File.GetUnixFileMode(home.In("runs", "a", "r.jsonl")), 8)).IsEqualTo("600");
    }

    [Test]
    public async Task A_path_below_a_regular_file_fails_for_its_caller_and_works_once_the_file_is_gone()
    {
        using var home = new TempHome();
        await File.WriteAllTextAsync(home.In("runs"), "in the way");
        await using var appender = new Appender(NullLogger.Instance);
        AppendFile file = appender.File(home.In("runs", "a", "r.jsonl"));
        await Assert.That(async () => await appender.AppendAsync(file, Line("1"))).Throws<IOException>();
        File.Delete(home.In("runs"));
        await appender.AppendAsync(file, Line("2"));
        await Assert.That(await File.ReadAllTextAsync(file.Path)).IsEqualTo("2\n");
    }

    [Test]
    public async Task A_full_disk_fails_the_append_and_the_file_goes_on_when_there_is_room_again()
    {
        using var home = new TempHome();
        string path = home.In("f.jsonl");
        File.CreateSymbolicLink(path, "/dev/full");
        var log = new LogLines();
        await using var appender = new Appender(log);
        AppendFile file = appender.File(path);
        await Assert.That(async () => await appender.AppendAsync(file, Line("lost"))).Throws<IOException>();
        appender.Append(file, Line("lost too"));
        await appender.FlushAsync();
        await Assert.That(log.All.Count(line => line.Contains("refused by the disk"))).IsEqualTo(1);

        File.Delete(path);
        await File.WriteAllTextAsync(path, "old\n");
        await appender.AppendAsync(file, Line("new"));
        await Assert.That(await File.ReadAllTextAsync(path)).IsEqualTo("old\nnew\n");
    }

    [Test]
    public async Task A_write_that_fails_half_way_leaves_nothing_behind()
    {
        using var home = new TempHome();
        bool full = false;
        var disk = new FaultyDisk
        {
            OnWrite = (file, lines, offset) =>
            {
                RandomAccess.Write(file, full ? Line("first of the refused") : lines[0].Span, offset);
                if (full) throw FaultyDisk.Full();
            },
        };
        await using var appender = new Appender(NullLogger.Instance, disk: disk);
        AppendFile file = appender.File(home.In("f.jsonl"));
        await appender.AppendAsync(file, Line("kept"));
        full = true;
        await Assert.That(async () => await appender.AppendAsync(file, Line("first of the refused\nsecond"))).Throws<IOException>();
        await Assert.That(await File.ReadAllTextAsync(file.Path)).IsEqualTo("kept\n");
        full = false;
        await appender.AppendAsync(file, Line("goes on"));
        await Assert.That(await File.ReadAllTextAsync(file.Path)).IsEqualTo("kept\ngoes on\n");
    }

    [Test]
    public async Task Why_the_disk_refused_is_said_in_words()
    {
        using var home = new TempHome();
        var disk = new FaultyDisk();
        await using var appender = new Appender(NullLogger.Instance, disk: disk);
        AppendFile file = appender.File(home.In("f.jsonl"));
        await Assert.That(async () => await Refused(FaultyDisk.Full())).Throws<IOException>().WithMessage("no space left on device");
        await Assert.That(async () => await Refused(new ArgumentOutOfRangeException())).Throws<IOException>().WithMessage("file too large");
        disk.OnOpen = _ => throw new UnauthorizedAccessException();
        await Assert.That(async () => await appender.AppendAsync(file, Line("x"))).Throws<IOException>().WithMessage("permission denied");
        disk.OnOpen = _ => throw new IOException("", 30);   // EROFS
        await Assert.That(async () => await appender.AppendAsync(file, Line("x"))).Throws<IOException>().WithMessage("read-only file system");
        disk.OnOpen = null;
        await appender.AppendAsync(file, Line("goes on"));
        await Assert.That(await File.ReadAllTextAsync(file.Path)).IsEqualTo("goes on\n");

        async Task Refused(Exception reason)
        {
            disk.OnWrite = (_, _, _) => throw reason;
            try { await appender.AppendAsync(file, Line("x")); }
            finally { disk.OnWrite = null; }
        }
    }

    [Test]
    public async Task What_cannot_be_taken_back_at_once_is_cut_before_the_next_write()
    {
        using var home = new TempHome();
        var log = new LogLines();
        var disk = new FaultyDisk();
        await using var appender = new Appender(log, disk: disk);
        AppendFile file = appender.File(home.In("f.jsonl"));
        await appender.AppendAsync(file, Line("kept"));
        disk.OnWrite = (handle, _, offset) =>
        {
            RandomAccess.Write(handle, Line("a whole line of what failed"), offset);
            throw FaultyDisk.Full();
        };
        disk.OnSetLength = () => throw FaultyDisk.Full();
        await Assert.That(async () => await appender.AppendAsync(file, Line("lost"))).Throws<IOException>();
        await Assert.That(log.All.Any(line => line.Contains("could not be removed yet"))).IsTrue();
        (disk.OnWrite, disk.OnSetLength) = (null, null);
        await appender.AppendAsync(file, Line("goes on"));
        await Assert.That(await File.ReadAllTextAsync(file.Path)).IsEqualTo("kept\ngoes on\n");
    }

    [Test]
    public async Task A_disk_that_refuses_everything_is_one_log_line_and_then_a_count_now_and_then()
    {
        using var home = new TempHome();
        var log = new LogLines();
        var clock = new ManualClock();
        var disk = new FaultyDisk { OnWrite = (_, _, _) => throw FaultyDisk.Full() };
        await using var appender = new Appender(log, disk: disk, clock: clock);
        AppendFile[] files = [appender.File(home.In("1.jsonl")), appender.File(home.In("2.jsonl"))];
        await RefuseAsync(50);
        await Assert.That(log.All.Single()).Contains("1.jsonl: 1 appends were refused by the disk: no space left on device");
        clock.Advance(RefusalLog.Pause);
        await Assert.That(log.All[1]).Contains("99 more appends were refused by the disk, the last to ").And.Contains("2.jsonl: no space left on device");
        clock.Advance(RefusalLog.Pause);
        clock.Advance(RefusalLog.Pause);
        await Assert.That(log.All.Length).IsEqualTo(2);
        await RefuseAsync(1);
        await Assert.That(log.All.Length).IsEqualTo(3);
        await appender.DisposeAsync();
        await Assert.That(log.All[3]).Contains("1 more appends");
        await Assert.That(clock.TimersSet).IsEqualTo(0);

        async Task RefuseAsync(int times)
        {
            for (int i = 0; i < times; i++)
                foreach (AppendFile file in files)
                    await Assert.That(async () => await appender.AppendAsync(file, Line("x"))).Throws<IOException>();
        }
    }

    [Test]
    public async Task A_file_that_was_taken_away_is_made_anew_and_not_written_to_where_nobody_can_find_it()
    {
        using var home = new TempHome();
        await using var appender = new Appender(NullLogger.Instance);
        AppendFile file = appender.File(home.In("runs", "a", "r.jsonl"));
        await appender.AppendAsync(file, Line("1"));
        File.Delete(file.Path);
        await appender.AppendAsync(file, Line("2"));
        await Assert.That(await File.ReadAllTextAsync(file.Path)).IsEqualTo("2\n");
        Directory.Delete(home.In("runs"), recursive: true);
        await appender.AppendAsync(file, Line("3"));
        await Assert.That(await File.ReadAllTextAsync(file.Path)).IsEqualTo("3\n");
    }

    [Test]
    public async Task More_appends_than_one_system_call_takes_all_arrive()
    {
        using var home = new TempHome();
        using var disk = new StoppedDisk();
        await using var appender = new Appender(NullLogger.Instance, disk: disk.Disk);
        AppendFile file = appender.File(home.In("f.jsonl"));
        Task first = appender.AppendAsync(file, Line("0"));
        disk.AwaitWrite();
        Task[] rest = [.. Enumerable.Range(1, 3_000).Select(i => appender.AppendAsync(file, Line($"{i}")))];   // IOV_MAX is 1,024
        disk.Release();
        await Task.WhenAll([first, .. rest]);
        await Assert.That((await File.ReadAllLinesAsync(file.Path)).SequenceEqual(Enumerable.Range(0, 3_001).Select(i => $"{i}"))).IsTrue();
    }

    [Test]
    public async Task What_gathers_for_a_file_during_a_write_goes_out_in_one()
    {
        using var home = new TempHome();
        using var disk = new StoppedDisk();
        await using var appender = new Appender(NullLogger.Instance, disk: disk.Disk);
        AppendFile a = appender.File(home.In("a.jsonl"));
        AppendFile b = appender.File(home.In("b.jsonl"));
        Task first = appender.AppendAsync(a, Line("a0"));
        disk.AwaitWrite();
        var rest = new List<Task>();
        for (int i = 1; i <= 100; i++)
        {
            rest.Add(appender.AppendAsync(a, Line($"a{i}")));
            rest.Add(appender.AppendAsync(b, Line($"b{i}")));
        }
        disk.Release();
        await Task.WhenAll([first, .. rest]);
        await Assert.That(disk.Writes).IsEqualTo(3);
        await Assert.That(await File.ReadAllLinesAsync(a.Path)).IsEquivalentTo(Enumerable.Range(0, 101).Select(i => $"a{i}"));
        await Assert.That((await File.ReadAllLinesAsync(b.Path))[^1]).IsEqualTo("b100");
    }

    [Test]
    public async Task One_append_that_is_too_big_for_the_disk_does_not_take_its_neighbours_with_it()
    {
        using var home = new TempHome();
        using var disk = new StoppedDisk { Room = 10 };
        await using var appender = new Appender(NullLogger.Instance, disk: disk.Disk);
        AppendFile file = appender.File(home.In("f.jsonl"));
        Task first = appender.AppendAsync(file, Line("1"));
        disk.AwaitWrite();
        Task small = appender.AppendAsync(file, Line("2"));
        Task big = appender.AppendAsync(file, Line(new string('x', 20)));
        Task last = appender.AppendAsync(file, Line("3"));
        disk.Release();
        await Task.WhenAll(first, small, last);
        await Assert.That(async () => await big).Throws<IOException>();
        await Assert.That(await File.ReadAllTextAsync(file.Path)).IsEqualTo("1\n2\n3\n");
    }

    [Test]
    public async Task Lines_of_concurrent_callers_stay_whole_and_in_each_callers_order()
    {
        using var home = new TempHome();
        await using var appender = new Appender(NullLogger.Instance);
        AppendFile file = appender.File(home.In("f.jsonl"));
        await Task.WhenAll(Enumerable.Range(0, 8).Select(caller => Task.Run(async () =>
        {
            for (int i = 0; i < 200; i++) await appender.AppendAsync(file, Line($"{caller} {i}"));
        })));
        string[] lines = await File.ReadAllLinesAsync(file.Path);
        await Assert.That(lines.Length).IsEqualTo(1_600);
        foreach (IGrouping<string, string> caller in lines.GroupBy(line => line.Split(' ')[0]))
            await Assert.That(string.Join(',', caller.Select(line => line.Split(' ')[1]))).IsEqualTo(string.Join(',', Enumerable.Range(0, 200)));
    }

    [Test]
    public async Task More_files_than_may_be_open_all_get_their_lines()
    {
        using var home = new TempHome();
        await using var appender = new Appender(NullLogger.Instance);
        AppendFile[] files = [.. Enumerable.Range(0, Appender.MaxOpenFiles + 10).Select(i => appender.File(home.In($"{i}.jsonl")))];
        for (int round = 0; round < 2; round++)
            foreach (AppendFile file in files) appender.Append(file, Line($"{round}"));
        await appender.FlushAsync();
        foreach (AppendFile file in files) await Assert.That(await File.ReadAllTextAsync(file.Path)).IsEqualTo("0\n1\n");
    }

    [Test]
    public async Task Appends_that_nobody_awaits_are_dropped_above_the_bound_and_counted_in_one_log_line()
    {
        using var home = new TempHome();
        using var disk = new StoppedDisk { Discards = true };
        var log = new LogLines();
        byte[] mebibyte = new byte[1024 * 1024];
        await using var appender = new Appender(log, disk: disk.Disk);
        AppendFile file = appender.File(home.In("f.jsonl"));
        appender.Append(file, mebibyte);
        disk.AwaitWrite();
        for (int i = 1; i < Appender.MaxQueuedBytes / mebibyte.Length; i++) appender.Append(file, mebibyte);   // to the bound
        appender.Append(file, mebibyte.AsMemory(0, 1));                                                        // and past it
        appender.Append(file, mebibyte.AsMemory(0, 1));
        Task awaited = appender.AppendAsync(file, mebibyte);
        disk.Release();
        await awaited;
        await appender.FlushAsync();
        await appender.DisposeAsync();
        await Assert.That(disk.Bytes).IsEqualTo(Appender.MaxQueuedBytes + mebibyte.Length);
        await Assert.That(log.All.Single()).Contains("2 appends were dropped");
    }

    [Test]
    public async Task Disposing_writes_what_is_queued_and_later_appends_fail()
    {
        using var home = new TempHome();
        var appender = new Appender(NullLogger.Instance);
        AppendFile file = appender.File(home.In("f.jsonl"));
        for (int i = 0; i < 50; i++) appender.Append(file, Line("x"));
        await appender.DisposeAsync();
        await Assert.That((await File.ReadAllLinesAsync(file.Path)).Length).IsEqualTo(50);
        await Assert.That(async () => await appender.AppendAsync(file, Line("late"))).Throws<IOException>();
        await appender.FlushAsync();
        await appender.DisposeAsync();
    }

    /// <summary>Holds the first write until the test has queued what it wants to see together.</summary>
    private sealed class StoppedDisk : IDisposable
    {
        private readonly ManualResetEventSlim _reached = new();
        private readonly ManualResetEventSlim _released = new();

        public FaultyDisk Disk => new() { OnWrite = Write };
        public int Writes { get; private set; }
        public long Bytes { get; private set; }
        public bool Discards { get; init; }

        /// <summary>Most bytes that one write may have.</summary>
        public int Room { get; init; } = int.MaxValue;

        private void Write(SafeFileHandle file, IReadOnlyList<ReadOnlyMemory<byte>> lines, long offset)
        {
            Writes++;
            _reached.Set();
            _released.Wait();
            int size = lines.Sum(line => line.Length);
            if (size > Room) throw FaultyDisk.Full();
            Bytes += size;
            if (!Discards) RandomAccess.Write(file, lines, offset);
        }

        public void AwaitWrite() => _reached.Wait();
        public void Release() => _released.Set();

        public void Dispose()
        {
            Release();
            _reached.Dispose();
        }
    }
}

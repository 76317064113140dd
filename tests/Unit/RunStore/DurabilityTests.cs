using System.Text;
using CarServer.RunStore;
using CarServer.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using TUnit.Core;

namespace CarServer.Tests.Unit.RunStore;

/// <summary>With <see cref="Durability.Fsync"/> an append is done when its bytes, and the names that lead to them, are on stable storage.</summary>
public sealed class DurabilityTests
{
    private static byte[] Line(string text) => Encoding.UTF8.GetBytes(text + "\n");

    private static Appender Durable(FaultyDisk disk, LogLines? log = null) =>
        new(log is null ? NullLogger.Instance : log, Durability.Fsync, disk);

    [Test]
    public async Task By_default_nothing_is_made_durable()
    {
        using var home = new TempHome();
        var disk = new FaultyDisk();
        await using var appender = new Appender(NullLogger.Instance, disk: disk);
        await appender.AppendAsync(appender.File(home.In("runs", "a", "r.jsonl")), Line("1"));
        await Assert.That(disk.Synced).IsEmpty();
    }

    [Test]
    public async Task The_first_append_is_done_with_the_names_of_all_that_was_made_for_it_and_the_next_with_the_file_alone()
    {
        using var home = new TempHome();
        var disk = new FaultyDisk();
        await using var appender = Durable(disk);
        AppendFile file = appender.File(home.In("runs", "a", "r.jsonl"));
        await appender.AppendAsync(file, Line("1"));
        await Assert.That(disk.Synced).IsEquivalentTo(["file", home.In("runs", "a"), home.In("runs"), home.Path]);
        await appender.AppendAsync(file, Line("2"));
        await Assert.That(disk.Synced[4..]).IsEquivalentTo(["file"]);

        // A second run of the agent: only its own name is new.
        await appender.AppendAsync(appender.File(home.In("runs", "a", "s.jsonl")), Line("1"));
        await Assert.That(disk.Synced[5..]).IsEquivalentTo(["file", home.In("runs", "a")]);
    }

    [Test]
    public async Task What_nobody_waits_for_is_not_made_durable()
    {
        using var home = new TempHome();
        var disk = new FaultyDisk();
        await using var appender = Durable(disk);
        appender.Append(appender.File(home.In("journal.jsonl")), Line("1"));
        await appender.FlushAsync();
        await Assert.That(disk.Synced).IsEmpty();
        await Assert.That(await File.ReadAllTextAsync(home.In("journal.jsonl"))).IsEqualTo("1\n");
    }

    [Test]
    public async Task Many_files_of_a_round_are_made_durable_together()
    {
        using var home = new TempHome();
        using var gate = new Gate();
        var disk = new FaultyDisk { OnWrite = gate.Write, OnSyncFileSystem = () => true };
        await using var appender = Durable(disk);
        await gate.HoldAsync(appender, home);
        Task[] rest = [.. Enumerable.Range(0, Appender.MaxOpenFiles + 6).Select(i => appender.AppendAsync(appender.File(home.In($"{i}.jsonl")), Line("x")))];
        gate.Release();
        await Task.WhenAll(rest);
        // As many as stay open, then the six others; each round with its new names.
        await Assert.That(disk.Synced[2..]).IsEquivalentTo(["file system", "file system"]);
    }

    [Test]
    public async Task A_round_of_few_files_leaves_the_rest_of_the_file_system_alone()
    {
        using var home = new TempHome();
        using var gate = new Gate();
        var disk = new FaultyDisk { OnWrite = gate.Write };
        await using var appender = Durable(disk);
        AppendFile[] files = [.. Enumerable.Range(0, Appender.MaxSyncedSingly).Select(i => appender.File(home.In($"{i}.jsonl")))];
        foreach (AppendFile file in files) await appender.AppendAsync(file, Line("made"));
        await gate.HoldAsync(appender, home);
        int before = disk.Synced.Length;
        Task[] appends = [.. files.Select(file => appender.AppendAsync(file, Line("x")))];
        gate.Release();
        await Task.WhenAll(appends);
        string[] synced = disk.Synced[before..];
        await Assert.That(synced.Count(what => what == "file")).IsGreaterThanOrEqualTo(files.Length);
        await Assert.That(synced).DoesNotContain("file system");
    }

    [Test]
    public async Task A_failure_of_the_whole_is_put_down_to_the_files_that_it_concerns()
    {
        using var home = new TempHome();
        using var gate = new Gate();
        int single = 0;
        var disk = new FaultyDisk { OnWrite = gate.Write, OnSyncFileSystem = () => false };
        await using var appender = Durable(disk);
        await gate.HoldAsync(appender, home);
        disk.OnSync = () =>
        {
            if (++single == 4) throw FaultyDisk.Full();   // the held file, then those numbered 0, 1 and 2
        };
        AppendFile[] files = [.. Enumerable.Range(0, 8).Select(i => appender.File(home.In($"{i}.jsonl")))];
        Task[] appends = [.. files.Select(file => appender.AppendAsync(file, Line("x")))];
        gate.Release();
        await Assert.That(async () => await Task.WhenAll(appends)).Throws<IOException>().WithMessage("no space left on device");
        await Assert.That(appends.Count(append => append.IsFaulted)).IsEqualTo(1);
        await Assert.That(appends[2].IsFaulted).IsTrue();
        await Assert.That(await File.ReadAllTextAsync(files[2].Path)).IsEqualTo("");
        await Assert.That(await File.ReadAllTextAsync(files[3].Path)).IsEqualTo("x\n");
    }

    [Test]
    public async Task An_append_that_could_not_be_made_durable_is_taken_back_and_the_file_goes_on()
    {
        using var home = new TempHome();
        var log = new LogLines();
        var disk = new FaultyDisk();
        await using var appender = Durable(disk, log);
        AppendFile file = appender.File(home.In("f.jsonl"));
        await appender.AppendAsync(file, Line("kept"));
        disk.OnSync = () => throw new IOException("", 5);   // EIO
        await Assert.That(async () => await appender.AppendAsync(file, Line("lost"))).Throws<IOException>().WithMessage("input/output error");
        await Assert.That(await File.ReadAllTextAsync(file.Path)).IsEqualTo("kept\n");
        await Assert.That(log.All.Single()).Contains("1 appends were refused by the disk: input/output error");
        disk.OnSync = null;
        await appender.AppendAsync(file, Line("goes on"));
        await Assert.That(await File.ReadAllTextAsync(file.Path)).IsEqualTo("kept\ngoes on\n");
    }

    [Test]
    public async Task A_name_that_could_not_be_made_durable_is_tried_again_with_the_next_append()
    {
        using var home = new TempHome();
        var disk = new FaultyDisk { OnSyncDirectory = _ => throw FaultyDisk.Full() };
        await using var appender = Durable(disk);
        AppendFile file = appender.File(home.In("a", "f.jsonl"));
        await Assert.That(async () => await appender.AppendAsync(file, Line("lost"))).Throws<IOException>();
        disk.OnSyncDirectory = null;
        await appender.AppendAsync(file, Line("kept"));
        await Assert.That(disk.Synced).IsEquivalentTo(["file", "file", home.In("a"), home.Path]);
        await Assert.That(await File.ReadAllTextAsync(file.Path)).IsEqualTo("kept\n");
    }

    [Test]
    public async Task What_the_disk_would_not_take_back_after_a_failed_sync_goes_with_the_next_append()
    {
        using var home = new TempHome();
        var disk = new FaultyDisk();
        await using var appender = Durable(disk);
        AppendFile file = appender.File(home.In("f.jsonl"));
        await appender.AppendAsync(file, Line("kept"));
        disk.OnSync = () => throw FaultyDisk.Full();
        disk.OnSetLength = () => throw FaultyDisk.Full();
        await Assert.That(async () => await appender.AppendAsync(file, Line("lost"))).Throws<IOException>();
        await Assert.That(async () => await appender.AppendAsync(file, Line("not even begun"))).Throws<IOException>();
        await Assert.That(await File.ReadAllTextAsync(file.Path)).IsEqualTo("kept\nlost\n");
        (disk.OnSync, disk.OnSetLength) = (null, null);
        await appender.AppendAsync(file, Line("goes on"));
        await Assert.That(await File.ReadAllTextAsync(file.Path)).IsEqualTo("kept\ngoes on\n");
    }

    [Test]
    public async Task The_real_calls_work_on_this_system()
    {
        using var home = new TempHome();
        await using var appender = new Appender(NullLogger.Instance, Durability.Fsync);
        AppendFile[] files = [.. Enumerable.Range(0, 200).Select(i => appender.File(home.In($"a{i % 7}", $"{i}.jsonl")))];
        await Task.WhenAll(files.Select(file => appender.AppendAsync(file, Line("x"))));
        await Task.WhenAll(files.Select(file => appender.AppendAsync(file, Line("y"))));
        foreach (AppendFile file in files) await Assert.That(await File.ReadAllTextAsync(file.Path)).IsEqualTo("x\ny\n");
        StableStorage.SyncUpwards(home.In("a0"));
        await Assert.That(() => StableStorage.SyncDirectory(home.In("nowhere"))).Throws<IOException>();
    }

    /// <summary>Holds one append, so that what comes meanwhile is one round.</summary>
    private sealed class Gate : IDisposable
    {
        private readonly ManualResetEventSlim _reached = new();
        private readonly ManualResetEventSlim _released = new();
        private bool _holds;

        public void Write(Microsoft.Win32.SafeHandles.SafeFileHandle file, IReadOnlyList<ReadOnlyMemory<byte>> lines, long offset)
        {
            if (_holds)
            {
                _reached.Set();
                _released.Wait();
            }
            RandomAccess.Write(file, lines, offset);
        }

        public Task HoldAsync(Appender appender, TempHome home)
        {
            _holds = true;
            _ = appender.AppendAsync(appender.File(home.In("held.jsonl")), Line("held"));
            _reached.Wait();
            return Task.CompletedTask;
        }

        public void Release() => _released.Set();

        public void Dispose()
        {
            Release();
            _reached.Dispose();
        }
    }
}

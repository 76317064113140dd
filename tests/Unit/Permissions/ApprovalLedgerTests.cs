using System.Diagnostics;
using System.Text;
using CarServer.RunStore;
using CarServer.State;
using CarServer.State.Permissions;
using CarServer.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;

namespace CarServer.Tests.Unit.Permissions;

public sealed class ApprovalLedgerTests : IAsyncDisposable
{
    private readonly TempHome _home = new();
    private readonly Appender _appender = new(NullLogger.Instance);

    private string PathOf => _home.In("approvals.jsonl");

    private ApprovalLedger Open(bool mayWrite = true) => new(PathOf, _appender, mayWrite, NullLogger.Instance);

    private static string Print(int i) => i.ToString("x64", System.Globalization.CultureInfo.InvariantCulture);

    private static ApprovalRecord Record(int i, string decision = "approved", string tier = "full_access", string reason = "") =>
        new(Print(i), tier, decision, "conn:x", reason, RawJson.Parse("""{"ticket":7}"""), new DateTime(2026, 1, 2, 3, 4, 5, DateTimeKind.Utc));

    [Test]
    public async Task The_line_is_the_record_and_the_last_one_counts()
    {
        ApprovalLedger ledger = Open();
        await ledger.DecideAsync(Record(1));
        await Assert.That(ledger.Current().Find(Print(1))!.Decision).IsEqualTo("approved");
        await ledger.DecideAsync(Record(1, "rejected", reason: "no"));

        await Assert.That(ledger.Current().Find(Print(1))!.Decision).IsEqualTo("rejected");
        await Assert.That(ledger.Current().Count).IsEqualTo(1);
        await Assert.That(Open().Current().Find(Print(1))!.Decision).IsEqualTo("rejected");
        await Assert.That((await File.ReadAllLinesAsync(PathOf))[1]).IsEqualTo(
            $$"""{"fingerprint":"{{Print(1)}}","required_tier":"full_access","decision":"rejected","reviewer":"conn:x","reason":"no","evidence":{"ticket":7},"decided_at":"2026-01-02T03:04:05Z"}""");
        await Assert.That(File.GetUnixFileMode(PathOf)).IsEqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite);
    }

    /// <summary>The last line cut at every byte: the decisions before it count, it does not, and the next one is not glued to it.</summary>
    [Test]
    public async Task A_torn_last_line_changes_nothing_wherever_it_is_torn()
    {
        ApprovalLedger first = Open();
        await first.DecideAsync(Record(1));
        await first.DecideAsync(Record(1, "rejected"));
        byte[] whole = await File.ReadAllBytesAsync(PathOf);
        int start = Array.IndexOf(whole, (byte)'\n') + 1;
        for (int length = start; length < whole.Length; length++)
        {
            await File.WriteAllBytesAsync(PathOf, whole[..length]);
            ApprovalLedger ledger = Open();
            await Assert.That(ledger.Current().Find(Print(1))!.Decision).IsEqualTo("approved");
            await ledger.DecideAsync(Record(2));
            await Assert.That(ledger.Current().Count).IsEqualTo(2);
            await Assert.That((await File.ReadAllLinesAsync(PathOf)).Length).IsEqualTo(2);
            await Assert.That(Open().Current().Find(Print(2))).IsNotNull();
        }
    }

    [Test]
    public async Task Lines_that_are_no_decisions_do_not_count_and_harm_none_that_is()
    {
        string good = $$"""{"fingerprint":"{{Print(1)}}","required_tier":"full_access","decision":"approved","more":1}""";
        string[] bad =
        [
            "", "{", "null", "[]", "7", "\0\0\0", "\"x\"", good + good, new string('[', 100_000), "{\"fingerprint\":1}",
            good.Replace("approved", "maybe"), good.Replace("full_access", "root"), good.Replace(Print(1), Print(1)[1..]), good.Replace(Print(1), Print(1).Replace('0', 'G')),
            good.Replace("\"required_tier\":\"full_access\",", ""), good.Replace("1}", "\"" + new string('x', PermissionLimits.MaxLineBytes) + "\"}"), new string('x', 3 * 1024 * 1024),
        ];
        await File.WriteAllTextAsync(PathOf, string.Join('\n', bad) + "\n" + good + "\n" + string.Join('\n', bad) + "\n");
        using (FileStream raw = File.Open(PathOf, FileMode.Append)) raw.Write([0xff, 0xfe, (byte)'\n']);
        ApprovalLedger ledger = Open();
        await Assert.That(ledger.Current().Count).IsEqualTo(1);
        await ledger.DecideAsync(Record(2));
        await Assert.That(ledger.Current().Find(Print(1))).IsNotNull();
        await Assert.That(ledger.Current().Find(Print(2))).IsNotNull();
    }

    /// <summary>Another daemon's line, an editor's change of one letter, a file put in its place, one taken away.</summary>
    [Test]
    public async Task What_others_do_to_the_file_counts_at_the_next_look()
    {
        ApprovalLedger primary = Open(), secondary = Open(mayWrite: false);
        await Assert.That(secondary.Current().Count).IsEqualTo(0);
        await primary.DecideAsync(Record(1));
        await Assert.That(secondary.Current().Find(Print(1))).IsNotNull();
        await primary.DecideAsync(Record(2));
        await Assert.That(secondary.Current().Count).IsEqualTo(2);

        await File.WriteAllTextAsync(PathOf, (await File.ReadAllTextAsync(PathOf)).Replace("approved", "rejected"));
        File.SetLastWriteTimeUtc(PathOf, DateTime.UtcNow.AddSeconds(1));
        await Assert.That(secondary.Current().Find(Print(1))!.Decision).IsEqualTo("rejected");
        await Assert.That(primary.Current().Find(Print(1))!.Decision).IsEqualTo("rejected");

        await File.WriteAllTextAsync(PathOf + "2", "");
        File.Move(PathOf + "2", PathOf, overwrite: true);
        await Assert.That(secondary.Current().Count).IsEqualTo(0);
        await primary.DecideAsync(Record(3));
        await Assert.That(secondary.Current().Find(Print(3))).IsNotNull();
        File.Delete(PathOf);
        await Assert.That(primary.Current().Count).IsEqualTo(0);

        RefusedException refused = (await Assert.ThrowsAsync<RefusedException>(() => secondary.DecideAsync(Record(4))))!;
        await Assert.That(refused.Message).Contains("another daemon is primary");
    }

    [Test]
    public async Task A_full_ledger_refuses_what_is_new_and_still_takes_a_change_of_mind()
    {
        await WriteAsync(PermissionLimits.MaxDecisions);
        ApprovalLedger ledger = Open();
        await Assert.That(ledger.Current().Count).IsEqualTo(PermissionLimits.MaxDecisions);
        RefusedException refused = (await Assert.ThrowsAsync<RefusedException>(() => ledger.DecideAsync(Record(PermissionLimits.MaxDecisions))))!;
        await Assert.That(refused.Message).Contains("which is the limit");
        await ledger.DecideAsync(Record(0, "rejected"));
        await Assert.That(ledger.Current().Find(Print(0))!.Decision).IsEqualTo("rejected");

        await WriteAsync(PermissionLimits.MaxDecisions + 1);
        await Assert.That(() => ledger.Current()).Throws<RefusedException>();
    }

    [Test]
    public async Task A_file_over_the_limit_is_not_read_and_nothing_is_allowed_by_it()
    {
        using (FileStream file = File.Create(PathOf)) file.SetLength(PermissionLimits.MaxLedgerBytes + 1L);
        ApprovalLedger ledger = Open();
        await Assert.That(() => ledger.Current()).Throws<RefusedException>();
        await Assert.ThrowsAsync<RefusedException>(() => ledger.DecideAsync(Record(1)));
    }

    [Test]
    public async Task A_disk_that_refuses_leaves_things_as_they_were()
    {
        var disk = new FaultyDisk();
        await using var appender = new Appender(NullLogger.Instance, disk: disk);
        var ledger = new ApprovalLedger(PathOf, appender, true, NullLogger.Instance);
        await ledger.DecideAsync(Record(1));
        disk.OnWrite = static (_, _, _) => throw FaultyDisk.Full();
        RefusedException refused = (await Assert.ThrowsAsync<RefusedException>(() => ledger.DecideAsync(Record(1, "rejected"))))!;
        await Assert.That(refused.Message).Contains("approvals.jsonl: no space left on device");
        await Assert.That(ledger.Current().Find(Print(1))!.Decision).IsEqualTo("approved");
        disk.OnWrite = null;
        await ledger.DecideAsync(Record(1, "rejected"));
        await Assert.That(ledger.Current().Find(Print(1))!.Decision).IsEqualTo("rejected");
    }

    [Test]
    public async Task A_loose_mode_is_tightened()
    {
        await WriteAsync(1);
        File.SetUnixFileMode(PathOf, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupWrite | UnixFileMode.OtherRead);
        Open().Current();
        await Assert.That(File.GetUnixFileMode(PathOf)).IsEqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite);
    }

    [Test]
    public async Task Ten_thousand_decisions_are_read_in_no_time()
    {
        await WriteAsync(10_000);
        Open().Current();
        long start = Stopwatch.GetTimestamp();
        await Assert.That(Open().Current().Count).IsEqualTo(10_000);
        TimeSpan took = Stopwatch.GetElapsedTime(start);
        await Assert.That(took).IsLessThan(TimeSpan.FromSeconds(2));   // some tens of milliseconds; others use this machine, too
    }

    private async Task WriteAsync(int lines)
    {
        var text = new StringBuilder();
        for (int i = 0; i < lines; i++)
            text.Append("{\"fingerprint\":\"").Append(Print(i)).Append("\",\"required_tier\":\"full_access\",\"decision\":\"approved\",\"reviewer\":\"conn:0123456789ab\",\"reason\":\"looked at it\",\"decided_at\":\"2026-01-02T03:04:05Z\"}\n");
        await File.WriteAllTextAsync(PathOf, text.ToString());
    }

    public async ValueTask DisposeAsync()
    {
        await _appender.DisposeAsync();
        _home.Dispose();
    }
}

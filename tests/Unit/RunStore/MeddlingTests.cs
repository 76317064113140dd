using System.Text;
using CarServer.RunStore;
using CarServer.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using TUnit.Core;

namespace CarServer.Tests.Unit.RunStore;

/// <summary>Somebody else's hands on a file that the appender has open: what is acknowledged afterwards is in the file that the name leads to.</summary>
public sealed class MeddlingTests
{
    private static byte[] Line(string text) => Encoding.UTF8.GetBytes(text + "\n");

    [Test]
    [Arguments("one\ntwo\n", 6, "one\nthree\n")]      // in the middle of a line
    [Arguments("one\ntwo\n", 4, "one\nthree\n")]
    [Arguments("one\ntwo\n", 2, "three\n")]
    [Arguments("one\ntwo\n", 0, "three\n")]
    [Arguments("one\ntwo\n", 8, "one\ntwo\nthree\n")]
    public async Task Nothing_is_glued_to_the_half_line_of_a_file_that_was_shortened(string before, int length, string after)
    {
        using var home = new TempHome();
        await using var appender = new Appender(NullLogger.Instance);
        AppendFile file = appender.File(home.In("r.jsonl"));
        await appender.AppendAsync(file, Encoding.UTF8.GetBytes(before));
        using (FileStream other = new FileStream(file.Path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite)) other.SetLength(length);
        await appender.AppendAsync(file, Line("three"));
        await Assert.That(await File.ReadAllTextAsync(file.Path)).IsEqualTo(after);
    }

    [Test]
    public async Task What_somebody_added_stays_but_for_half_a_line()
    {
        using var home = new TempHome();
        await using var appender = new Appender(NullLogger.Instance);
        AppendFile file = appender.File(home.In("r.jsonl"));
        await appender.AppendAsync(file, Line("one"));
        await File.AppendAllTextAsync(file.Path, "two\nthr");
        await appender.AppendAsync(file, Line("four"));
        await Assert.That(await File.ReadAllTextAsync(file.Path)).IsEqualTo("one\ntwo\nfour\n");
    }

    [Test]
    public async Task A_file_that_took_the_place_of_ours_gets_what_comes()
    {
        if (!OperatingSystem.IsLinux()) return;   // elsewhere only a name that is gone is noticed
        using var home = new TempHome();
        await using var appender = new Appender(NullLogger.Instance);
        AppendFile file = appender.File(home.In("r.jsonl"));
        await appender.AppendAsync(file, Line("one"));
        // As an editor saves, and 'sed -i': of the same length, too.
        await File.WriteAllTextAsync(home.In("edited"), "One\n");
        File.Move(home.In("edited"), file.Path, overwrite: true);
        await appender.AppendAsync(file, Line("two"));
        await Assert.That(await File.ReadAllTextAsync(file.Path)).IsEqualTo("One\ntwo\n");
    }
}

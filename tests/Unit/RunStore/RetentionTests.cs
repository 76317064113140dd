using CarServer.RunStore;
using CarServer.Tests.Support;
using TUnit.Core;

namespace CarServer.Tests.Unit.RunStore;

public sealed class RetentionTests
{
    private static readonly Retention Last = new(7, 8);

    [Test]
    [Arguments("", 50, 30, null)]
    [Arguments("[server]\nport = 1\n[runs]\nmax_per_agent = 5\nmax_age_days = 6", 5, 6, null)]
    [Arguments("runs = { max_per_agent = 5 }", 5, 30, null)]
    [Arguments("runs.max_age_days = -1", 50, -1, null)]
    [Arguments("[runs]\nmax_per_agent = 0\nlater = [1, { x = 2 }]", 0, 30, null)]
    [Arguments("[runs]\nmax_per_agent = 99999999999", int.MaxValue, 30, null)]
    [Arguments("[runs]\nmax_per_agent = \"5\"\nmax_age_days = 6", 7, 6, "max_per_agent is not a whole number")]
    [Arguments("[runs]\nmax_age_days = 1.5", 50, 8, "max_age_days is not a whole number")]
    [Arguments("[runs]\nmax_age_days = [1, 2]\nmax_per_agent = 3", 3, 8, "max_age_days is not a whole number")]
    [Arguments("[runs.more]\nmax_per_agent = 5", 50, 30, null)]
    [Arguments("[runs\nmax_per_agent = 5", 7, 8, "line 1 is not TOML")]
    public async Task A_file_says_what_is_kept(string text, int maxPerAgent, int maxAgeDays, string? problem)
    {
        Retention read = Retention.Parse(text, Last, out string? told);
        await Assert.That(read).IsEqualTo(new Retention(maxPerAgent, maxAgeDays));
        await Assert.That(told).IsEqualTo(problem);
    }

    [Test]
    public async Task A_missing_file_is_the_default_and_one_that_cannot_be_read_a_warning()
    {
        using var home = new TempHome();
        var log = new LogLines();
        await Assert.That(Retention.Read(home.In("config.toml"), Last, log)).IsEqualTo(new Retention());
        await Assert.That(Retention.Read(home.In("nowhere", "config.toml"), Last, log)).IsEqualTo(new Retention());
        await Assert.That(log.All).IsEmpty();
        Directory.CreateDirectory(home.In("config.toml"));
        await Assert.That(Retention.Read(home.In("config.toml"), Last, log)).IsEqualTo(Last);
        await Assert.That(log.All.Single()).Contains("permission denied").And.Contains("max_per_agent = 7, max_age_days = 8");
    }
}

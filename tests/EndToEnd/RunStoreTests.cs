using System.Globalization;
using System.Text.Json;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd;

/// <summary>What the store keeps, for how long, and how it is listed (protocol 13.9, 14).</summary>
public sealed class RunStoreTests
{
    [Test]
    public async Task The_host_has_old_runs_removed_and_can_ask_first()
    {
        using var home = new TempHome();
        Configure(home.In("config.toml"), "max_per_agent = 2\nmax_age_days = 10");
        await using TestDaemon daemon = await TestDaemon.StartAsync(new DaemonStart { Home = home });
        for (int i = 0; i < 3; i++) Write(home.In("runs"), "a", $"r{i}", ended: DateTime.UtcNow.AddHours(-i));
        Write(home.In("runs"), "b", "old", ended: DateTime.UtcNow.AddDays(-11));
        Write(home.In("runs"), "b", "open", ended: null);
        await using RpcPeer client = await daemon.ConnectAsync();
        await using RpcPeer host = await daemon.ConnectHostAsync();

        RpcFailure refused = await client.CallFailsAsync("runs.gc");
        JsonElement told = await host.CallAsync("runs.gc", """{"dry_run":true}""");
        string[] before = Traces(home);
        JsonElement done = await host.CallAsync("runs.gc");
        JsonElement again = await host.CallAsync("runs.gc", "{}");

        await Assert.That(refused.Code).IsNotEqualTo(0);
        await Assert.That(before.Length).IsEqualTo(5);
        await Assert.That(told.GetProperty("dry_run").GetBoolean()).IsTrue();
        await Assert.That(told.GetProperty("removed").GetRawText()).IsEqualTo(done.GetProperty("removed").GetRawText());
        await Assert.That(string.Join(", ", done.GetProperty("removed").EnumerateArray().Select(run =>
            $"{run.GetProperty("agent_id").GetString()}/{run.GetProperty("run_id").GetString()} {run.GetProperty("status").GetString()} {run.GetProperty("reason").GetString()} {run.TryGetProperty("ended_at", out _)}")))
            .IsEqualTo("a/r2 incomplete max_per_agent True, b/old incomplete max_age_days True");
        await Assert.That(done.GetProperty("removed_count").GetInt32()).IsEqualTo(2);
        await Assert.That(done.GetProperty("max_per_agent").GetInt32()).IsEqualTo(2);
        await Assert.That(done.GetProperty("max_age_days").GetInt32()).IsEqualTo(10);
        await Assert.That(again.GetProperty("removed").GetRawText()).IsEqualTo("[]");
        await Assert.That(Traces(home)).IsEquivalentTo(["a/r0", "a/r1", "b/open"]);
    }

    [Test]
    public async Task Only_the_primary_daemon_removes_runs()
    {
        using var home = new TempHome();
        await using TestDaemon primary = await TestDaemon.StartAsync(new DaemonStart { Home = home, Arguments = ["--no-auth"] });
        await using TestDaemon secondary = await TestDaemon.StartAsync(new DaemonStart { Home = home, Arguments = ["--no-auth"] });
        await using RpcPeer peer = await secondary.ConnectAsync();
        RpcFailure refused = await peer.CallFailsAsync("runs.gc", """{"dry_run":true}""");
        await Assert.That(refused.Text).Contains("only that one removes runs");
    }

    [Test]
    public async Task At_the_start_the_file_beside_the_journals_says_what_stays()
    {
        using var home = new TempHome();
        using var elsewhere = new TempHome();
        Configure(home.In("config.toml"), "max_per_agent = 1");   // another store's
        Configure(elsewhere.In("config.toml"), "max_per_agent = 2");
        for (int i = 0; i < 4; i++) Write(elsewhere.In("runs"), "a", $"r{i}", ended: i == 3 ? null : DateTime.UtcNow.AddHours(-i));
        await using TestDaemon daemon = await TestDaemon.StartAsync(new DaemonStart { Home = home, Arguments = ["--journal-dir", elsewhere.Journals] });
        await Assert.That(Traces(elsewhere)).IsEquivalentTo(["a/r0", "a/r1"]);   // what was open is the oldest, and counts as ended by now
        await Assert.That(daemon.Errors).IsEmpty();
    }

    [Test]
    [Arguments("max_per_agent = \"two\"", "max_per_agent is not a whole number")]
    [Arguments("max_per_agent = = 2", "line 2 is not TOML")]
    public async Task A_broken_file_keeps_nothing_from_starting_and_is_one_warning(string line, string warning)
    {
        using var home = new TempHome();
        using var elsewhere = new TempHome();
        Configure(elsewhere.In("config.toml"), line);
        for (int i = 0; i < 3; i++) Write(elsewhere.In("runs"), "a", $"r{i}", ended: DateTime.UtcNow);
        await using TestDaemon daemon = await TestDaemon.StartAsync(new DaemonStart { Home = home, Arguments = ["--journal-dir", elsewhere.Journals] });
        await Assert.That(Traces(elsewhere).Length).IsEqualTo(3);
        await Assert.That(daemon.Errors).Contains(warning);
        await Assert.That(daemon.Errors.Split('\n').Length).IsEqualTo(1);
    }

    [Test]
    public async Task A_list_pages_by_status_and_a_page_goes_on_when_its_last_run_is_gone()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        DateTime same = DateTime.UtcNow.AddHours(-1);
        for (int i = 0; i < 9; i++) Write(daemon.Home.In("runs"), "a", $"r{i}", i % 3 == 0 ? null : same, same);
        await using RpcPeer peer = await daemon.ConnectAsync();

        await Assert.That(await PagesAsync("", afterPage: null)).IsEqualTo("r0 r1|r2 r3|r4 r5|r6 r7|r8");
        await Assert.That(await PagesAsync(""","status":"in_progress" """, afterPage: null)).IsEqualTo("r0 r3|r6");
        await Assert.That(await PagesAsync(""","status":"completed" """, afterPage: null)).IsEqualTo("");
        await Assert.That(await PagesAsync(""","status":"incomplete" """, afterPage: last => File.Delete(daemon.Home.Trace("a", last)))).IsEqualTo("r1 r2|r4 r5|r7 r8");
        RpcFailure word = await peer.CallFailsAsync("runs.list", """{"agent_id":"a","status":"open"}""");
        RpcFailure nowhere = await peer.CallFailsAsync("runs.list", """{"agent_id":"a","before":"r5"}""");
        await Assert.That(word.Code).IsEqualTo(-32602);
        await Assert.That(nowhere.Code).IsEqualTo(-32602);
        await Assert.That(nowhere.Text).Contains("has no run 'r5'");

        async Task<string> PagesAsync(string filter, Action<string>? afterPage)
        {
            var pages = new List<string>();
            for (string? before = "null"; before != "\"end\"";)
            {
                JsonElement page = await peer.CallAsync("runs.list", $$"""{"agent_id":"a","limit":2,"before":{{before}} {{filter}} }""");
                string[] ids = [.. page.GetProperty("runs").EnumerateArray().Select(run => run.GetProperty("run_id").GetString()!)];
                pages.Add(string.Join(' ', ids));
                if (ids.Length > 0) afterPage?.Invoke(ids[^1]);
                before = page.GetProperty("next_before").ValueKind == JsonValueKind.Null ? "\"end\"" : page.GetProperty("next_before").GetRawText();
            }
            return string.Join('|', pages);
        }
    }

    [Test]
    [Arguments("umask 0")]
    [Arguments("umask 0777")]
    public async Task What_is_stored_is_the_owners_alone_whatever_the_umask(string umask)
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync(new DaemonStart { Before = umask });
        await using RpcPeer peer = await daemon.ConnectAsync();
        string run = (await peer.CallAsync("runs.start", """{"intent":"test","agent_id":"a"}""")).GetProperty("run_id").GetString()!;
        await peer.CallAsync("proposal.submit", """{"proposal":{"actions":[{"type":"state_write","parameters":{"key":"k","value":1} }]} }""");
        await peer.CallAsync("runs.complete", $$"""{"run_id":"{{run}}","outcome":{"status":"done"} }""");
        await Eventually.TrueAsync("the journal is there", () => Directory.Exists(daemon.Home.Journals) && Directory.GetFiles(daemon.Home.Journals).Length == 1);

        string[] directories = [daemon.Home.In("runs"), daemon.Home.In("runs", "a"), daemon.Home.Journals];
        string[] files = [daemon.Home.Trace("a", run), daemon.Home.In("runs", ".nobackup"), daemon.Home.In("runs", ".lock"), daemon.Home.In("run", "daemon.lock"), .. Directory.GetFiles(daemon.Home.Journals)];
        foreach (string path in directories) await Assert.That(Mode(path)).IsEqualTo("700").Because(path);
        foreach (string path in files) await Assert.That(Mode(path)).IsEqualTo("600").Because(path);

        static string Mode(string path) => Convert.ToString((int)File.GetUnixFileMode(path), 8);
    }

    /// <summary>Ids that would be something else as a file name, here or on another system.</summary>
    [Test]
    public async Task Any_id_is_one_harmless_file_and_comes_back_as_it_was()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");
        await using RpcPeer peer = await daemon.ConnectAsync();
        string[] ids = ["../../up", "a/b", "nul", "\\u0000", "Con", "con", "com1.txt", "dot.", "dot", "UPPER", "upper", " ", "é", "%2e", ".hidden", new string('x', 200)];
        foreach (string id in ids)
        {
            JsonElement started = await peer.CallAsync("runs.start", $$"""{"intent":"test","agent_id":"{{id}}","idempotency_key":"{{id}} 1"}""".Replace(new string('x', 200) + " 1", "long", StringComparison.Ordinal));
            JsonElement run = (await peer.CallAsync("runs.list", $$"""{"agent_id":"{{id}}"}""")).GetProperty("runs").EnumerateArray().Single();
            await Assert.That(run.GetProperty("run_id").GetString()).IsEqualTo(started.GetProperty("run_id").GetString());
            await Assert.That(run.GetProperty("agent_id").GetRawText()).IsEqualTo(started.GetProperty("agent_id").GetRawText());
        }
        RpcFailure tooLong = await peer.CallFailsAsync("runs.start", $$"""{"intent":"test","agent_id":"{{new string('x', 300)}}"}""");

        await Assert.That(tooLong.Code).IsEqualTo(-32602);
        await Assert.That(tooLong.Text).Contains("200 bytes");
        string[] names = [.. Directory.GetDirectories(daemon.Home.In("runs")).Select(path => Path.GetFileName(path)).Where(static name => name != ".index")];
        await Assert.That(names.Length).IsEqualTo(ids.Length);
        await Assert.That(names.Distinct(StringComparer.OrdinalIgnoreCase).Count()).IsEqualTo(ids.Length);
        await Assert.That(names).DoesNotContain("con").And.DoesNotContain("com1.txt");
        await Assert.That(daemon.Home.Files().Count(file => file.EndsWith(".jsonl", StringComparison.Ordinal) && !file.StartsWith("runs/", StringComparison.Ordinal))).IsEqualTo(0);
    }

    private static void Configure(string path, string lines) => File.WriteAllText(path, $"[runs]\n{lines}\n");

    /// <summary>A trace as an earlier daemon left it; without an end it was still open.</summary>
    private static void Write(string root, string agent, string run, DateTime? ended, DateTime? started = null)
    {
        Directory.CreateDirectory(Path.Combine(root, agent));
        string text = $$"""{"record":"started","run_id":"{{run}}","agent_id":"{{agent}}","intent":"test","outcome_description":null,"started_at":"{{Text(started ?? ended ?? DateTime.UtcNow.AddDays(-1))}}"}""" + "\n";
        if (ended is { } at) text += $$"""{"record":"ended","run_id":"{{run}}","agent_id":"{{agent}}","termination":{"kind":"incomplete"},"ended_at":"{{Text(at)}}"}""" + "\n";
        File.WriteAllText(Path.Combine(root, agent, run + ".jsonl"), text);

        static string Text(DateTime time) => time.ToString("O", CultureInfo.InvariantCulture);
    }

    private static string[] Traces(TempHome home) =>
        [.. home.Files().Where(path => path.StartsWith("runs/", StringComparison.Ordinal) && path.EndsWith(".jsonl", StringComparison.Ordinal)).Select(path => path["runs/".Length..^".jsonl".Length])];
}

using System.Text.Json;
using CarServer.RunStore;
using CarServer.Tests.Support;
using TUnit.Core;

namespace CarServer.Tests.EndToEnd;

public sealed class DeepTraceTests
{
    [Test]
    public async Task A_value_as_deep_as_they_come_is_shown_as_json()
    {
        await using TestDaemon daemon = await TestDaemon.StartAsync();
        const int levels = RawJsonConverter.MaxDepth - 2;   // of a message: itself and its result
        string output = new string('[', levels) + new string(']', levels);
        Directory.CreateDirectory(daemon.Home.In("runs", "a"));
        await File.WriteAllTextAsync(daemon.Home.Trace("a", "deep"), $$"""
            {"record":"started","run_id":"deep","agent_id":"a","intent":"","outcome_description":null,"started_at":"2026-01-01T00:00:00Z"}
            {"record":"turn","index":0,"output":{{output}},"verifier_verdict":"not_run"}

            """);
        CommandOutcome shown = await daemon.CommandAsync("runs", "show", "deep", "--json");
        await Assert.That(shown.ExitCode).IsEqualTo(0).Because(shown.ToString());
        using JsonDocument read = JsonDocument.Parse(shown.Output, new JsonDocumentOptions { MaxDepth = 256 });
        await Assert.That(read.RootElement.GetProperty("records").GetArrayLength()).IsEqualTo(2);
    }
}

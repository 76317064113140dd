using System.Text;
using CarServer.RunStore;
using CarServer.State;
using CarServer.State.Events;
using CarServer.Tests.Unit.Engine;

namespace CarServer.Tests.Unit.Events;

public sealed class EventQueryTests
{
    [Test]
    public async Task Each_filter_narrows_and_the_newest_comes_first()
    {
        await using var engine = new TestEngine();
        EventLog log = engine.Runtime.Events;
        DateTime start = engine.Clock.GetUtcNow().UtcDateTime;
        log.Record(EventKind.ActionFailed, "a", "p", new("tool", "x"), new("error", "no"));
        engine.Clock.Advance(TimeSpan.FromSeconds(1));
        log.Record(EventKind.ActionSucceeded, "b", "p", new("tool", "x"), new("n", 2));
        engine.Clock.Advance(TimeSpan.FromSeconds(1));
        log.Record(EventKind.ActionSucceeded, "a\n\"ä😀", "q", new("tool", "y\u2028"), new("value", RawJson.Parse("""{"k":"\ud800"}""")), new("half", RawJson.Parse("\"\\ud800\"")));

        await Assert.That(Run(new EventQuery())).IsEqualTo("a b a");
        await Assert.That(Run(new EventQuery(Limit: 2))).IsEqualTo("a b");
        await Assert.That(Run(new EventQuery(Kinds: ["action_failed"]))).IsEqualTo("a");
        await Assert.That(Run(new EventQuery(Kinds: ["action_failed", "not_yet_known"]))).IsEqualTo("a");
        await Assert.That(Run(new EventQuery(Kinds: ["not_yet_known"]))).IsEqualTo("");
        await Assert.That(Run(new EventQuery(Kinds: []))).IsEqualTo("");
        await Assert.That(Run(new EventQuery(ActionId: "b"))).IsEqualTo("b");
        await Assert.That(Run(new EventQuery(ActionId: "a\n\"ä😀"))).IsEqualTo("a");
        await Assert.That(Run(new EventQuery(ProposalId: "p"))).IsEqualTo("b a");
        await Assert.That(Run(new EventQuery(Since: start.AddSeconds(1)))).IsEqualTo("a b");
        await Assert.That(Run(new EventQuery(Until: start.AddSeconds(1)))).IsEqualTo("a");
        await Assert.That(Run(new EventQuery(Since: start.AddSeconds(2), Until: start))).IsEqualTo("");
        await Assert.That(Run(Data("tool", "x"))).IsEqualTo("b a");
        await Assert.That(Run(Data("tool", "y\u2028"))).IsEqualTo("a");
        await Assert.That(Run(Data("n", "2"))).IsEqualTo("b");
        await Assert.That(Run(Data("value", """{"k":"\ud800"}"""))).IsEqualTo("a");
        await Assert.That(Run(Data("half", "x"))).IsEqualTo("");
        await Assert.That(Run(Data("none", "x"))).IsEqualTo("");
        await Assert.That(Run(new EventQuery(DataMatches: new Dictionary<string, string> { ["tool"] = "x", ["error"] = "no" }))).IsEqualTo("a");

        string Run(EventQuery query) => string.Join(' ', query.Run(log.Events()).Select(line => Encoding.UTF8.GetString(line.Span).Split("\"action_id\":\"")[1][..1]));
        static EventQuery Data(string name, string text) => new(DataMatches: new Dictionary<string, string> { [name] = text });
    }

    [Test]
    public async Task What_asks_for_too_much_is_refused()
    {
        await Assert.That(() => new EventQuery(Limit: -1).Check()).Throws<RefusedException>();
        await Assert.That(() => new EventQuery(Kinds: [.. Enumerable.Repeat("x", EventQuery.MaxKinds + 1)]).Check()).Throws<RefusedException>();
        await Assert.That(() => new EventQuery(DataMatches: Enumerable.Range(0, EventQuery.MaxDataMatches + 1).ToDictionary(i => $"{i}", i => "")).Check()).Throws<RefusedException>();
        new EventQuery(Kinds: [.. Enumerable.Repeat("x", EventQuery.MaxKinds)], DataMatches: Enumerable.Range(0, EventQuery.MaxDataMatches).ToDictionary(i => $"{i}", i => "")).Check();
    }
}

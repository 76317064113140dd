using CarServer.State;
using CarServer.State.Runs;
using TUnit.Core;

namespace CarServer.Tests.Unit.Runs;

public sealed class AgentIdentityTests
{
    [Test]
    //         param  bound  env    name    agent
    [Arguments("p",   null,  "e",   "n",    "p")]
    [Arguments("b",   "b",   "e",   "n",    "b")]
    [Arguments(null,  "b",   "e",   "n",    "b")]
    [Arguments(null,  null,  "e",   "n",    "e")]
    [Arguments(null,  null,  "",    "My N", "name:my-n")]
    [Arguments(null,  null,  null,  "n",    "name:n")]
    public async Task The_first_source_that_knows_decides(string? given, string? bound, string? environment, string? name, string agent) =>
        await Assert.That(AgentIdentity.Resolve(given, bound, environment, name)).IsEqualTo(agent);

    [Test]
    [Arguments(null, null, null, null)]
    [Arguments(null, null, "", "-- !")]
    [Arguments("p", "b", "e", "n")]
    public async Task Nobody_and_somebody_else_are_refused(string? given, string? bound, string? environment, string? name)
    {
        RefusedException? refused = await Assert.That(() => AgentIdentity.Resolve(given, bound, environment, name)).Throws<RefusedException>();
        await Assert.That(refused!.Refusal).IsEqualTo(Refusal.Invalid);
    }

    [Test]
    [Arguments("Code Reviewer", "code-reviewer")]
    [Arguments("  a -- b!? ", "a-b")]
    [Arguments("Ärzte 2", "ärzte-2")]
    [Arguments("日本", "日本")]
    [Arguments("🙂", "")]
    public async Task A_slug_has_lowercase_letters_digits_and_single_dashes(string name, string slug) =>
        await Assert.That(AgentIdentity.Slug(name)).IsEqualTo(slug);
}

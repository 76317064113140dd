using CarServer.RunStore;
using CarServer.RunStore.Contracts;
using CarServer.State;
using CarServer.State.Permissions;
using CarServer.Tests.Support;

namespace CarServer.Tests.Unit.Permissions;

public sealed class AgentPermissionsTests : IDisposable
{
    private readonly TempHome _home = new();

    private string PathOf => _home.In("agent-permissions.json");

    private AgentPermissions Open(bool mayWrite = true) => new(PathOf, mayWrite);

    [Test]
    public async Task Without_a_file_reads_are_allowed_and_the_rest_asked_for()
    {
        AgentPostures postures = Open().Read();
        await Assert.That(postures.Default).IsEqualTo(new Posture("always_allow", "require_approval", "require_approval"));
        await Assert.That(postures.Agents.Count).IsEqualTo(0);
        await Assert.That(File.Exists(PathOf)).IsFalse();
    }

    [Test]
    public async Task What_is_set_is_in_the_file_for_its_owner_alone()
    {
        AgentPermissions permissions = Open();
        permissions.Set("a", PermissionTier.FullAccess, "deny");
        permissions.Set("b", null, "always_allow");
        permissions.Set("c", null, "deny");
        permissions.Reset("c");
        permissions.SetDefault("trusting");
        permissions.SetDefault(PermissionTier.ReadOnly, "require_approval");

        await Assert.That(await File.ReadAllTextAsync(PathOf)).IsEqualTo("""
            {"default":{"read_only":"require_approval","sandbox_edit":"always_allow","full_access":"require_approval"},"agents":{"a":{"full_access":"deny"},"b":{"read_only":"always_allow","sandbox_edit":"always_allow","full_access":"always_allow"}}}
            """);
        await Assert.That(File.GetUnixFileMode(PathOf)).IsEqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite);
        await Assert.That(string.Join(' ', _home.Files())).IsEqualTo("agent-permissions.json");
        await Assert.That(Open(mayWrite: false).Read().Agents["a"].FullAccess).IsEqualTo("deny");
    }

    [Test]
    [Arguments("")]
    [Arguments("{")]
    [Arguments("{\n\"default\":{\"read_only\":\"yes\"}}")]
    [Arguments("{\"default\":null,\"agents\":{}}")]
    [Arguments("{\"default\":{\"read_only\":\"deny\",\"sandbox_edit\":\"deny\",\"full_access\":\"deny\"},\"agents\":{\"a\":null}}")]
    [Arguments("[]")]
    public async Task A_file_that_is_not_understood_is_named_and_left_alone(string text)
    {
        await File.WriteAllTextAsync(PathOf, text);
        await Assert.That(() => Open().Read()).Throws<RefusedException>().WithMessageMatching("*agent-permissions.json*repair or remove it");
        await Assert.That(() => Open().Set("a", null, "deny")).Throws<RefusedException>();
        await Assert.That(await File.ReadAllTextAsync(PathOf)).IsEqualTo(text);
    }

    [Test]
    public async Task A_file_is_read_again_when_it_changed_whatever_its_times_say_and_when_it_may_have()
    {
        AgentPermissions permissions = Open();
        foreach (DateTime when in (DateTime[])[DateTime.UtcNow - TimeSpan.FromHours(1), DateTime.UtcNow])
        {
            // The second time within one tick of the clock that stamps files, or nearly so.
            foreach (string mode in (string[])["always_allow", "deny", "always_allow", "require_approval"])
            {
                Write(mode, when);
                await Assert.That(permissions.Read().Default.ReadOnly).IsEqualTo(mode);
            }
        }
        DateTime anHourAgo = DateTime.UtcNow - TimeSpan.FromHours(1);
        Write("deny", anHourAgo);
        DateTime written = DateTime.UtcNow;
        await Eventually.TrueAsync("the file is settled", () => DateTime.UtcNow - written > TimeSpan.FromMilliseconds(200));
        await Assert.That(permissions.Read().Default.ReadOnly).IsEqualTo("deny");
        Write("always_allow", anHourAgo);
        await Assert.That(permissions.Read().Default.ReadOnly).IsEqualTo("always_allow");
    }

    [Test]
    public async Task What_was_written_here_or_came_to_the_same_is_not_parsed_again()
    {
        AgentPermissions permissions = Open();
        permissions.Set("a", null, "deny");
        AgentPostures set = permissions.Read();
        await Assert.That(permissions.Read()).IsSameReferenceAs(set);
        await File.WriteAllTextAsync(PathOf, await File.ReadAllTextAsync(PathOf));
        await Assert.That(permissions.Read()).IsSameReferenceAs(set);
        await File.WriteAllTextAsync(PathOf, (await File.ReadAllTextAsync(PathOf)).Replace("\"a\"", "\"b\"", StringComparison.Ordinal));
        await Assert.That(permissions.Read().Agents.Keys.Single()).IsEqualTo("b");
        RawJson answer = permissions.Set("c", null, "deny");
        await Assert.That(answer.ToString()).IsEqualTo(await File.ReadAllTextAsync(PathOf));
        await Assert.That(permissions.Read().Agents.Count).IsEqualTo(2);
    }

    /// <summary>Always as many bytes.</summary>
    private void Write(string readOnly, DateTime changed)
    {
        string word = $"\"{readOnly}\"".PadRight(20);
        File.WriteAllText(PathOf, $$"""{"default":{"read_only":{{word}},"sandbox_edit":"deny","full_access":"deny"},"agents":{} }""");
        File.SetLastWriteTimeUtc(PathOf, changed);
    }

    [Test]
    public async Task An_answer_spells_ids_as_any_other_answer_does()
    {
        string answer = Open().Set("zoé+1", null, "deny").ToString();
        await Assert.That(answer).Contains("\"zoé+1\":{");
    }

    [Test]
    public async Task A_daemon_that_is_not_the_primary_one_changes_nothing()
    {
        await Assert.That(() => Open(mayWrite: false).SetDefault("trusting")).Throws<RefusedException>();
        await Assert.That(File.Exists(PathOf)).IsFalse();
    }

    [Test]
    public async Task There_is_an_end_to_agents_and_to_their_ids()
    {
        string agents = string.Join(',', Enumerable.Range(0, PermissionLimits.MaxAgents).Select(i => $"\"{i}\":{{}}"));
        await File.WriteAllTextAsync(PathOf, $$"""{"default":{"read_only":"deny","sandbox_edit":"deny","full_access":"deny"},"agents":{ {{agents}} } }""");
        await Assert.That(() => Open().Set("more", null, "deny")).Throws<RefusedException>();
        await Assert.That(Json.AgentPostures.Parse(Open().Set("7", null, "deny").Utf8)!.Agents.Count).IsEqualTo(PermissionLimits.MaxAgents);
        await Assert.That(() => Open().Set(new string('x', PermissionLimits.MaxAgentIdChars + 1), null, "deny")).Throws<RefusedException>();
        await Assert.That(() => Open().Set("", null, "deny")).Throws<RefusedException>();
    }

    public void Dispose() => _home.Dispose();
}

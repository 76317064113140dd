using CarServer.State;
using CarServer.State.Engine.Policies;
using CarServer.Tests.Support;

namespace CarServer.Tests.Unit.Engine.Policies;

/// <summary>Files that are read, files that refuse everybody, and when they are read again.</summary>
public sealed class PolicyFilesTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("car-policies-").FullName;
    private readonly LogLines _log = new();

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Test]
    [Arguments("deny_tool = [", "line 1 is not TOML")]
    [Arguments("a\n", "line 1 is not TOML")]
    [Arguments("# one\n# two\ndeny_tools = []", "line 3: there is no rule 'deny_tools'")]
    [Arguments("deny_tool = 'x'", "line 1: deny_tool must be an array of strings")]
    [Arguments("deny_tool = [1]", "line 1: deny_tool must be an array of strings")]
    [Arguments("deny_tool = [['x']]", "line 1: deny_tool must be an array of strings")]
    [Arguments("deny_tool = ['']", "line 1: deny_tool has an empty string")]
    [Arguments("deny_tool = []\ndeny_tool = ['x']", "line 2: deny_tool is there twice")]
    [Arguments("[deny_tool]\nx = 1", "line 1: deny_tool must be an array of strings")]
    [Arguments("deny_keyword = ['']", "line 1: deny_keyword has an empty string")]
    [Arguments("[[trace_rule]]\nx = 1", "line 1: rules over traces (trace_rule) are not enforced by this daemon")]
    [Arguments("[deny_tool_param]\ntool = 't'", "line 1: deny_tool_param must be tables, each headed [[deny_tool_param]]")]
    [Arguments("deny_tool_param = ['t']", "line 1: deny_tool_param must be tables, each headed [[deny_tool_param]]")]
    [Arguments("[[deny_tool_param]]\ntool = 't'\n\n[[deny_tool_param]]\ntool = 't'\nparam = 'p'", "line 2: [[deny_tool_param]] needs param")]
    [Arguments("\n[[deny_tool_param]]\nparam = 'p'", "line 3: [[deny_tool_param]] needs tool")]
    [Arguments("\n[[deny_tool_param]]\n", "line 2: [[deny_tool_param]] needs tool")]
    [Arguments("[[deny_tool_param]]\ntool = ''\nparam = 'p'", "line 2: [[deny_tool_param]] has an empty tool")]
    [Arguments("[[deny_tool_param]]\ntool = 't'\nparam = 1", "line 3: param must be a string")]
    [Arguments("[[deny_tool_param]]\ntool = 't'\ntool = 'u'", "line 3: tool is there twice")]
    [Arguments("[[deny_tool_param]]\ntool = 't'\nmatches = 'u'", "line 3: [[deny_tool_param]] has no key 'matches'")]
    [Arguments("[[deny_tool_param]]\ntool.x = 't'", "line 2: tool must be a string")]
    [Arguments("[[allow_tool_param]]\ntool = 't'\nparam = 'p'\nallow = 'a'", "line 4: allow must be an array of strings")]
    [Arguments("[[allow_tool_param]]\nallow = []\nallow = []", "line 3: allow is there twice")]
    [Arguments("[[deny_tool_param_matching]]\ntool = 't'\nparam = 'p'", "line 2: [[deny_tool_param_matching]] needs matches")]
    [Arguments("[[rate_limit_tool]]\ntool = 't'\nmax_calls = -1", "line 3: max_calls must be a whole number from 0 to 100000")]
    [Arguments("[[rate_limit_tool]]\ntool = 't'\nmax_calls = 100001", "line 3: max_calls must be a whole number from 0 to 100000")]
    [Arguments("[[rate_limit_tool]]\ntool = 't'\nmax_calls = 1.5", "line 3: max_calls must be a whole number from 0 to 100000")]
    [Arguments("[[rate_limit_tool]]\ntool = 't'\nmax_calls = 1\ninterval_secs = 0", "line 4: interval_secs must be a number, more than 0 and at most 31622400")]
    [Arguments("[[rate_limit_tool]]\ninterval_secs = nan", "line 2: interval_secs must be a number, more than 0 and at most 31622400")]
    [Arguments("[[rate_limit_tool]]\ninterval_secs = inf", "line 2: interval_secs must be a number, more than 0 and at most 31622400")]
    [Arguments("[[rate_limit_tool]]\ninterval_secs = 'x'", "line 2: interval_secs must be a number, more than 0 and at most 31622400")]
    [Arguments("[[rate_limit_tool]]\ntool = 't'\nmax_calls = 1", "line 2: [[rate_limit_tool]] needs interval_secs")]
    public async Task A_wrong_file_is_refused_with_its_line(string text, string problem)
    {
        Write("b.toml", text);
        Write("a.toml", "deny_tool = ['fine']");
        RefusedException refused = Assert.Throws<RefusedException>(() => Files().Current());
        await Assert.That(refused.Message).IsEqualTo($"policy file b.toml: {problem}");
        await Assert.That(string.Join('\n', _log.All)).Contains($"b.toml: {problem}");
    }

    [Test]
    public async Task Files_are_merged_by_name_and_others_are_not_read()
    {
        Write("20.toml", "deny_tool = ['c']");
        Write("10.toml", "deny_keyword = ['b']\n[[allow_tool_param]]\ntool = 't'\nparam = 'p'\n[[allow_tool_param]]\ntool = 'u'\nparam = 'p'\nallow = ['x']");
        Write("30.toml", "\ufeff# nothing but a comment");
        Write("40.toml", "");
        Write("notes.txt", "][");
        Directory.CreateDirectory(Path.Combine(_folder, "50.toml"));
        await Assert.That(Names(Files())).IsEqualTo("deny_keyword:b allow_tool_param:t.p allow_tool_param:u.p deny_tool:c");
    }

    [Test]
    public async Task No_directory_is_no_policy()
    {
        await Assert.That(new PolicyFiles(null, _log).Current()).IsEmpty();
        await Assert.That(new PolicyFiles(Path.Combine(_folder, "none"), _log).Current()).IsEmpty();
        await Assert.That(Files().Current()).IsEmpty();
    }

    [Test]
    public async Task A_change_counts_from_the_next_look_and_nothing_else_is_read_again()
    {
        PolicyFiles files = Files();
        Write("a.toml", "deny_tool = ['a']");
        IReadOnlyList<Policy> first = files.Current();
        await Assert.That(files.Current()).IsSameReferenceAs(first);
        Write("a.toml", "deny_tool = ['bb']");
        await Assert.That(Names(files)).IsEqualTo("deny_tool:bb");
        Write("a.toml", "deny_tool = [");
        Assert.Throws<RefusedException>(() => files.Current());
        Assert.Throws<RefusedException>(() => files.Current());
        await Assert.That(_log.All.Count(line => line.StartsWith("Error", StringComparison.Ordinal))).IsEqualTo(1);
        File.Delete(Path.Combine(_folder, "a.toml"));
        await Assert.That(files.Current()).IsEmpty();
    }

    [Test]
    public async Task A_link_is_followed_and_one_that_leads_nowhere_refuses()
    {
        string real = Path.Combine(_folder, "real");
        File.WriteAllText(real, "deny_tool = ['a']");
        File.CreateSymbolicLink(Path.Combine(_folder, "a.toml"), real);
        PolicyFiles files = Files();
        await Assert.That(Names(files)).IsEqualTo("deny_tool:a");
        File.WriteAllText(real, "deny_tool = ['bcd']");
        await Assert.That(Names(files)).IsEqualTo("deny_tool:bcd");
        File.Delete(real);
        RefusedException refused = Assert.Throws<RefusedException>(() => files.Current());
        await Assert.That(refused.Message).IsEqualTo("policy file a.toml: no such file or directory");
        File.WriteAllText(real, "deny_tool = ['bcd']");
        await Assert.That(Names(files)).IsEqualTo("deny_tool:bcd");
    }

    [Test]
    public async Task A_device_is_not_read()
    {
        File.CreateSymbolicLink(Path.Combine(_folder, "a.toml"), "/dev/zero");
        await Assert.That(Files().Current()).IsEmpty();
    }

    [Test]
    public async Task Size_count_and_encoding_are_bounded()
    {
        PolicyFiles files = Files();
        string rule = "deny_tool = ['a']\n#";
        Write("a.toml", rule + new string('x', PolicyLimits.MaxFileBytes - rule.Length));
        await Assert.That(Names(files)).IsEqualTo("deny_tool:a");
        Write("a.toml", rule + new string('x', PolicyLimits.MaxFileBytes - rule.Length + 1));
        await Assert.That(Problem()).IsEqualTo("policy file a.toml: it has 262145 bytes, at most 262144 are read");
        File.WriteAllBytes(Path.Combine(_folder, "a.toml"), [(byte)'#', 0xff]);
        await Assert.That(Problem()).IsEqualTo("policy file a.toml: it is not UTF-8");
        Write("a.toml", $"deny_tool = [{string.Join(',', Enumerable.Repeat("'a'", PolicyLimits.MaxFileRules))}]");
        await Assert.That(files.Current().Count).IsEqualTo(PolicyLimits.MaxFileRules);
        Write("b.toml", "deny_tool = ['a']");
        await Assert.That(Problem()).IsEqualTo("policy file b.toml: with it there are more than 1024 rules");
        Write("a.toml", $"deny_tool = ['{new string('a', PolicyLimits.MaxTextBytes + 1)}']");
        await Assert.That(Problem()).IsEqualTo("policy file a.toml: line 1: a string of deny_tool has more than 4096 bytes");
        File.Delete(Path.Combine(_folder, "a.toml"));
        for (int i = 1; i < PolicyLimits.MaxFiles; i++) Write($"c{i}.toml", "");
        await Assert.That(Names(files)).IsEqualTo("deny_tool:a");
        Write("d.toml", "");
        await Assert.That(Problem()).IsEqualTo("policy files: at most 64 are read, there are 65");

        string Problem() => Assert.Throws<RefusedException>(() => files.Current()).Message;
    }

    [Test]
    public async Task A_regular_expression_that_cannot_be_used_is_logged_and_refuses_nobody()
    {
        Write("a.toml", "[[deny_tool_param_matching]]\ntool = 't'\nparam = 'p'\nmatches = '(?=x)'");
        await Assert.That(Files().Current().Count).IsEqualTo(1);
        await Assert.That(string.Join('\n', _log.All)).Contains("deny_tool_param_matching:t.p cannot be used");
    }

    private PolicyFiles Files() => new(_folder, _log);

    private void Write(string name, string text) => File.WriteAllText(Path.Combine(_folder, name), text);

    private static string Names(PolicyFiles files) => string.Join(' ', files.Current().Select(policy => policy.Name));
}

using System.Text.Json;
using CarServer.RunStore;
using CarServer.State.Engine;
using CarServer.State.Permissions;
using CarServer.Tests.Unit.Engine;

namespace CarServer.Tests.Unit.Permissions;

/// <summary>The signals of protocol 12.1, each with its near misses: words count from border to border.</summary>
public sealed class ActionRiskTests
{
    private static readonly string[] Forms = ["{0}_{1}", "{1}_{0}", "{1}-{0}-x", "mcp__srv__{1}_{0}", "srv.{1}_{0}", "srv/{1}:{0}"];

    /// <summary>Every word that alone makes a name one of full access, in every way that names are put together; and as part of a longer word, where it means nothing.</summary>
    public static IEnumerable<(string Name, string Tier)> Names()
    {
        foreach (string word in RiskWords.FullAccess)
        {
            string name = word.Replace(' ', '_');
            foreach (string form in Forms) yield return (string.Format(System.Globalization.CultureInfo.InvariantCulture, form, name, "frob"), "full_access");
            yield return (Camel("frob", word), "full_access");
            yield return ($"frob_x{name.Replace("_", "")}x", "sandbox_edit");
            yield return ($"get_x{name.Replace("_", "")}x", "read_only");
            yield return ($"get_{name}", "full_access");
        }
        foreach (string word in RiskWords.Reading)
        {
            foreach (string form in new[] { "{0}", "{0}_things", "git_{0}", "srv.{0}_things", "mcp__srv__{0}_things" })
                yield return (string.Format(System.Globalization.CultureInfo.InvariantCulture, form, word), "read_only");
            yield return (Camel(word, "user record"), "read_only");
            yield return ($"{word}x_things", "sandbox_edit");
            yield return ($"frob_{word}", "sandbox_edit");
        }
        foreach (string word in RiskWords.Editing.Concat(RiskWords.Compensable).Except(RiskWords.FullAccess))
            yield return ($"get_or_{word}_thing", "sandbox_edit");
        foreach (string word in RiskWords.FullAccessVerbs)
        {
            yield return (word, "full_access");
            yield return ($"{word}_customer", "full_access");
            yield return ($"list_{word}", RiskWords.Compensable.Contains(word) ? "sandbox_edit" : "read_only");
        }
    }

    private static string Camel(string first, string words) => first + string.Concat(words.Split(' ').Select(word => char.ToUpperInvariant(word[0]) + word[1..]));

    [Test]
    public async Task A_name_is_judged_by_its_words()
    {
        (string Name, string Tier)[] cases = [.. Names()];
        await Assert.That(cases.Length).IsGreaterThan(900);
        await Assert.That(cases.Where(one => Tier(one.Name, "{}") != one.Tier).Select(one => $"{one.Name} is {Tier(one.Name, "{}")}")).IsEmpty();
    }

    /// <summary>Every dangerous program in a command line, wherever it stands there and however it is quoted; none inside a longer word or another parameter.</summary>
    [Test]
    public async Task A_command_line_is_judged_by_its_words()
    {
        var wrong = new List<string>();
        foreach (string word in RiskWords.Commands)
        {
            foreach (string line in new[] { word, $"{word} x", $"ls;{word}", $"ls | {word} x", $"a && {word}", $"$({word})", $"`{word}`", $"/usr/bin/{word}", $"'{word}' x", $"\\{word} x", $"x={word}", word.ToUpperInvariant() })
            {
                Expect("full_access", "frob", Json("command", line));
                Expect("full_access", "frob", $$"""{"args":["x",{{Quoted(line)}}]}""");
                Expect("full_access", "frob", $$"""{"run":{"argv":[{"a":{{Quoted(line)}} }]} }""");
                Expect("sandbox_edit", "frob", Json("message", line == "-rf" ? line : "see " + word));
            }
            foreach (string near in new[] { $"x{word}", $"{word}x", $"{word}.txt", $"my-{word}", $"{word}_x", $"{word}/x" }) Expect("sandbox_edit", "frob", Json("command", $"ls {near}"));
        }
        foreach ((string program, string[] subcommands) in RiskWords.Subcommands)
        {
            foreach (string sub in subcommands)
            {
                Expect("full_access", "frob", Json("command", $"{program} -x y {sub} z"));
                Expect("full_access", "frob", $$"""{"args":[{{Quoted(sub)}}],"command":{{Quoted("/bin/" + program)}} }""");
                Expect("sandbox_edit", "frob", Json("command", $"{program} x{sub}"));
            }
            Expect("sandbox_edit", "frob", Json("command", $"{program} status"));
        }
        await Assert.That(wrong).IsEmpty();

        void Expect(string tier, string tool, string parameters)
        {
            if (Tier(tool, parameters) != tier) wrong.Add($"{tool} {parameters} is {Tier(tool, parameters)}");
        }
    }

    [Test]
    // A name of a secret, alone, in a longer name, nested, escaped.
    [Arguments("""{"api_key":"x"}""", "full_access")]
    [Arguments("""{"apiKey":"x"}""", "full_access")]
    [Arguments("""{"API-KEY":"x"}""", "full_access")]
    [Arguments("""{"db_password":"x"}""", "full_access")]
    [Arguments("""{"auth":{"token":"x"}}""", "full_access")]
    [Arguments("""{"auth.token":"x"}""", "full_access")]
    [Arguments("""{"list":[{"x":{"access_token":1}}]}""", "full_access")]
    [Arguments("""{"pass\u0077ord":"x"}""", "full_access")]
    [Arguments("""{"client_secret":null}""", "full_access")]
    [Arguments("""{"max_tokens":5}""", "sandbox_edit")]
    [Arguments("""{"token_count":5}""", "sandbox_edit")]
    [Arguments("""{"next_page_token":"x"}""", "sandbox_edit")]
    [Arguments("""{"key":"x","monkey":"y","keyboard":"z"}""", "sandbox_edit")]
    [Arguments("""{"secretary":"x","passwordless":true}""", "sandbox_edit")]
    [Arguments("""{"note":"the api_key and the password"}""", "sandbox_edit")]
    // What it is aimed at.
    [Arguments("""{"path":"/home/ada/.ssh/config"}""", "full_access")]
    [Arguments("""{"path":".ssh"}""", "full_access")]
    [Arguments("""{"file_path":"~/.aws/credentials"}""", "full_access")]
    [Arguments("""{"target":{"name":"C:\\Users\\a\\.AWS\\Credentials"}}""", "full_access")]
    [Arguments("""{"paths":["a","certs/server.PEM"]}""", "full_access")]
    [Arguments("""{"uri":"file:///etc/shadow"}""", "full_access")]
    [Arguments("""{"command":"cat ~/.ssh/id_rsa"}""", "full_access")]
    [Arguments("""{"path":"/home/ada/.sshx/config"}""", "sandbox_edit")]
    [Arguments("""{"path":"docs/my.ssh.md"}""", "sandbox_edit")]
    [Arguments("""{"path":".aws/credentials-help"}""", "sandbox_edit")]
    [Arguments("""{"path":".aws/x/credentials"}""", "sandbox_edit")]
    [Arguments("""{"path":"server.pem.txt"}""", "sandbox_edit")]
    [Arguments("""{"path":"pem"}""", "sandbox_edit")]
    [Arguments("""{"content":"copy it to .ssh"}""", "sandbox_edit")]
    [Arguments("""{"options":{"path":"a"},"note":"/x/.ssh"}""", "sandbox_edit")]
    // The phrases, anywhere.
    [Arguments("""{"q":"DROP  TABLE users"}""", "full_access")]
    [Arguments("""{"q":["x",{"y":"a;drop\ntable t"}]}""", "full_access")]
    [Arguments("""{"q":"d\u0072op table t"}""", "full_access")]
    [Arguments("""{"q":"DELETE FROM t"}""", "full_access")]
    [Arguments("""{"q":"run rm -rf / now"}""", "full_access")]
    [Arguments("""{"q":"git reset --soft"}""", "full_access")]
    [Arguments("""{"q":"drop tables"}""", "sandbox_edit")]
    [Arguments("""{"q":"airdrop table"}""", "sandbox_edit")]
    [Arguments("""{"q":"drop the table"}""", "sandbox_edit")]
    [Arguments("""{"q":"droptable"}""", "sandbox_edit")]
    [Arguments("""{"q":"undelete from"}""", "sandbox_edit")]
    [Arguments("""{"q":"delete fromage"}""", "sandbox_edit")]
    [Arguments("""{"q":"farm -rf"}""", "sandbox_edit")]
    [Arguments("""{"q":"rm -rfx"}""", "sandbox_edit")]
    [Arguments("""{"drop table":"x"}""", "sandbox_edit")]
    [Arguments("""{"q":"drop","r":"table"}""", "sandbox_edit")]
    [Arguments("""{"q":"\ud800 drop table \udc00"}""", "full_access")]
    public async Task Parameters_are_judged_by_names_targets_and_phrases(string parameters, string tier)
    {
        await Assert.That(Tier("frob", parameters)).IsEqualTo(tier);
        await Assert.That(Tier("get_things", parameters)).IsEqualTo(tier == "full_access" ? tier : "read_only");
    }

    [Test]
    [Arguments("state_read", "read_only", "reversible")]
    [Arguments("assertion", "read_only", "reversible")]
    [Arguments("state_write", "sandbox_edit", "reversible")]
    public async Task What_works_on_the_state_alone_is_no_guess(string type, string tier, string reversibility)
    {
        ActionRisk risk = ActionRisk.Of(TestEngine.Parse($$"""{"actions":[{"type":"{{type}}","tool":"delete","parameters":{"password":"rm -rf"} }]}""").Actions[0]);
        await Assert.That($"{TierWord.Of(risk.Required)} {Word(risk.Reversibility)}").IsEqualTo($"{tier} {reversibility}");
    }

    [Test]
    [Arguments("get_user", "{}", "reversible")]
    [Arguments("write_file", "{}", "reversible")]
    [Arguments("fs.write_file", "{}", "reversible")]
    [Arguments("git_push", "{}", "compensable")]
    [Arguments("create_issue", "{}", "compensable")]
    [Arguments("read_and_insert", "{}", "compensable")]
    [Arguments("send_email", "{}", "irreversible")]
    [Arguments("create_and_delete", "{}", "irreversible")]
    [Arguments("frobnicate", "{}", "irreversible")]
    [Arguments("shell", """{"command":"ls"}""", "irreversible")]
    [Arguments("write_file", """{"content":"rm -rf /"}""", "irreversible")]
    [Arguments("get_user", """{"args":["curl","x"]}""", "irreversible")]
    [Arguments("get_user", """{"password":"x"}""", "reversible")]
    public async Task Whether_it_can_be_undone_is_another_question(string tool, string parameters, string reversibility) =>
        await Assert.That(Word(Risk(tool, parameters).Reversibility)).IsEqualTo(reversibility);

    [Test]
    [Arguments("", "reversible")]
    [Arguments("""{"type":"state_read","reversibility":"reversible"}""", "reversible")]
    [Arguments("""{"type":"state_read","reversibility":"reversible"},{"type":"state_read","reversibility":"compensable"}""", "compensable")]
    [Arguments("""{"type":"state_read","reversibility":"compensable"},{"type":"state_read"}""", "irreversible")]
    public async Task A_batch_is_as_its_worst_declaration(string actions, string reversibility) =>
        await Assert.That(Word(ActionRisk.Declared(TestEngine.Parse($$"""{"actions":[{{actions}}]}""").Actions))).IsEqualTo(reversibility);

    [Test]
    public async Task Parameters_as_deep_as_a_message_allows_are_walked()
    {
        string deep = "{\"a\":" + string.Concat(Enumerable.Repeat("[", 120)) + "\"drop table\"" + new string(']', 120) + "}";
        await Assert.That(Tier("frob", deep)).IsEqualTo("full_access");
    }

    private static ActionRisk Risk(string tool, string parameters) =>
        ActionRisk.Of(new AgentAction { Type = ActionType.ToolCall, Tool = tool, Parameters = RawJson.Parse(parameters) });

    private static string Tier(string tool, string parameters) => TierWord.Of(Risk(tool, parameters).Required);
    private static string Word(Reversibility reversibility) => reversibility.ToString().ToLowerInvariant();
    private static string Quoted(string text) => "\"" + JsonEncodedText.Encode(text) + "\"";
    private static string Json(string name, string text) => $$"""{"{{name}}":{{Quoted(text)}} }""";
}

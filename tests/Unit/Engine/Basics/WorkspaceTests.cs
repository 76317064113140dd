using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using CarServer.RunStore;
using CarServer.State.Engine.Basics;

namespace CarServer.Tests.Unit.Engine.Basics;

/// <summary>The file tools on real directories, with the kernel's own resolving and without it.</summary>
public sealed partial class WorkspaceTests : IDisposable
{
    private const string Secret = "outside";

    private readonly string _top = Directory.CreateTempSubdirectory("car-workspace-").FullName;
    private readonly string _root;

    public WorkspaceTests()
    {
        _root = Path.Combine(_top, "root");
        Directory.CreateDirectory(Path.Combine(_root, "a", "b"));
        Directory.CreateDirectory(Path.Combine(_top, "out"));
        File.WriteAllText(Path.Combine(_top, "out", "f.txt"), Secret);
        File.WriteAllText(Path.Combine(_top, "secret.txt"), Secret);
        File.WriteAllText(In("a/f.txt"), "one\ntwo\nthree\n");
        File.WriteAllText(In("a/b/g.cs"), "class Two;\n");
    }

    private string In(string path) => Path.Combine(_root, path);

    private JsonElement Run(string tool, string json, bool kernel = true, TimeProvider? clock = null)
    {
        RawJson output = BasicTools.Run(tool, RawJson.Parse(json), new Workspace(_root, kernel), clock ?? TimeProvider.System, CancellationToken.None);
        return JsonDocument.Parse(output.Memory).RootElement;
    }

    private string Fails(string tool, string parameters, bool kernel = true)
    {
        try
        {
            return $"no failure: {Run(tool, parameters, kernel)}";
        }
        catch (BasicException e)
        {
            return e.Message;
        }
    }

    [Test]
    [Arguments("{\"path\":\"a/f.txt\"}", """{"path":"a/f.txt","content":"one\ntwo\nthree\n","offset":0,"lines":3,"size":14,"truncated":false}""")]
    [Arguments("{\"path\":\"a/f.txt\",\"offset\":1,\"limit\":1}", """{"path":"a/f.txt","content":"two\n","offset":1,"lines":1,"size":14,"truncated":true}""")]
    [Arguments("{\"path\":\"./a//f.txt\",\"offset\":2}", """{"path":"./a//f.txt","content":"three\n","offset":2,"lines":1,"size":14,"truncated":false}""")]
    [Arguments("{\"path\":\"a/f.txt\",\"offset\":9}", """{"path":"a/f.txt","content":"","offset":9,"lines":0,"size":14,"truncated":false}""")]
    public async Task Lines_are_read(string parameters, string answer)
    {
        foreach (bool kernel in (bool[])[true, false]) await Assert.That(Run("read_file", parameters, kernel).GetRawText()).IsEqualTo(answer);
    }

    [Test]
    public async Task A_read_is_bounded_and_goes_on_where_it_stopped()
    {
        string line = new string('ä', 500) + "\n";
        File.WriteAllText(In("large"), string.Concat(Enumerable.Repeat(line, 2_000)));
        int offset = 0;
        while (true)
        {
            JsonElement part = Run("read_file", $$"""{"path":"large","offset":{{offset}}}""");
            string content = part.GetProperty("content").GetString()!;
            await Assert.That(Encoding.UTF8.GetByteCount(content)).IsLessThanOrEqualTo(BasicLimits.MaxReadBytes);
            await Assert.That(content.EndsWith('\n')).IsTrue();
            offset += part.GetProperty("lines").GetInt32();
            if (!part.GetProperty("truncated").GetBoolean()) break;
        }
        await Assert.That(offset).IsEqualTo(2_000);
        File.WriteAllText(In("line"), "x" + new string('ä', BasicLimits.MaxReadBytes));
        await Assert.That(Run("read_file", """{"path":"line"}""").GetProperty("content").GetString()!.Length).IsEqualTo(BasicLimits.MaxReadBytes / 2);
    }

    [Test]
    public async Task A_path_below_the_root_may_be_whole() =>
        await Assert.That(Run("read_file", $$"""{"path":"{{In("a/f.txt")}}"}""").GetProperty("lines").GetInt32()).IsEqualTo(3);

    [Test]
    [Arguments("../secret.txt", "'..' is not allowed in a path")]
    [Arguments("a/../../secret.txt", "'..' is not allowed in a path")]
    [Arguments("/etc/passwd", "it lies outside the workspace")]
    [Arguments("a\\u0000", "a path has no NUL and at most 4096 bytes")]
    [Arguments("missing", "no such file or directory")]
    [Arguments("a", "it is a directory")]
    [Arguments("", "it is a directory")]
    [Arguments("a/f.txt/x", "not a directory")]
    public async Task What_is_no_file_here_is_not_read(string path, string problem)
    {
        foreach (bool kernel in (bool[])[true, false]) await Assert.That(Fails("read_file", $$"""{"path":"{{path}}"}""", kernel)).IsEqualTo(problem);
        await Assert.That(Fails("read_file", $$"""{"path":"{{_root}}x/f"}""")).IsEqualTo("it lies outside the workspace");
    }

    [Test]
    public async Task Links_lead_nowhere_outside()
    {
        File.CreateSymbolicLink(In("file"), Path.Combine(_top, "secret.txt"));
        File.CreateSymbolicLink(In("relative"), "../secret.txt");
        Directory.CreateSymbolicLink(In("dir"), Path.Combine(_top, "out"));
        Directory.CreateSymbolicLink(In("up"), "..");
        Directory.CreateSymbolicLink(In("proc"), "/proc/self/cwd");
        foreach (bool kernel in (bool[])[true, false])
        {
            foreach (string path in (string[])["file", "relative", "dir/f.txt", "up/secret.txt", "up/root/../secret.txt", "proc/f"])
            {
                await Assert.That(Fails("read_file", $$"""{"path":"{{path}}"}""", kernel)).DoesNotContain("no failure").And.DoesNotContain(Secret);
                await Assert.That(Fails("write_file", $$"""{"path":"{{path}}","content":"x"}""", kernel)).DoesNotContain("no failure");
                await Assert.That(Fails("edit_file", $$"""{"path":"{{path}}","old_text":"{{Secret}}","new_text":"x"}""", kernel)).DoesNotContain("no failure");
            }
            foreach (string path in (string[])["dir", "up", "proc"])
            {
                await Assert.That(Fails("list_dir", $$"""{"path":"{{path}}"}""", kernel)).DoesNotContain("no failure");
                await Assert.That(Fails("grep_files", $$"""{"path":"{{path}}","pattern":"."}""", kernel)).DoesNotContain("no failure");
            }
            await Assert.That(Run("grep_files", """{"pattern":"outside"}""", kernel).GetProperty("matches").GetArrayLength()).IsEqualTo(0);
            await Assert.That(Run("find_files", """{"pattern":"**"}""", kernel).GetProperty("files").GetRawText()).IsEqualTo("""["a/b/g.cs","a/f.txt"]""");
        }
        await Assert.That(File.ReadAllText(Path.Combine(_top, "secret.txt"))).IsEqualTo(Secret);
        await Assert.That(Directory.GetFiles(Path.Combine(_top, "out")).Length).IsEqualTo(1);
    }

    [Test]
    public async Task A_link_that_stays_inside_is_followed_for_reading_where_the_kernel_watches()
    {
        Directory.CreateSymbolicLink(In("inside"), "a/b");
        if (OperatingSystem.IsLinux()) await Assert.That(Run("read_file", """{"path":"inside/g.cs"}""").GetProperty("lines").GetInt32()).IsEqualTo(1);
        await Assert.That(Fails("read_file", """{"path":"inside/g.cs"}""", kernel: false)).DoesNotContain("no failure");
        await Assert.That(Fails("write_file", """{"path":"inside/new","content":""}""")).DoesNotContain("no failure");
    }

    [Test]
    public async Task What_is_no_regular_file_is_neither_read_nor_waited_for_nor_replaced()
    {
        using (var mkfifo = Process.Start("mkfifo", In("pipe"))) await mkfifo.WaitForExitAsync();
        foreach (bool kernel in (bool[])[true, false]) await Assert.That(Fails("read_file", """{"path":"pipe"}""", kernel)).IsEqualTo("it is no regular file");
        await Assert.That(Fails("write_file", """{"path":"pipe","content":"x"}""")).IsEqualTo("it is no regular file");
        await Assert.That(Run("grep_files", """{"pattern":"two"}""").GetProperty("files_searched").GetInt32()).IsEqualTo(2);
    }

    /// <summary>Somebody swaps a directory and a link to the outside, as fast as it goes, while we read, write and search through that name.</summary>
    [Test]
    [Arguments(true)]
    [Arguments(false)]
    public async Task Whoever_swaps_a_directory_for_a_link_shows_nothing_from_outside(bool kernel)
    {
        Directory.CreateDirectory(In("d"));
        File.WriteAllText(In("d/f.txt"), "inside");
        Directory.CreateSymbolicLink(In("link"), Path.Combine(_top, "out"));
        using var stop = new CancellationTokenSource();
        var swapper = new Thread(() =>
        {
            // One step, so that the name is always there: otherwise a write would make the directory anew.
            while (!stop.IsCancellationRequested) Exchange(In("d"), In("link"));
        });
        swapper.Start();
        int inside = 0, refused = 0;
        try
        {
            for (int round = 0; round < 4_000; round++)
            {
                string told = (round % 4) switch
                {
                    0 or 1 => Fails("read_file", """{"path":"d/f.txt"}""", kernel),
                    2 => Fails("grep_files", """{"pattern":"side","path":"d"}""", kernel),
                    _ => Fails("write_file", """{"path":"d/w.txt","content":"written"}""", kernel),
                };
                if (told.Contains(Secret)) Assert.Fail($"from outside: {told}");
                if (told.Contains("inside")) inside++;
                else if (!told.StartsWith("no failure", StringComparison.Ordinal)) refused++;
            }
        }
        finally
        {
            stop.Cancel();
            swapper.Join();
        }
        await Assert.That(Directory.GetFiles(Path.Combine(_top, "out")).Length).IsEqualTo(1);
        await Assert.That(File.ReadAllText(Path.Combine(_top, "out", "f.txt"))).IsEqualTo(Secret);
        await Assert.That(inside).IsGreaterThan(0);
        await Assert.That(refused).IsGreaterThan(0).Because("otherwise nothing was swapped while we looked");
    }

    [Test]
    public async Task A_directory_is_listed()
    {
        File.WriteAllText(In("a/.hidden"), "");
        await Assert.That(Run("list_dir", """{"path":"a"}""").GetRawText())
            .IsEqualTo("""{"path":"a","entries":[{"name":".hidden","type":"file","size":0},{"name":"b","type":"dir"},{"name":"f.txt","type":"file","size":14}],"truncated":false}""");
        await Assert.That(Run("list_dir", "{}").GetProperty("entries").GetArrayLength()).IsEqualTo(1);
    }

    [Test]
    public async Task Walks_leave_out_what_nobody_wrote()
    {
        foreach (string name in (string[])[".git", "node_modules", "__pycache__", "target", "src"])
        {
            Directory.CreateDirectory(In(name));
            File.WriteAllText(In(name + "/x.py"), "needle");
        }
        File.WriteAllBytes(In("src/binary"), [.. "needle"u8, 0, 255]);
        await Assert.That(Run("find_files", """{"pattern":"*.py"}""").GetRawText()).IsEqualTo("""{"files":["src/x.py"],"truncated":false}""");
        await Assert.That(Run("grep_files", """{"pattern":"ne+dle$"}""").GetRawText())
            .IsEqualTo("""{"matches":[{"path":"src/x.py","line":1,"text":"needle"}],"files_searched":3,"truncated":false}""");
        await Assert.That(Run("grep_files", """{"pattern":"TWO","ignore_case":true,"path":"a","glob":"b/**"}""").GetProperty("matches").GetRawText())
            .IsEqualTo("""[{"path":"a/b/g.cs","line":1,"text":"class Two;"}]""");
        await Assert.That(Run("grep_files", """{"pattern":"Two;","literal":true,"max_results":1}""").GetProperty("matches").GetArrayLength()).IsEqualTo(1);
        await Assert.That(Run("grep_files", """{"pattern":"[a-z]","max_results":2}""").GetProperty("truncated").GetBoolean()).IsTrue();
        await Assert.That(Fails("grep_files", """{"pattern":"(?=x)"}""")).Contains("looks around");
        await Assert.That(Fails("grep_files", """{"pattern":"("}""")).Contains("no regular expression");
    }

    [Test]
    public async Task A_walk_is_bounded_in_depth()
    {
        string deep = string.Join('/', Enumerable.Repeat("d", BasicLimits.MaxDepth + 3));
        Directory.CreateDirectory(In(deep));
        File.WriteAllText(In(deep + "/f"), "");
        JsonElement found = Run("find_files", """{"pattern":"f"}""");
        await Assert.That(found.GetProperty("files").GetArrayLength()).IsEqualTo(0);
        await Assert.That(found.GetProperty("truncated").GetBoolean()).IsTrue();
    }

    [Test]
    public async Task A_file_is_written_whole_with_its_directories_and_keeps_its_mode()
    {
        await Assert.That(Run("write_file", """{"path":"new/er/f","content":"ä"}""").GetRawText()).IsEqualTo("""{"path":"new/er/f","bytes":2,"created":true}""");
        File.SetUnixFileMode(In("new/er/f"), UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        await Assert.That(Run("write_file", """{"path":"new/er/f","content":"more"}""").GetProperty("created").GetBoolean()).IsFalse();
        await Assert.That(File.ReadAllText(In("new/er/f"))).IsEqualTo("more");
        await Assert.That(File.GetUnixFileMode(In("new/er/f"))).IsEqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        File.SetUnixFileMode(In("new/er/f"), UnixFileMode.UserRead);
        await Assert.That(Fails("write_file", """{"path":"new/er/f","content":""}""")).IsEqualTo("it is read-only");
        await Assert.That(Fails("write_file", """{"path":"a","content":""}""")).IsEqualTo("it is a directory");
        await Assert.That(Directory.GetFileSystemEntries(In("new/er")).Length).IsEqualTo(1);   // no draft is left
    }

    [Test]
    public async Task A_draft_is_as_private_as_the_file_it_is_for()
    {
        File.WriteAllText(In("secret"), "");
        File.SetUnixFileMode(In("secret"), UnixFileMode.UserRead | UnixFileMode.UserWrite);
        Task<JsonElement> writing = Task.Run(() => Run("write_file", $$"""{"path":"secret","content":"{{new string('x', 32 * 1024 * 1024)}}"}"""));
        var seen = UnixFileMode.None;
        while (!writing.IsCompleted)
        {
            foreach (string draft in Directory.GetFiles(_root, ".*.tmp"))
            {
                try { seen |= File.GetUnixFileMode(draft); }
                catch (FileNotFoundException) { }   // it has become the file
            }
        }
        await writing;
        await Assert.That(seen).IsEqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite);
    }

    [Test]
    public async Task An_edit_is_made_once_unless_all_are_meant()
    {
        await Assert.That(Run("edit_file", """{"path":"a/f.txt","old_text":"two","new_text":"2"}""").GetRawText()).IsEqualTo("""{"path":"a/f.txt","replacements":1}""");
        await Assert.That(Fails("edit_file", """{"path":"a/f.txt","old_text":"e\n","new_text":""}""")).Contains("old_text is in it 2 times");
        await Assert.That(Run("edit_file", """{"path":"a/f.txt","old_text":"e\n","new_text":"E;","replace_all":true}""").GetProperty("replacements").GetInt32()).IsEqualTo(2);
        await Assert.That(File.ReadAllText(In("a/f.txt"))).IsEqualTo("onE;2\nthreE;");
        await Assert.That(Fails("edit_file", """{"path":"a/f.txt","old_text":"four","new_text":""}""")).IsEqualTo("old_text is not in it");
        await Assert.That(Fails("edit_file", """{"path":"a/f.txt","old_text":"","new_text":"x"}""")).IsEqualTo("old_text is empty");
        File.WriteAllBytes(In("binary"), [255, 254]);
        await Assert.That(Fails("edit_file", """{"path":"binary","old_text":"a","new_text":""}""")).IsEqualTo("it is not UTF-8 text");
        File.WriteAllText(In("large"), new string('x', BasicLimits.MaxReadBytes));
        await Assert.That(Fails("edit_file", $$"""{"path":"large","old_text":"x","new_text":"{{new string('y', 100)}}","replace_all":true}""")).IsEqualTo("it would become too large");
        File.WriteAllText(In("large"), new string('x', BasicLimits.MaxReadBytes + 1));
        await Assert.That(Fails("edit_file", """{"path":"large","old_text":"x","new_text":"y"}""")).Contains("files up to 524288 can be edited");
    }

    [Test]
    [Arguments("read_file", "{}", "parameter 'path' is missing")]
    [Arguments("read_file", """{"\ud800":1}""", "a parameter's name is not valid Unicode")]
    [Arguments("read_file", """{"path":1}""", "parameter 'path' must be a string")]
    [Arguments("read_file", """{"path":"\ud800"}""", "parameter 'path' is not valid Unicode")]
    [Arguments("read_file", """{"path":"a/f.txt","offset":-1}""", "parameter 'offset' must be a whole number from 0")]
    [Arguments("read_file", """{"path":"a/f.txt","limit":0.5}""", "parameter 'limit' must be a whole number from 1")]
    [Arguments("edit_file", """{"path":"a","old_text":"a","new_text":"b","replace_all":1}""", "parameter 'replace_all' must be true or false")]
    [Arguments("find_files", """{"pattern":"*.{a,b}"}""", "a file pattern has no '{…}': ask once for each form")]
    public async Task Parameters_are_looked_at_whoever_registered_the_tool(string tool, string parameters, string problem) =>
        await Assert.That(Fails(tool, parameters)).IsEqualTo(problem);

    [Test]
    public async Task Without_a_workspace_there_are_no_files() =>
        await Assert.That((await Assert.That(() => BasicTools.Run("list_dir", RawJson.EmptyObject, new Workspace(null), TimeProvider.System, CancellationToken.None)).Throws<BasicException>())!.Message)
            .IsEqualTo("this daemon has no workspace: start it in one, or with --workspace");

    private static void Exchange(string one, string other)
    {
        const int CurrentDirectory = -100, Swap = 2;
        if ((OperatingSystem.IsMacOS() ? renamex_np(one, other, Swap) : renameat2(CurrentDirectory, one, CurrentDirectory, other, Swap)) != 0)
            throw new IOException($"{one} and {other} cannot be exchanged");
    }

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int renameat2(int oldDirectory, string oldPath, int newDirectory, string newPath, uint flags);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int renamex_np(string one, string other, uint flags);

    public void Dispose() => Directory.Delete(_top, recursive: true);
}

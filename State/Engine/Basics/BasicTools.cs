using CarServer.RunStore;
using CarServer.State.Engine.Tools;

namespace CarServer.State.Engine.Basics;

/// <summary>The seven tools that the daemon runs itself when the session's client says that it does not know them (protocol 7.3, 7.4).</summary>
internal static class BasicTools
{
    /// <summary>As <c>agents.register_basics</c> registers them; what each answers stands in <c>docs/basics.md</c>.</summary>
    public static IReadOnlyList<ToolDefinition> Definitions =>
    [
        Define("read_file", "Reads lines of a text file of the workspace.", 10,
            """{"type":"object","required":["path"],"properties":{"path":{"type":"string"},"offset":{"type":"integer","minimum":0,"description":"lines to pass over"},"limit":{"type":"integer","minimum":1,"description":"most lines"}}}"""),
        Define("list_dir", "Lists a directory of the workspace.", 5,
            """{"type":"object","properties":{"path":{"type":"string"}}}"""),
        Define("find_files", "Finds files by a pattern: * and ? inside a name, ** for any directories; without / it is about the name.", 5,
            """{"type":"object","required":["pattern"],"properties":{"pattern":{"type":"string"},"path":{"type":"string"},"max_results":{"type":"integer","minimum":1}}}"""),
        Define("grep_files", "Finds lines that match a regular expression, or a text with literal.", 5,
            """{"type":"object","required":["pattern"],"properties":{"pattern":{"type":"string"},"path":{"type":"string"},"glob":{"type":"string"},"literal":{"type":"boolean"},"ignore_case":{"type":"boolean"},"max_results":{"type":"integer","minimum":1}}}"""),
        Define("calculate", "Evaluates an arithmetic expression.", null,
            """{"type":"object","required":["expression"],"properties":{"expression":{"type":"string"}}}"""),
        Define("write_file", "Writes a text file of the workspace, and the directories it needs.", null,
            """{"type":"object","required":["path","content"],"properties":{"path":{"type":"string"},"content":{"type":"string"}}}"""),
        Define("edit_file", "Replaces a text in a file. It has to be there exactly once, unless replace_all.", null,
            """{"type":"object","required":["path","old_text","new_text"],"properties":{"path":{"type":"string"},"old_text":{"type":"string"},"new_text":{"type":"string"},"replace_all":{"type":"boolean"}}}"""),
    ];

    public static bool IsOne(string tool) => tool is "read_file" or "list_dir" or "find_files" or "grep_files" or "calculate" || Changes(tool);

    /// <summary>Whether it has side effects.</summary>
    public static bool Changes(string tool) => tool is "write_file" or "edit_file";

    /// <summary>Runs one of them to its end on this thread.</summary>
    /// <exception cref="BasicException">What it was asked cannot be done.</exception>
    /// <exception cref="OperationCanceledException">Nobody waits any more.</exception>
    public static RawJson Run(string tool, RawJson parameters, Workspace workspace, TimeProvider clock, CancellationToken abandoned)
    {
        using var call = new BasicCall(parameters, abandoned);
        switch (tool)
        {
            case "read_file": FileBasics.Read(call, workspace); break;
            case "list_dir": FileBasics.List(call, workspace); break;
            case "find_files": SearchBasics.Find(call, workspace, clock); break;
            case "grep_files": SearchBasics.Grep(call, workspace, clock); break;
            case "calculate": call.Answer.WriteNumber("result", Calculator.Evaluate(call.Text("expression"))); break;
            case "write_file": FileBasics.Write(call, workspace); break;
            default: FileBasics.Edit(call, workspace); break;
        }
        return call.Finish();
    }

    private static ToolDefinition Define(string name, string description, ulong? cacheSecs, string parameters) =>
        new() { Name = name, Description = description, Parameters = RawJson.Parse(parameters), CacheTtlSecs = cacheSecs, Idempotent = !Changes(name) };
}

using CarServer.Rpc.JsonRpc;
using CarServer.RunStore;
using CarServer.State.Engine.Basics;

namespace CarServer.Rpc.Methods;

/// <summary><c>agents.*</c>: what an agent finds ready here (protocol 7.1).</summary>
internal static class AgentsMethods
{
    public static readonly Method[] Rows =
    [
        Method.Row("agents.register_basics", "{}", "Registers the seven tools that the daemon can run itself, in its workspace.",
            static () => ToolsMethodsJson.Default.NoParams, static () => ToolsMethodsJson.Default.RawJson, RegisterBasics),
    ];

    private static RawJson RegisterBasics(Call call, NoParams _)
    {
        call.Session.Runtime.Tools.Register(BasicTools.Definitions);
        return RawJson.Null;
    }
}

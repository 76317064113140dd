using CarServer.Rpc.JsonRpc;
using CarServer.RunStore;
using CarServer.RunStore.Contracts;
using CarServer.State.Engine.Basics;
using CarServer.State.Engine.Tools;

namespace CarServer.Rpc.Methods;

/// <summary><c>agents.*</c>: what an agent finds ready here (protocol 7.1).</summary>
internal static class AgentsMethods
{
    public static readonly Method[] Rows =
    [
        Method.Waiting("agents.register_basics", "{}", "Registers the seven tools that the daemon can run itself, in its workspace.",
            Json.NoParams, Scalar.Raw, RegisterBasicsAsync),
    ];

    private static Task<RawJson> RegisterBasicsAsync(Call call, NoParams _)
    {
        ToolRegistry tools = call.Session.Runtime.Tools;
        return tools.InOrderAsync(() =>
        {
            tools.Register(BasicTools.Definitions);
            return RawJson.Null;
        }, call.Abandoned);
    }
}

using CarServer.Rpc.JsonRpc;

namespace CarServer.Rpc.Methods;

/// <summary>The method table of the daemon: each namespace's rows, once.</summary>
internal static class AllMethods
{
    public static MethodTable Table { get; } = new(
    [
        .. AgentPermissionMethods.Rows,
        .. AgentsMethods.Rows,
        .. AnalysisMethods.Rows,
        .. AuthMethods.Rows,
        .. DiscoverMethods.Rows,
        .. EventMethods.Rows,
        .. MetricsMethods.Rows,
        .. PermissionMethods.Rows,
        .. PolicyMethods.Rows,
        .. ProposalMethods.Rows,
        .. ReplanMethods.Rows,
        .. RunsMethods.Rows,
        .. ServerMethods.Rows,
        .. SessionMethods.Rows,
        .. StateMethods.Rows,
        .. SupervisionMethods.Rows,
        .. ToolsMethods.Rows,
    ]);
}

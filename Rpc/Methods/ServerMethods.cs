using System.Globalization;
using CarServer.Rpc.JsonRpc;
using CarServer.RunStore;
using CarServer.RunStore.Contracts;
using CarServer.State;
using CarServer.State.Sessions;

namespace CarServer.Rpc.Methods;

/// <summary>The daemon itself: is it there, which one is it, stop it.</summary>
internal static class ServerMethods
{
    public static readonly Method[] Rows =
    [
        Method.Row("ping", "{}", "Answers \"pong\".", Json.NoParams, Scalar.Text, static (_, _) => "pong",
            direct: PingDirect),

        Method.Row("server.handshake", "{ protocol_version, client_version? }", "Agrees on the protocol version, for this connection.",
            Json.HandshakeParams, Json.HandshakeResult, Handshake),

        Method.Row("server.info", "{}", "Version, process, role, listeners and load of this daemon.",
            Json.NoParams, Json.ServerInfoResult, Info),

        Method.Row("server.shutdown", "{}", "Stops the daemon in order: clients are told (1001), open runs are marked, everything is flushed.",
            Json.NoParams, Json.ShutdownResult, Shutdown, Access.Host),
    ];

    private static bool PingDirect(ClientSession session, ReadOnlySpan<byte> parameters, ref Answer answer)
    {
        if (!parameters.IsEmpty && parameters[0] != '{') return false;
        answer.WriteResult("\"pong\""u8);
        return true;
    }

    private static HandshakeResult Handshake(Call call, HandshakeParams p)
    {
        if (!int.TryParse(p.ProtocolVersion.ToString(), NumberStyles.None, CultureInfo.InvariantCulture, out int version) || version != DaemonInfo.ProtocolVersion)
        {
            string came = p.ProtocolVersion.IsAbsent ? "nothing" : p.ProtocolVersion.Utf8.Length > 64 ? "something else" : p.ProtocolVersion.ToString();
            throw new RpcException(RpcErrorCode.VersionMismatch, $"protocol version mismatch: this daemon speaks {DaemonInfo.ProtocolVersion}, the client sent {came}");
        }
        call.Session.Negotiated = true;
        return new HandshakeResult(DaemonInfo.ProtocolVersion, DaemonInfo.ProductVersion, version);
    }

    private static ServerInfoResult Info(Call call, NoParams _)
    {
        DaemonInfo info = call.State.Info;
        DateTime now = call.State.Clock.GetUtcNow().UtcDateTime;
        return new ServerInfoResult("car-server", DaemonInfo.ProductVersion, DaemonInfo.ProtocolVersion, Environment.ProcessId, info.StartedAt,
            Math.Round((now - info.StartedAt).TotalSeconds, 3), info.IsPrimary ? "primary" : "secondary", call.State.Auth.IsEnabled,
            call.Session.ClientId, call.State.Sessions.Count, info.Listeners);
    }

    private static ShutdownResult Shutdown(Call call, NoParams _)
    {
        Action<ClientSession> stop = call.State.Info.RequestShutdown ?? throw new RefusedException("this server is embedded; its host process stops it");
        stop(call.Session);
        return new ShutdownResult(true);
    }
}

[FromJson]
internal sealed record HandshakeParams(RawJson ProtocolVersion = default, RawJson ClientVersion = default);

[ToJson]
internal sealed record HandshakeResult(int ProtocolVersion, string ServerVersion, int ClientProtocolVersion);

/// <param name="UptimeSeconds">Seconds, to the millisecond.</param>
/// <param name="Role"><c>primary</c> or <c>secondary</c> (protocol 1.4).</param>
/// <param name="ClientId">The id of the connection that asks.</param>
[ToJson]
internal sealed record ServerInfoResult(string Name, string Version, int ProtocolVersion, int Pid, DateTime StartedAt, double UptimeSeconds, string Role,
    bool AuthEnabled, string ClientId, int Connections, IReadOnlyList<string> Listeners);

[ToJson]
internal sealed record ShutdownResult(bool Stopping);

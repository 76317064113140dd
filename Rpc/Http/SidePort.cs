using System.Text;
using CarServer.Rpc.Transport;
using CarServer.RunStore.Contracts;
using CarServer.State;

namespace CarServer.Rpc.Http;

/// <summary>The little HTTP of port + 1, loopback only: the token for browsers' pages (protocol 6.1) and the health of the daemon.</summary>
internal sealed class SidePort(ServerState state, string? authToken) : IRequestHandler
{
    /// <summary>Set once the daemon serves.</summary>
    public volatile bool Ready;

    public byte[]? Respond(Connection connection, in RequestHead head)
    {
        if (!head.Method.SequenceEqual("GET"u8)) return HttpResponse.Refuse(new HttpRefusal(405, "only GET is served here") { Headers = "Allow: GET\r\n" });
        int query = head.Target.IndexOf((byte)'?');
        ReadOnlySpan<byte> path = query < 0 ? head.Target : head.Target[..query];
        if (path.SequenceEqual("/auth-token"u8))
            return authToken is null ? HttpResponse.Refuse(new HttpRefusal(404, "auth is off: there is no token")) : HttpResponse.Write(200, "text/plain", authToken);
        if (path.SequenceEqual("/health"u8)) return HttpResponse.Write(200, "application/json", Health());
        return HttpResponse.Refuse(new HttpRefusal(404, "there is /health and /auth-token"));
    }

    private string Health()
    {
        double uptime = Math.Round((state.Clock.GetUtcNow().UtcDateTime - state.Info.StartedAt).TotalSeconds, 3);
        return Encoding.UTF8.GetString(Json.Health.ToUtf8(new Health(DaemonInfo.ProductVersion, Environment.ProcessId, uptime, state.Sessions.Count, Ready)));
    }
}

[ToJson]
internal sealed record Health(string Version, int Pid, double Uptime, int Connections, bool Ready);

using System.Text;
using CarServer.Rpc.JsonRpc;
using CarServer.Rpc.WebSocket;
using CarServer.State;
using CarServer.State.Sessions;

namespace CarServer.Tests.Support;

/// <summary>Calls a row of the method table without a wire.</summary>
internal static class MethodCall
{
    /// <summary>The result as JSON text. What the method throws, this throws.</summary>
    public static async Task<string> ResultAsync(Method method, ServerState state, ClientSession session, string parameters)
    {
        var sink = new Sink();
        using PendingAnswer? pending = Begin(method, state, session, parameters, sink);
        if (pending is not null)
        {
            await pending.Completion;
            End(pending, sink);
        }
        const string Before = "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":";
        string response = sink.Response ?? throw new InvalidOperationException($"{method.Name} did not answer");
        return response[Before.Length..^1];
    }

    /// <summary>Calls a row whose answer the test does not want; null when it did not have to wait.</summary>
    public static PendingAnswer? Begin(Method method, ServerState state, ClientSession session, string parameters) => Begin(method, state, session, parameters, new Sink());

    private static PendingAnswer? Begin(Method method, ServerState state, ClientSession session, string parameters, Sink sink)
    {
        var answer = new Answer(sink, "1"u8);
        PendingAnswer? pending = method.Invoke(state, session, Encoding.UTF8.GetBytes(parameters), ref answer);
        answer.End();
        return pending;
    }

    private static void End(PendingAnswer pending, Sink sink)
    {
        var answer = new Answer(sink, "1"u8);
        pending.Write(ref answer);
        answer.End();
    }

    private sealed class Sink : IAnswerSink
    {
        public string? Response { get; private set; }

        public FrameBuffer BeginResponse() => new();

        public void EndResponse(FrameBuffer response)
        {
            Response = Encoding.UTF8.GetString(response.Written);
            ((IDisposable)response).Dispose();
        }
    }
}

using System.Buffers;
using System.Text.Json;
using CarServer.Rpc.JsonRpc;
using CarServer.Rpc.Methods;
using CarServer.Rpc.WebSocket;
using CarServer.RunStore.Contracts;
using CarServer.State;
using CarServer.State.Sessions;
using CarServer.Tests.Support;

namespace CarServer.Tests.Bench;

/// <summary>A request from its bytes to the bytes of its answer, without a socket, against reading it once and copying that answer.</summary>
internal sealed class DispatchCases : IAsyncDisposable
{
    private readonly TempHome _home = new();
    private readonly ServerState _state;
    private readonly ClientSession _session;
    private readonly Sink _sink = new();

    public DispatchCases()
    {
        _state = ServerState.Standalone(_home.Journals);
        _session = new ClientSession("0123456789ab", new NoClient(), _state);
    }

    public IEnumerable<Case> All()
    {
        yield return Scan();
        yield return Dispatch("ping", Requests.Ping);
        yield return Dispatch("state.set", Requests.Set);
        yield return Dispatch("state.get", Requests.Get);
    }

    public async ValueTask DisposeAsync()
    {
        _sink.Free();
        await _state.DisposeAsync();
        _home.Dispose();
    }

    private static Case Scan()
    {
        byte[] request = Requests.Ping;
        void Read(int times)
        {
            for (int i = 0; i < times; i++)
                if (Envelope.Read(request).Kind != EnvelopeKind.Request) throw new InvalidOperationException("no request");
        }
        return new Case("envelope of a 65-byte request", "Utf8JsonReader over the same bytes", Shown.Nanoseconds,
            Timed.Loop(Read), Timed.Loop(times => Walk(request, times)), () => Timed.AllocatedBy(Read));
    }

    private Case Dispatch(string method, byte[] request)
    {
        byte[] answer = AnswerTo(request);
        byte[] target = new byte[answer.Length];
        void Call(int times)
        {
            for (int i = 0; i < times; i++) Serve(request);
        }
        return new Case($"dispatch of {method}", "Utf8JsonReader over the request, copy of the answer", Shown.Nanoseconds, Timed.Loop(Call), Timed.Loop(times =>
        {
            for (int i = 0; i < times; i++)
            {
                Walk(request, 1);
                answer.CopyTo(target, 0);
            }
        }), () => Timed.AllocatedBy(Call));
    }

    private void Serve(byte[] request)
    {
        Envelope envelope = Envelope.Read(request);
        Method method = AllMethods.Table.Find(envelope.Method)!;
        var answer = new Answer(_sink, envelope.Id);
        if (method.Invoke(_state, _session, envelope.Params, ref answer) is not null) throw new InvalidOperationException($"{method.Name} waits");
        answer.End();
    }

    private byte[] AnswerTo(byte[] request)
    {
        _sink.Clear();
        Serve(request);
        byte[] answer = _sink.Written.ToArray();
        if (!answer.AsSpan().IndexOf("\"result\":"u8).Equals(-1)) return answer;
        throw new InvalidOperationException(System.Text.Encoding.UTF8.GetString(answer));
    }

    private static void Walk(ReadOnlySpan<byte> json, int times)
    {
        for (int i = 0; i < times; i++)
        {
            var reader = new Utf8JsonReader(json);
            while (reader.Read()) { }
        }
    }

    /// <summary>Gathers answers as an event loop's batch does.</summary>
    private sealed class Sink : IAnswerSink
    {
        /// <summary>About what the answers to one read take.</summary>
        private const int BatchSize = 32 * 1024;

        private readonly FrameBuffer _frames = new();

        public ReadOnlySpan<byte> Written => _frames.Written;
        public void Clear() => _frames.Clear();
        public void Free() => ((IDisposable)_frames).Dispose();

        public FrameBuffer BeginResponse()
        {
            _frames.BeginFrame(Opcode.Text);
            return _frames;
        }

        public void EndResponse(FrameBuffer response)
        {
            response.EndFrame();
            if (response.Length > BatchSize) response.Clear();
        }
    }

    private sealed class NoClient : IClientChannel
    {
        public void Encode<T>(IBufferWriter<byte> output, string method, T parameters, IWrites<T> contract) { }
        public bool Send(ReadOnlySpan<ReadOnlyMemory<byte>> encoded) => false;
        public Task<bool> RoomAsync() => Task.FromResult(false);
        public long Taken => 0;
        public bool IsClosed => false;
        public void Notify<T>(string method, T parameters, IWrites<T> contract) { }
        public string NextCallbackId() => "cb-1";
        public Task<CallbackReply> CallAsync<T>(string callbackId, string method, T parameters, IWrites<T> contract, TimeSpan budget, CancellationToken abandoned) =>
            Task.FromResult(new CallbackReply(CallbackEnd.NotSent));
    }
}

/// <summary>Requests whose masked frames have 65, 122 and 80 bytes.</summary>
internal static class Requests
{
    public static readonly byte[] Ping = """{"jsonrpc":"2.0","id":10000000,"method":"ping","params":{}}"""u8.ToArray();
    public static readonly byte[] Set = """{"jsonrpc":"2.0","id":10000000,"method":"state.set","params":{"key":"k0","value":{"speed":42,"gear":"D","on":true}}}"""u8.ToArray();
    public static readonly byte[] Get = """{"jsonrpc":"2.0","id":10000000,"method":"state.get","params":{"key":"k0"}}"""u8.ToArray();
}

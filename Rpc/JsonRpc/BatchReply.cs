using System.Buffers;
using CarServer.Rpc.Transport;
using CarServer.Rpc.WebSocket;

namespace CarServer.Rpc.JsonRpc;

/// <summary>Gathers the responses of one batch and sends them as one array when the last one is there (JSON-RPC 2.0, 6).</summary>
internal sealed class BatchReply(MessageConnection messages) : IAnswerSink
{
    [ThreadStatic] private static FrameBuffer? t_scratch;

    private readonly Lock _gate = new();
    private readonly ArrayBufferWriter<byte> _array = new();
    private int _outstanding = 1;   // the reader's own share: nothing is sent before all members are begun

    FrameBuffer IAnswerSink.BeginResponse()
    {
        FrameBuffer scratch = t_scratch ??= new FrameBuffer();
        scratch.Clear();
        return scratch;
    }

    void IAnswerSink.EndResponse(FrameBuffer response)
    {
        lock (_gate)
        {
            _array.Write(_array.WrittenCount == 0 ? "["u8 : ","u8);
            _array.Write(response.Written);
        }
        response.Clear();
    }

    /// <summary>One more member will answer later.</summary>
    public void Expect() => Interlocked.Increment(ref _outstanding);

    /// <summary>One that was expected has answered, or the reader is through.</summary>
    public void Done()
    {
        if (Interlocked.Decrement(ref _outstanding) > 0 || _array.WrittenCount == 0) return;
        _array.Write("]"u8);
        FrameBuffer frames = messages.BeginSend();
        frames.AppendFrame(Opcode.Text, _array.WrittenSpan);
        messages.EndSend(frames);
    }
}

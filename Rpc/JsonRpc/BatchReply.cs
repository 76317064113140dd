using System.Buffers;
using CarServer.Rpc.Transport;
using CarServer.Rpc.WebSocket;

namespace CarServer.Rpc.JsonRpc;

/// <summary>Gathers the responses of one batch and sends them as one array when the last one is there (JSON-RPC 2.0, 6).</summary>
/// <remarks>What the outbox would refuse is not gathered: past <see cref="Limits.MaxOutboxBytes"/> one error stands for all of them.</remarks>
internal sealed class BatchReply(RpcConnection connection) : IAnswerSink
{
    [ThreadStatic] private static FrameBuffer? t_scratch;

    private readonly Lock _gate = new();
    private ArrayBufferWriter<byte> _array = new();
    private bool _tooLarge;
    private Action? _afterwards;
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
            if (!_tooLarge && _array.WrittenCount + (long)response.Length + 2 > Limits.MaxOutboxBytes)
            {
                _tooLarge = true;
                _array = new();   // and give back what was gathered
            }
            if (!_tooLarge)
            {
                _array.Write(_array.WrittenCount == 0 ? "["u8 : ","u8);
                _array.Write(response.Written);
            }
        }
        response.Clear();
    }

    /// <summary>One more member will answer later.</summary>
    public void Expect() => Interlocked.Increment(ref _outstanding);

    /// <summary>One that was expected has answered, or the reader is through.</summary>
    /// <param name="afterwards">What waits for the answers to be sent.</param>
    public void Done(Action? afterwards = null)
    {
        if (afterwards is not null) lock (_gate) _afterwards += afterwards;
        if (Interlocked.Decrement(ref _outstanding) > 0) return;
        Send();
        _afterwards?.Invoke();
    }

    private void Send()
    {
        if (_tooLarge)
        {
            var answer = new Answer(connection, "null"u8);
            answer.WriteError(RpcErrorCode.InternalError, $"the answers of this batch are over {Limits.MaxOutboxBytes} bytes together; ask for less at a time");
            answer.End();
        }
        else if (_array.WrittenCount > 0)
        {
            _array.Write("]"u8);
            FrameBuffer frames = connection.Messages.BeginSend();
            frames.AppendFrame(Opcode.Text, _array.WrittenSpan);
            connection.Messages.EndSend(frames);
        }
    }
}

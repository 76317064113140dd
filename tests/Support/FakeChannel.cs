using System.Buffers;
using System.Text.Json;
using System.Text;
using CarServer.RunStore.Contracts;
using CarServer.State.Sessions;

namespace CarServer.Tests.Support;

/// <summary>A client's connection that keeps what was sent and answers with what the test prepared.</summary>
internal sealed class FakeChannel : IClientChannel
{
    private int _callbacks;

    /// <summary>What the next call ends with; null: it ends when it is abandoned.</summary>
    public CallbackReply? Reply { get; set; }
    public bool IsClosed { get; set; }
    public List<string> Sent { get; } = [];
    public List<string> Notified { get; } = [];
    public TimeSpan LastBudget { get; private set; }

    public void Notify<T>(string method, T parameters, IWrites<T> contract) => Notified.Add(Text(method, parameters, contract));

    public string NextCallbackId() => $"cb-{++_callbacks}";

    public Task<CallbackReply> CallAsync<T>(string callbackId, string method, T parameters, IWrites<T> contract, TimeSpan budget, CancellationToken abandoned)
    {
        Sent.Add(callbackId + " " + Text(method, parameters, contract));
        LastBudget = budget;
        if (Reply is { } reply) return Task.FromResult(reply);
        var waiting = new TaskCompletionSource<CallbackReply>();
        abandoned.Register(() => waiting.TrySetResult(new CallbackReply(CallbackEnd.Abandoned)));
        return waiting.Task;
    }

    /// <summary>Records that were encoded for everybody.</summary>
    public int Encoded { get; private set; }

    /// <summary>What was sent encoded, a line each.</summary>
    public List<string> Received { get; } = [];

    /// <summary>How many of them, while others still come.</summary>
    public int Count
    {
        get { lock (Received) return Received.Count; }
    }

    /// <summary>Completed with false: gone. Pending: the client does not read.</summary>
    public Task<bool> Room { get; set; } = Task.FromResult(true);

    public void Encode<T>(IBufferWriter<byte> output, string method, T parameters, IWrites<T> contract)
    {
        Encoded++;
        output.Write(Encoding.UTF8.GetBytes(Text(method, parameters, contract) + "\n"));
    }

    public bool Send(ReadOnlySpan<ReadOnlyMemory<byte>> encoded)
    {
        if (IsClosed) return false;
        lock (Received)
        {
            foreach (ReadOnlyMemory<byte> piece in encoded) Received.AddRange(Encoding.UTF8.GetString(piece.Span).Split('\n', StringSplitOptions.RemoveEmptyEntries));
        }
        return true;
    }

    public long Taken { get; set; }

    public Task<bool> RoomAsync() => Room;

    private static string Text<T>(string method, T parameters, IWrites<T> contract) =>
        method + " " + contract.Text(parameters);
}

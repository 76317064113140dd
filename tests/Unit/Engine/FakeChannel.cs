using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using CarServer.State.Sessions;

namespace CarServer.Tests.Unit.Engine;

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

    public void Notify<T>(string method, T parameters, JsonTypeInfo<T> type) => Notified.Add(Text(method, parameters, type));

    public string NextCallbackId() => $"cb-{++_callbacks}";

    public Task<CallbackReply> CallAsync<T>(string callbackId, string method, T parameters, JsonTypeInfo<T> type, TimeSpan budget, CancellationToken abandoned)
    {
        Sent.Add(callbackId + " " + Text(method, parameters, type));
        LastBudget = budget;
        if (Reply is { } reply) return Task.FromResult(reply);
        var waiting = new TaskCompletionSource<CallbackReply>();
        abandoned.Register(() => waiting.TrySetResult(new CallbackReply(CallbackEnd.Abandoned)));
        return waiting.Task;
    }

    private static string Text<T>(string method, T parameters, JsonTypeInfo<T> type) =>
        method + " " + Encoding.UTF8.GetString(JsonSerializer.SerializeToUtf8Bytes(parameters, type));
}

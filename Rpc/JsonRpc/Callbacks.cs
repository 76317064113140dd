using System.Text;
using System.Text.Json;
using CarServer.RunStore;
using CarServer.State.Sessions;

namespace CarServer.Rpc.JsonRpc;

/// <summary>Requests that the daemon sent to this client and that wait for a reply.</summary>
/// <remarks>
/// A reply completes its waiter on the read loop, inline: the engine goes on at once and what it sends next leaves in the same batch.
/// </remarks>
internal sealed class Callbacks
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, TaskCompletionSource<CallbackReply>> _pending = [];
    private bool _closed;

    public async Task<CallbackReply> WaitAsync(string id, Func<bool> send, TimeSpan budget, TimeProvider clock, CancellationToken abandoned)
    {
        var reply = new TaskCompletionSource<CallbackReply>();
        lock (_gate)
        {
            if (_closed) return new CallbackReply(CallbackEnd.Closed);
            _pending.Add(id, reply);
        }
        try
        {
            if (!send()) return new CallbackReply(CallbackEnd.NotSent, Error: "connection is closed");
            if (reply.Task.IsCompleted) return await reply.Task;
            using ITimer timer = clock.CreateTimer(static r => ((TaskCompletionSource<CallbackReply>)r!).TrySetResult(new CallbackReply(CallbackEnd.TimedOut)),
                reply, budget, Timeout.InfiniteTimeSpan);
            using CancellationTokenRegistration registration = abandoned.UnsafeRegister(
                static r => ((TaskCompletionSource<CallbackReply>)r!).TrySetResult(new CallbackReply(CallbackEnd.Abandoned)), reply);
            return await reply.Task;
        }
        finally
        {
            lock (_gate) _pending.Remove(id);
        }
    }

    /// <summary>Routes a reply by its id. Unknown and late ones are dropped.</summary>
    public void Complete(in Envelope envelope)
    {
        if (envelope.Id.Length < 2 || envelope.Id[0] != (byte)'"') return;
        string id = Encoding.UTF8.GetString(envelope.Id[1..^1]);
        TaskCompletionSource<CallbackReply>? waiter;
        lock (_gate) _pending.TryGetValue(id, out waiter);
        if (waiter is null) return;
        bool refused = !envelope.Error.IsEmpty && !envelope.Error.SequenceEqual("null"u8);
        waiter.TrySetResult(refused
            ? new CallbackReply(CallbackEnd.Refused, Error: ErrorText(envelope.Error, out int code), Code: code)
            : new CallbackReply(CallbackEnd.Replied, envelope.Result.IsEmpty ? RawJson.Null : RawJson.Parse(envelope.Result)));
    }

    /// <summary>Fails all that wait and all that will.</summary>
    public void Close()
    {
        TaskCompletionSource<CallbackReply>[] waiters;
        lock (_gate)
        {
            _closed = true;
            waiters = [.. _pending.Values];
        }
        foreach (TaskCompletionSource<CallbackReply> waiter in waiters) waiter.TrySetResult(new CallbackReply(CallbackEnd.Closed));
    }

    /// <summary>The client's own words: <c>error.message</c>, a plain string, or whatever it sent.</summary>
    private static string ErrorText(ReadOnlySpan<byte> error, out int code)
    {
        code = 0;
        string? text = null;
        try
        {
            var reader = new Utf8JsonReader(error, new JsonReaderOptions { MaxDepth = RawJsonConverter.MaxDepth });
            reader.Read();
            if (reader.TokenType == JsonTokenType.String) return reader.GetString()!;
            if (reader.TokenType == JsonTokenType.StartObject)
                while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
                {
                    bool message = reader.TextIs("message"u8), isCode = reader.TextIs("code"u8);
                    reader.Read();
                    if (message && reader.TokenType == JsonTokenType.String) text ??= reader.GetString();
                    else if (isCode && reader.TokenType == JsonTokenType.Number && reader.TryGetInt32(out int number)) code = number;
                    reader.Skip();
                }
        }
        catch (InvalidOperationException)
        {
            return "the client's error message is not valid text";   // a lone surrogate
        }
        return text ?? RawJson.Parse(error).ToString();
    }
}

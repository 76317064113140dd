using System.Collections.Concurrent;
using System.Globalization;
using System.Net.Sockets;
using System.Text.Json;
using System.Threading.Channels;

namespace CarServer.Tests.Support;

/// <summary>An error answer. Also thrown by <see cref="RpcPeer.CallAsync"/>, whose caller expected a result.</summary>
internal sealed class RpcFailure(string method, int code, string text) : Exception($"{method}: {code} {text}")
{
    public int Code { get; } = code;
    public string Text { get; } = text;
}

/// <summary>One <c>tools.execute</c> as it came.</summary>
internal sealed record ToolRequest(string Id, JsonElement Params)
{
    public string Tool => Params.GetProperty("tool").GetString()!;
    public string ActionId => Params.GetProperty("action_id").GetString()!;
    public JsonElement Parameters => Params.GetProperty("parameters");
}

/// <summary>Thrown by a test's tool: the callback is answered with an error of this text.</summary>
internal sealed class ToolFailed(string message, int code = -32000) : Exception(message)
{
    public int Code { get; } = code;
}

/// <summary>A JSON-RPC client over <see cref="RawPeer"/>: calls, tools of its own, notifications.</summary>
/// <remarks>
/// One background task reads. A tool runs on a task of its own, so that it may call the daemon while the daemon waits for it.
/// </remarks>
internal sealed class RpcPeer : IAsyncDisposable
{
    private readonly RawPeer _raw;
    private readonly SemaphoreSlim _sending = new(1, 1);
    private readonly ConcurrentDictionary<string, TaskCompletionSource<JsonElement>> _pending = new();
    private readonly Channel<JsonElement> _notifications = Channel.CreateUnbounded<JsonElement>();
    private readonly Channel<JsonElement> _batches = Channel.CreateUnbounded<JsonElement>();
    private readonly Channel<ToolRequest> _unanswered = Channel.CreateUnbounded<ToolRequest>();
    private readonly TaskCompletionSource<int> _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Task _reading;
    private int _lastId;

    public RpcPeer(RawPeer raw)
    {
        _raw = raw;
        _reading = ReadLoopAsync();
    }

    /// <summary>
    /// Answers <c>tools.execute</c>: returns the result as JSON text, or throws <see cref="ToolFailed"/>. While null, calls
    /// wait in <see cref="NextToolCallAsync"/> for the test itself to answer.
    /// </summary>
    public Func<ToolRequest, Task<string>>? Tools { get; set; }

    /// <summary>Every <c>tools.execute</c> so far, in the order of arrival.</summary>
    public ConcurrentQueue<ToolRequest> ToolCalls { get; } = new();

    /// <summary>Ends with the close code once the daemon has closed the connection.</summary>
    public Task<int> Closed => _closed.Task;

    public Task AuthenticateAsync(string token) => CallAsync("session.auth", $$"""{"token":"{{token}}"}""");

    /// <summary>Calls a method and returns its result.</summary>
    /// <exception cref="RpcFailure">It answered with an error.</exception>
    /// <exception cref="PeerClosedException">The connection ended first.</exception>
    public async Task<JsonElement> CallAsync(string method, string? parameters = null)
    {
        JsonElement answer = await SendAsync(method, parameters).Soon($"the answer to {method}");
        if (answer.TryGetProperty("error", out JsonElement error)) throw Failure(method, error);
        return answer.GetProperty("result");
    }

    /// <summary>Calls a method that must answer with an error.</summary>
    public async Task<RpcFailure> CallFailsAsync(string method, string? parameters = null)
    {
        JsonElement answer = await SendAsync(method, parameters).Soon($"the answer to {method}");
        return answer.TryGetProperty("error", out JsonElement error)
            ? Failure(method, error)
            : throw new InvalidOperationException($"{method} was expected to fail and answered {answer.GetRawText()}");
    }

    /// <summary>Sends a request now; the task brings the whole answer, whenever it comes.</summary>
    public Task<JsonElement> SendAsync(string method, string? parameters = null)
    {
        string id = Interlocked.Increment(ref _lastId).ToString(CultureInfo.InvariantCulture);
        var answer = new TaskCompletionSource<JsonElement>(TaskCreationOptions.RunContinuationsAsynchronously);
        _pending[id] = answer;
        if (_closed.Task.IsCompleted) answer.TrySetException(new PeerClosedException(_raw.LastCloseCode));
        Task<JsonElement> brought = SendAndAwaitAsync();
        // A test that drops its peer does not care what became of its requests.
        foreach (Task<JsonElement> task in (ReadOnlySpan<Task<JsonElement>>)[answer.Task, brought])
            _ = task.ContinueWith(static failed => failed.Exception, TaskContinuationOptions.OnlyOnFaulted | TaskContinuationOptions.ExecuteSynchronously);
        return brought;

        async Task<JsonElement> SendAndAwaitAsync()
        {
            await SendTextAsync($$"""{"jsonrpc":"2.0","method":"{{method}}",{{(parameters is null ? "" : $"\"params\":{parameters},")}}"id":{{id}}}""");
            return await answer.Task;
        }
    }

    public Task NotifyAsync(string method, string? parameters = null) =>
        SendTextAsync($$"""{"jsonrpc":"2.0","method":"{{method}}"{{(parameters is null ? "" : $",\"params\":{parameters}")}}}""");

    /// <summary>Sends a text message as it stands. An answer whose id is not one of ours is lost.</summary>
    public async Task SendTextAsync(string text)
    {
        await _sending.WaitAsync();
        try { await _raw.SendTextAsync(text); }
        catch (SocketException) when (_closed.Task.IsCompleted) { throw new PeerClosedException(_raw.LastCloseCode); }
        finally { _sending.Release(); }
    }

    /// <summary>Sends a text that is no request the daemon could read the id of, one at a time; brings the answer to nobody, whose id is null.</summary>
    public async Task<JsonElement> SendUnreadableAsync(string text)
    {
        var answer = new TaskCompletionSource<JsonElement>(TaskCreationOptions.RunContinuationsAsynchronously);
        _pending["null"] = answer;
        await SendTextAsync(text);
        return await answer.Task;
    }

    /// <summary>Registers tools that take anything.</summary>
    public Task RegisterToolsAsync(params string[] names) =>
        CallAsync("tools.register", $"[{string.Join(',', names.Select(n => $$"""{"name":"{{n}}","description":"a tool of the test","parameters":{ } }"""))}]");

    /// <summary>The next callback, for a test that answers by hand; only while <see cref="Tools"/> is null.</summary>
    public Task<ToolRequest> NextToolCallAsync() => _unanswered.Reader.ReadAsync().AsTask().Soon("a tools.execute from the daemon");

    public Task ReplyAsync(ToolRequest call, string result) => SendTextAsync($$"""{"jsonrpc":"2.0","id":"{{call.Id}}","result":{{result}}}""");

    public Task RefuseAsync(ToolRequest call, string message, int code = -32000) =>
        SendTextAsync($$"""{"jsonrpc":"2.0","id":"{{call.Id}}","error":{"code":{{code}},"message":{{Quote(message)}} } }""");

    /// <summary>The next notification of this name; others that come before it are dropped.</summary>
    public async Task<JsonElement> NextNotificationAsync(string method)
    {
        while (true)
        {
            JsonElement notification = await _notifications.Reader.ReadAsync().AsTask().Soon($"a {method} from the daemon");
            if (notification.GetProperty("method").GetString() == method) return notification.GetProperty("params");
        }
    }

    /// <summary>Notifications that came and were not taken yet.</summary>
    public int Notifications => _notifications.Reader.Count;

    /// <summary>The next array of answers.</summary>
    public Task<JsonElement> NextBatchAsync() => _batches.Reader.ReadAsync().AsTask().Soon("the answer to a batch");

    /// <summary>Leaves without a close frame.</summary>
    public async Task DropAsync()
    {
        await _raw.DisposeAsync();
        await _reading;
    }

    /// <summary>Asks for an orderly end and waits for the daemon's half; returns its code.</summary>
    public async Task<int> CloseAsync(int code = 1000)
    {
        await _raw.SendCloseAsync(code);
        return await Closed.Soon("the daemon's close frame");
    }

    public async ValueTask DisposeAsync() => await DropAsync();

    private static RpcFailure Failure(string method, JsonElement error) =>
        new(method, error.GetProperty("code").GetInt32(), error.GetProperty("message").GetString()!);

    private static string Quote(string text) => "\"" + JsonEncodedText.Encode(text) + "\"";

    private async Task ReadLoopAsync()
    {
        try
        {
            while (await _raw.TryReadTextAsync(patient: true) is (string text, _)) Take(Parse(text));
        }
        catch (Exception e) when (e is SocketException or EndOfStreamException or ObjectDisposedException or OperationCanceledException) { }
        finally
        {
            _closed.TrySetResult(_raw.LastCloseCode);
            var closed = new PeerClosedException(_raw.LastCloseCode);
            foreach (TaskCompletionSource<JsonElement> pending in _pending.Values) pending.TrySetException(closed);
            _notifications.Writer.TryComplete(closed);
            _batches.Writer.TryComplete(closed);
            _unanswered.Writer.TryComplete(closed);
        }
    }

    private void Take(JsonElement message)
    {
        if (message.ValueKind == JsonValueKind.Array)
        {
            _batches.Writer.TryWrite(message);
        }
        else if (!message.TryGetProperty("method", out JsonElement method))
        {
            string id = message.GetProperty("id").GetRawText();
            if (_pending.TryRemove(id, out TaskCompletionSource<JsonElement>? pending)) pending.TrySetResult(message);
        }
        else if (method.GetString() == "tools.execute")
        {
            var call = new ToolRequest(message.GetProperty("id").GetString()!, message.GetProperty("params"));
            ToolCalls.Enqueue(call);
            if (Tools is { } tools) _ = Task.Run(() => AnswerAsync(call, tools));
            else _unanswered.Writer.TryWrite(call);
        }
        else
        {
            _notifications.Writer.TryWrite(message);
        }
    }

    private async Task AnswerAsync(ToolRequest call, Func<ToolRequest, Task<string>> tools)
    {
        try
        {
            try { await ReplyAsync(call, await tools(call)); }
            catch (ToolFailed e) { await RefuseAsync(call, e.Message, e.Code); }
            catch (Exception e) when (e is not (PeerClosedException or SocketException)) { await RefuseAsync(call, $"the test's tool failed: {e.Message}"); }
        }
        catch (Exception e) when (_closed.Task.IsCompleted && e is PeerClosedException or SocketException or ObjectDisposedException) { }
    }

    private static JsonElement Parse(string text)
    {
        using JsonDocument document = JsonDocument.Parse(text);
        return document.RootElement.Clone();
    }
}

using System.Buffers;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;

namespace CarServer.Tests.Bench;

/// <summary>A blocking JSON-RPC client that takes nothing on trust: each answer has to belong to a request, and each request gets one.</summary>
/// <remarks>One thread each. Runs its tools by giving back their parameters. An answer that does not come within ten seconds is an error.</remarks>
internal sealed class SoakClient(EndPoint address) : IDisposable
{
    private static long s_requests;

    private readonly TraceClient _wire = new(address);
    private readonly ArrayBufferWriter<byte> _unsent = new();
    private readonly HashSet<long> _underWay = [];
    private readonly Dictionary<long, JsonElement> _early = [];
    private readonly Queue<JsonElement> _notified = new();
    private long _lastId;

    /// <summary>Requests that all clients have sent so far.</summary>
    public static long Requests => Interlocked.Read(ref s_requests);

    public Socket Socket => _wire.Socket;

    /// <summary>Called with each <c>tools.execute</c> instead of answering it.</summary>
    public Action? OnTool { get; set; }

    public JsonElement Call(string method, string parameters = "{}") => Result(Begin(method, parameters));

    /// <summary>Prepares a request; the next <see cref="Result"/> sends all that are prepared, in one write.</summary>
    public long Begin(string method, string parameters = "{}")
    {
        long id = ++_lastId;
        _underWay.Add(id);
        _unsent.Write(TraceClient.Frame(string.Create(CultureInfo.InvariantCulture, $$"""{"jsonrpc":"2.0","id":{{id}},"method":"{{method}}","params":{{parameters}}}""")));
        Interlocked.Increment(ref s_requests);
        return id;
    }

    public JsonElement Result(long id)
    {
        JsonElement answer = Answer(id);
        return answer.TryGetProperty("result", out JsonElement result) ? result : throw new InvalidOperationException($"unexpected error: {Shortened(answer)}");
    }

    /// <summary>A call that has to fail with this code.</summary>
    public void Fails(int code, string method, string parameters = "{}") => Expect(code, Answer(Begin(method, parameters)));

    /// <summary>Sends a text that is no request; it has to be answered to nobody, with this code.</summary>
    public void FailsAsText(int code, string text)
    {
        Interlocked.Increment(ref s_requests);
        _wire.Send(TraceClient.Frame(text));
        JsonElement answer = Read();
        if (answer.GetProperty("id").ValueKind != JsonValueKind.Null) throw new InvalidOperationException($"an answer to somebody: {Shortened(answer)}");
        Expect(code, answer);
    }

    public JsonElement NextNotification()
    {
        while (_notified.Count == 0) Take();
        return _notified.Dequeue();
    }

    public void Send(ReadOnlySpan<byte> bytes) => _wire.Send(bytes);

    public void Flush()
    {
        _wire.Send(_unsent.WrittenSpan);
        _unsent.ResetWrittenCount();
    }

    /// <summary>Reads to the end; the last thing has to be a close frame with this code. For a connection with nothing else under way.</summary>
    public void EndsWith(int code)
    {
        byte[] last = new byte[256];
        int had = 0;
        for (int n; had < last.Length && (n = Socket.Receive(last.AsSpan(had))) > 0;) had += n;
        int told = had >= 4 && last[0] == 0x88 ? last[2] << 8 | last[3] : 0;
        if (told != code) throw new InvalidOperationException($"the connection ended with {told} instead of {code}");
    }

    /// <summary>Ends the connection with a reset.</summary>
    public void Reset()
    {
        if (Socket.AddressFamily == AddressFamily.InterNetwork) Socket.LingerState = new LingerOption(true, 0);
        Dispose();
    }

    public void Dispose() => _wire.Dispose();

    private static void Expect(int code, JsonElement answer)
    {
        if (!answer.TryGetProperty("error", out JsonElement error) || error.GetProperty("code").GetInt32() != code)
            throw new InvalidOperationException($"expected the error {code}: {Shortened(answer)}");
    }

    private JsonElement Answer(long id)
    {
        Flush();
        JsonElement answer;
        while (!_early.Remove(id, out answer)) Take();
        return answer;
    }

    private JsonElement Read()
    {
        var reader = new Utf8JsonReader(_wire.ReadFrame(), new JsonReaderOptions { MaxDepth = 256 });
        return JsonElement.ParseValue(ref reader);
    }

    /// <summary>Waits for one message, and does with it what is to be done.</summary>
    public void Take()
    {
        JsonElement message = Read();
        if (!message.TryGetProperty("method", out JsonElement method))
        {
            if (!message.GetProperty("id").TryGetInt64(out long id) || !_underWay.Remove(id)) throw new InvalidOperationException($"an answer to nothing: {Shortened(message)}");
            _early.Add(id, message);
        }
        else if (method.GetString() != "tools.execute") _notified.Enqueue(message);
        else if (OnTool is { } instead) instead();
        else _wire.Send(TraceClient.Frame($$"""{"jsonrpc":"2.0","id":{{message.GetProperty("id").GetRawText()}},"result":{{message.GetProperty("params").GetProperty("parameters").GetRawText()}}}"""));
    }

    private static string Shortened(JsonElement message)
    {
        string text = message.GetRawText();
        return text.Length <= 1_000 ? text : text[..1_000] + "…";
    }
}

using System.Buffers;
using System.Buffers.Binary;
using System.Net.Sockets;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using CarServer.Rpc.Transport;
using CarServer.Rpc.Transport.Native;
using CarServer.RunStore;

namespace CarServer.Rpc.Client;

/// <summary>How a connection ended.</summary>
/// <param name="CloseCode">From the server's close frame; null when there was none.</param>
internal sealed record ConnectionEnd(int? CloseCode, string Reason);

/// <summary>The same wire from the other end: for the command line and for the tests.</summary>
/// <remarks>
/// Any member may be called from any thread; calls overlap freely. One loop reads, and it runs <see cref="OnRequest"/> up to its first
/// wait and <see cref="Notified"/> to its end, in order of arrival, so neither may block. The daemon sends nothing of
/// its own accord before the first request: to set both right after connecting is early enough.
/// </remarks>
internal sealed class RpcClient : IAsyncDisposable
{
    /// <summary>The daemon never queues more than this for one client, so no honest message is larger.</summary>
    public const int DefaultMaxMessageBytes = Limits.MaxOutboxBytes;

    private static readonly JsonWriterOptions WriterOptions = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, SkipValidation = true };

    private readonly NetworkStream _stream;
    private readonly ClientFrames _frames;
    private readonly SemaphoreSlim _writing = new(1);
    private readonly TaskCompletionSource<ConnectionEnd> _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // Guarded by itself, and so are _lastNumber and _failure. Calls and pings share one row of numbers.
    private readonly Dictionary<long, TaskCompletionSource<RawJson>> _pending = [];
    private long _lastNumber;
    private RpcConnectionException? _failure;

    // Guarded by _writing.
    private bool _closeSent;

    private Task _reading = Task.CompletedTask;

    private RpcClient(NetworkStream stream, int maxMessageBytes)
    {
        _stream = stream;
        _frames = new ClientFrames(maxMessageBytes);
    }

    /// <summary>Answers requests that the daemon sends. Null: they are answered with <c>-32601</c>.</summary>
    /// <remarks>Throw <see cref="RpcErrorException"/> to reply with an error; anything else that is thrown becomes <c>-32603</c>.</remarks>
    public Func<string, RawJson, Task<RawJson>>? OnRequest { get; set; }

    /// <summary>Method and params of each notification. An exception in a handler ends the connection.</summary>
    public event Action<string, RawJson>? Notified;

    /// <summary>Completes, and never fails, when the connection has ended, whoever ended it.</summary>
    public Task<ConnectionEnd> Ended => _ended.Task;

    /// <summary>Connects and does the opening handshake.</summary>
    /// <exception cref="RpcConnectionException">Nobody is there, or it is no WebSocket server.</exception>
    public static async Task<RpcClient> ConnectAsync(DaemonAddress address, CancellationToken abandoned, int maxMessageBytes = DefaultMaxMessageBytes)
    {
        RpcClient? client = null;
        Socket? socket = null;
        try
        {
            if (address.SocketPath is { } path)
            {
                socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), abandoned);
            }
            else
            {
                socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
                await socket.ConnectAsync(address.Host, address.Port, abandoned);
            }
            client = new RpcClient(new NetworkStream(socket, ownsSocket: true), maxMessageBytes);
            await client.OpenAsync(address, abandoned);
            client._reading = client.ReadLoopAsync();
            return client;
        }
        catch (Exception e)
        {
            client?._stream.Dispose();
            socket?.Dispose();
            throw e switch
            {
                RpcConnectionException refused => new RpcConnectionException($"{address} is no car-server: {refused.Message}"),
                // What .NET makes of ENOENT here would read as a trouble with the network.
                SocketException { SocketErrorCode: SocketError.AddressNotAvailable } when address.SocketPath is not null =>
                    new RpcConnectionException($"cannot connect to {address}: there is no such socket"),
                SocketException failed => new RpcConnectionException($"cannot connect to {address}: {failed.Message}"),
                IOException => new RpcConnectionException($"cannot connect to {address}: the connection was cut during the handshake"),
                ArgumentException => new RpcConnectionException($"cannot connect to {address}: the socket path is too long for this system"),
                _ => e,
            };
        }
    }

    /// <summary>True when what answers here runs as another user of this machine: nothing secret is for it.</summary>
    public bool IsServedByAnotherUser => PeerUser.IsAnother((int)_stream.Socket.Handle, _stream.Socket.AddressFamily == AddressFamily.Unix, unknownIsForeign: true);

    /// <summary>Sends a request and waits for its reply.</summary>
    /// <param name="parameters">Absent: the request has no params.</param>
    /// <param name="abandoned">Ends the wait, not the work: the daemon goes on, and its reply is dropped.</param>
    /// <exception cref="RpcErrorException">The reply is an error.</exception>
    /// <exception cref="RpcConnectionException">The connection ended first.</exception>
    public Task<RawJson> CallAsync(string method, RawJson parameters = default, CancellationToken abandoned = default) =>
        ExpectAsync(number => SendAsync(FrameKind.Text, Request(number, method, parameters)), abandoned);

    /// <summary>Sends a notification; returns when the system has taken it.</summary>
    public async Task NotifyAsync(string method, RawJson parameters = default)
    {
        await SendAsync(FrameKind.Text, Request(null, method, parameters));
        lock (_pending)
            if (_failure is not null) throw _failure;
    }

    /// <summary>Sends a ping frame and waits for its pong. Needs no authentication.</summary>
    public Task PingAsync(CancellationToken abandoned = default) => ExpectAsync(number =>
    {
        byte[] payload = new byte[sizeof(long)];
        BinaryPrimitives.WriteInt64BigEndian(payload, number);
        return SendAsync(FrameKind.Ping, payload);
    }, abandoned);

    /// <summary>The closing handshake, for at most <see cref="Limits.CloseTimeout"/>; then the socket goes. Safe to call twice.</summary>
    public async ValueTask DisposeAsync()
    {
        byte[] normal = [1000 >> 8, 1000 & 0xFF];
        try
        {
            await SendAsync(FrameKind.Close, normal).WaitAsync(Limits.CloseTimeout);
            await _reading.WaitAsync(Limits.CloseTimeout);
        }
        catch (TimeoutException) { }
        End(new ConnectionEnd(null, "closed by this side"));
        await _reading;
    }

    private async Task<RawJson> ExpectAsync(Func<long, Task> send, CancellationToken abandoned)
    {
        var reply = new TaskCompletionSource<RawJson>(TaskCreationOptions.RunContinuationsAsynchronously);
        long number;
        lock (_pending)
        {
            if (_failure is not null) throw _failure;
            number = ++_lastNumber;
            _pending.Add(number, reply);
        }
        try
        {
            // Neither awaited nor cancelled: half a frame would cost the connection, and a failed send ends it, which fails the reply.
            _ = send(number);
            return await reply.Task.WaitAsync(abandoned);
        }
        finally
        {
            lock (_pending) _pending.Remove(number);
        }
    }

    private async Task OpenAsync(DaemonAddress address, CancellationToken abandoned)
    {
        string key = ClientHandshake.NewKey();
        await _stream.WriteAsync(ClientHandshake.Request(address, key), abandoned);
        byte[] head = new byte[ClientHandshake.MaxHeadBytes];
        int length = 0;
        while (true)
        {
            int received = await _stream.ReadAsync(head.AsMemory(length), abandoned);
            if (received == 0) throw new RpcConnectionException("it closed the connection during the handshake");
            length += received;
            int end = head.AsSpan(0, length).IndexOf("\r\n\r\n"u8);
            if (end >= 0)
            {
                if (ClientHandshake.Check(head.AsSpan(0, end), key) is { } broken) throw new RpcConnectionException(broken);
                Unread(head.AsMemory(end + 4, length - end - 4));
                return;
            }
            if (length == head.Length) throw new RpcConnectionException("its answer to the handshake does not end");
        }
    }

    /// <summary>The server may send its first frames in one packet with the head.</summary>
    private void Unread(ReadOnlyMemory<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            Memory<byte> space = _frames.FreeSpace();
            int part = Math.Min(space.Length, bytes.Length);
            bytes[..part].CopyTo(space);
            _frames.Commit(part);
            bytes = bytes[part..];
        }
    }

    private async Task ReadLoopAsync()
    {
        ConnectionEnd end;
        try
        {
            while (true)
            {
                while (_frames.TryRead(out ServerMessage message))
                {
                    if (message.Kind == FrameKind.Close)
                    {
                        end = CloseFrame(message.Payload.Span);
                        await SendAsync(FrameKind.Close, message.Payload.Length >= 2 ? message.Payload[..2].ToArray() : []);
                        End(end);
                        return;
                    }
                    Take(message);
                }
                int received = await _stream.ReadAsync(_frames.FreeSpace());
                if (received == 0) break;
                _frames.Commit(received);
            }
            end = new ConnectionEnd(null, "the server hung up without a close frame");
        }
        catch (RpcConnectionException e) { end = new ConnectionEnd(null, e.Message); }
        catch (JsonException) { end = new ConnectionEnd(null, "the server sent something that is not JSON-RPC"); }
        catch (Exception e) when (e is IOException or ObjectDisposedException) { end = new ConnectionEnd(null, "the connection was cut"); }
        catch (Exception e) { end = new ConnectionEnd(null, $"a handler failed: {e.GetType().Name}"); }
        End(end);
    }

    private static ConnectionEnd CloseFrame(ReadOnlySpan<byte> payload)
    {
        if (payload.Length < 2) return new ConnectionEnd(null, "the server closed the connection");
        int code = BinaryPrimitives.ReadUInt16BigEndian(payload);
        string reason = Encoding.UTF8.GetString(payload[2..]);
        return new ConnectionEnd(code, reason.Length > 0 ? $"the server closed the connection: {code} {reason}" : $"the server closed the connection: {code}");
    }

    private void Take(ServerMessage message)
    {
        switch (message.Kind)
        {
            case FrameKind.Ping:
                _ = SendAsync(FrameKind.Pong, message.Payload.ToArray());
                break;
            case FrameKind.Pong when message.Payload.Length == sizeof(long):
                Complete(BinaryPrimitives.ReadInt64BigEndian(message.Payload.Span), reply => reply.TrySetResult(RawJson.Null));
                break;
            case FrameKind.Text:
                Envelope envelope = Envelope.Read(message.Payload.Span);
                if (envelope.Method is null)
                {
                    // Our ids are numbers: whatever else comes back answers nobody.
                    if (!envelope.Id.IsNull && long.TryParse(envelope.Id.Utf8, out long number)) Complete(number, envelope.Settle);
                }
                else if (envelope.Id.IsAbsent) Notified?.Invoke(envelope.Method, envelope.Params);
                else _ = AnswerAsync(envelope.Id, envelope.Method, envelope.Params);
                break;
        }
    }

    private void Complete(long number, Action<TaskCompletionSource<RawJson>> settle)
    {
        TaskCompletionSource<RawJson>? reply;
        lock (_pending)
            if (!_pending.Remove(number, out reply)) return;
        settle(reply);
    }

    private async Task AnswerAsync(RawJson id, string method, RawJson parameters)
    {
        RawJson result = RawJson.Null;
        RpcErrorException? error = null;
        try
        {
            if (OnRequest is null) error = new RpcErrorException(-32601, $"unknown method: {method}");
            else result = await OnRequest(method, parameters);
        }
        catch (RpcErrorException e) { error = e; }
        // The daemon must not wait for a reply that will never come because a handler has a defect.
        catch (Exception) { error = new RpcErrorException(-32603, "the client's handler failed"); }

        await SendAsync(FrameKind.Text, Build(writer =>
        {
            writer.WritePropertyName("id"u8);
            writer.WriteRawValue(id.Utf8, skipInputValidation: true);
            if (error is null)
            {
                writer.WritePropertyName("result"u8);
                writer.WriteRawValue(result.Utf8, skipInputValidation: true);
                return;
            }
            writer.WriteStartObject("error"u8);
            writer.WriteNumber("code"u8, error.Code);
            writer.WriteString("message"u8, error.Message);
            writer.WriteEndObject();
        }));
    }

    private static ReadOnlyMemory<byte> Request(long? number, string method, RawJson parameters) => Build(writer =>
    {
        if (number is { } id) writer.WriteNumber("id"u8, id);
        writer.WriteString("method"u8, method);
        if (parameters.IsAbsent) return;
        writer.WritePropertyName("params"u8);
        writer.WriteRawValue(parameters.Utf8, skipInputValidation: true);
    });

    private static ReadOnlyMemory<byte> Build(Action<Utf8JsonWriter> body)
    {
        var text = new ArrayBufferWriter<byte>(256);
        using var writer = new Utf8JsonWriter(text, WriterOptions);
        writer.WriteStartObject();
        writer.WriteString("jsonrpc"u8, "2.0"u8);
        body(writer);
        writer.WriteEndObject();
        writer.Flush();
        return text.WrittenMemory;
    }

    /// <summary>Never throws for what the network does: the read loop meets the same end, after what the server said before it.</summary>
    private async Task SendAsync(FrameKind kind, ReadOnlyMemory<byte> payload)
    {
        byte[] frame = ArrayPool<byte>.Shared.Rent(payload.Length + ClientFrames.MaxHeaderBytes);
        await _writing.WaitAsync();
        try
        {
            if (_closeSent) return;
            _closeSent = kind == FrameKind.Close;
            int length = Frame(frame, kind, payload.Span);
            await _stream.WriteAsync(frame.AsMemory(0, length));
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException) { }
        finally
        {
            _writing.Release();
            ArrayPool<byte>.Shared.Return(frame);
        }
    }

    private static int Frame(byte[] destination, FrameKind kind, ReadOnlySpan<byte> payload)
    {
        Span<byte> maskingKey = stackalloc byte[4];
        Entropy.Fill(maskingKey);
        return ClientFrames.Write(destination, kind, payload, maskingKey);
    }

    /// <summary>The first end stands; later ones are its echo.</summary>
    private void End(ConnectionEnd end)
    {
        TaskCompletionSource<RawJson>[] waiting;
        lock (_pending)
        {
            if (_failure is not null) return;
            _failure = new RpcConnectionException(end.Reason);
            waiting = [.. _pending.Values];
            _pending.Clear();
        }
        foreach (TaskCompletionSource<RawJson> reply in waiting) reply.TrySetException(_failure);
        _stream.Dispose();
        _ended.TrySetResult(end);
    }

    /// <summary>One incoming message, taken apart.</summary>
    private readonly record struct Envelope(RawJson Id, string? Method, RawJson Params, RawJson Result, RpcErrorException? Error)
    {
        public static Envelope Read(ReadOnlySpan<byte> json)
        {
            var reader = new Utf8JsonReader(json, new JsonReaderOptions { MaxDepth = RawJsonConverter.MaxWrappedDepth });
            var envelope = new Envelope();
            if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject) throw new JsonException();
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                bool id = reader.TextIs("id"u8), method = reader.TextIs("method"u8), parameters = reader.TextIs("params"u8);
                bool result = reader.TextIs("result"u8), error = reader.TextIs("error"u8);
                reader.Read();
                if (id) envelope = envelope with { Id = RawJsonConverter.ReadValue(ref reader) };
                else if (method && reader.TokenType == JsonTokenType.String) envelope = envelope with { Method = reader.GetString() };
                else if (parameters) envelope = envelope with { Params = RawJsonConverter.ReadValue(ref reader) };
                else if (result) envelope = envelope with { Result = RawJsonConverter.ReadValue(ref reader) };
                else if (error && reader.TokenType == JsonTokenType.StartObject) envelope = envelope with { Error = ReadError(ref reader) };
                else reader.Skip();
            }
            while (reader.Read()) { }   // throws when something follows the object
            return envelope;
        }

        public void Settle(TaskCompletionSource<RawJson> reply)
        {
            if (Error is not null) reply.TrySetException(Error);
            else if (Result.IsAbsent) reply.TrySetException(new RpcErrorException(-32603, "the reply has neither a result nor an error"));
            else reply.TrySetResult(Result);
        }

        private static RpcErrorException ReadError(ref Utf8JsonReader reader)
        {
            int code = -32603;
            string message = "the error has no message";
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                bool isCode = reader.TextIs("code"u8), isMessage = reader.TextIs("message"u8);
                reader.Read();
                if (isCode && reader.TokenType == JsonTokenType.Number && reader.TryGetInt32(out int number)) code = number;
                else if (isMessage && reader.TokenType == JsonTokenType.String) message = reader.GetString()!;
                else reader.Skip();
            }
            return new RpcErrorException(code, message);
        }
    }
}

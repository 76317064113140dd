using System.Buffers;
using System.Text;
using System.Text.Json;
using CarServer.Rpc.Transport;
using CarServer.Rpc.WebSocket;
using CarServer.RunStore.Contracts;
using CarServer.State;
using Microsoft.Extensions.Logging;
using CarServer.State.Sessions;

namespace CarServer.Rpc.JsonRpc;

/// <summary>One client on the wire: dispatches its requests, and is the channel through which the daemon's state reaches it.</summary>
/// <remarks>
/// Handlers start in the order their requests came and run on the read loop until they first wait. One that never waits is answered in
/// the batch of the read; one that does is answered from wherever it ends. Replies to our own callbacks are taken at once, whatever else
/// is in flight, so a proposal that waits for its tools cannot block them.
/// </remarks>
internal sealed class RpcConnection : IMessageHandler, IClientChannel, IAnswerSink
{
    /// <summary>An unknown name is echoed so that the caller sees its typo, but not at any length.</summary>
    private const int EchoedNameLength = 128;

    /// <summary>The longest a timer can wait; whoever asks for more means "for ever".</summary>
    private static readonly TimeSpan LongestWait = TimeSpan.FromDays(24);

    private readonly Dispatcher _dispatcher;
    private readonly ClientSession _session;
    private Callbacks? _callbacks;
    private int _lastCallback;
    private int _inFlight;

    private RpcConnection(Dispatcher dispatcher, MessageConnection messages)
    {
        _dispatcher = dispatcher;
        Messages = messages;
        _session = dispatcher.State.Sessions.Open(this);
    }

    public MessageConnection Messages { get; }

    /// <summary>
    /// Serves the client, or closes at once with 1011 and the reason why nobody can be served. A close frame, because it is all of a
    /// refusal that a page in a browser gets to see, and what other clients show without being asked.
    /// </summary>
    public static void Begin(Dispatcher dispatcher, MessageConnection messages)
    {
        try
        {
            messages.Start(new RpcConnection(dispatcher, messages));
        }
        catch (RefusedException refused)
        {
            dispatcher.Log.LogInformation("connection refused peer={Peer} reason={Reason}", messages.Peer, refused.Message);
            messages.Start(new NotServed());
            messages.Close(CloseCode.InternalError, refused.Message);
        }
    }

    public bool IsClosed => Messages.IsClosed;

    private bool IsKnown => _session.Authenticated || !_dispatcher.State.Auth.IsEnabled;

    int IMessageHandler.MessageLimit => IsKnown ? _dispatcher.MaxMessageBytes : Math.Min(Limits.MaxMessageBytesBeforeAuth, _dispatcher.MaxMessageBytes);

    TimeSpan? IMessageHandler.Probation => IsKnown ? null : Limits.AuthTimeout;

    void IMessageHandler.OnText(Span<byte> message)
    {
        Envelope envelope = Envelope.Read(message);
        if (envelope.Kind == EnvelopeKind.Batch) OnBatch(message);
        else Handle(envelope, null);
    }

    void IMessageHandler.OnClosed(string reason)
    {
        _callbacks?.Close();
        _dispatcher.State.Sessions.Close(_session);
        IdleMemory.Count((int)_session.StateBytes);   // garbage from now on, though nothing was allocated
    }

    public string NextCallbackId() => $"cb-{Interlocked.Increment(ref _lastCallback)}";

    public void Notify<T>(string method, T parameters, IWrites<T> contract) => Send(method, null, parameters, contract);

    public void Encode<T>(IBufferWriter<byte> output, string method, T parameters, IWrites<T> contract) =>
        MessageConnection.WriteFrame(output, frame => WriteCall(frame, method, null, parameters, contract));

    public bool Send(ReadOnlySpan<ReadOnlyMemory<byte>> encoded) => Messages.Send(encoded);

    public Task<bool> RoomAsync() => Messages.RoomAsync();

    public long Taken => Messages.Taken;

    public Task<CallbackReply> CallAsync<T>(string callbackId, string method, T parameters, IWrites<T> contract, TimeSpan budget, CancellationToken abandoned)
    {
        if (_callbacks is null) Interlocked.CompareExchange(ref _callbacks, new Callbacks(), null);
        if (IsClosed) _callbacks.Close();
        TimeSpan wait = budget < LongestWait ? budget : LongestWait;
        return _callbacks.WaitAsync(callbackId, () => Send(method, callbackId, parameters, contract), wait, _dispatcher.State.Clock, abandoned);
    }

    FrameBuffer IAnswerSink.BeginResponse()
    {
        FrameBuffer frames = Messages.BeginSend();
        frames.BeginFrame(Opcode.Text);
        return frames;
    }

    void IAnswerSink.EndResponse(FrameBuffer response)
    {
        response.EndFrame();
        Messages.EndSend(response);
    }

    private bool Send<T>(string method, string? id, T parameters, IWrites<T> contract)
    {
        if (IsClosed) return false;
        FrameBuffer frames = Messages.BeginSend();
        frames.BeginFrame(Opcode.Text);
        WriteCall(frames, method, id, parameters, contract);
        frames.EndFrame();
        return Messages.EndSend(frames);
    }

    private static void WriteCall<T>(FrameBuffer frame, string method, string? id, T parameters, IWrites<T> contract)
    {
        Utf8JsonWriter json = Answer.Json(frame);
        json.WriteStartObject();
        json.WriteString("jsonrpc"u8, "2.0"u8);
        json.WriteString("method"u8, method);
        json.WritePropertyName("params"u8);
        contract.WriteAll(json, parameters);
        if (id is not null) json.WriteString("id"u8, id);
        json.WriteEndObject();
        json.Flush();
    }

    private void OnBatch(ReadOnlySpan<byte> message)
    {
        if (!IsKnown)
        {
            RefuseStranger(new Answer(this, "null"u8));
            return;
        }
        var members = new List<Range>();
        if (Envelope.ReadBatch(message, members, out string problem) is { } code)
        {
            var answer = new Answer(this, "null"u8);
            answer.WriteError(code, problem);
            answer.End();
            return;
        }
        var batch = new BatchReply(this);
        foreach (Range member in members)
        {
            Envelope envelope = Envelope.Read(message[member]);
            if (envelope.Kind == EnvelopeKind.Batch)
            {
                envelope.Kind = EnvelopeKind.Invalid;
                envelope.Problem = "a batch inside a batch";
            }
            Handle(envelope, batch);
        }
        batch.Done();
    }

    private void Handle(in Envelope envelope, BatchReply? batch)
    {
        switch (envelope.Kind)
        {
            case EnvelopeKind.Reply:
                // A stranger was asked nothing.
                if (IsKnown) _callbacks?.Complete(envelope);
                return;
            case EnvelopeKind.NotJson or EnvelopeKind.Invalid:
                var answer = new Answer(batch ?? (IAnswerSink)this, envelope.Id.IsEmpty ? "null"u8 : envelope.Id);
                answer.WriteError(envelope.Kind == EnvelopeKind.NotJson ? RpcErrorCode.ParseError : RpcErrorCode.InvalidRequest, envelope.Problem!);
                answer.End();
                return;
            default:
                Dispatch(envelope, batch);
                return;
        }
    }

    private void Dispatch(in Envelope envelope, BatchReply? batch)
    {
        var answer = new Answer(batch ?? (IAnswerSink)this, envelope.Kind == EnvelopeKind.Request ? envelope.Id : default);
        Method? method = Find(envelope);
        if (!IsKnown && method is not { Access: Access.Anyone })
        {
            RefuseStranger(answer);
            return;
        }
        if (Refusal(method, envelope) is { } refusal)
        {
            answer.WriteError(refusal.Code, refusal.Message);
            answer.End();
            return;
        }
        try
        {
            PendingAnswer? pending = method!.Invoke(_dispatcher.State, _session, envelope.Params, ref answer);
            if (pending is not null)
            {
                Interlocked.Increment(ref _inFlight);
                _dispatcher.Begin();
                batch?.Expect();
                _ = FinishAsync(pending, method, answer.IsWanted ? envelope.Id.ToArray() : [], batch);
                return;
            }
        }
        catch (Exception e)
        {
            (RpcErrorCode code, string message) = _dispatcher.Explain(e, method!, _session);
            answer.WriteError(code, message);
        }
        answer.End();
        if (method!.Access == Access.Anyone && IsKnown) Messages.EndProbation();
    }

    private Method? Find(in Envelope envelope)
    {
        if (!envelope.MethodHasEscapes) return _dispatcher.Methods.Find(envelope.Method);
        return envelope.MethodName() is { } name ? _dispatcher.Methods.Find(name) : null;
    }

    /// <summary>Why a request is not even started; null when it may be.</summary>
    private RpcException? Refusal(Method? method, in Envelope envelope)
    {
        if (method is null)
        {
            if (envelope.MethodName() is not { } name) return new RpcException(RpcErrorCode.InvalidRequest, "method is not valid text");
            return RpcException.UnknownMethod(Excerpt.Of(name, EchoedNameLength));
        }
        if (method.Access == Access.Host && !_session.IsHost && _dispatcher.State.Auth.HasHostToken)
            return new RpcException(RpcErrorCode.InternalError, $"{method.Name} requires the host role: session.auth {{ host_token }}");
        if (method.NeedsHandshake && _dispatcher.RequireHandshake && !_session.Negotiated)
            return new RpcException(RpcErrorCode.HandshakeRequired, $"protocol handshake required: call server.handshake before {method.Name}");
        if (Volatile.Read(ref _inFlight) >= Limits.MaxInFlight)
            return new RpcException(RpcErrorCode.TooManyInFlight, $"too many requests in flight (limit {Limits.MaxInFlight})");
        return null;
    }

    /// <summary>No method but session.auth before authentication; the connection ends with this answer (protocol 6.2).</summary>
    private void RefuseStranger(Answer answer)
    {
        answer.WriteError(RpcErrorCode.AuthRequired, "auth required: the first request must be session.auth");
        answer.End();
        Messages.Close(CloseCode.PolicyViolation, "auth required");
    }

    private async Task FinishAsync(PendingAnswer pending, Method method, byte[] id, BatchReply? batch)
    {
        Exception? failure = null;
        TimeSpan deadline = pending.Deadline(_dispatcher.HandlerTimeout);
        try
        {
            await pending.Completion.WaitAsync(deadline < LongestWait ? deadline : LongestWait, _dispatcher.State.Clock);
        }
        catch (TimeoutException) when (!pending.Completion.IsFaulted)   // else it may be the handler's own
        {
            pending.Abandon();
            failure = new RpcException(RpcErrorCode.DeadlineExceeded, $"handler '{method.Name}' exceeded its {(long)deadline.TotalSeconds}s response deadline");
        }
        catch (Exception e)
        {
            failure = e;
        }
        // The loop never waits for the disk.
        bool sent = failure is null && pending.MayRead
            ? await Task.Run(async () => (batch is null && id.Length > 0 && await SendInPartsAsync(pending, id)) || Respond(pending, method, id, null, batch))
            : Respond(pending, method, id, failure, batch);
        Interlocked.Decrement(ref _inFlight);
        Action? afterwards = sent ? pending.Sent() : null;
        if (batch is not null) batch.Done(afterwards);
        else afterwards?.Invoke();
        pending.Dispose();
        _dispatcher.End();
    }

    /// <summary>False when the answer is short enough to be written whole.</summary>
    private async Task<bool> SendInPartsAsync(PendingAnswer pending, byte[] id)
    {
        if (pending.Parts(id) is not { } parts) return false;
        await Messages.SendInPartsAsync(parts.Head, parts.Elements, parts.Tail);
        return true;
    }

    /// <returns>Whether it was the result, and not an error, that was sent.</returns>
    private bool Respond(PendingAnswer pending, Method method, ReadOnlySpan<byte> id, Exception? failure, BatchReply? batch)
    {
        var answer = new Answer(batch ?? (IAnswerSink)this, id);
        try
        {
            if (failure is null) pending.Write(ref answer);
        }
        catch (Exception e)
        {
            failure = e;
        }
        if (failure is not null)
        {
            (RpcErrorCode code, string message) = _dispatcher.Explain(failure, method, _session);
            answer.WriteError(code, message);
        }
        answer.End();
        return failure is null;
    }

    /// <summary>Stands in for a client that was refused, until it has gone.</summary>
    private sealed class NotServed : IMessageHandler
    {
        public int MessageLimit => Limits.MaxMessageBytesBeforeAuth;
        public TimeSpan? Probation => null;
        public void OnText(Span<byte> message) { }
        public void OnClosed(string reason) { }
    }
}

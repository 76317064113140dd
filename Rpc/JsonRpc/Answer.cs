using System.Text.Json;
using CarServer.Rpc.WebSocket;

namespace CarServer.Rpc.JsonRpc;

/// <summary>Where responses go: each into a frame of its own, or all of a batch into one array.</summary>
internal interface IAnswerSink
{
    /// <summary>A place for one response. What was begun before and not ended is taken back.</summary>
    FrameBuffer BeginResponse();

    /// <summary>The response is whole.</summary>
    void EndResponse(FrameBuffer response);
}

/// <summary>The response to one request.</summary>
/// <remarks>
/// Begun only when the outcome is known and ended on the same thread with nothing in between, since it is written straight into the
/// connection's outgoing frames.
/// </remarks>
internal ref struct Answer
{
    [ThreadStatic] private static Utf8JsonWriter? t_json;

    private readonly IAnswerSink _sink;
    private readonly ReadOnlySpan<byte> _id;
    private FrameBuffer? _frames;
    private Utf8JsonWriter? _json;

    /// <param name="id">The id's text; empty for a notification, whose outcome nobody wants.</param>
    public Answer(IAnswerSink sink, ReadOnlySpan<byte> id)
    {
        _sink = sink;
        _id = id;
    }

    /// <summary>What every response begins with, up to its id.</summary>
    public static ReadOnlySpan<byte> Opening => "{\"jsonrpc\":\"2.0\",\"id\":"u8;

    public readonly bool IsWanted => !_id.IsEmpty;

    /// <summary>Starts a response that succeeds; the value goes into the writer.</summary>
    public Utf8JsonWriter BeginResult()
    {
        Begin();
        _frames!.Append(",\"result\":"u8);
        _json = Json(_frames);
        return _json;
    }

    /// <summary>Writes a whole response whose value is JSON already.</summary>
    public void WriteResult(ReadOnlySpan<byte> json)
    {
        if (!IsWanted) return;
        Begin();
        _frames!.Append(",\"result\":"u8);
        _frames.Append(json);
    }

    /// <summary>Writes a whole response that fails.</summary>
    public void WriteError(RpcErrorCode code, string message)
    {
        if (!IsWanted) return;
        Begin();
        _frames!.Append(",\"error\":"u8);
        _json = Json(_frames);
        _json.WriteStartObject();
        _json.WriteNumber("code"u8, (int)code);
        _json.WriteString("message"u8, message);
        _json.WriteEndObject();
    }

    /// <summary>Sends what was begun; does nothing if nothing was.</summary>
    public void End()
    {
        if (_frames is null) return;
        _json?.Flush();
        _frames.Append("}"u8);
        _sink.EndResponse(_frames);
        _frames = null;
        _json = null;
    }

    private void Begin()
    {
        _frames?.AbandonFrame();   // a result that could not be written to its end
        _json = null;
        _frames = _sink.BeginResponse();
        _frames.Append(Opening);
        _frames.Append(_id);
    }

    /// <summary>This thread's writer, on the given frames. What is nested was read as JSON before or is ours: no validation twice.</summary>
    internal static Utf8JsonWriter Json(FrameBuffer frames)
    {
        Utf8JsonWriter json = t_json ??= new Utf8JsonWriter(frames, new JsonWriterOptions
        {
            SkipValidation = true,
            Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        });
        json.Reset(frames);
        return json;
    }
}

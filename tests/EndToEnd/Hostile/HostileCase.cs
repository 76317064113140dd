using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using CarServer.Tests.Support;

namespace CarServer.Tests.EndToEnd.Hostile;

/// <summary>Which daemon a case is played against.</summary>
public enum At
{
    /// <summary>Auth off, the default limits.</summary>
    Open,
    /// <summary>Auth off, messages of at most <see cref="HostileCase.SmallLimit"/> bytes.</summary>
    Small,
    /// <summary>Auth on.</summary>
    Guarded,
}

/// <summary>Something no good client sends, or just about may send, and all the daemon says to it.</summary>
/// <param name="Send">Drawn as in <see cref="Drawing"/>.</param>
/// <param name="Heard">
/// Everything that comes back, in order, with commas between: <c>HTTP 426 (Sec-WebSocket-Version: 13)</c>, <c>pong 'hi'</c>,
/// <c>close 1002</c>, and for JSON-RPC <c>id 7: "pong"</c>, <c>id null: -32600</c>, <c>[…]</c> for a batch, the actions' states for a proposal. A connection that was not told to
/// close has to be alive: it is asked for one more pong.
/// </param>
public sealed record HostileCase(string Name, string Send, string Heard)
{
    public const int SmallLimit = 100_000;

    /// <summary>The auth token of the daemon <see cref="At.Guarded"/>.</summary>
    public const string Token = "the-right-token";

    public At At { get; init; }

    /// <summary>Nothing is sent before <see cref="Send"/>: it is the opening handshake itself.</summary>
    public bool OpensItself { get; init; }

    /// <summary>The reason that a close frame must carry, or the body of an HTTP answer must contain; null: not looked at.</summary>
    public string? Reason { get; init; }

    public override string ToString() => Name;

    private bool EndsTheConnection => Heard.Contains("close ", StringComparison.Ordinal) || Heard.StartsWith("HTTP 4", StringComparison.Ordinal);

    /// <summary>Plays the case on a connection of its own and returns what was heard.</summary>
    public async Task<string> PlayAsync(EndPoint address)
    {
        await using RawPeer peer = await RawPeer.ConnectAsync(address);
        if (!OpensItself) await peer.UpgradeAsync();
        try
        {
            foreach (byte[] piece in Drawing.Pieces(Send)) await peer.SendAsync(piece);
            if (!EndsTheConnection) await peer.SendFrameAsync(Op.Ping, Probe);
        }
        catch (SocketException) when (EndsTheConnection) { }   // it may be gone before it heard all of it
        return await ListenAsync(peer);
    }

    private static readonly byte[] Probe = "are you there?"u8.ToArray();

    private async Task<string> ListenAsync(RawPeer peer)
    {
        var heard = new List<string>();
        if (OpensItself)
        {
            HttpAnswer answer = await peer.ReadHttpAsync();
            heard.Add(Say(answer));
            if (Reason is not null && !answer.Body.Contains(Reason, StringComparison.Ordinal)) heard.Add($"the body '{answer.Body}'");
            if (answer.Status != 101)
            {
                byte[] more = await peer.ReadToEndAsync();
                if (more.Length > 0) heard.Add($"{more.Length} more bytes");
                return string.Join(", ", heard);
            }
        }
        while (await peer.TryReadFrameAsync() is { } frame)
        {
            if (!frame.Fin || frame.Rsv != 0 || frame.Masked) heard.Add("a frame no server may send");
            switch (frame.Opcode)
            {
                case Op.Pong when frame.Payload.AsSpan().SequenceEqual(Probe):
                    return string.Join(", ", heard);
                case Op.Pong:
                    heard.Add($"pong '{(frame.Payload.Length <= 40 ? frame.Text : $"{frame.Payload.Length} bytes")}'");
                    break;
                case Op.Close:
                    heard.Add($"close {frame.CloseCode}");
                    string reason = frame.Payload.Length > 2 ? Encoding.UTF8.GetString(frame.Payload, 2, frame.Payload.Length - 2) : "";
                    if (Reason is not null && reason != Reason) heard.Add($"the reason '{reason}'");
                    try { await peer.SendFrameAsync(Op.Close, frame.Payload.AsMemory(0, Math.Min(2, frame.Payload.Length))); }
                    catch (SocketException) { }   // it ended the connection first, which is its right
                    byte[] more = await peer.ReadToEndAsync();
                    if (more.Length > 0) heard.Add($"{more.Length} more bytes");
                    return string.Join(", ", heard);
                case Op.Text:
                    heard.Add(Say(frame.Payload));
                    break;
                default:
                    heard.Add($"opcode {frame.Opcode}");
                    break;
            }
        }
        heard.Add("the end");
        return string.Join(", ", heard);
    }

    private static string Say(HttpAnswer answer)
    {
        string said = $"HTTP {answer.Status}";
        foreach (string name in (string[])["Sec-WebSocket-Version", "Allow", "Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"])
            if (answer.Headers.TryGetValue(name, out string? value)) said += $" ({name}: {value})";
        return said;
    }

    private static string Say(byte[] text)
    {
        using JsonDocument document = JsonDocument.Parse(text, new JsonDocumentOptions { MaxDepth = 256 });
        return Say(document.RootElement);
    }

    private static string Say(JsonElement answer)
    {
        if (answer.ValueKind == JsonValueKind.Array) return $"[{string.Join(", ", answer.EnumerateArray().Select(Say))}]";
        if (answer.TryGetProperty("method", out JsonElement method)) return $"call {method.GetString()}";
        bool failed = answer.TryGetProperty("error", out JsonElement error);
        bool wellFormed = answer.GetProperty("jsonrpc").GetString() == "2.0" && answer.EnumerateObject().Count() == 3 && failed != answer.TryGetProperty("result", out _);
        string outcome = failed ? error.GetProperty("code").GetRawText() : answer.GetProperty("result").GetRawText();
        if (failed && error.GetProperty("message").GetString() is not { Length: > 0 }) wellFormed = false;
        if (!failed && answer.GetProperty("result") is { ValueKind: JsonValueKind.Object } result && result.TryGetProperty("results", out JsonElement actions))
            outcome = string.Join(' ', actions.EnumerateArray().Select(action => action.GetProperty("status").GetString()));
        string id = answer.GetProperty("id").GetRawText();
        return $"{(wellFormed ? "" : "no JSON-RPC: ")}id {Short(id)}: {Short(outcome)}";
    }

    private static string Short(string text) => text.Length <= 100 ? text : $"{text[..20]}…{text.Length}";
}

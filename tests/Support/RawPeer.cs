using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;

namespace CarServer.Tests.Support;

/// <summary>Opcodes of RFC 6455, section 5.2. The tests keep their own: what is proved must not define the proof.</summary>
internal static class Op
{
    public const int Continuation = 0x0, Text = 0x1, Binary = 0x2, Close = 0x8, Ping = 0x9, Pong = 0xA;
}

/// <summary>A frame as the daemon sent it.</summary>
internal sealed record ServerFrame(bool Fin, int Rsv, int Opcode, bool Masked, byte[] Payload)
{
    public string Text => Encoding.UTF8.GetString(Payload);

    /// <summary>The code of a close frame; 1005 when it carries none (RFC 6455, 7.1.5).</summary>
    public int CloseCode => Payload.Length < 2 ? 1005 : BinaryPrimitives.ReadUInt16BigEndian(Payload);
}

internal sealed record HttpAnswer(int Status, string Reason, IReadOnlyDictionary<string, string> Headers, string Body);

/// <summary>A connection with no client library between the test and the bytes. Every wait has a deadline.</summary>
/// <remarks>One reader and one writer at a time.</remarks>
internal sealed class RawPeer : IAsyncDisposable
{
    /// <summary>What <see cref="ReadCloseCodeAsync"/> says when the connection ended without a close frame (RFC 6455, 7.1.5).</summary>
    public const int NoCloseFrame = 1006;

    /// <summary>Fixed, so that a test that fails can be run again; the one of RFC 6455's examples.</summary>
    private static ReadOnlySpan<byte> MaskingKey => [0x37, 0xfa, 0x21, 0x3d];

    private readonly Socket _socket;
    private byte[] _buffer = new byte[4096];
    private int _start, _end;

    private RawPeer(Socket socket) => _socket = socket;

    public static async Task<RawPeer> ConnectAsync(EndPoint address)
    {
        Socket socket = address is UnixDomainSocketEndPoint
            ? new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified)
            : new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(address).Soon($"a connection to {address}");
            return new RawPeer(socket);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    // ---------------------------------------------------------------- sending

    public Task SendAsync(string text) => SendAsync(Encoding.UTF8.GetBytes(text));

    public async Task SendAsync(ReadOnlyMemory<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            int sent = await _socket.SendAsync(bytes).AsTask().Soon("room to send in");
            bytes = bytes[sent..];
        }
    }

    /// <summary>Sends a well-formed frame, or one that is wrong in just the way the arguments say.</summary>
    public Task SendFrameAsync(int opcode, ReadOnlyMemory<byte> payload, bool fin = true, bool masked = true, int rsv = 0) =>
        SendAsync(Frame(opcode, payload.Span, fin, masked, rsv));

    public Task SendTextAsync(string text) => SendFrameAsync(Op.Text, Encoding.UTF8.GetBytes(text));

    public Task SendCloseAsync(int code, string reason = "") => SendFrameAsync(Op.Close, ClosePayload(code, reason));

    public static byte[] ClosePayload(int code, string reason = "")
    {
        byte[] payload = new byte[2 + Encoding.UTF8.GetByteCount(reason)];
        BinaryPrimitives.WriteUInt16BigEndian(payload, (ushort)code);
        Encoding.UTF8.GetBytes(reason, payload.AsSpan(2));
        return payload;
    }

    /// <summary>The bytes of one frame.</summary>
    public static byte[] Frame(int opcode, ReadOnlySpan<byte> payload, bool fin = true, bool masked = true, int rsv = 0)
    {
        byte[] header = FrameHeader(opcode, (ulong)payload.Length, fin, masked, rsv);
        byte[] frame = new byte[header.Length + payload.Length];
        header.CopyTo(frame, 0);
        for (int i = 0; i < payload.Length; i++) frame[header.Length + i] = masked ? (byte)(payload[i] ^ header[^(4 - i % 4)]) : payload[i];
        return frame;
    }

    /// <summary>A header that may announce a payload nobody will send.</summary>
    /// <param name="lengthBytes">How the length is written: 0 inside the second byte, 2 or 8 after it; null for the shortest form.</param>
    public static byte[] FrameHeader(int opcode, ulong length, bool fin = true, bool masked = true, int rsv = 0, int? lengthBytes = null)
    {
        int form = lengthBytes ?? (length < 126 ? 0 : length <= ushort.MaxValue ? 2 : 8);
        byte[] header = new byte[2 + form + (masked ? 4 : 0)];
        header[0] = (byte)((fin ? 0x80 : 0) | rsv << 4 | opcode);
        header[1] = (byte)((masked ? 0x80 : 0) | form switch { 0 => (int)length, 2 => 126, _ => 127 });
        if (form == 2) BinaryPrimitives.WriteUInt16BigEndian(header.AsSpan(2), (ushort)length);
        if (form == 8) BinaryPrimitives.WriteUInt64BigEndian(header.AsSpan(2), length);
        if (masked) MaskingKey.CopyTo(header.AsSpan(header.Length - 4));
        return header;
    }

    /// <summary>Says that nothing more will be sent, and goes on reading.</summary>
    public void EndSending() => _socket.Shutdown(SocketShutdown.Send);

    /// <summary>Ends the connection with a reset instead of an orderly end.</summary>
    public void Reset() => _socket.Close(0);

    // ---------------------------------------------------------------- the opening handshake

    /// <summary>The head of an upgrade request, well-formed unless <paramref name="edit"/> changes it.</summary>
    /// <param name="edit">Header name to value; a null value leaves the header out.</param>
    public static string UpgradeRequest(string host, string path = "/", IReadOnlyDictionary<string, string?>? edit = null)
    {
        var headers = new Dictionary<string, string?>(StringComparer.OrdinalIgnoreCase)
        {
            ["Host"] = host,
            ["Upgrade"] = "websocket",
            ["Connection"] = "Upgrade",
            ["Sec-WebSocket-Key"] = SampleKey,
            ["Sec-WebSocket-Version"] = "13",
        };
        foreach ((string name, string? value) in edit ?? new Dictionary<string, string?>()) headers[name] = value;
        var head = new StringBuilder($"GET {path} HTTP/1.1\r\n");
        foreach ((string name, string? value) in headers)
            if (value is not null) head.Append(name).Append(": ").Append(value).Append("\r\n");
        return head.Append("\r\n").ToString();
    }

    /// <summary>The nonce of RFC 6455's own example, section 1.3.</summary>
    public const string SampleKey = "dGhlIHNhbXBsZSBub25jZQ==";

    /// <summary>Shakes hands, and checks the daemon's half.</summary>
    public async Task<HttpAnswer> UpgradeAsync(IReadOnlyDictionary<string, string?>? edit = null)
    {
        await SendAsync(UpgradeRequest(HostHeader, edit: edit));
        HttpAnswer answer = await ReadHttpAsync();
        if (answer.Status != 101) throw new InvalidOperationException($"the upgrade was answered {answer.Status} {answer.Reason}: {answer.Body}");
        string key = edit?.GetValueOrDefault("Sec-WebSocket-Key") ?? SampleKey;
        string accept = Convert.ToBase64String(SHA1.HashData(Encoding.ASCII.GetBytes(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")));
        if (answer.Headers.GetValueOrDefault("Sec-WebSocket-Accept") != accept) throw new InvalidOperationException("wrong Sec-WebSocket-Accept");
        return answer;
    }

    /// <summary>What a well-behaved client puts into <c>Host</c> on this connection.</summary>
    public string HostHeader => _socket.RemoteEndPoint is IPEndPoint ip ? ip.ToString() : "localhost";

    /// <summary>Reads one HTTP answer. The body by its <c>Content-Length</c>; without one, and not an upgrade, up to the end.</summary>
    public async Task<HttpAnswer> ReadHttpAsync()
    {
        string[] lines = (await ReadHeadAsync()).Split("\r\n");
        string[] status = lines[0].Split(' ', 3);
        if (status.Length < 2 || !status[0].StartsWith("HTTP/1.1", StringComparison.Ordinal)) throw new InvalidDataException($"no HTTP answer: '{lines[0]}'");
        var headers = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
        foreach (string line in lines.Skip(1))
            if (line.IndexOf(':') is > 0 and int colon) headers[line[..colon].Trim()] = line[(colon + 1)..].Trim();
        int code = int.Parse(status[1], CultureInfo.InvariantCulture);
        string body = "";
        if (headers.TryGetValue("Content-Length", out string? length)) body = Encoding.UTF8.GetString(await ReadExactlyAsync(int.Parse(length, CultureInfo.InvariantCulture)));
        else if (code != 101) body = Encoding.UTF8.GetString(await ReadToEndAsync());
        return new HttpAnswer(code, status.Length > 2 ? status[2] : "", headers, body);
    }

    private async Task<string> ReadHeadAsync()
    {
        while (true)
        {
            int end = _buffer.AsSpan(_start, _end - _start).IndexOf("\r\n\r\n"u8);
            if (end >= 0)
            {
                string head = Encoding.Latin1.GetString(_buffer, _start, end);
                _start += end + 4;
                return head;
            }
            if (!await FillAsync()) throw new EndOfStreamException($"the connection ended inside an HTTP head of {_end - _start} bytes");
        }
    }

    // ---------------------------------------------------------------- frames from the daemon

    /// <summary>The next frame, control frames included.</summary>
    /// <exception cref="EndOfStreamException">The connection ended first.</exception>
    public async Task<ServerFrame> ReadFrameAsync() => await TryReadFrameAsync() ?? throw new EndOfStreamException("the daemon ended the connection");

    /// <summary>The next frame; null when the connection ended before one began.</summary>
    public async Task<ServerFrame?> TryReadFrameAsync(bool patient = false)
    {
        if (_end == _start && !await FillAsync(patient)) return null;
        byte[] head = await ReadExactlyAsync(2);
        bool masked = (head[1] & 0x80) != 0;
        int length = await ReadLengthAsync(head[1]);
        if (masked) await ReadExactlyAsync(4);
        return new ServerFrame((head[0] & 0x80) != 0, (head[0] >> 4) & 7, head[0] & 0xF, masked, await ReadExactlyAsync(length));
    }

    /// <summary>The header of a text frame; its payload is then read with <see cref="ReadSomeAsync"/>, for a frame that is not to be held as a whole.</summary>
    public async Task<int> ReadTextHeaderAsync()
    {
        byte[] head = await ReadExactlyAsync(2);
        if (head[0] != 0x81) throw new InvalidDataException($"a frame that begins with {head[0]:X2} instead of a text");
        return await ReadLengthAsync(head[1]);
    }

    /// <summary>What has come, or comes next, of at most so many octets.</summary>
    public async Task<byte[]> ReadSomeAsync(int most)
    {
        if (_end == _start && !await FillAsync()) throw new EndOfStreamException("the daemon ended the connection");
        return await ReadExactlyAsync(Math.Min(most, _end - _start));
    }

    private async Task<int> ReadLengthAsync(byte second) => (second & 0x7F) switch
    {
        126 => BinaryPrimitives.ReadUInt16BigEndian(await ReadExactlyAsync(2)),
        127 => checked((int)BinaryPrimitives.ReadUInt64BigEndian(await ReadExactlyAsync(8))),
        int small => small,
    };

    /// <summary>The next text message. Pings are answered on the way; the daemon never fragments what it sends.</summary>
    /// <exception cref="PeerClosedException">A close frame or the end came instead.</exception>
    public async Task<string> ReadTextAsync() => await TryReadTextAsync() is (string text, _) ? text : throw new PeerClosedException(LastCloseCode);

    /// <summary>The next text message; null at the end, with <see cref="LastCloseCode"/> set.</summary>
    /// <param name="patient">Wait for ever: for a background reader, whose owner has the deadline.</param>
    internal async Task<(string Text, ServerFrame Frame)?> TryReadTextAsync(bool patient = false)
    {
        while (true)
        {
            if (await TryReadFrameAsync(patient) is not { } frame) return null;
            if (frame is { Opcode: Op.Text, Fin: true }) return (frame.Text, frame);
            switch (frame.Opcode)
            {
                case Op.Ping: await SendFrameAsync(Op.Pong, frame.Payload); break;
                case Op.Pong: break;
                case Op.Close: LastCloseCode = frame.CloseCode; return null;
                default: throw new InvalidDataException($"unexpected frame: fin {frame.Fin}, opcode {frame.Opcode}");
            }
        }
    }

    /// <summary>The code of the close frame that came; <see cref="NoCloseFrame"/> until one has.</summary>
    public int LastCloseCode { get; private set; } = NoCloseFrame;

    /// <summary>Reads up to the close frame and returns its code; <see cref="NoCloseFrame"/> when the connection ended without one.</summary>
    public async Task<int> ReadCloseCodeAsync()
    {
        try
        {
            while (await TryReadFrameAsync() is { } frame)
                if (frame.Opcode == Op.Close) return LastCloseCode = frame.CloseCode;
        }
        catch (Exception e) when (e is EndOfStreamException or SocketException) { }
        return NoCloseFrame;
    }

    /// <summary>Reads whatever still comes, up to the end of the connection.</summary>
    public async Task<byte[]> ReadToEndAsync()
    {
        try
        {
            while (await FillAsync()) { }
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionReset) { }
        byte[] rest = _buffer[_start.._end];
        _start = _end;
        return rest;
    }

    private async Task<byte[]> ReadExactlyAsync(int count)
    {
        while (_end - _start < count)
            if (!await FillAsync()) throw new EndOfStreamException($"the connection ended {count - (_end - _start)} bytes short");
        byte[] bytes = _buffer.AsSpan(_start, count).ToArray();
        _start += count;
        return bytes;
    }

    private async Task<bool> FillAsync(bool patient = false)
    {
        if (_start == _end) _start = _end = 0;
        if (_end == _buffer.Length)
        {
            if (_start > 0) _buffer.AsSpan(_start, _end - _start).CopyTo(_buffer);
            else Array.Resize(ref _buffer, _buffer.Length * 2);
            (_start, _end) = (0, _end - _start);
        }
        Task<int> receive = _socket.ReceiveAsync(_buffer.AsMemory(_end)).AsTask();
        int received = patient ? await receive : await receive.Soon("bytes from the daemon");
        _end += received;
        return received > 0;
    }

    public ValueTask DisposeAsync()
    {
        _socket.Dispose();
        return ValueTask.CompletedTask;
    }
}

/// <summary>The daemon closed the connection while something was awaited from it.</summary>
internal sealed class PeerClosedException(int code) : Exception($"the daemon closed the connection ({code})")
{
    public int Code { get; } = code;
}

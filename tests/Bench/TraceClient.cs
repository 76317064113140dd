using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace CarServer.Tests.Bench;

/// <summary>A blocking WebSocket client for messages of any size. Its masking key is zero, so that a prepared frame can be changed in place.</summary>
internal sealed class TraceClient : IDisposable
{
    private byte[] _buffer = new byte[1024 * 1024];
    private int _start, _end;

    public TraceClient(EndPoint address) => Socket = WireClient.Open(address);

    public Socket Socket { get; }

    public static byte[] Frame(string text)
    {
        byte[] payload = Encoding.UTF8.GetBytes(text);
        byte[] header = new byte[payload.Length switch { < 126 => 6, <= ushort.MaxValue => 8, _ => 14 }];
        header[0] = 0x81;
        header[1] = (byte)(0x80 | header.Length switch { 6 => payload.Length, 8 => 126, _ => 127 });
        if (header.Length == 8) BinaryPrimitives.WriteUInt16BigEndian(header.AsSpan(2), (ushort)payload.Length);
        if (header.Length == 14) BinaryPrimitives.WriteUInt64BigEndian(header.AsSpan(2), (ulong)payload.Length);
        return [.. header, .. payload];
    }

    public void Send(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty) bytes = bytes[Socket.Send(bytes)..];
    }

    public static byte[] Request(string method, string parameters) =>
        Frame($$"""{"jsonrpc":"2.0","id":"a call of the measurement","method":"{{method}}","params":{{parameters}}}""");

    /// <summary>Returns the answer; notifications that come before it are passed over.</summary>
    public string Call(string method, string parameters)
    {
        Send(Request(method, parameters));
        while (true)
        {
            string answer = Encoding.UTF8.GetString(ReadFrame());
            if (answer.Contains("\"method\":\"runs.trace", StringComparison.Ordinal)) continue;
            return answer.Contains("\"result\":", StringComparison.Ordinal) ? answer : throw new InvalidOperationException(answer);
        }
    }

    /// <summary>The next frame's payload; good until the next call.</summary>
    public ReadOnlySpan<byte> ReadFrame()
    {
        while (true)
        {
            if (TryTake(out int payload, out int length)) return _buffer.AsSpan(payload, length);
            Receive();
        }
    }

    /// <summary>Reads what there is, without waiting for more than that, and returns how many frames ended in it.</summary>
    public int CountFrames()
    {
        Receive();
        int frames = 0;
        while (TryTake(out _, out _)) frames++;
        return frames;
    }

    public void Dispose() => Socket.Dispose();

    private bool TryTake(out int payload, out int length)
    {
        ReadOnlySpan<byte> bytes = _buffer.AsSpan(_start, _end - _start);
        (payload, length) = (0, 0);
        if (bytes.Length < 2) return false;
        int header = bytes[1] switch { 126 => 4, 127 => 10, _ => 2 };
        if (bytes.Length < header) return false;
        length = header switch { 4 => BinaryPrimitives.ReadUInt16BigEndian(bytes[2..]), 10 => (int)BinaryPrimitives.ReadUInt64BigEndian(bytes[2..]), _ => bytes[1] };
        if (bytes.Length < header + length)
        {
            if (header + length > _buffer.Length) Array.Resize(ref _buffer, header + length);
            return false;
        }
        payload = _start + header;
        _start = payload + length;
        return true;
    }

    private void Receive()
    {
        if (_start == _end) (_start, _end) = (0, 0);
        else if (_end == _buffer.Length)
        {
            _buffer.AsSpan(_start, _end - _start).CopyTo(_buffer);
            (_start, _end) = (0, _end - _start);
        }
        int n = Socket.Receive(_buffer.AsSpan(_end));
        if (n == 0) throw new EndOfStreamException("the daemon closed the connection");
        _end += n;
    }
}

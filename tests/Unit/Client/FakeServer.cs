using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using CarServer.Rpc.Client;

namespace CarServer.Tests.Unit.Client;

/// <summary>A listener that a test drives byte by byte. Shares no code with the daemon, nor with the client under test.</summary>
internal sealed class FakeServer : IDisposable
{
    private readonly Socket _listener;

    private FakeServer(Socket listener, DaemonAddress address) => (_listener, Address) = (listener, address);

    public DaemonAddress Address { get; }

    public static CancellationToken Deadline() => new CancellationTokenSource(TimeSpan.FromSeconds(20)).Token;

    public static FakeServer Tcp()
    {
        var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen();
        return new FakeServer(listener, DaemonAddress.Tcp("127.0.0.1", ((IPEndPoint)listener.LocalEndPoint!).Port));
    }

    public static FakeServer Unix(string path)
    {
        var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(path));
        listener.Listen();
        return new FakeServer(listener, DaemonAddress.Unix(path));
    }

    /// <summary>Accepts and answers the opening handshake as the RFC wants it.</summary>
    public async Task<FakePeer> AcceptAsync(byte[]? behindTheHead = null)
    {
        FakePeer peer = await AcceptRawAsync();
        string head = await peer.ReadHeadAsync();
        await peer.SendAsync([.. Encoding.ASCII.GetBytes(Welcome(Key(head))), .. behindTheHead ?? []]);
        return peer;
    }

    public async Task<FakePeer> AcceptRawAsync() => new(await _listener.AcceptAsync(Deadline()));

    public static string Key(string head) => head.Split("\r\n").First(line => line.StartsWith("Sec-WebSocket-Key: ")).Split(' ')[1];

    public static string Welcome(string key) =>
        $"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {Accept(key)}\r\n\r\n";

    public static string Accept(string key) => Convert.ToBase64String(SHA1.HashData(Encoding.ASCII.GetBytes(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")));

    public void Dispose() => _listener.Dispose();
}

/// <summary>The server's end of one connection.</summary>
internal sealed class FakePeer(Socket socket) : IDisposable
{
    private readonly NetworkStream _stream = new(socket, ownsSocket: true);

    public async Task<string> ReadHeadAsync()
    {
        var head = new StringBuilder();
        byte[] one = new byte[1];
        while (!head.ToString().EndsWith("\r\n\r\n"))
        {
            await _stream.ReadExactlyAsync(one, FakeServer.Deadline());
            head.Append((char)one[0]);
        }
        return head.ToString();
    }

    public async Task SendAsync(byte[] bytes) => await _stream.WriteAsync(bytes, FakeServer.Deadline());

    public Task SendTextAsync(string text) => SendAsync(Frame(FrameKind.Text, Encoding.UTF8.GetBytes(text)));

    /// <summary>Reads one frame and checks that it is masked and final.</summary>
    public async Task<(FrameKind Kind, byte[] Payload)> ReadFrameAsync()
    {
        byte[] head = new byte[2];
        await _stream.ReadExactlyAsync(head, FakeServer.Deadline());
        if ((head[0] & 0x80) == 0 || (head[1] & 0x80) == 0) throw new InvalidDataException("not final, or not masked");
        long length = head[1] & 0x7F;
        if (length >= 126)
        {
            byte[] extended = new byte[length == 126 ? 2 : 8];
            await _stream.ReadExactlyAsync(extended, FakeServer.Deadline());
            length = extended.Length == 2 ? BinaryPrimitives.ReadUInt16BigEndian(extended) : BinaryPrimitives.ReadInt64BigEndian(extended);
        }
        byte[] key = new byte[4];
        await _stream.ReadExactlyAsync(key, FakeServer.Deadline());
        byte[] payload = new byte[length];
        await _stream.ReadExactlyAsync(payload, FakeServer.Deadline());
        for (int i = 0; i < payload.Length; i++) payload[i] ^= key[i % 4];
        return ((FrameKind)(head[0] & 0x0F), payload);
    }

    public async Task<string> ReadTextAsync()
    {
        (FrameKind kind, byte[] payload) = await ReadFrameAsync();
        return kind == FrameKind.Text ? Encoding.UTF8.GetString(payload) : throw new InvalidDataException($"a {kind} frame");
    }

    /// <summary>Answers the client's close frame, as a polite server does, or reports that the client has hung up.</summary>
    public async Task ReadCloseAsync()
    {
        (FrameKind kind, byte[] payload) = await ReadFrameAsync();
        if (kind != FrameKind.Close) throw new InvalidDataException($"a {kind} frame");
        await SendAsync(Frame(FrameKind.Close, payload));
    }

    /// <summary>An unmasked frame; lengths in the shortest form.</summary>
    public static byte[] Frame(FrameKind kind, byte[] payload, bool final = true)
    {
        byte[] length = payload.Length switch
        {
            <= 125 => [(byte)payload.Length],
            <= ushort.MaxValue => [126, (byte)(payload.Length >> 8), (byte)payload.Length],
            _ => [127, 0, 0, 0, 0, (byte)(payload.Length >> 24), (byte)(payload.Length >> 16), (byte)(payload.Length >> 8), (byte)payload.Length],
        };
        return [(byte)((final ? 0x80 : 0) | (byte)kind), .. length, .. payload];
    }

    public void Dispose() => _stream.Dispose();
}

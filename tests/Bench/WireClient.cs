using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace CarServer.Tests.Bench;

/// <summary>A client that sends one request again and again and knows the answer: blocking calls on one socket, every byte compared.</summary>
internal sealed class WireClient : IDisposable
{
    private const int Depth = 64;

    private readonly Socket _socket;
    private readonly byte[] _requests;
    private readonly int _requestSize;
    private readonly byte[] _received = new byte[64 * 1024];
    private byte[] _expected = [];
    private int _answerSize;

    private WireClient(Socket socket, byte[] request)
    {
        _socket = socket;
        _requestSize = request.Length;
        _requests = new byte[request.Length * Depth];
        for (int i = 0; i < Depth; i++) request.CopyTo(_requests, i * request.Length);
    }

    public static WireClient ToDaemon(EndPoint address) => ToDaemon(address, Requests.Ping, "\"pong\""u8);

    /// <summary>Connects to a daemon, goes over to WebSocket, and learns what the answer looks like.</summary>
    /// <param name="part">What is in an answer that is none of an error.</param>
    /// <param name="before">A request that comes first, once; none if empty.</param>
    public static WireClient ToDaemon(EndPoint address, ReadOnlySpan<byte> request, ReadOnlySpan<byte> part, ReadOnlySpan<byte> before = default)
    {
        var client = new WireClient(Open(address), FrameCases.Frame(request));
        if (!before.IsEmpty)
        {
            SendAll(client._socket, FrameCases.Frame(before));
            client.ReceiveFrame();
        }
        client.Send(1);
        byte[] answer = client.ReceiveFrame();
        if (answer[0] != 0x81 || answer.AsSpan().IndexOf(part) < 0) throw new InvalidOperationException(Encoding.UTF8.GetString(answer.AsSpan(2)));
        client.Expect(answer);
        return client;
    }

    public static WireClient ToEcho(EndPoint address)
    {
        byte[] frame = FrameCases.Frame(Requests.Ping);
        var client = new WireClient(Connect(address), frame);
        client.Expect(frame);
        return client;
    }

    /// <summary>One request, its answer, the next: the median of the turn-around.</summary>
    public double PingPong(TimeSpan window)
    {
        var times = new List<long>(64 * 1024);
        long started = Stopwatch.GetTimestamp();
        long at = started;
        while (Stopwatch.GetElapsedTime(started, at) < window)
        {
            Send(1);
            for (int had = 0; had < _answerSize;) had += Receive(had);
            long now = Stopwatch.GetTimestamp();
            times.Add(now - at);
            at = now;
        }
        times.Sort();
        return times[times.Count / 2] / (double)Stopwatch.Frequency;
    }

    /// <summary>Sixty-four requests under way; each answer makes room for the next.</summary>
    public double Pipelined(TimeSpan window)
    {
        long started = Stopwatch.GetTimestamp();
        long answers = 0;
        int partial = 0;
        int underWay = Depth;
        bool more = true;
        Send(Depth);
        while (underWay > 0)
        {
            int n = partial + Receive(partial);
            int whole = n / _answerSize;
            partial = n % _answerSize;
            answers += whole;
            underWay -= whole;
            more = more && Stopwatch.GetElapsedTime(started) < window;
            if (!more) continue;
            Send(whole);
            underWay += whole;
        }
        return Stopwatch.GetElapsedTime(started).TotalSeconds / answers;
    }

    /// <summary>Several clients on one thread, each with <paramref name="depth"/> requests under way; those of a client are sent together, once all have been answered.</summary>
    public static double Together(IReadOnlyList<WireClient> clients, int depth, TimeSpan window)
    {
        long started = Stopwatch.GetTimestamp();
        long answers = 0;
        foreach (WireClient client in clients) client.Send(depth);
        for (bool more = true; more;)
        {
            more = Stopwatch.GetElapsedTime(started) < window;
            foreach (WireClient client in clients)
            {
                for (int had = 0; had < depth * client._answerSize;) had += client.Receive(had % client._answerSize);
                answers += depth;
                if (more) client.Send(depth);
            }
        }
        return Stopwatch.GetElapsedTime(started).TotalSeconds / answers;
    }

    public void Dispose() => _socket.Dispose();

    /// <summary>A connection that has gone over to WebSocket.</summary>
    /// <param name="isEcho">What the other end says to that is what it was told.</param>
    public static Socket Open(EndPoint address, bool isEcho = false)
    {
        Socket socket = Connect(address);
        try
        {
            SendAll(socket, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"u8);
            Span<byte> head = stackalloc byte[1024];
            int had = 0;
            while (!head[..had].EndsWith("\r\n\r\n"u8)) had += Some(socket.Receive(head[had..]));
            if (!head.StartsWith(isEcho ? "GET "u8 : "HTTP/1.1 101 "u8)) throw new InvalidOperationException(Encoding.ASCII.GetString(head[..had]));
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    public static Socket Connect(EndPoint address)
    {
        Socket socket = address is UnixDomainSocketEndPoint
            ? new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified)
            : new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            socket.ReceiveTimeout = socket.SendTimeout = 10_000;   // a measurement never hangs
            socket.Connect(address);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    private void Expect(byte[] answer)
    {
        _answerSize = answer.Length;
        _expected = new byte[answer.Length + _received.Length];
        for (int at = 0; at < _expected.Length; at += answer.Length) answer.AsSpan(0, Math.Min(answer.Length, _expected.Length - at)).CopyTo(_expected.AsSpan(at));
    }

    /// <param name="partial">Bytes of an answer that came before.</param>
    private int Receive(int partial)
    {
        int n = Some(_socket.Receive(_received));
        if (!_received.AsSpan(0, n).SequenceEqual(_expected.AsSpan(partial, n))) throw new InvalidOperationException("an answer differs from the first one");
        return n;
    }

    private byte[] ReceiveFrame()
    {
        byte[] header = ReceiveExactly(2);
        return [.. header, .. ReceiveExactly(header[1])];   // an unmasked frame below 126 bytes: this is its length
    }

    private byte[] ReceiveExactly(int count)
    {
        byte[] bytes = new byte[count];
        for (int had = 0; had < count;) had += Some(_socket.Receive(bytes, had, count - had, SocketFlags.None));
        return bytes;
    }

    private void Send(int requests) => SendAll(_socket, _requests.AsSpan(0, requests * _requestSize));

    private static void SendAll(Socket socket, ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty) bytes = bytes[socket.Send(bytes)..];
    }

    private static int Some(int received) => received > 0 ? received : throw new EndOfStreamException("the server closed the connection");
}

/// <summary>Sends back what comes, on a thread of its own: what the kernel's sockets and two context switches cost.</summary>
internal sealed class EchoServer : IDisposable
{
    private readonly Socket _listener;

    public EchoServer(EndPoint address)
    {
        _listener = address is UnixDomainSocketEndPoint
            ? new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified)
            : new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        _listener.Bind(address);
        _listener.Listen();
        new Thread(Serve) { IsBackground = true, Name = "echo" }.Start();
    }

    public EndPoint Address => _listener.LocalEndPoint!;

    public void Dispose() => _listener.Dispose();

    private void Serve()
    {
        using Socket peer = _listener.Accept();
        if (peer.AddressFamily == AddressFamily.InterNetwork) peer.NoDelay = true;
        byte[] buffer = new byte[64 * 1024];
        try
        {
            for (int n; (n = peer.Receive(buffer)) > 0;)
                for (Span<byte> left = buffer.AsSpan(0, n); !left.IsEmpty;) left = left[peer.Send(left)..];
        }
        catch (SocketException) { }   // the client is gone
    }
}

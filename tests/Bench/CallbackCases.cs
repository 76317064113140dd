using System.Buffers;
using System.Buffers.Binary;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace CarServer.Tests.Bench;

/// <summary>Proposals whose tools the client runs: the daemon asks back, and goes on with the reply.</summary>
internal static class CallbackCases
{
    private const int Level = 500;

    public static IEnumerable<Case> Over(EndPoint daemon)
    {
        using ToolClient one = ToolClient.ToDaemon(daemon, tools: 1);
        using var oneKnown = new KnownServer(one.Learn());
        using ToolClient oneBare = ToolClient.ToKnown(oneKnown.Address, tools: 1);
        yield return new Case("proposal with one callback, p50", "ping-pong of the same client", Shown.Microseconds, one.ExchangeP50, one.PingPongP50);
        yield return new Case("the same callback, beside its bytes, p50", "a peer that knows the bytes", Shown.Microseconds, one.ExchangeP50, oneBare.ExchangeP50);

        using ToolClient level = ToolClient.ToDaemon(daemon, Level);
        using var levelKnown = new KnownServer(level.Learn());
        using ToolClient levelBare = ToolClient.ToKnown(levelKnown.Address, Level);
        yield return new Case($"{Level} parallel callbacks under way, a callback", "a peer that knows the bytes", Shown.Each(Level, Shown.PerSecond),
            level.Exchanges, levelBare.Exchanges);
    }
}

/// <summary>Submits one proposal again and again, holds its replies until every call of it is there, and sends them in one write.</summary>
/// <remarks>That a proposal ends shows that as many calls were under way at once as it has tools.</remarks>
internal sealed class ToolClient : IDisposable
{
    private static readonly byte[] Ping = FrameCases.Frame(Requests.Ping);

    private readonly TraceClient _client;
    private readonly int _tools;
    private readonly byte[] _proposal;
    private readonly ArrayBufferWriter<byte> _replies = new();
    private List<byte>? _heard;

    private ToolClient(EndPoint address, int tools)
    {
        _client = new TraceClient(address);
        _tools = tools;
        string actions = string.Join(',', Enumerable.Range(0, tools)
            .Select(i => $$"""{"id":"a{{i}}","type":"tool_call","tool":"t","parameters":{"n":{{i}} },"failure_behavior":"skip"}"""));
        _proposal = TraceClient.Frame($$"""{"jsonrpc":"2.0","id":"a proposal of the measurement","method":"proposal.submit","params":{"proposal":{"id":"p","actions":[{{actions}}]} } }""");
    }

    /// <param name="others">Tools that are registered, too, and never called.</param>
    public static ToolClient ToDaemon(EndPoint address, int tools, int others = 0)
    {
        var client = new ToolClient(address, tools);
        client._client.Call("tools.register", Tools(Enumerable.Range(0, others).Select(i => $"other-{i}").Append("t")));
        return client;
    }

    /// <summary>Definitions as <c>tools.register</c> takes them.</summary>
    public static string Tools(IEnumerable<string> names) =>
        $"[{string.Join(',', names.Select(name => $$"""{"name":"{{name}}","description":"a tool of the measurement","parameters":{} }"""))}]";

    public static ToolClient ToKnown(EndPoint address, int tools) => new(address, tools);

    /// <summary>One exchange, as a peer has to know it: how much comes, and what is said then.</summary>
    public KnownServer.Step[] Learn()
    {
        _heard = [];
        _client.Send(_proposal);
        HearCalls();
        byte[] calls = [.. _heard];
        _heard.Clear();
        _client.Send(_replies.WrittenSpan);
        HearResult();
        byte[] result = [.. _heard];
        _heard = null;
        return [new(_proposal.Length, calls), new(_replies.WrittenCount, result)];
    }

    public Measure ExchangeP50 => window => DaemonCases.Median(window, () =>
    {
        long started = Stopwatch.GetTimestamp();
        Exchange();
        return Stopwatch.GetElapsedTime(started);
    });

    public Measure Exchanges => Timed.Loop(times =>
    {
        for (int i = 0; i < times; i++) Exchange();
    });

    public Measure PingPongP50 => window => DaemonCases.Median(window, () =>
    {
        long started = Stopwatch.GetTimestamp();
        _client.Send(Ping);
        if (_client.ReadFrame().IndexOf("\"pong\""u8) < 0) throw new InvalidOperationException("the daemon did not answer the ping");
        return Stopwatch.GetElapsedTime(started);
    });

    public void Dispose() => _client.Dispose();

    private void Exchange()
    {
        _client.Send(_proposal);
        HearCalls();
        _client.Send(_replies.WrittenSpan);
        HearResult();
    }

    private void HearCalls()
    {
        _replies.ResetWrittenCount();
        for (int i = 0; i < _tools; i++)
        {
            ReadOnlySpan<byte> call = Hear();
            int id = call.IndexOf("\"id\":\"cb-"u8) + "\"id\":"u8.Length;
            if (call.IndexOf("\"tools.execute\""u8) < 0) throw new InvalidOperationException($"after {i} of {_tools} calls came {Encoding.UTF8.GetString(call)}");
            Reply(call.Slice(id, call[(id + 1)..].IndexOf((byte)'"') + 2));
        }
    }

    /// <param name="id">With its quotation marks.</param>
    private void Reply(ReadOnlySpan<byte> id)
    {
        ReadOnlySpan<byte> before = """{"jsonrpc":"2.0","id":"""u8, after = ""","result":{"found":true}}"""u8;
        _replies.Write<byte>([0x81, (byte)(0x80 | (before.Length + id.Length + after.Length)), 0, 0, 0, 0]);
        _replies.Write(before);
        _replies.Write(id);
        _replies.Write(after);
    }

    private void HearResult()
    {
        ReadOnlySpan<byte> result = Hear();
        if (result.Count("\"status\":\"succeeded\""u8) != _tools) throw new InvalidOperationException(Encoding.UTF8.GetString(result));
    }

    private ReadOnlySpan<byte> Hear()
    {
        ReadOnlySpan<byte> payload = _client.ReadFrame();
        _heard?.AddRange(KnownServer.Frame(payload));
        return payload;
    }
}

/// <summary>A server on a thread of its own that waits for as many bytes as it knows will come, and says what it knows: what nobody could do sooner.</summary>
internal sealed class KnownServer : IDisposable
{
    private readonly Socket _listener = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
    private readonly Step[] _steps;

    public KnownServer(Step[] steps)
    {
        _steps = steps;
        _listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        _listener.Listen();
        new Thread(Serve) { IsBackground = true, Name = "known" }.Start();
    }

    internal readonly record struct Step(int Comes, byte[] Said);

    public EndPoint Address => _listener.LocalEndPoint!;

    /// <summary>An unmasked text frame, as a server sends it.</summary>
    public static byte[] Frame(ReadOnlySpan<byte> payload)
    {
        byte[] header = payload.Length < 126 ? [0x81, (byte)payload.Length] : payload.Length <= ushort.MaxValue ? [0x81, 126, 0, 0] : [0x81, 127, 0, 0, 0, 0, 0, 0, 0, 0];
        if (header.Length == 4) BinaryPrimitives.WriteUInt16BigEndian(header.AsSpan(2), (ushort)payload.Length);
        if (header.Length == 10) BinaryPrimitives.WriteUInt64BigEndian(header.AsSpan(2), (ulong)payload.Length);
        return [.. header, .. payload];
    }

    public void Dispose() => _listener.Dispose();

    private void Serve()
    {
        using Socket peer = _listener.Accept();
        peer.NoDelay = true;
        byte[] buffer = new byte[64 * 1024];
        try
        {
            int had = 0;
            while (!buffer.AsSpan(0, had).EndsWith("\r\n\r\n"u8)) had += Some(peer.Receive(buffer.AsSpan(had)));
            Send("HTTP/1.1 101 Switching Protocols\r\n\r\n"u8);
            while (true)
                foreach (Step step in _steps)
                {
                    for (int left = step.Comes; left > 0;) left -= Some(peer.Receive(buffer.AsSpan(0, Math.Min(left, buffer.Length))));
                    Send(step.Said);
                }
        }
        catch (Exception e) when (e is SocketException or EndOfStreamException) { }   // the client is gone

        void Send(ReadOnlySpan<byte> bytes)
        {
            while (!bytes.IsEmpty) bytes = bytes[peer.Send(bytes)..];
        }

        static int Some(int received) => received > 0 ? received : throw new EndOfStreamException();
    }
}

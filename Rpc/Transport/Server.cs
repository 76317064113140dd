using System.Runtime.InteropServices;
using CarServer.Rpc.Transport.Native;
using Microsoft.Extensions.Logging;

namespace CarServer.Rpc.Transport;

/// <summary>Accepts, and hands each connection to one of the loops, in turn.</summary>
internal sealed class Server : IDisposable
{
    /// <summary>More loops than this only help when the loops themselves are the bottleneck, and each costs a stack and a buffer.</summary>
    private const int MaxLoops = 4;

    /// <summary>Descriptors kept for everything that is no connection: files of runs and journals, listeners, pipes, those being told 503.</summary>
    private const int OtherDescriptors = 512;

    /// <summary>Connections over the cap that are being told so; further ones are just closed.</summary>
    private const int MaxTurnedAway = 256;

    /// <summary>How long accepting rests when the system is out of descriptors or of memory for one more.</summary>
    private static readonly TimeSpan AcceptPause = TimeSpan.FromMilliseconds(200);

    private readonly EventLoop[] _loops;
    private readonly List<Listener> _listeners = [];
    private readonly ILogger _log;
    private readonly Action _onClosed;
    private int _connections;
    private int _turnedAway;
    private int _next;
    private bool _capLogged;
    private volatile bool _stopped;

    public Server(int maxConnections, ILogger log)
    {
        // Out of descriptors nobody could even be told 503, and the run store could open no file.
        IdleMemory.KeepWhileBusy();
        int descriptors = Posix.RaiseDescriptorLimit();
        MaxConnections = Math.Min(maxConnections, descriptors - Math.Min(OtherDescriptors, descriptors / 2));
        if (MaxConnections < maxConnections)
            log.LogInformation("connections limited to {Limit}: the system allows {Descriptors} descriptors", MaxConnections, descriptors);
        _log = log;
        _onClosed = () => Interlocked.Decrement(ref _connections);
        _loops = new EventLoop[Math.Clamp(Environment.ProcessorCount, 1, MaxLoops)];
        var unread = new Unread();
        for (int i = 0; i < _loops.Length; i++) _loops[i] = new EventLoop(i, log, unread);
    }

    /// <summary>How many there may be at one time: what was asked for, or what the system's limit of descriptors leaves room for.</summary>
    public int MaxConnections { get; }

    /// <summary>Listens. Before <see cref="Start"/>.</summary>
    /// <param name="newProtocol">What a fresh connection speaks.</param>
    /// <param name="turnAway">The whole answer a connection over the cap gets.</param>
    public void Add(Listener listener, Func<bool, IProtocol> newProtocol, byte[] turnAway)
    {
        _listeners.Add(listener);
        _loops[0].AddListener(listener.Descriptor, () => Accept(listener, newProtocol, turnAway));
    }

    public void Start()
    {
        foreach (EventLoop loop in _loops) loop.Start();
    }

    /// <summary>Accepts nobody any more and removes the Unix sockets' files. Connections go on.</summary>
    /// <remarks>By then each loop is through with the input it was dealing with when this was called.</remarks>
    public async Task StopAcceptingAsync()
    {
        if (_stopped) return;
        _stopped = true;
        await _loops[0].RunAsync(() =>
        {
            foreach (Listener listener in _listeners) listener.Dispose();
        });
        foreach (EventLoop loop in _loops) await loop.RunAsync(static () => { });
    }

    /// <summary>Ends the loops; what is still connected is cut off when the process ends.</summary>
    public void Dispose()
    {
        foreach (EventLoop loop in _loops) loop.Dispose();
    }

    private void Accept(Listener listener, Func<bool, IProtocol> newProtocol, byte[] turnAway)
    {
        // A bounded number in a row: connections that are open already have their turn in between.
        for (int i = 0; i < 64 && !_stopped; i++)
        {
            int descriptor = Posix.Accept(listener.Descriptor);
            if (descriptor < 0)
            {
                // The waiting connection would wake the loop again at once, so whatever it is, it is given time.
                if (descriptor != -Posix.EAGAIN && descriptor != -Posix.ECONNABORTED) Pause(listener, -descriptor);
                return;
            }
            if (!listener.IsUnix) Posix.TuneTcp(descriptor);
            if (Volatile.Read(ref _connections) >= MaxConnections)
            {
                TurnAway(descriptor, turnAway);
                continue;
            }
            _capLogged = false;
            Interlocked.Increment(ref _connections);
            EventLoop loop = _loops[_next++ % _loops.Length];
            string peer = listener.IsUnix ? "unix" : "tcp";
            var connection = new Connection(descriptor, loop, newProtocol(listener.IsUnix), peer, _onClosed, _log,
                takingWakes: listener.IsUnix && Posix.TakingWakesPeer);
            Open(connection, Limits.HandshakeTimeout);
        }
    }

    private static void Open(Connection connection, TimeSpan deadline)
    {
        if (EventLoop.Current == connection.Loop) Now();
        else connection.Loop.Post(Now);

        void Now()
        {
            try
            {
                connection.Loop.Add(connection);
                connection.SetDeadline(deadline);
            }
            catch (System.ComponentModel.Win32Exception e)
            {
                connection.Abort($"the system cannot watch it: {e.Message}");
            }
        }
    }

    private void TurnAway(int descriptor, byte[] answer)
    {
        if (!_capLogged) _log.LogWarning("connections refused reason=\"too many connections\" limit={Limit}", MaxConnections);
        _capLogged = true;   // one line, however many come
        if (Volatile.Read(ref _turnedAway) >= MaxTurnedAway)
        {
            Posix.Close(descriptor);
            return;
        }
        Interlocked.Increment(ref _turnedAway);
        var connection = new Connection(descriptor, _loops[0], new Refusing(), "refused", () => Interlocked.Decrement(ref _turnedAway), _log);
        Open(connection, Limits.CloseTimeout);
        connection.Send(answer);
        connection.CloseWhenFlushed();
    }

    private void Pause(Listener listener, int error)
    {
        _log.LogWarning("accept failed reason=\"{Reason}\"; accepting rests for {Milliseconds} ms", Marshal.GetPInvokeErrorMessage(error), AcceptPause.TotalMilliseconds);
        _loops[0].SetListening(listener.Descriptor, false);
        _ = Resume();

        async Task Resume()
        {
            await Task.Delay(AcceptPause);
            _loops[0].Post(() => { if (!_stopped) _loops[0].SetListening(listener.Descriptor, true); });
        }
    }

    /// <summary>A connection that is being told to go; it has nothing to say.</summary>
    private sealed class Refusing : IProtocol
    {
        public int OnBytes(Connection connection, Span<byte> bytes) => bytes.Length;
        public void OnDeadline(Connection connection) => connection.Abort("refused");
        public void OnClosed(Connection connection, string reason) { }
    }
}

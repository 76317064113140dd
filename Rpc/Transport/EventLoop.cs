using System.Collections.Concurrent;
using CarServer.Rpc.Transport.Native;
using CarServer.Rpc.WebSocket;
using Microsoft.Extensions.Logging;

namespace CarServer.Rpc.Transport;

/// <summary>One thread that owns its connections: it alone reads them, times them out and closes them.</summary>
/// <remarks>
/// All connections of a loop share one receive buffer and one buffer for the answers of a batch, so an idle connection holds neither.
/// The loop sleeps in the kernel without a timeout unless some connection has a deadline.
/// </remarks>
internal sealed class EventLoop : IDisposable
{
    /// <summary>What one read may bring: a batch of a few hundred small requests, or a good piece of a large one.</summary>
    private const int ReceiveBufferSize = 64 * 1024;

    /// <summary>How exact deadlines are. All of them are seconds.</summary>
    private const int SweepMilliseconds = 250;

    /// <summary>How often a loop that is awake looks whether memory can be given back; after two looks with nothing between it sleeps without a timeout.</summary>
    private const int QuietMilliseconds = 500;

    /// <summary>The tick count may lag behind the wait that has just ended by as much as a timer interrupt.</summary>
    private const int ClockGrain = 20;

    [ThreadStatic] private static EventLoop? t_current;

    private readonly Poller _poller = Poller.Create();
    private readonly ILogger _log;
    private readonly Thread _thread;
    private readonly ConcurrentQueue<(SendOrPostCallback Work, object? State)> _posted = new();
    private readonly Lock _pollerGate = new();
    private readonly List<Connection> _timed = [];
    private readonly byte[] _receive = GC.AllocateUninitializedArray<byte>(ReceiveBufferSize, pinned: true);
    private readonly Dictionary<int, Action> _listeners = [];
    private Connection?[] _connections = new Connection?[64];   // by descriptor: small and dense
    private uint _generation;
    private ulong _servedLast;   // the token of a connection
    private volatile bool _stopping;
    private int _wakePending;
    private bool _pollerIsGone;
    private bool _inPosted;

    /// <param name="unread">Of all loops of a server; one of its own when there is none.</param>
    public EventLoop(int number, ILogger log, Unread? unread = null)
    {
        _log = log;
        Unread = unread ?? new Unread();
        _thread = new Thread(Run, maxStackSize: 1024 * 1024) { Name = $"loop-{number}", IsBackground = true };
    }

    /// <summary>The loop this thread runs, if any.</summary>
    public static EventLoop? Current => t_current;

    /// <summary>What is being written to <see cref="Batching"/> and has not been sent. Only for the loop's thread.</summary>
    public FrameBuffer Batch { get; } = new();

    /// <summary>The connection that <see cref="Batch"/> belongs to: the one whose input is being dealt with, or that posted work wrote to last.
    /// Only for the loop's thread.</summary>
    public Connection? Batching { get; private set; }

    public Unread Unread { get; }

    public Poller Poller => _poller;

    public void Start() => _thread.Start();

    /// <summary>Whether what is written to this connection now may go into <see cref="Batch"/>. On the loop's thread.</summary>
    /// <remarks>Posted work often brings several answers for one client in a row: they leave with one write, as the answers to one read do.</remarks>
    public bool BatchesFor(Connection connection)
    {
        if (Batching == connection) return true;
        if (!_inPosted || connection.Loop != this) return false;
        FlushPosted();
        Batching = connection;
        return true;
    }

    /// <summary>Sends what posted work wrote to one connection.</summary>
    private void FlushPosted()
    {
        if (Batching is not { } connection) return;
        Batching = null;
        try
        {
            connection.FlushBatch(Batch);
        }
        catch (Exception e)
        {
            Fail(connection, e);
        }
    }

    /// <summary>Runs <paramref name="work"/> on the loop's thread, soon; never, once the loop has ended.</summary>
    public void Post(Action work) => Post(static work => ((Action)work!)(), work);

    private void Post(SendOrPostCallback work, object? state)
    {
        _posted.Enqueue((work, state));
        if (Interlocked.Exchange(ref _wakePending, 1) == 0) Wake();
    }

    private void Wake()
    {
        // Without the lock a late handler could write into a file that got the closed descriptor's number.
        lock (_pollerGate)
        {
            if (!_pollerIsGone) _poller.Wake();
        }
    }

    /// <summary>Runs <paramref name="work"/> on the loop's thread; ends, or fails, with it.</summary>
    public Task RunAsync(Action work)
    {
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Post(() =>
        {
            try
            {
                work();
                done.SetResult();
            }
            catch (Exception e)
            {
                done.SetException(e);
            }
        });
        return done.Task;
    }

    /// <summary>Watches a listening socket. Before <see cref="Start"/> or on the loop's thread.</summary>
    public void AddListener(int descriptor, Action onReadable)
    {
        _listeners[descriptor] = onReadable;
        _poller.Add(descriptor, Token(descriptor, 0));
    }

    public void SetListening(int descriptor, bool on) => _poller.SetInterest(descriptor, Token(descriptor, 0), on, false);

    /// <summary>Takes over a descriptor. On the loop's thread.</summary>
    public void Add(Connection connection)
    {
        int descriptor = connection.Descriptor;
        if (descriptor >= _connections.Length) Array.Resize(ref _connections, Math.Max(descriptor + 1, _connections.Length * 2));
        _connections[descriptor] = connection;
        // The generation tells a late event of a closed descriptor from one of its successor with the same number.
        connection.Token = Token(descriptor, ++_generation == 0 ? ++_generation : _generation);
        _poller.Add(descriptor, connection.Token);
    }

    public void Remove(Connection connection) => _connections[connection.Descriptor] = null;

    /// <summary>Makes sure that the connection's deadline is looked at. On the loop's thread.</summary>
    public void Watch(Connection connection)
    {
        if (connection.IsWatched) return;
        connection.IsWatched = true;
        _timed.Add(connection);
    }

    /// <summary>Ends the thread once it has done what was posted before; one that is held up by a handler is left to the process's own end.</summary>
    public void Dispose()
    {
        Post(() => _stopping = true);
        if (_thread.IsAlive && !_thread.Join(Limits.CloseTimeout))
        {
            _log.LogWarning("{Thread} does not come back from a handler", _thread.Name);
            return;
        }
        lock (_pollerGate)
        {
            if (_pollerIsGone) return;
            _pollerIsGone = true;
            _poller.Dispose();
        }
        ((IDisposable)Batch).Dispose();
    }

    private void Run()
    {
        t_current = this;
        SynchronizationContext.SetSynchronizationContext(new Context(this));
        Span<Ready> ready = new Ready[256];
        long nextSweep = 0, looked = 0, used = 0;
        int quiet = 0;   // looks in a row that no event came before
        while (!_stopping)
        {
            int n = _poller.Wait(ready, _timed.Count > 0 ? SweepMilliseconds : quiet < 2 ? QuietMilliseconds + ClockGrain : -1);
            if (n > 0) quiet = 0;
            bool alone = n == 1 || (n == 2 && (ready[0].Token == Poller.WakeToken || ready[1].Token == Poller.WakeToken));
            for (int i = 0; i < n; i++) Handle(ready[i], alone);
            RunPosted();
            long now = Environment.TickCount64;
            if (now - looked >= QuietMilliseconds)
            {
                long before = used;
                used = IdleMemory.Used;
                looked = now;
                if (n == 0) quiet++;
                IdleMemory.GiveBackIfQuiet(before, used, _log);
            }
            if (_timed.Count > 0 && now >= nextSweep)
            {
                nextSweep = now + SweepMilliseconds;
                Sweep(now);
            }
        }
    }

    private void Handle(Ready ready, bool alone)
    {
        if (ready.Token == Poller.WakeToken) return;
        int descriptor = (int)(uint)ready.Token;
        if (ready.Token >> 32 == 0)
        {
            if (_listeners.TryGetValue(descriptor, out Action? accept)) Guard(static accept => ((Action)accept!)(), accept);
            return;
        }
        Connection? connection = descriptor < _connections.Length ? _connections[descriptor] : null;
        if (connection is null || connection.Token != ready.Token) return;
        Batching = connection;
        try
        {
            if (ready.Writable) connection.OnWritable();
            if (ready.Readable) connection.OnReadable(_receive, alone && ready.Token == _servedLast);
            connection.FlushBatch(Batch);
            _servedLast = ready.Token;
        }
        catch (Exception e)
        {
            Fail(connection, e);
        }
        finally
        {
            Batching = null;
        }
    }

    /// <summary>A defect in one connection's handling must not take the other connections of this loop with it.</summary>
    private void Fail(Connection connection, Exception e)
    {
        _log.LogError(e, "connection failed unexpectedly peer={Peer}", connection.Peer);
        Batch.Clear();
        connection.Abort("internal error");
    }

    private void RunPosted()
    {
        // A full barrier: were the queue read before others can see the 0, both they and this thread could leave the waking to the other.
        if (Volatile.Read(ref _wakePending) != 0) Interlocked.Exchange(ref _wakePending, 0);
        _inPosted = true;
        for (int left = _posted.Count; left > 0 && _posted.TryDequeue(out (SendOrPostCallback Work, object? State) posted); left--) Guard(posted.Work, posted.State);
        _inPosted = false;
        FlushPosted();
        if (!_posted.IsEmpty && Interlocked.Exchange(ref _wakePending, 1) == 0) Wake();
    }

    private void Sweep(long now)
    {
        for (int i = _timed.Count - 1; i >= 0; i--)
        {
            Connection connection = _timed[i];
            if (connection.Deadline <= now) Expire(connection, now);
            if (connection.Deadline != long.MaxValue) continue;
            connection.IsWatched = false;
            _timed[i] = _timed[^1];
            _timed.RemoveAt(_timed.Count - 1);
        }
    }

    private void Expire(Connection connection, long now) => Guard(_ => connection.OnDeadline(now), null);

    private void Guard(SendOrPostCallback work, object? state)
    {
        try
        {
            work(state);
        }
        catch (Exception e)
        {
            _log.LogError(e, "work on the loop failed unexpectedly");
        }
    }

    /// <summary>What was begun on the loop and waited goes on there: no thread of the pool is woken between the disk and the answer.</summary>
    private sealed class Context(EventLoop loop) : SynchronizationContext
    {
        public override void Post(SendOrPostCallback work, object? state) => loop.Post(work, state);
        public override SynchronizationContext CreateCopy() => this;
    }

    private static ulong Token(int descriptor, uint generation) => (ulong)generation << 32 | (uint)descriptor;
}

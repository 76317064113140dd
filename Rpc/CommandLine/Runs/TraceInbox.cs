using System.Threading.Channels;
using CarServer.Rpc.Client;
using CarServer.RunStore;

namespace CarServer.Rpc.CommandLine.Runs;

/// <summary>The trace notifications of one connection, in the order in which they came.</summary>
internal sealed class TraceInbox : IDisposable
{
    /// <summary>As many as the daemon keeps for a subscriber. More are dropped here too: what was missed can be read from the trace.</summary>
    private const int MaxQueued = 256;

    /// <summary>After so long without an event the daemon is asked whether it is still there, and has as long to answer.</summary>
    private static readonly TimeSpan Quiet = TimeSpan.FromSeconds(30);

    private readonly RpcClient _client;
    private readonly Channel<(string Method, RawJson Params)> _queue = Channel.CreateBounded<(string, RawJson)>(MaxQueued);
    private volatile bool _dropped;

    public TraceInbox(RpcClient client)
    {
        _client = client;
        client.Notified += Put;
        _ = client.Ended.ContinueWith(ended => _queue.Writer.TryComplete(new RpcConnectionException(ended.Result.Reason)), TaskScheduler.Default);
    }

    /// <summary>The next one; null when some were dropped since the last, so that only a new subscription tells how things are.</summary>
    /// <exception cref="RpcConnectionException">The connection was lost; what had come before was returned before.</exception>
    public async Task<(string Method, RawJson Params)?> NextAsync()
    {
        while (!_dropped)
        {
            using var quiet = new CancellationTokenSource(Quiet);
            try { return await _queue.Reader.ReadAsync(quiet.Token); }
            catch (ChannelClosedException e) { throw e.InnerException ?? e; }
            catch (OperationCanceledException) { await PingAsync(); }
        }
        _dropped = false;
        while (_queue.Reader.TryRead(out _)) { }
        return null;
    }

    public void Dispose() => _client.Notified -= Put;

    private async Task PingAsync()
    {
        using var deadline = new CancellationTokenSource(Quiet);
        try { await _client.PingAsync(deadline.Token); }
        catch (OperationCanceledException) { throw new RpcConnectionException("the daemon does not answer any more"); }
    }

    private void Put(string method, RawJson parameters)
    {
        if (method.StartsWith("runs.trace.", StringComparison.Ordinal) && !_queue.Writer.TryWrite((method, parameters))) _dropped = true;
    }
}

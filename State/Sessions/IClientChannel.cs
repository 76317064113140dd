using System.Buffers;
using CarServer.RunStore;
using CarServer.RunStore.Contracts;

namespace CarServer.State.Sessions;

/// <summary>All that the daemon's state may ask of a client's connection. The wire implements it; tests fake it.</summary>
/// <remarks>Every member may be called from any thread and never blocks on the peer.</remarks>
internal interface IClientChannel
{
    /// <summary>True once the connection can carry nothing more.</summary>
    bool IsClosed { get; }

    /// <summary>Sends a notification. Dropped when the connection is closed.</summary>
    void Notify<T>(string method, T parameters, IWrites<T> contract);

    /// <summary>Appends a notification in the form in which <see cref="Send"/> takes it: made once, for any number of clients on any channel.</summary>
    void Encode<T>(IBufferWriter<byte> output, string method, T parameters, IWrites<T> contract);

    /// <summary>Sends encoded notifications in this order. False: the connection is closed.</summary>
    bool Send(ReadOnlySpan<ReadOnlyMemory<byte>> encoded);

    /// <summary>Completes when the client has taken so much that more may follow: with true, or with false once the connection is closed.</summary>
    Task<bool> RoomAsync();

    /// <summary>Bytes that the client has taken so far, of whatever it was sent.</summary>
    long Taken { get; }

    /// <summary>The next routing id, <c>cb-1</c>, <c>cb-2</c>, …: unique on this connection and opaque to the client.</summary>
    string NextCallbackId();

    /// <summary>Asks the client and waits for its reply for at most <paramref name="budget"/>.</summary>
    /// <param name="callbackId">From <see cref="NextCallbackId"/>; the reply is matched by it. A late reply is dropped.</param>
    /// <param name="abandoned">Ends the wait with <see cref="CallbackEnd.Abandoned"/>.</param>
    /// <remarks>Never throws for what the client does: that is what <see cref="CallbackReply"/> is for.</remarks>
    Task<CallbackReply> CallAsync<T>(string callbackId, string method, T parameters, IWrites<T> contract, TimeSpan budget, CancellationToken abandoned);
}

/// <summary>How a callback to the client ended.</summary>
internal enum CallbackEnd
{
    /// <summary>The client answered with a result.</summary>
    Replied,
    /// <summary>The client answered with an error; its message and its code are in the reply.</summary>
    Refused,
    TimedOut,
    /// <summary>The connection closed before the answer came.</summary>
    Closed,
    /// <summary>The request could not be handed to the connection at all; the reason is in <see cref="CallbackReply.Error"/>.</summary>
    NotSent,
    /// <summary>The caller gave up first.</summary>
    Abandoned,
}

/// <summary>The outcome of a callback. <see cref="Result"/> is absent unless the client replied.</summary>
internal readonly record struct CallbackReply(CallbackEnd End, RawJson Result = default, string? Error = null, int Code = 0);

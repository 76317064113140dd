namespace CarServer.Rpc.Transport;

/// <summary>Every bound of the wire in one place, each with its reason. A test holds each at the limit and one past it.</summary>
internal static class Limits
{
    /// <summary>Ten thousand clients plus room; each costs well under 4 KiB. Further ones get 503 at once instead of waiting.</summary>
    public const int DefaultMaxConnections = 16_384;

    /// <summary>A turn may carry a screenshot or a long file; more than this belongs in a file of its own.</summary>
    public const int DefaultMaxMessageBytes = 32 * 1024 * 1024;

    /// <summary>Before <c>session.auth</c> a stranger may send one small request; 64 KiB is plenty for a token.</summary>
    public const int MaxMessageBytesBeforeAuth = 64 * 1024;

    /// <summary>Answers a client has not read yet, and the answers of one batch. Two of the largest messages fit; a client that lets more pile up is closed.</summary>
    public const int MaxOutboxBytes = 64 * 1024 * 1024;

    /// <summary>The same of all clients together, eight at their own limit. From here on a client that lets more than
    /// <see cref="OutboxShare"/> pile up is closed: a crowd that does not read must not take the machine's memory.</summary>
    public const long MaxUnreadBytes = 8L * MaxOutboxBytes;

    /// <summary>What a client may leave unread whatever others do: an ordinary answer on an ordinary link. A GiB for 16,384 of them.</summary>
    public const int OutboxShare = 64 * 1024;

    /// <summary>Above this many unread bytes no further requests are read from the client: each would only add an answer.</summary>
    public const int OutboxHighWater = 4 * 1024 * 1024;

    /// <summary>Below this many unread bytes the next piece of a long answer, or of a live trace, is handed over: enough to keep the
    /// kernel's buffer full, and far below the high water, so that neither keeps the client's other requests from being read.</summary>
    public const int OutboxLowWater = 512 * 1024;

    /// <summary>Requests that wait at one time on one connection (protocol 25).</summary>
    public const int MaxInFlight = 1_024;

    /// <summary>Members of a JSON-RPC batch (protocol 2).</summary>
    public const int MaxBatchMembers = 256;

    /// <summary>Bytes of a request id: it is kept and echoed, and nobody needs more.</summary>
    public const int MaxRequestIdBytes = 4 * 1024;

    /// <summary>The whole request head has to arrive within this time.</summary>
    public static readonly TimeSpan HandshakeTimeout = TimeSpan.FromSeconds(10);

    /// <summary>How long a connection may stay without <c>session.auth</c> while auth is on.</summary>
    public static readonly TimeSpan AuthTimeout = TimeSpan.FromSeconds(30);

    /// <summary>A message that has begun must bring <see cref="SlowMessageBytes"/> in each window of this length, or end.</summary>
    public static readonly TimeSpan SlowMessageWindow = TimeSpan.FromSeconds(30);

    /// <summary>34 bytes a second: any real link is faster, a peer that drips one byte a second is not.</summary>
    public const int SlowMessageBytes = 1_024;

    /// <summary>A client that has unread answers must take <see cref="SlowReaderBytes"/> or all of them in each window of this length.</summary>
    public static readonly TimeSpan WriteStallTimeout = TimeSpan.FromSeconds(30);

    /// <summary>546 bytes a second: any real link is faster, and nobody holds 64 MiB of answers back by reading one byte at a time.</summary>
    public const int SlowReaderBytes = 16 * 1024;

    /// <summary>How long the peer has for its part of the closing handshake.</summary>
    public static readonly TimeSpan CloseTimeout = TimeSpan.FromSeconds(2);

    /// <summary>How long running handlers and clients have when the daemon stops.</summary>
    public static readonly TimeSpan ShutdownGrace = TimeSpan.FromSeconds(5);
}

using System.Buffers;

namespace CarServer.State.Events;

/// <summary>Links the events of a journal by their hashes, so that a later change of one shows (protocol 12.2). One caller at a time.</summary>
/// <remarks>
/// The hash of an event is the SHA-256, in lowercase hex, of <c>{action_id,data,kind,prev_hash,proposal_id,timestamp}</c> as compact JSON with
/// sorted members at every level, strings and numbers spelled as they are in the line. <c>prev_hash</c> is the hash of the event before it, and
/// null in the first. Nothing secret goes in: whoever can write the whole file can make a new chain.
/// </remarks>
internal sealed class EventChain
{
    private const int HexBytes = 2 * Sha256.HashBytes;

    private readonly ArrayBufferWriter<byte> _preimage = new(512);
    private readonly byte[] _last = new byte[HexBytes + 2];   // with its quotes, as it stands in the line
    private bool _hasLast;

    /// <summary>Bytes that <see cref="Seal"/> makes at most.</summary>
    public const int SealBytes = 256;

    /// <summary>Makes an event the newest link.</summary>
    /// <param name="line">The event without hashes.</param>
    /// <param name="seal">Takes what belongs between the event's last member and its closing brace.</param>
    /// <returns>Bytes of it.</returns>
    public int Seal(ReadOnlyMemory<byte> line, Span<byte> seal)
    {
        if (!EventLine.TryParse(line, out EventLine parsed)) throw new ArgumentException("no event", nameof(line));
        ReadOnlySpan<byte> prevHash = _hasLast ? _last : "null"u8;
        var written = new SpanWriter(seal);
        written.Add(",\"prev_hash\":"u8);
        written.Add(prevHash);
        WriteHash(_preimage, parsed, prevHash, _last);
        _hasLast = true;
        written.Add(",\"hash\":"u8);
        written.Add(_last);
        return written.Length;
    }

    /// <param name="hash">Takes the hash with its quotes. May be where <paramref name="prevHash"/> lies.</param>
    private static void WriteHash(ArrayBufferWriter<byte> preimage, in EventLine line, ReadOnlySpan<byte> prevHash, Span<byte> hash)
    {
        preimage.ResetWrittenCount();
        preimage.Write("{\"action_id\":"u8);
        preimage.Write(line.ActionId.Span);
        preimage.Write(",\"data\":"u8);
        SortedJson.Write(line.Data, preimage);
        preimage.Write(",\"kind\":"u8);
        preimage.Write(line.Kind.Span);
        preimage.Write(",\"prev_hash\":"u8);
        preimage.Write(prevHash);
        preimage.Write(",\"proposal_id\":"u8);
        preimage.Write(line.ProposalId.Span);
        preimage.Write(",\"timestamp\":"u8);
        preimage.Write(line.Timestamp.Span);
        preimage.Write("}"u8);
        Span<byte> digest = stackalloc byte[Sha256.HashBytes];
        Sha256.Hash(preimage.WrittenSpan, digest);
        hash[0] = hash[^1] = (byte)'"';
        Convert.TryToHexStringLower(digest, hash[1..^1], out _);
    }

    /// <summary>Looks at a journal, line by line, and stops where it was changed.</summary>
    /// <remarks>
    /// The first link is taken on trust when it is the file's first line, since retention may have removed those before it; elsewhere it has to
    /// be the beginning of a chain. What stands before it is in no chain, and nothing is known of it.
    /// </remarks>
    internal sealed class Check
    {
        private readonly ArrayBufferWriter<byte> _preimage = new(512);
        private readonly byte[] _last = new byte[HexBytes + 2];
        private readonly byte[] _expected = new byte[HexBytes + 2];
        private long _lines;

        /// <summary>The first line before any link that is no whole event without hashes: it may have been the first link.</summary>
        private long? _broken;

        /// <summary>Links that are as they were written.</summary>
        public long Verified { get; private set; }

        /// <summary>The line that was changed, counted from 0; null as long as none was found.</summary>
        public long? TamperedAt { get; private set; }

        /// <summary>Takes the next line. False: it, or the one before it, was changed, and there is no need to go on.</summary>
        public bool Add(ReadOnlyMemory<byte> line)
        {
            long at = _lines++;
            bool isEvent = EventLine.TryParse(line, out EventLine parsed) && !parsed.HasMore;
            bool isLink = isEvent && !parsed.Hash.IsEmpty && !parsed.PrevHash.IsEmpty;
            if (Verified == 0)
            {
                if (!isLink)
                {
                    if (!isEvent || !parsed.Hash.IsEmpty || !parsed.PrevHash.IsEmpty) _broken ??= at;
                    return true;
                }
                // Its predecessor should stand before it, and is none any more. A newline put into it has made two lines of it.
                if (at > 0 && !parsed.PrevHash.Span.SequenceEqual("null"u8)) return Tampered(_broken ?? at - 1);
            }
            else if (!isLink || !parsed.PrevHash.Span.SequenceEqual(_last))
            {
                return Tampered(at);
            }
            WriteHash(_preimage, parsed, parsed.PrevHash.Span, _expected);
            if (!parsed.Hash.Span.SequenceEqual(_expected)) return Tampered(at);
            _expected.CopyTo(_last, 0);
            Verified++;
            return true;
        }

        private bool Tampered(long at)
        {
            TamperedAt = at;
            return false;
        }
    }

    private ref struct SpanWriter(Span<byte> target)
    {
        private readonly Span<byte> _target = target;
        public int Length { get; private set; }

        public void Add(ReadOnlySpan<byte> bytes)
        {
            bytes.CopyTo(_target[Length..]);
            Length += bytes.Length;
        }
    }
}

using System.Collections.Concurrent;
using System.Text.Json;
using CarServer.RunStore;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;
using CarServer.RunStore.Contracts;

namespace CarServer.State.Permissions;

/// <summary>The decisions of people about actions, in one file for all daemons of a state root: the last line on a fingerprint counts (protocol 12.1).</summary>
/// <remarks>
/// What is in the file counts, and nothing else: a decision is appended, and then read back. Each look asks the system whether the file
/// has changed, so that what another daemon or an editor wrote counts too. Only the primary daemon writes: two that append to one file could
/// write over each other. The file is never rewritten, because it is a record; when it is full, decisions are refused. Any thread.
/// </remarks>
internal sealed class ApprovalLedger(string path, Appender appender, bool mayWrite, ILogger log)
{
    private readonly AppendFile _file = appender.File(path);
    private readonly SemaphoreSlim _deciding = new(1);
    private readonly Lock _reading = new();
    private volatile Decisions _last = new(Seen.Nothing);

    /// <summary>Where the file ends after our own last append; a file of that length has only grown by it.</summary>
    private long _grownTo = -1;

    /// <summary>The decisions as the file has them now.</summary>
    /// <exception cref="RefusedException">It can't be read, or is too large: nobody knows then what was rejected.</exception>
    public Decisions Current()
    {
        try
        {
            Seen now = Look();
            if (_last.Of == now) return _last;
            // Whoever comes meanwhile waits for the decisions rather than going on without them.
            lock (_reading)
            {
                if (_last.Of == now) return _last;
                bool hasGrown = now.Length == _grownTo && now.Length > _last.Of.Length && now.Identity == _last.Of.Identity;
                _grownTo = -1;   // once: of the same length it is something else the next time
                return _last = Read(now, hasGrown ? _last : null);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new RefusedException($"{path}: {PrivateFiles.Reason(e)}");
        }
    }

    /// <summary>Completes when the decision is where it outlives the daemon.</summary>
    /// <exception cref="RefusedException">Nothing was decided.</exception>
    public async Task DecideAsync(ApprovalRecord record)
    {
        if (!mayWrite) throw new RefusedException("another daemon is primary for this state root: decisions are taken there");
        byte[] line = [.. Json.ApprovalRecord.ToUtf8(record), (byte)'\n'];
        if (line.Length > PermissionLimits.MaxLineBytes) throw new RefusedException($"a decision may have at most {PermissionLimits.MaxLineBytes} bytes, this one has {line.Length}", Refusal.Invalid);
        await _deciding.WaitAsync();
        try
        {
            Decisions known = Current();
            if (known.Count >= PermissionLimits.MaxDecisions && known.Find(record.Fingerprint) is null)
                throw new RefusedException($"{path} holds {known.Count} decisions, which is the limit: remove lines that are no longer needed");
            if (known.End + line.Length > PermissionLimits.MaxLedgerBytes)
                throw new RefusedException($"{path} would be over {PermissionLimits.MaxLedgerBytes} bytes: remove lines that are no longer needed");
            await appender.AppendAsync(_file, line);
            lock (_reading) _grownTo = known.End + line.Length;
            Current();
        }
        catch (IOException e)
        {
            throw new RefusedException($"{path}: {e.Message}");   // the appender has found words
        }
        finally
        {
            _deciding.Release();
        }
    }

    private Seen Look() => FileIdentity.Of(path) is { } identity && new FileInfo(path) is { Exists: true } file
        ? new Seen(true, identity, file.Length, file.LastWriteTimeUtc.Ticks) : Seen.Nothing;

    /// <param name="before">What was read of the same file when it was shorter; null to begin at the front.</param>
    private Decisions Read(Seen now, Decisions? before)
    {
        // What only looks empty, a pipe or a device, is never opened: it would keep us waiting.
        if (now.Length == 0) return new Decisions(now);
        if (now.Length > PermissionLimits.MaxLedgerBytes) throw TooLarge($"{now.Length} bytes, at most {PermissionLimits.MaxLedgerBytes} are read");
        if (before is null) PrivateFiles.TightenFile(path);
        using SafeFileHandle file = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        var decisions = new Decisions(now, before);
        using var reader = new LineReader(file, now.Length, decisions.End);
        int skipped = 0;
        while (reader.TryRead())
        {
            if (!decisions.TryAdd(reader.Line)) skipped++;
            decisions.End = reader.NextStart;
            if (decisions.Count > PermissionLimits.MaxDecisions) throw TooLarge($"decisions on more than {PermissionLimits.MaxDecisions} actions");
        }
        if (skipped > 0) log.LogWarning("{Path}: {Count} lines are no decisions and do not count", path, skipped);
        if (decisions.End < now.Length) log.LogWarning("{Path}: the last {Bytes} bytes are no whole line and do not count", path, now.Length - decisions.End);
        return decisions;
    }

    private RefusedException TooLarge(string what) => new($"{path} has {what}: remove lines that are no longer needed");

    /// <summary>Which file was read, and when it was last touched.</summary>
    internal sealed record Seen(bool Exists, FileIdentity Identity, long Length, long Changed)
    {
        public static Seen Nothing { get; } = new(false, default, 0, 0);

        // The generated equality would bring comparers of its own for each member.
        public bool Equals(Seen? other) =>
            other is not null && Exists == other.Exists && Identity.Number == other.Identity.Number && Identity.FileSystem == other.Identity.FileSystem && Length == other.Length && Changed == other.Changed;

        public override int GetHashCode() => HashCode.Combine(Length, Changed);
    }

    /// <summary>What the file says.</summary>
    internal sealed class Decisions
    {
        // Shared with what was read before the file grew: a line that is appended counts for whoever still looks at that, too.
        private readonly ConcurrentDictionary<string, ApprovalLine> _byFingerprint;

        internal Decisions(Seen of, Decisions? before = null)
        {
            Of = of;
            _byFingerprint = before?._byFingerprint ?? new ConcurrentDictionary<string, ApprovalLine>(StringComparer.Ordinal);
            Count = before?.Count ?? 0;
            End = before?.End ?? 0;
        }

        internal Seen Of { get; }

        /// <summary>Fingerprints that were decided on.</summary>
        public int Count { get; private set; }

        /// <summary>Where the last whole line ends.</summary>
        internal long End { get; set; }

        /// <summary>The last decision; null when there is none.</summary>
        public ApprovalLine? Find(string fingerprint) => _byFingerprint.GetValueOrDefault(fingerprint);

        internal bool TryAdd(ReadOnlyMemory<byte> line)
        {
            if (line.Length >= PermissionLimits.MaxLineBytes || Parse(line.Span) is not { } decision) return false;
            if (!_byFingerprint.ContainsKey(decision.Fingerprint)) Count++;
            _byFingerprint[decision.Fingerprint] = decision;
            return true;
        }

        private static ApprovalLine? Parse(ReadOnlySpan<byte> line)
        {
            try
            {
                return Json.ApprovalLine.Parse(line) is { } parsed && Fingerprint.IsOne(parsed.Fingerprint) ? parsed : null;
            }
            catch (JsonException)
            {
                return null;
            }
        }
    }
}

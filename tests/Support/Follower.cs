using System.Globalization;
using System.Text;
using System.Text.Json;

namespace CarServer.Tests.Support;

/// <summary>One subscription as a client lives through it (protocol 13.8): the snapshot, then event after event, nothing else in between.</summary>
/// <remarks>
/// Keeps what it was told as bytes, since some tests follow millions of events, and compares it to the trace afterwards. One caller at a
/// time; the connection is the follower's alone while it follows.
/// </remarks>
internal sealed class Follower(RawPeer peer, string runId)
{
    private const string Request = "\"id\":\"follower\"";

    private readonly List<(int Cursor, byte[] Record)> _events = [];
    private byte[] _snapshot = [];

    /// <summary>Turns in the snapshot.</summary>
    public int Begin { get; private set; }

    /// <summary>Turns of the run, as far as was told.</summary>
    public int Cursor { get; private set; }

    public string Status { get; private set; } = "";

    /// <summary>The <c>ended</c> record came, or the snapshot was of an ended run.</summary>
    public bool HasEnded => Status is "completed" or "incomplete";

    /// <summary>A cursor jumped, or the daemon said that something was left out. Subscribing again heals it.</summary>
    public bool HasGap { get; private set; }

    public int Events => _events.Count;

    /// <summary>Subscribes, or subscribes again: then all that was known is forgotten.</summary>
    public async Task SubscribeAsync()
    {
        await AskAsync("runs.subscribe");
        string answer;
        while (!IsAnswer(answer = await peer.ReadTextAsync())) Take(answer);   // of the subscription that this one replaces
        using JsonDocument document = JsonDocument.Parse(answer, new JsonDocumentOptions { MaxDepth = 256 });
        if (!document.RootElement.TryGetProperty("result", out JsonElement result)) throw new InvalidOperationException(answer);
        JsonElement turns = result.GetProperty("turns_so_far");
        _snapshot = Encoding.UTF8.GetBytes(turns.GetRawText());
        _events.Clear();
        Begin = Cursor = result.GetProperty("cursor").GetInt32();
        Status = result.GetProperty("status").GetString()!;
        HasGap = false;
        if (turns.GetArrayLength() != Begin) throw new InvalidDataException($"a snapshot of {turns.GetArrayLength()} turns with the cursor {Begin}");
    }

    /// <summary>Takes the next event.</summary>
    public async Task NextAsync() => Take(await peer.ReadTextAsync());

    /// <summary>Follows until so many turns are known or the run has ended.</summary>
    public async Task FollowAsync(int cursor = int.MaxValue)
    {
        while (!HasEnded && !HasGap && Cursor < cursor) await NextAsync();
    }

    /// <summary>Ends the subscription. Returns whether there was still one.</summary>
    public async Task<bool> LeaveAsync()
    {
        await AskAsync("runs.unsubscribe");
        string answer;
        while (!IsAnswer(answer = await peer.ReadTextAsync())) Take(answer);
        return answer.Contains("\"removed\":true", StringComparison.Ordinal);
    }

    /// <summary>What was told is what stands in the trace, each turn once, and complete up to the cursor unless there was a gap.</summary>
    /// <param name="turns">The turns' lines on disk.</param>
    /// <exception cref="InvalidDataException">It is not.</exception>
    public void Check(IReadOnlyList<byte[]> turns)
    {
        if (Cursor > turns.Count) throw new InvalidDataException($"the cursor {Cursor} is past the {turns.Count} turns of the trace");
        ReadOnlySpan<byte> rest = _snapshot.AsSpan(1);
        for (int i = 0; i < Begin; i++)
        {
            if (!rest.StartsWith(turns[i])) throw new InvalidDataException($"turn {i} of the snapshot is not the one of the trace");
            rest = rest[(turns[i].Length + 1)..];   // and its comma or, behind the last one, the bracket
        }
        if (rest.Length != (Begin == 0 ? 1 : 0)) throw new InvalidDataException($"{rest.Length} bytes too many in the snapshot");
        int expected = Begin;
        foreach ((int cursor, byte[] record) in _events)
        {
            if (!HasGap && cursor != ++expected) throw new InvalidDataException($"cursor {cursor} after {expected - 1}");
            if (!record.AsSpan().SequenceEqual(turns[cursor - 1])) throw new InvalidDataException($"the event with cursor {cursor} is not turn {cursor - 1} of the trace");
        }
    }

    /// <summary>The turns of a trace file, a line each.</summary>
    public static byte[][] Turns(string path) =>
        [.. File.ReadLines(path).Where(line => line.StartsWith("{\"record\":\"turn\",", StringComparison.Ordinal)).Select(Encoding.UTF8.GetBytes)];

    private Task AskAsync(string method) => peer.SendTextAsync($$$"""{"jsonrpc":"2.0",{{{Request}}},"method":"{{{method}}}","params":{"run_id":"{{{runId}}}"}}""");

    private static bool IsAnswer(string message) => message.AsSpan(0, Math.Min(message.Length, 64)).Contains(Request, StringComparison.Ordinal);

    /// <summary>Takes a message that somebody else read.</summary>
    public void Take(string message)
    {
        const string Lagged = """{"jsonrpc":"2.0","method":"runs.trace.lagged",""", Event = """{"jsonrpc":"2.0","method":"runs.trace.event","params":{"run_id":""";
        if (message.StartsWith(Lagged, StringComparison.Ordinal))
        {
            HasGap = true;
            return;
        }
        int record = message.IndexOf("\"record\":{", StringComparison.Ordinal) + "\"record\":".Length;
        int end = message.LastIndexOf(",\"cursor\":", StringComparison.Ordinal);
        int status = message.LastIndexOf(",\"status\":\"", StringComparison.Ordinal);
        if (!message.StartsWith($"{Event}\"{runId}\",", StringComparison.Ordinal) || end < record || status < end) throw new InvalidDataException($"not an event of run {runId}: {message}");
        if (HasEnded) throw new InvalidDataException($"after the end: {message}");
        int cursor = int.Parse(message.AsSpan(end + ",\"cursor\":".Length, status - end - ",\"cursor\":".Length), CultureInfo.InvariantCulture);
        Status = message[(status + ",\"status\":\"".Length)..message.LastIndexOf('"')];
        if (!message.AsSpan(record).StartsWith("{\"record\":\"turn\","))
        {
            if (cursor != Cursor) HasGap = true;   // started and ended do not count
            return;
        }
        if (cursor <= Cursor) throw new InvalidDataException($"the cursor went from {Cursor} to {cursor}");
        if (cursor != Cursor + 1) HasGap = true;
        Cursor = cursor;
        _events.Add((cursor, Encoding.UTF8.GetBytes(message[record..end])));
    }
}

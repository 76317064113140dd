using System.Buffers;
using System.Text;
using System.Text.Json;
using CarServer.Rpc.Methods;
using CarServer.RunStore;
using CarServer.State.Engine;
using CarServer.State.Engine.Tools;
using CarServer.State.Events;
using CarServer.State.Runs;
using CarServer.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Win32.SafeHandles;
using CarServer.RunStore.Contracts;

namespace CarServer.Tests.Bench;

/// <summary>The engine and the run store against the writes that they cannot do without.</summary>
internal static class StateCases
{
    private const int Actions = 1_000;
    private const int TurnsInBatch = 16;

    public static IEnumerable<Case> All()
    {
        yield return Proposal();
        yield return ProposalJournal();
        yield return RecordTurns("turns of 1 KiB, 16 a batch, one after another", inFlight: 1);
        yield return RecordTurns("the same, 32 batches in flight", inFlight: 32);
    }

    private static readonly byte[] Writes = Encoding.UTF8.GetBytes($$"""{"id":"p","actions":[{{string.Join(',', Enumerable.Range(0, Actions)
        .Select(i => $$"""{"id":"a{{i}}","type":"state_write","parameters":{"key":"k{{i}}","value":{{i}} } }"""))}}]}""");

    /// <summary>Parse, run, encode the result, and have every event of it with the operating system.</summary>
    private static Case Proposal()
    {
        string[] keys = [.. Enumerable.Range(0, Actions).Select(i => $"k{i}")];
        byte[] value = "1"u8.ToArray();
        byte[] journal = new byte[JournalBytes()];

        return new Case($"proposal of {Actions:#,0} state_writes, an action", "reader walk, dictionary, one write(2) of the journal",
            Shown.Each(Actions, Shown.PerSecond),
            Submissions(new Disk()),
            window =>
            {
                using var home = new TempHome();
                using SafeFileHandle file = File.OpenHandle(home.In("journal.jsonl"), FileMode.Create, FileAccess.Write);
                long end = 0;
                return Timed.Loop(times =>
                {
                    for (int i = 0; i < times; i++)
                    {
                        var reader = new Utf8JsonReader(Writes);
                        while (reader.Read()) { }
                        var state = new Dictionary<string, byte[]>(StringComparer.Ordinal);
                        foreach (string key in keys) state[key] = value;
                        RandomAccess.Write(file, journal, end);
                        end += journal.Length;
                    }
                })(window);
            });

        long JournalBytes()
        {
            using var home = new TempHome();
            WithAppender(appender =>
            {
                Submit(new Runtime(new EventLog(home.In("journal.jsonl"), appender, TimeProvider.System), new NoTools(), TimeProvider.System), appender);
                return 0;
            });
            return new FileInfo(home.In("journal.jsonl")).Length;
        }
    }

    private static Case ProposalJournal() => new("the journal of such a proposal, an action", "the same, with a disk that writes nothing",
        Shown.Each(Actions, Shown.PerSecond), Submissions(new Disk()), Submissions(new NoDisk()));

    private static Measure Submissions(Disk disk) => window =>
    {
        using var home = new TempHome();
        return WithAppender(appender =>
        {
            var runtime = new Runtime(new EventLog(home.In("journal.jsonl"), appender, TimeProvider.System), new NoTools(), TimeProvider.System);
            return Timed.Loop(times =>
            {
                for (int i = 0; i < times; i++) Submit(runtime, appender);
            })(window);
        }, disk);
    };

    private static void Submit(Runtime runtime, Appender appender)
    {
        ActionProposal parsed = Json.ActionProposal.Parse(Writes)!;
        ProposalResult result = runtime.SubmitAsync(parsed, null, CancellationToken.None).GetAwaiter().GetResult();
        if (result.Results[^1].Status != ActionStatus.Succeeded) throw new InvalidOperationException(result.Results[^1].Error);
        Encoded.ResetWrittenCount();
        using (var writer = new Utf8JsonWriter(Encoded)) Json.ProposalResult.WriteAll(writer, result);
        appender.FlushAsync().GetAwaiter().GetResult();
    }

    private static readonly ArrayBufferWriter<byte> Encoded = new();

    /// <summary>Takes everything and keeps nothing.</summary>
    private sealed class NoDisk : Disk
    {
        public override void Write(SafeFileHandle file, IReadOnlyList<ReadOnlyMemory<byte>> lines, long offset) { }
    }

    /// <summary>Encode, number, append and show; a batch is done when the operating system has it.</summary>
    private static Case RecordTurns(string name, int inFlight)
    {
        var turn = new RunTurn(Tool: "read_file", Parameters: RawJson.Parse("""{"path":"notes.txt"}"""), Output: RawJson.FromString(new string('x', 925)));
        byte[] body = TurnLine.TryEncodeBody(turn)!;
        byte[] line = new byte[TurnLine.LargestFrame + body.Length];
        int lineBytes = TurnLine.Write(line, 1_000, body);
        byte[] block = new byte[lineBytes * TurnsInBatch];
        const int BatchesInRun = RunLimits.MaxTurns / TurnsInBatch;

        return new Case(name, "write(2) of the same bytes", Shown.Throughput(block.Length),
            window =>
            {
                using var home = new TempHome();
                return WithAppender(appender => Timed.Loop(times =>
                {
                    for (int i = 0; i < times; i++) RecordRun(home, appender).GetAwaiter().GetResult();
                })(window) / BatchesInRun);
            },
            window =>
            {
                using var home = new TempHome();
                return Timed.Loop(times =>
                {
                    for (int i = 0; i < times; i++)
                    {
                        using SafeFileHandle file = File.OpenHandle(home.In($"{Guid.NewGuid()}.jsonl"), FileMode.Create, FileAccess.Write);
                        for (int batch = 0; batch < BatchesInRun; batch++) RandomAccess.Write(file, block, (long)batch * block.Length);
                    }
                })(window) / BatchesInRun;
            });

        async Task RecordRun(TempHome home, Appender appender)
        {
            string id = Guid.NewGuid().ToString();
            var run = new Run(new RunStarted(id, "bench", "measure", null, DateTime.UtcNow), "0123456789ab", appender, home.In(id + ".jsonl"));
            run.Begin();
            await run.HeadStored;
            var waiting = new Queue<Task<TurnsRecorded>>();
            for (int batch = 0; batch < BatchesInRun; batch++)
            {
                var turns = new TurnBatch();
                for (int i = 0; i < TurnsInBatch; i++) turns.Add(turn);
                waiting.Enqueue(run.RecordAsync(turns, whatFits: false));
                if (waiting.Count == inFlight) Check(await waiting.Dequeue());
            }
            while (waiting.TryDequeue(out Task<TurnsRecorded>? last)) Check(await last);
            run.TryEnd(new RunIncomplete(), DateTime.UtcNow, mayFail: false, out Task? stored);
            await stored!;
        }

        static void Check(TurnsRecorded recorded)
        {
            if (recorded.Count != TurnsInBatch) throw new InvalidOperationException($"turns were dropped: {recorded.Dropped}");
        }
    }

    private static double WithAppender(Func<Appender, double> measure, Disk? disk = null)
    {
        var appender = new Appender(NullLogger.Instance, disk: disk);
        try { return measure(appender); }
        finally { appender.DisposeAsync().AsTask().GetAwaiter().GetResult(); }
    }

    private sealed class NoTools : IToolExecutor
    {
        public Task<ToolOutcome> ExecuteAsync(ToolCall call, CancellationToken abandoned) => Task.FromResult(ToolOutcome.Failed("there are no tools here"));
    }
}

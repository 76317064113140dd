using System.Text.Json;
using System.Threading.Channels;
using CarServer.Rpc.Methods;
using CarServer.RunStore;
using CarServer.State.Engine;
using CarServer.State.Engine.Tools;
using CarServer.State.Events;
using CarServer.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using CarServer.RunStore.Contracts;

namespace CarServer.Tests.Unit.Engine;

/// <summary>A runtime with a clock that stands still, tools that the test answers for, and a journal in a folder of its own.</summary>
internal sealed class TestEngine : IAsyncDisposable
{
    private readonly Appender _appender = new(NullLogger.Instance);

    public TestEngine(params string[] tools)
    {
        Directory.CreateDirectory(Folder);
        Runtime = new Runtime(new EventLog(JournalPath, _appender, Clock), Tools, Clock);
        Runtime.Tools.Register([.. tools.Select(name => new ToolDefinition { Name = name })]);
    }

    public string Folder { get; } = Path.Combine(Path.GetTempPath(), "car-engine-" + Guid.NewGuid().ToString("n"));
    public string JournalPath => Path.Combine(Folder, "journal.jsonl");
    public ManualClock Clock { get; } = new();
    public FakeTools Tools { get; } = new();
    public Runtime Runtime { get; }

    public static ActionProposal Parse(string json) => Json.ActionProposal.Parse(json)!;

    /// <summary>Submits actions given as the inside of a JSON array.</summary>
    public Task<ProposalResult> SubmitAsync(string actions, string? tenant = null, CancellationToken abandoned = default) =>
        Runtime.SubmitAsync(Parse($$"""{"id":"p","actions":[{{actions}}]}"""), tenant, abandoned);

    /// <summary>The state of one key, <c>-</c> when it is not there.</summary>
    public string Value(string key, string? tenant = null) => Runtime.State.TryGet(tenant, key, out RawJson value) ? value.ToString() : "-";

    public void Set(string key, string json, string? tenant = null) => Runtime.State.Set(tenant, key, RawJson.Parse(json));

    /// <summary>The events in memory as <c>kind action_id</c>.</summary>
    public string[] Events() => [.. Runtime.Events.Latest().Select(line =>
    {
        using JsonDocument json = JsonDocument.Parse(line);
        return $"{json.RootElement.GetProperty("kind").GetString()} {json.RootElement.GetProperty("action_id").GetString()}".TrimEnd();
    })];

    /// <summary>The statuses, one word an action, in the order of the actions; a star marks what was rolled back.</summary>
    public static string Statuses(ProposalResult result) =>
        string.Join(' ', result.Results.Select(one => one.Status.ToString().ToLowerInvariant() + (one.RolledBack ? "*" : "")));

    /// <summary>The journal's lines, after everything was written.</summary>
    public async Task<string[]> JournalAsync()
    {
        await _appender.DisposeAsync();
        return File.Exists(JournalPath) ? await File.ReadAllLinesAsync(JournalPath) : [];
    }

    public async ValueTask DisposeAsync()
    {
        await _appender.DisposeAsync();
        Directory.Delete(Folder, recursive: true);
    }
}

/// <summary>Tools that fail when their name begins with <c>bad</c>, wait for the test when it begins with <c>slow</c>, and succeed otherwise.</summary>
internal sealed class FakeTools : IToolExecutor
{
    private readonly Channel<SlowCall> _slow = Channel.CreateUnbounded<SlowCall>();
    private readonly List<ToolCall> _calls = [];

    /// <summary>Every call so far.</summary>
    public ToolCall[] Calls
    {
        get { lock (_calls) return [.. _calls]; }
    }

    public Task<ToolOutcome> ExecuteAsync(ToolCall call, CancellationToken abandoned)
    {
        lock (_calls) _calls.Add(call);
        if (call.Tool.StartsWith("bad", StringComparison.Ordinal)) return Task.FromResult(ToolOutcome.Failed("broken"));
        if (!call.Tool.StartsWith("slow", StringComparison.Ordinal))
            return Task.FromResult(ToolOutcome.Succeeded(RawJson.FromString($"{call.Tool} {call.Attempt}")));
        var slow = new SlowCall(call, abandoned);
        _slow.Writer.TryWrite(slow);
        return slow.Outcome;
    }

    /// <summary>Waits for the next call of a slow tool.</summary>
    public async Task<SlowCall> NextAsync() => await _slow.Reader.ReadAsync().AsTask().WaitAsync(TimeSpan.FromSeconds(10));
}

/// <summary>A call that ends when the test says so, or when it is abandoned.</summary>
internal sealed class SlowCall
{
    private readonly TaskCompletionSource<ToolOutcome> _outcome = new();

    public SlowCall(ToolCall call, CancellationToken abandoned)
    {
        Call = call;
        abandoned.Register(() => _outcome.TrySetResult(ToolOutcome.Abandoned("abandoned: " + call.AbandonReason())));
    }

    public ToolCall Call { get; }
    public Task<ToolOutcome> Outcome => _outcome.Task;

    public void Succeed() => _outcome.TrySetResult(ToolOutcome.Succeeded(RawJson.FromString("done")));
    public void Fail(string error = "broken") => _outcome.TrySetResult(ToolOutcome.Failed(error));
}

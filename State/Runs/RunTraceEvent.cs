using CarServer.RunStore;
using CarServer.RunStore.Contracts;

namespace CarServer.State.Runs;

/// <summary>The notification <c>runs.trace.event</c> (protocol 13.8): one record of a run that somebody follows.</summary>
/// <param name="Record">The very bytes of the record's line in the trace.</param>
/// <param name="Cursor">Turns of the run up to this record, a turn itself included. A jump means that events were dropped.</param>
[ToJson]
internal sealed record RunTraceEvent(string RunId, string AgentId, RawJson Record, int Cursor, RunStatus Status)
{
    public const string Method = "runs.trace.event";
}

/// <summary>The notification <c>runs.trace.lagged</c>: events were dropped, and none is on its way that would show it. Subscribe again.</summary>
/// <param name="Cursor">Turns of the run by now.</param>
/// <param name="Subscribed">False: no further event will come, because the client took none for too long.</param>
[ToJson]
internal sealed record RunTraceLagged(string RunId, int Cursor, RunStatus Status, bool Subscribed)
{
    public const string Method = "runs.trace.lagged";
}

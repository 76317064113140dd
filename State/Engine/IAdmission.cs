namespace CarServer.State.Engine;

/// <summary>Who is asked, once a proposal has come, whether it may begin (protocol 10.5).</summary>
internal interface IAdmission
{
    /// <summary>False as long as nobody would be asked. Costs nothing.</summary>
    bool IsNeeded { get; }

    /// <summary>Null when the proposal may run, and also when it was abandoned while it waited.</summary>
    Task<Blocked?> AskAsync(AdmissionRequest request, CancellationToken abandoned);
}

/// <summary>A proposal before any of it has run.</summary>
/// <param name="Caller">From the proposal's scope.</param>
/// <param name="SessionId">Of the policy session it came in, if any.</param>
internal sealed record AdmissionRequest(ActionProposal Proposal, string? Tenant, string? Caller, string? SessionId);

/// <summary>Why no action of a proposal may run.</summary>
/// <param name="Reason">For all of them.</param>
/// <param name="Own">For those that are not named in <paramref name="Reason"/>, by index; null when all are.</param>
internal sealed record Blocked(string Reason, IReadOnlyDictionary<int, string>? Own = null)
{
    public string For(int action) => Own?.GetValueOrDefault(action) ?? Reason;
}

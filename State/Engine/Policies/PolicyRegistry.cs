namespace CarServer.State.Engine.Policies;

/// <summary>The policies of one scope, in the order they came. Any thread; what is read does not change under the reader.</summary>
/// <param name="sessionId">Null for the global scope.</param>
internal sealed class PolicyScope(string? sessionId)
{
    internal sealed class Entry(Policy policy, int bytes)
    {
        public Policy Policy { get; } = policy;
        public int Bytes { get; } = bytes;
    }

    private volatile Entry[] _entries = [];

    public string? SessionId => sessionId;

    /// <summary>Replaced as a whole, under the registry's lock.</summary>
    internal Entry[] Entries { get => _entries; set => _entries = value; }
}

/// <summary>What a connection's proposals must not do: the operator's rules, the connection's own, and those of its policy sessions (protocol 8).</summary>
/// <remarks>
/// Conjunctive: a scope can only add a no. The operator's rules are listed with the rest, but no client takes them back. Any thread.
/// </remarks>
internal sealed class PolicyRegistry(IReadOnlyList<Policy> operators)
{
    private readonly Lock _lock = new();
    private readonly Dictionary<string, PolicyScope> _sessions = new(StringComparer.Ordinal);
    private readonly Policy[] _operators = [.. operators.Select(policy => policy.ForConnection())];
    private long _bytes;

    public PolicyScope Global { get; } = new(null);

    /// <summary>How many policies an action in this policy session, or in none, is asked about.</summary>
    public int Count(PolicyScope? session) => _operators.Length + Global.Entries.Length + (session?.Entries.Length ?? 0);

    /// <summary>The global scope, or that of an open policy session.</summary>
    /// <exception cref="RefusedException">No such session is open on this connection.</exception>
    public PolicyScope Scope(string? sessionId)
    {
        if (sessionId is null) return Global;
        lock (_lock)
        {
            if (_sessions.TryGetValue(sessionId, out PolicyScope? scope)) return scope;
        }
        throw new RefusedException($"unknown session_id '{Excerpt.Of(sessionId, 128)}': no policy session is open on this connection");
    }

    public PolicyScope Open()
    {
        var scope = new PolicyScope(Guid.NewGuid().ToString("n"));
        lock (_lock)
        {
            if (_sessions.Count >= PolicyLimits.MaxSessions) throw new RefusedException($"a connection may have at most {PolicyLimits.MaxSessions} policy sessions open");
            _sessions.Add(scope.SessionId!, scope);
        }
        return scope;
    }

    /// <summary>False when there was no such session. Proposals that began in it stay under its policies.</summary>
    public bool Close(string sessionId)
    {
        lock (_lock)
        {
            if (!_sessions.Remove(sessionId, out PolicyScope? scope)) return false;
            foreach (PolicyScope.Entry entry in scope.Entries) _bytes -= entry.Bytes;
            return true;
        }
    }

    /// <summary>Registers all of them or, when one is refused, none. A name may come again: both then count.</summary>
    /// <exception cref="RefusedException">A definition is wrong, its session is not open, or a limit would be passed.</exception>
    public IReadOnlyList<Policy> Register(IReadOnlyList<PolicyDefinition?> definitions)
    {
        var added = new List<(PolicyScope Scope, PolicyScope.Entry Entry)>(definitions.Count);
        long bytes = 0;
        for (int i = 0; i < definitions.Count; i++)
        {
            if (definitions[i] is not { } definition) throw new RefusedException($"policy definition {i} is null", Refusal.Invalid);
            var entry = new PolicyScope.Entry(RegisteredPolicies.From(definition), RegisteredPolicies.Bytes(definition));
            added.Add((Scope(definition.SessionId), entry));
            bytes += entry.Bytes;
        }
        lock (_lock)
        {
            if (_bytes + bytes > PolicyLimits.MaxTotalBytes) throw Full($"the policies of a connection may have at most {PolicyLimits.MaxTotalBytes} bytes");
            var grown = new Dictionary<PolicyScope, List<PolicyScope.Entry>>();
            foreach ((PolicyScope scope, PolicyScope.Entry entry) in added)
            {
                if (!grown.TryGetValue(scope, out List<PolicyScope.Entry>? entries)) grown.Add(scope, entries = [.. scope.Entries]);
                entries.Add(entry);
            }
            foreach ((PolicyScope scope, List<PolicyScope.Entry> entries) in grown)
            {
                if (entries.Count > PolicyLimits.MaxPolicies) throw Full($"a scope may have at most {PolicyLimits.MaxPolicies} policies");
                if (scope.SessionId is { } id && !_sessions.ContainsKey(id)) throw new RefusedException($"policy session '{id}' was closed meanwhile");
            }
            foreach ((PolicyScope scope, List<PolicyScope.Entry> entries) in grown) scope.Entries = [.. entries];
            _bytes += bytes;
        }
        return added.ConvertAll(static one => one.Entry.Policy);
    }

    /// <summary>Takes every policy of that name back; the next action is not asked about it any more.</summary>
    /// <returns>How many there were.</returns>
    public int Unregister(string name, PolicyScope scope) => Remove(scope, policy => policy.Name == name);

    /// <summary>Takes back what <see cref="Register"/> has just added.</summary>
    public void Withdraw(IReadOnlyList<Policy> added)
    {
        PolicyScope[] scopes;
        lock (_lock) scopes = [Global, .. _sessions.Values];
        foreach (PolicyScope scope in scopes) Remove(scope, added.Contains);
    }

    /// <summary>In the order of registration; the global scope begins with the operator's.</summary>
    public Policy[] List(PolicyScope scope) => [.. scope.SessionId is null ? _operators : [], .. Array.ConvertAll(scope.Entries, static entry => entry.Policy)];

    /// <summary>Asks all of them; null when none says no.</summary>
    public List<Violation>? Check(PolicySubject subject, PolicyScope? session)
    {
        List<Violation>? violations = null;
        foreach (Policy policy in _operators) Ask(policy, subject, ref violations);
        foreach (PolicyScope.Entry entry in Global.Entries) Ask(entry.Policy, subject, ref violations);
        if (session is not null)
        {
            foreach (PolicyScope.Entry entry in session.Entries) Ask(entry.Policy, subject, ref violations);
        }
        return violations;
    }

    private static void Ask(Policy policy, PolicySubject subject, ref List<Violation>? violations)
    {
        string? reason;
        try
        {
            reason = policy.Check(subject);
        }
        catch (Exception)
        {
            // Whatever went wrong, the policy has not said yes. Its exception may show what the action carries, so it goes nowhere.
            reason = $"policy {policy.Name} panicked during check";
        }
        if (reason is not null) (violations ??= []).Add(new Violation(policy.Name, reason));
    }

    private int Remove(PolicyScope scope, Func<Policy, bool> goes)
    {
        lock (_lock)
        {
            PolicyScope.Entry[] before = scope.Entries;
            PolicyScope.Entry[] kept = Array.FindAll(before, entry => !goes(entry.Policy));
            // What a closed session had is no longer counted.
            if (scope.SessionId is null || _sessions.ContainsKey(scope.SessionId))
                foreach (PolicyScope.Entry entry in before)
                    if (goes(entry.Policy)) _bytes -= entry.Bytes;
            scope.Entries = kept;
            return before.Length - kept.Length;
        }
    }

    private static RefusedException Full(string message) => new(message);
}

using CarServer.RunStore;

namespace CarServer.State.Engine;

/// <summary>The conditions of one proposal on the state as it is when they are asked: all of them together have one <see cref="Effort"/>. Any thread.</summary>
internal sealed class Conditions(StateStore state, string? tenant, CancellationToken abandoned)
{
    private readonly Effort _effort = new(abandoned, EngineLimits.MaxConditionSteps, "checking the conditions of this proposal");
    private string? _ended;

    /// <summary>Why the condition does not hold, or null when it does. Once the effort is used up, none holds.</summary>
    public string? Problem(string key, string op, RawJson expected)
    {
        bool present = state.TryGet(tenant, key, out RawJson actual);
        lock (_effort)
        {
            if (_ended is not null) return _ended;
            try
            {
                return Preconditions.Problem(op, present, actual, expected, _effort);
            }
            catch (RefusedException usedUp)
            {
                return _ended = usedUp.Message;
            }
            catch (OperationCanceledException)
            {
                return _ended = "the request was abandoned";
            }
        }
    }
}

namespace CarServer.State.Supervision;

/// <summary>Bounds of what waits for a supervisor, each with its reason.</summary>
internal static class SupervisionLimits
{
    /// <summary>How long a proposal waits for a decision (protocol 10.5); then it is refused.</summary>
    public static readonly TimeSpan DecisionTimeout = TimeSpan.FromSeconds(30);

    /// <summary>Proposals that wait at a time. More than people decide on within half a minute; a further one is refused at once.</summary>
    public const int MaxPending = 64;

    /// <summary>Those of one connection: a quarter, so that none keeps all others out.</summary>
    public const int MaxPendingOfClient = 16;

    /// <summary>Characters of an intent. Nobody decides on what he cannot see, so a proposal whose intent would be longer is refused.</summary>
    public const int MaxIntentChars = 128 * 1024;

    /// <summary>Connections that supervise at a time: each is told of every intent.</summary>
    public const int MaxSupervisors = 64;

    /// <summary>Names in one list of a filter.</summary>
    public const int MaxFilterNames = 256;

    /// <summary>Characters of such a name: those of the longest name that a tool may have.</summary>
    public const int MaxFilterNameChars = 256;
}

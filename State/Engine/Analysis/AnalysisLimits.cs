namespace CarServer.State.Engine.Analysis;

/// <summary>Bounds of what is asked about a plan (protocol 11), each with its reason.</summary>
internal static class AnalysisLimits
{
    /// <summary>More actions than this are a warning (protocol 11.1): a plan that a model writes has tens.</summary>
    public const int ExcessiveActions = 100;

    /// <summary>Errors that <c>verify</c> lists, and warnings, each. All of them are counted; nobody reads more, and ten thousand bad actions have them.</summary>
    public const int MaxIssues = 1_000;

    /// <summary>Conflicts that <c>verify</c> lists, for the same reason.</summary>
    public const int MaxConflicts = 1_000;

    /// <summary>Characters of a message: names in it are the caller's and may be a megabyte long.</summary>
    public const int MaxMessageChars = 1_024;

    /// <summary>
    /// Steps that one analysis may take: looking at one condition, dependency or write, or comparing 16 bytes. A thousand trials of ten thousand
    /// actions are a quarter of it; all of it is some seconds of one processor.
    /// </summary>
    public const long MaxSteps = 200_000_000;

    /// <summary>Trials of <c>verify.monte_carlo</c>: an estimate is then good to a third of a percent, and further ones only cost time.</summary>
    public const int MaxTrials = 100_000;

    /// <summary>Retries of each tool call in a trial: whatever does not succeed in a hundred attempts does not.</summary>
    public const int MaxRetryAttempts = 100;

    /// <summary>Conditions of a goal: a goal is some facts about the state.</summary>
    public const int MaxGoalConditions = 256;

    /// <summary>States that <c>equivalent</c> tries.</summary>
    public const int MaxTestStates = 256;

    /// <summary>Outcomes of conditions that the trials remember, some tens of MiB; what finds no place is worked out again.</summary>
    public const int MaxRememberedOutcomes = 1 << 20;
}

using CarServer.RunStore;
using CarServer.RunStore.Contracts;

namespace CarServer.State.Engine.Analysis;

/// <summary>How <c>verify.monte_carlo</c> goes about it.</summary>
/// <param name="Seed">Fixed, not drawn: the same question has the same answer.</param>
/// <param name="DefaultSuccessRate">Of a tool that nothing is known about.</param>
/// <param name="RetryAttempts">Further attempts of each tool call that fails.</param>
internal sealed record MonteCarloConfig(int Trials = 1_000, ulong Seed = 42, double DefaultSuccessRate = 0.5, int RetryAttempts = 0)
{
    /// <exception cref="RefusedException">A number is out of its range.</exception>
    public void Check()
    {
        if (Trials is < 1 or > AnalysisLimits.MaxTrials) throw Invalid($"config.trials must be between 1 and {AnalysisLimits.MaxTrials}");
        if (RetryAttempts is < 0 or > AnalysisLimits.MaxRetryAttempts) throw Invalid($"config.retry_attempts must be between 0 and {AnalysisLimits.MaxRetryAttempts}");
    }

    private static RefusedException Invalid(string message) => new(message, Refusal.Invalid);
}

/// <summary>A number of each trial, over all of them. Percentiles are numbers that occurred (nearest rank).</summary>
internal sealed record Distribution(double Mean, long Min, long P50, long P95, long Max)
{
    /// <param name="numbers">One a trial; sorted by this.</param>
    public static Distribution Of(long[] numbers)
    {
        Array.Sort(numbers);
        return new Distribution(numbers.Average(), numbers[0], Percentile(50), Percentile(95), numbers[^1]);

        long Percentile(int percent) => numbers[(int)(((long)numbers.Length * percent + 99) / 100) - 1];
    }
}

internal sealed record ValueProbability(RawJson Value, double Probability);

/// <summary>What a key holds at the end.</summary>
/// <param name="Values">The most probable first.</param>
internal sealed record KeyDistribution(string Key, double PPresent, IReadOnlyList<ValueProbability> Values);

/// <summary>How one action ends.</summary>
/// <param name="PEffectsLanded">It ran, and what it writes is in the state.</param>
/// <param name="MeanBlastRadius">Actions that could not start because this one did not land, on the average of the trials in which no other action was the cause of that.</param>
internal sealed record ActionOdds(string ActionId, double PRejected, double PFailed, double PEffectsLanded, double MeanBlastRadius);

/// <summary>What <c>verify.monte_carlo</c> answers (protocol 11.2).</summary>
/// <param name="PGoalReached">Null without a goal.</param>
/// <param name="PAllEffectsLanded">No action was rejected or failed.</param>
/// <param name="ToolCalls">Attempts handed to a tool.</param>
/// <param name="ActionsExecuted">Actions that started, however they ended.</param>
/// <param name="StateDistribution">Of the keys that the plan writes.</param>
[ToJson]
internal sealed record TrialReport(
    int Trials, ulong Seed, double? PGoalReached, IReadOnlyList<string> GoalUnderivableConditions, double PAllEffectsLanded,
    Distribution ToolCalls, Distribution ActionsExecuted, IReadOnlyList<KeyDistribution> StateDistribution,
    IReadOnlyList<ActionOdds> ActionOutcomes, RateProvenance RateProvenance);

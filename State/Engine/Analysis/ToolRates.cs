using CarServer.RunStore;

namespace CarServer.State.Engine.Analysis;

internal enum RateSource { Caller, Trajectories, Default }

/// <summary>What became of the calls of one tool, as recorded runs tell it.</summary>
internal readonly record struct ToolRecord(long Succeeded, long Dispatched)
{
    /// <summary>Laplace's rule of succession: no tool is certain after a few calls.</summary>
    public double Rate => (Succeeded + 1.0) / (Dispatched + 2.0);
}

/// <summary>Recorded tool calls.</summary>
/// <param name="Runs">How many runs they come from.</param>
internal sealed record Trajectories(int Runs, IReadOnlyDictionary<string, ToolRecord> Tools)
{
    public static readonly Trajectories None = new(0, new Dictionary<string, ToolRecord>());
}

/// <summary>How often a tool succeeds, and how that is known.</summary>
internal sealed record ToolRate(string Tool, double Rate, RateSource Source, long? Succeeded, long? Dispatched);

/// <param name="TrajectoriesAvailable">Recorded runs that were read.</param>
/// <param name="OverriddenByCaller">Tools whose recorded rate the caller's took the place of.</param>
internal sealed record RateProvenance(int WindowDays, int TrajectoriesAvailable, IReadOnlyList<string> OverriddenByCaller, IReadOnlyList<ToolRate> Tools)
{
    /// <summary>A rate for each tool that the plan calls: the caller's, else the recorded one, else the default.</summary>
    public static RateProvenance Of(ActionProposal proposal, IReadOnlyDictionary<string, double>? caller, Trajectories recorded, int windowDays, double standard)
    {
        string[] tools = [.. proposal.Actions.Where(action => action.Type == ActionType.ToolCall).Select(action => action.Tool).OfType<string>().Distinct().Order(StringComparer.Ordinal)];
        return new RateProvenance(windowDays, recorded.Runs,
            [.. tools.Where(tool => caller?.ContainsKey(tool) == true && recorded.Tools.ContainsKey(tool))],
            [.. tools.Select(Rate)]);

        ToolRate Rate(string tool)
        {
            if (caller is not null && caller.TryGetValue(tool, out double given)) return new ToolRate(tool, Math.Clamp(given, 0, 1), RateSource.Caller, null, null);
            return recorded.Tools.TryGetValue(tool, out ToolRecord seen)
                ? new ToolRate(tool, seen.Rate, RateSource.Trajectories, seen.Succeeded, seen.Dispatched)
                : new ToolRate(tool, Math.Clamp(standard, 0, 1), RateSource.Default, null, null);
        }
    }
}

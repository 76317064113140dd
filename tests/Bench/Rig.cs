namespace CarServer.Tests.Bench;

/// <summary>A cost, and how a person wants to read it.</summary>
internal sealed record Figure(string Name, Func<double, string> Show);

/// <summary>Clients at a daemon, ready to measure it.</summary>
/// <param name="measure">Works for about so long and returns a value for each figure of its case.</param>
internal sealed class Rig(Func<TimeSpan, double[]> measure, params IReadOnlyList<IDisposable> clients) : IDisposable
{
    public double[] Measure(TimeSpan window) => measure(window);

    public void Dispose()
    {
        foreach (IDisposable client in clients) client.Dispose();
    }
}

/// <summary>What a command of the measurements is told: <c>[--rounds=N] WORD...</c></summary>
internal sealed record Arguments(int Rounds, IReadOnlyList<string> Words)
{
    /// <summary>Null for an option that there is not.</summary>
    public static Arguments? Parse(string[] arguments, int rounds)
    {
        const string Option = "--rounds=";
        var words = new List<string>();
        foreach (string argument in arguments)
        {
            if (!argument.StartsWith('-')) words.Add(argument);
            else if (!argument.StartsWith(Option, StringComparison.Ordinal) || !int.TryParse(argument[Option.Length..], out rounds) || rounds < 1) return null;
        }
        return new Arguments(rounds, words);
    }
}

using System.Diagnostics;
using CarServer.Tests.Support;

namespace CarServer.Tests.Bench;

/// <summary>Something that a daemon can have many of.</summary>
/// <param name="Figures">What one costs, and from which size on fixed costs are no longer most of it: growth is taken from there.</param>
/// <param name="Prepare">Gives a daemon so many of it; the rig's values are costs of one.</param>
internal sealed record GrowthCase((Figure Figure, int From)[] Figures, Func<TestDaemon, int, Rig> Prepare)
{
    public int Least { get; init; } = 1;
    public int Most { get; init; } = int.MaxValue;

    /// <summary>Why there are no fewer, or no more.</summary>
    public string Limit { get; init; } = "";
}

/// <summary>What one costs where there are ten times as many, size beside size in alternating rounds.</summary>
internal sealed class GrowthTable(int rounds)
{
    private const string Format = "{0,-46} {1,10} {2,10} {3,10} {4,10} {5,10}  {6}";
    private const double Target = 1.15;

    private static readonly int[] Sizes = [1, 10, 100, 1_000, 10_000];
    private static readonly TimeSpan Window = TimeSpan.FromMilliseconds(100);

    private readonly List<string> _notes = [];
    private int _over;

    public static async Task<int> RunAsync(string[] arguments)
    {
        if (Arguments.Parse(arguments, rounds: 5) is not { Words.Count: <= 1 } parsed)
        {
            Console.Error.WriteLine("usage: bench growth [--rounds=N] [WORD]   with WORD only what has it in its name");
            return 2;
        }
        long started = Stopwatch.GetTimestamp();
        var table = new GrowthTable(parsed.Rounds);
        Console.WriteLine(Format, "what one costs, of so many", "1", "10", "100", "1,000", "10,000", "worst growth to ten times as many");
        foreach (GrowthCase one in GrowthCases.All())
            if (one.Figures.Any(row => row.Figure.Name.Contains(parsed.Words.FirstOrDefault(""), StringComparison.OrdinalIgnoreCase))) await table.RunAsync(one);
        table.PrintNotes();
        Console.WriteLine($"{parsed.Rounds} rounds, {Stopwatch.GetElapsedTime(started).TotalSeconds:0} s, {Environment.ProcessorCount} processors");
        return 0;
    }

    private async Task RunAsync(GrowthCase one)
    {
        var values = new List<double[]>[Sizes.Length];   // by size, then by round: a value for each figure
        var sizes = new List<Sized>();
        for (int i = 0; i < Sizes.Length; i++)
        {
            values[i] = [];
            if (Sizes[i] < one.Least || Sizes[i] > one.Most) Note(one, Sizes[i], one.Limit);
            else sizes.Add(await Sized.StartAsync(Sizes[i], values[i]));
        }
        foreach (Sized size in sizes) Try(one, size, () => size.Rig = one.Prepare(size.Daemon, size.Count));
        for (int round = 0; round <= rounds; round++)   // the first is thrown away
        {
            foreach (Sized size in sizes)
                Try(one, size, () =>
                {
                    double[] measured = size.Rig!.Measure(Window);
                    if (round > 0) size.Values.Add(measured);
                });
            sizes.Reverse();
        }
        foreach (Sized size in sizes) await size.DisposeAsync();
        for (int figure = 0; figure < one.Figures.Length; figure++) PrintRow(one.Figures[figure], [.. values.Select(of => of.Select(all => all[figure]).ToList())]);
    }

    /// <summary>A daemon that has so many of what is measured, or has shown that it cannot.</summary>
    private sealed class Sized(int count, List<double[]> values, TestDaemon daemon) : IAsyncDisposable
    {
        public static async Task<Sized> StartAsync(int count, List<double[]> values) => new(count, values, await TestDaemon.StartAsync("--no-auth"));

        public int Count => count;
        public List<double[]> Values => values;
        public TestDaemon Daemon => daemon;
        public Rig? Rig { get; set; }
        public bool HasFailed { get; set; }

        public ValueTask DisposeAsync()
        {
            Rig?.Dispose();
            return daemon.DisposeAsync();
        }
    }

    /// <summary>A size that comes to grief is left out from then on, and the reason is noted.</summary>
    private void Try(GrowthCase one, Sized size, Action work)
    {
        if (size.HasFailed) return;
        try
        {
            work();
        }
        catch (Exception e)
        {
            size.HasFailed = true;
            Note(one, size.Count, e.Message[..Math.Min(e.Message.Length, 200)]);
        }
    }

    private void Note(GrowthCase one, int size, string reason) => _notes.Add($"{one.Figures[0].Figure.Name}: not with {size:#,0}: {reason}");

    private void PrintRow((Figure Figure, int From) row, List<double>[] values)
    {
        object[] cells = [row.Figure.Name, .. values.Select(of => of.Count < rounds ? "-" : row.Figure.Show(Table.Median(of))), Growth(row.From, values)];
        Console.WriteLine(Format, cells);
    }

    /// <summary>The worst median of the rounds' ratios of one size to the next, with its range.</summary>
    private string Growth(int from, List<double>[] values)
    {
        double worst = 0;
        string shown = "-";
        for (int size = 0; size + 1 < Sizes.Length; size++)
        {
            if (Sizes[size] < from || values[size].Count < rounds || values[size + 1].Count < rounds) continue;
            double[] ratios = [.. values[size].Zip(values[size + 1], (few, many) => many / few).Order()];
            double median = Table.Median(ratios);
            if (median <= worst) continue;
            worst = median;
            shown = $"{median:0.00} ({ratios[0]:0.00}–{ratios[^1]:0.00}) to {Sizes[size + 1]:#,0}, seen from {from:#,0}";
        }
        if (worst <= Target) return shown;
        _over++;
        return shown + $", over {Target:0.00}";
    }

    private void PrintNotes()
    {
        Console.WriteLine();
        foreach (string note in _notes) Console.WriteLine(note);
        Console.WriteLine("Growth: the median of the rounds' ratios, in brackets their range. Below the size it is seen from, what is paid once for a call or a batch is most of the cost.");
        Console.WriteLine($"Target: at most {Target:0.00}; {_over} over it.");
    }
}

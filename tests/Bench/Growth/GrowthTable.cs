using System.Diagnostics;
using CarServer.Tests.Support;

namespace CarServer.Tests.Bench;

/// <summary>A cost that should stay.</summary>
/// <param name="From">From which size on fixed costs are no longer most of it: growth is taken from there.</param>
/// <param name="OnPurpose">Why it may grow; empty if it may not.</param>
internal sealed record GrowthFigure(Figure Figure, int From, string OnPurpose = "");

/// <summary>Something that a daemon can have many of.</summary>
/// <param name="Figures">What one costs.</param>
/// <param name="Prepare">Gives a daemon so many of it; the rig's values are costs of one.</param>
internal sealed record GrowthCase(GrowthFigure[] Figures, Func<TestDaemon, int, Rig> Prepare)
{
    public int Least { get; init; } = 1;
    public int Most { get; init; } = int.MaxValue;

    /// <summary>Why there are no fewer, or no more.</summary>
    public string Limit { get; init; } = "";

    /// <summary>For the first figure: what of it the machine takes, where that grows by itself.</summary>
    public BareCase? Bare { get; init; }
}

/// <param name="Prepare">On the same daemons; the rig has one value.</param>
/// <param name="Beside">In the same rounds, since the machine's mood changes it; or else once the daemons' clients have gone.</param>
internal sealed record BareCase(string Name, Func<TestDaemon, int, Rig> Prepare, bool Beside = false);

/// <summary>Where daemons have their files until the end of all measurements.</summary>
/// <remarks>ext4 gives no inode again for a minute and more and looks past each that it does not: after a round of ten thousand runs had been
/// deleted, a new file took a millisecond instead of 40 µs.</remarks>
internal static class Homes
{
    private static readonly List<TempHome> s_all = [];

    public static TempHome New()
    {
        var home = new TempHome();
        s_all.Add(home);
        return home;
    }

    public static void DeleteAll()
    {
        foreach (TempHome home in s_all) home.Dispose();
    }
}

/// <summary>What one costs where there are ten times as many, size beside size in alternating rounds.</summary>
internal sealed class GrowthTable(int rounds)
{
    private const string Format = "{0,-46} {1,10} {2,10} {3,10} {4,10} {5,10}  {6}";
    private const double Target = 1.15;

    private static readonly int[] Sizes = [1, 10, 100, 1_000, 10_000];
    private static readonly TimeSpan Window = TimeSpan.FromMilliseconds(200);

    private readonly List<string> _notes = [];
    private int _over;

    public static async Task<int> RunAsync(string[] arguments)
    {
        if (Arguments.Parse(arguments, rounds: 9) is not { Words.Count: <= 1 } parsed)
        {
            Console.Error.WriteLine("usage: bench growth [--rounds=N] [WORD]   with WORD only what has it in its name");
            return 2;
        }
        Processors.LeaveTheFirst();
        long started = Stopwatch.GetTimestamp();
        var table = new GrowthTable(parsed.Rounds);
        Console.WriteLine(Format, "what one costs, of so many", "1", "10", "100", "1,000", "10,000", "worst growth to ten times as many");
        try
        {
            foreach (GrowthCase one in GrowthCases.All())
                if (one.Figures.Any(row => row.Figure.Name.Contains(parsed.Words.FirstOrDefault(""), StringComparison.OrdinalIgnoreCase))) await table.RunAsync(one);
        }
        finally
        {
            Homes.DeleteAll();
        }
        table.PrintNotes();
        Console.WriteLine($"{parsed.Rounds} rounds, {Stopwatch.GetElapsedTime(started).TotalSeconds:0} s, {Environment.ProcessorCount} processors");
        return 0;
    }

    private async Task RunAsync(GrowthCase one)
    {
        var sizes = new List<Sized>();
        foreach (int size in Sizes)
        {
            if (size < one.Least || size > one.Most) Note(one, size, one.Limit);
            else sizes.Add(new Sized(size, await TestDaemon.StartAsync(new DaemonStart { Home = Homes.New(), Arguments = ["--no-auth"], Before = Processors.DaemonHasTheFirst })));
        }
        bool beside = one.Bare is { Beside: true };
        List<double[]>[] values = Measure(one, sizes, beside ? Both : one.Prepare), bare = beside ? values : one.Bare is null ? [] : Measure(one, sizes, one.Bare.Prepare);
        foreach (Sized size in sizes) await size.Daemon.DisposeAsync();
        for (int figure = 0; figure < one.Figures.Length; figure++)
            PrintRow(one.Figures[figure], [.. values.Select(of => of.Select(all => all[figure]).ToArray())], figure == 0 ? one.Bare : null, [.. bare.Select(of => of.Select(all => all[^1]).ToArray())]);

        Rig Both(TestDaemon daemon, int count)
        {
            Rig ours = one.Prepare(daemon, count), bare = one.Bare!.Prepare(daemon, count);
            bool bareFirst = false;   // in turn: what ours leaves to be written must not always fall into bare's time
            return new Rig(window =>
            {
                bareFirst = !bareFirst;
                double[] before = bareFirst ? bare.Measure(window) : [], figures = ours.Measure(window);
                return [.. figures, .. bareFirst ? before : bare.Measure(window)];
            }, ours, bare);
        }
    }

    /// <returns>By size, then by round: a value for each figure.</returns>
    private List<double[]>[] Measure(GrowthCase one, List<Sized> sizes, Func<TestDaemon, int, Rig> prepare)
    {
        List<double[]>[] values = [.. Sizes.Select(_ => new List<double[]>())];
        foreach (Sized size in sizes) Try(one, size, () => size.Rig = prepare(size.Daemon, size.Count));
        for (int round = 0; round <= rounds; round++)   // the first is thrown away
        {
            foreach (Sized size in sizes)
                Try(one, size, () =>
                {
                    double[] measured = size.Rig!.Measure(Window);
                    if (round > 0) values[Array.IndexOf(Sizes, size.Count)].Add(measured);
                });
            sizes.Reverse();
        }
        foreach (Sized size in sizes) size.Rig?.Dispose();
        return values;
    }

    /// <summary>A daemon that has so many of what is measured, or has shown that it cannot.</summary>
    private sealed class Sized(int count, TestDaemon daemon)
    {
        public int Count => count;
        public TestDaemon Daemon => daemon;
        public Rig? Rig { get; set; }
        public bool HasFailed { get; set; }
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

    private void PrintRow(GrowthFigure row, double[][] values, BareCase? bare, double[][] bareValues)
    {
        (double worst, string growth) = Growth(row.From, values);
        bool isOver = worst > Target && row.OnPurpose.Length == 0;
        if (bare is null)
        {
            Print(row.Figure.Name, row.Figure.Show, values, growth + (isOver ? Over : worst > Target ? ", on purpose: " + row.OnPurpose : ""));
            if (isOver) _over++;
            return;
        }
        double[][] quotients = [.. values.Zip(bareValues, static (ours, machine) => ours.Zip(machine, static (a, b) => a / b).ToArray())];
        (double bareWorst, string bareGrowth) = Growth(row.From, bareValues);
        (double ownWorst, string ownGrowth) = Growth(row.From, values, bareValues);
        // Where the machine's own part grows by more than we may, ours is what is left of the growth without it.
        bool isMachines = bareWorst > Target;
        if (isMachines) isOver = isOver && ownWorst > Target;
        Print(row.Figure.Name, row.Figure.Show, values, growth + (isOver && !isMachines ? Over : ""));
        Print("  " + bare.Name, row.Figure.Show, bareValues, bareGrowth);
        Print("  times as much, and growth without that", static ratio => $"{ratio:0.00}", quotients, ownGrowth + (isOver && isMachines ? Over : ""));
        if (isOver) _over++;
    }

    private static string Over => $", over {Target:0.00}";

    private void Print(string name, Func<double, string> show, double[][] values, string growth)
    {
        object[] cells = [name, .. values.Select(of => of.Length < rounds ? "-" : show(Table.Median(of))), growth];
        Console.WriteLine(Format, cells);
    }

    /// <summary>The worst median of the rounds' ratios of one size to the next, and how it is told: with its range.</summary>
    /// <param name="bare">What these have grown by is taken away.</param>
    private (double Worst, string Told) Growth(int from, double[][] values, double[][]? bare = null)
    {
        double worst = 0;
        string told = "-";
        for (int size = 0; size + 1 < Sizes.Length; size++)
        {
            if (Sizes[size] < from || IsMissing(values) || (bare is not null && IsMissing(bare))) continue;
            double[] ratios = [.. Enumerable.Range(0, rounds).Select(round => (values[size + 1][round] - Machines(round)) / values[size][round]).Order()];
            double median = Table.Median(ratios);
            if (median <= worst) continue;
            worst = median;
            told = $"{median:0.00} ({ratios[0]:0.00}–{ratios[^1]:0.00}) to {Sizes[size + 1]:#,0}, seen from {from:#,0}";

            double Machines(int round) => bare is null ? 0 : bare[size + 1][round] - bare[size][round];
            bool IsMissing(double[][] of) => of[size].Length < rounds || of[size + 1].Length < rounds;
        }
        return (worst, told);
    }

    private void PrintNotes()
    {
        Console.WriteLine();
        foreach (string note in _notes) Console.WriteLine(note);
        Console.WriteLine("Growth: the median of the rounds' ratios, in brackets their range. Below the size it is seen from, what is paid once for a call or a batch is most of the cost.");
        Console.WriteLine($"Target: at most {Target:0.00}, without the machine's own part where that grows by more; {_over} over it.");
    }
}

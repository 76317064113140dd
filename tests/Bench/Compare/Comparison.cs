using System.Diagnostics;
using CarServer.Tests.Support;

namespace CarServer.Tests.Bench;

/// <summary>Two executables do the same things in alternating rounds; says which of them the second does better or worse.</summary>
internal sealed class Comparison(int rounds, string a, string b)
{
    private const string Format = "{0,-58} {1,12} {2,12} {3,6}  {4,-11} {5}";

    /// <summary>A median nearer to 1 than this is nothing to talk about, however steady.</summary>
    private const double Notable = 0.03;

    /// <summary>More than this in every round makes the command fail.</summary>
    private const double Bearable = 1.10;

    private static readonly TimeSpan Window = TimeSpan.FromMilliseconds(250);

    private readonly List<string> _bad = [];

    public static async Task<int> RunAsync(string[] arguments)
    {
        if (Arguments.Parse(arguments, rounds: 9) is not { Words: [var a, var b] } parsed)
        {
            Console.Error.WriteLine("usage: bench compare [--rounds=N] EXECUTABLE-A EXECUTABLE-B");
            return 2;
        }
        long started = Stopwatch.GetTimestamp();
        var comparison = new Comparison(parsed.Rounds, Path.GetFullPath(a), Path.GetFullPath(b));
        await comparison.RunAsync();
        Console.WriteLine();
        Console.WriteLine("B/A: the median of the rounds' ratios of costs, above 1 is dearer, and their range. Same: 1 lies within the range, or the median is within 3 % of it.");
        if (!ProcessorTime.IsAvailable) Console.WriteLine("Processor time of the server is not available on this system.");
        Console.WriteLine($"{parsed.Rounds} rounds, {Stopwatch.GetElapsedTime(started).TotalSeconds:0} s, {Environment.ProcessorCount} processors");
        if (comparison._bad.Count == 0) return 0;
        Console.WriteLine($"worse by more than {Bearable - 1:0 %} in every round: {string.Join("; ", comparison._bad)}");
        return 1;
    }

    private async Task RunAsync()
    {
        Console.WriteLine($"A: {a}");
        Console.WriteLine($"B: {b}");
        Console.WriteLine(Format, "", "A", "B", "B/A", "range", "");
        Processors.LeaveTheFirst();
        await using TestDaemon daemonA = await StartAsync(a);
        await using TestDaemon daemonB = await StartAsync(b);
        foreach (CompareCase one in CompareCases.All())
        {
            var sideA = new Side(() => one.Prepare(a, daemonA));
            var sideB = new Side(() => one.Prepare(b, daemonB));
            for (int round = 0; round <= rounds; round++)   // the first is thrown away
            {
                Side[] order = round % 2 == 0 ? [sideA, sideB] : [sideB, sideA];
                foreach (Side side in order) side.Measure(isKept: round > 0);
            }
            for (int figure = 0; figure < one.Figures.Length; figure++) Print(one.Figures[figure], figure, sideA, sideB);
        }
    }

    private static Task<TestDaemon> StartAsync(string binary) => TestDaemon.StartAsync(new DaemonStart { Arguments = ["--no-auth"], Binary = binary, Before = Processors.DaemonHasTheFirst });

    private void Print(Figure figure, int index, Side sideA, Side sideB)
    {
        if (sideA.Failure is not null || sideB.Failure is not null)
        {
            Console.WriteLine(Format, figure.Name, Cell(sideA), Cell(sideB), "", "", $"{(sideA.Failure is null ? "B" : "A")} failed: {sideA.Failure ?? sideB.Failure}");
            if (sideA.Failure is null) _bad.Add(figure.Name + ", which fails");
            return;
        }
        double[] ratios = [.. sideA.Values.Zip(sideB.Values, (inA, inB) => inB[index] / inA[index]).Order()];
        double median = Table.Median(ratios);
        if (double.IsNaN(median)) return;
        bool isSame = (ratios[0] <= 1 && ratios[^1] >= 1) || Math.Abs(median - 1) < Notable;
        Console.WriteLine(Format, figure.Name, Cell(sideA), Cell(sideB), $"{median:0.00}", $"{ratios[0]:0.00}–{ratios[^1]:0.00}", isSame ? "same" : median < 1 ? "better" : "worse");
        if (ratios[0] > Bearable) _bad.Add(figure.Name);

        string Cell(Side side) => side.Failure is null ? figure.Show(Table.Median([.. side.Values.Select(values => values[index])])) : "-";
    }

    /// <summary>What one of the two gives for a case. An executable from before a method was made cannot do everything.</summary>
    private sealed class Side(Func<Rig> prepare)
    {
        public List<double[]> Values { get; } = [];
        public string? Failure { get; private set; }

        public void Measure(bool isKept)
        {
            if (Failure is not null) return;
            try
            {
                using Rig rig = prepare();   // new connections each time: how the daemon's loops share them out must not last for all rounds
                double[] values = rig.Measure(Window);
                if (isKept) Values.Add(values);
            }
            catch (Exception e) { Failure = e.Message; }
        }
    }
}

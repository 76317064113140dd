namespace CarServer.Tests.Bench;

/// <summary>Measures cases in alternating rounds and prints a row for each.</summary>
internal sealed class Table(int rounds, TimeSpan window)
{
    private const string Format = "{0,-44} {1,14} {2,14} {3,7} {4,13} {5,7}  {6}";

    public void PrintHeading(string title)
    {
        Console.WriteLine();
        Console.WriteLine(Format, title, "here", "limit", "ratio", "spread", "bytes", "the limit is");
    }

    /// <summary>Ours and the limit take turns, and who comes first takes turns too; the first round of each is thrown away.</summary>
    public void Run(Case one)
    {
        var ours = new List<double>();
        var limits = new List<double>();
        var ratios = new List<double>();
        for (int round = 0; round <= rounds; round++)
        {
            double here, limit;
            if (round % 2 == 0)
            {
                here = one.Ours(window);
                limit = one.Limit(window);
            }
            else
            {
                limit = one.Limit(window);
                here = one.Ours(window);
            }
            if (round == 0) continue;
            ours.Add(here);
            limits.Add(limit);
            ratios.Add(here / limit);
        }
        ratios.Sort();
        Console.WriteLine(Format, one.Name, one.Show(Median(ours)), one.Show(Median(limits)), $"{Median(ratios):0.00}",
            $"{ratios[0]:0.00}–{ratios[^1]:0.00}", one.Allocated is { } allocated ? $"{allocated():0}" : "", one.LimitName);
    }

    public static double Median(IReadOnlyCollection<double> values)
    {
        List<double> sorted = [.. values.Order()];
        int middle = sorted.Count / 2;
        return sorted.Count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }
}

using System.Diagnostics;
using System.Globalization;
using CarServer.Tests.Support;

namespace CarServer.Tests.Bench;

/// <summary>A mixed load at a steady pace for as long as one likes: nothing may go wrong, and nothing may grow.</summary>
internal sealed class Soak(TestDaemon daemon, int minutes)
{
    /// <summary>How much more may be resident in the last minute than in the one that is compared: the collector's own ups and downs.</summary>
    private const double AllowedGrowth = 0.02;

    /// <summary>By its end everything that the daemon keeps up to a limit is full: events, headers of ended runs, buffers.</summary>
    private const int WarmMinutes = 5;

    private static readonly TimeSpan s_betweenSamples = TimeSpan.FromSeconds(5);

    private readonly ManualResetEventSlim _end = new();
    private readonly List<Thread> _threads = [];
    private readonly Lock _pingLock = new();
    private List<double> _pings = [];
    private string? _failure;

    public static async Task<int> RunAsync(string[] args)
    {
        int minutes = 30;
        if (args.Length > 1 || (args.Length == 1 && (!int.TryParse(args[0], CultureInfo.InvariantCulture, out minutes) || minutes < 1)))
        {
            Console.Error.WriteLine("usage: bench soak [MINUTES]   at least 1; 30 unless said");
            return 2;
        }
        if (!ProcessFigures.Available)
        {
            Console.Error.WriteLine("bench soak: this system does not tell about other processes in /proc");
            return 1;
        }
        await using TestDaemon daemon = await TestDaemon.StartAsync("--no-auth");   // with auth only a supervised agent may record turns
        return new Soak(daemon, minutes).Run() ? 0 : 1;
    }

    /// <summary>One load on a thread of its own: a step so many times a second, with no attempt to make up for what a busy machine lost.</summary>
    /// <param name="open">Makes the load's connections, and returns its step.</param>
    public void Load(string name, double perSecond, Func<Action> open) => _threads.Add(new Thread(() =>
    {
        try
        {
            Action step = open();
            TimeSpan period = TimeSpan.FromSeconds(1 / perSecond), due = TimeSpan.Zero;
            long started = Stopwatch.GetTimestamp();
            while (!_end.IsSet)
            {
                step();
                due += period;
                TimeSpan wait = due - Stopwatch.GetElapsedTime(started);
                if (wait > TimeSpan.Zero) _end.Wait(wait);
                else if (wait < -period) due -= wait;
            }
        }
        catch (Exception e)
        {
            if (Interlocked.CompareExchange(ref _failure, $"{name}: {e.Message}", null) is null) Console.Error.WriteLine(e);
            _end.Set();
        }
    }) { IsBackground = true, Name = name });

    public void Pinged(TimeSpan turnAround)
    {
        lock (_pingLock) _pings.Add(turnAround.TotalMicroseconds);
    }

    private bool Run()
    {
        SoakLoads.AddTo(this, daemon);
        Console.WriteLine($"{minutes} minutes; memory in KiB, handles the least of the minute, ping in µs");
        Console.WriteLine("{0,6} {1,12} {2,6} {3,9} {4,9} {5,8} {6,8} {7,6} {8,8} {9,8}", "minute", "requests", "errors", "resident", "anonymous", "handles", "threads", "cpu %", "p50", "p99");
        foreach (Thread thread in _threads) thread.Start();

        var all = new List<Minute>();
        while (all.Count < minutes && !_end.IsSet)
        {
            all.Add(Watch());
            Print(all.Count, all[^1]);
        }
        _end.Set();
        foreach (Thread thread in _threads) thread.Join();
        bool good = Judge(all);
        if (daemon.HasExited) return false;
        // The daemon gives memory back half a second to a second after the last traffic: what is left is what it really holds.
        Thread.Sleep(TimeSpan.FromSeconds(3));
        Console.WriteLine($"quiet    {ProcessFigures.Of(daemon.ProcessId).Resident:#,0} KiB");
        return good;
    }

    private Minute Watch()
    {
        double processor = daemon.HasExited ? 0 : ProcessFigures.Of(daemon.ProcessId).Processor;
        var samples = new List<ProcessFigures>();
        long started = Stopwatch.GetTimestamp();
        while (samples.Count < TimeSpan.FromMinutes(1) / s_betweenSamples && !_end.Wait(s_betweenSamples)) samples.Add(ProcessFigures.Of(daemon.ProcessId));
        double cpu = samples.Count == 0 ? 0 : (samples[^1].Processor - processor) / Stopwatch.GetElapsedTime(started).TotalSeconds;
        lock (_pingLock)
        {
            List<double> pings = _pings;
            _pings = [];
            pings.Sort();
            return new Minute(Median(samples, one => one.Resident), Median(samples, one => one.Anonymous),
                samples.Count == 0 ? 0 : samples.Min(one => one.Handles), (int)Median(samples, one => one.Threads), cpu, At(pings, 0.5), At(pings, 0.99));
        }

        static double At(List<double> sorted, double part) => sorted.Count == 0 ? 0 : sorted[(int)(part * (sorted.Count - 1))];
    }

    private void Print(int minute, Minute one) => Console.WriteLine("{0,6} {1,12:#,0} {2,6} {3,9:#,0} {4,9:#,0} {5,8} {6,8} {7,6:0.0} {8,8:0.0} {9,8:0.0}",
        minute, SoakClient.Requests, _failure is null ? 0 : 1, one.Resident, one.Anonymous, one.Handles, one.Threads, one.Processor * 100, one.P50, one.P99);

    private bool Judge(List<Minute> all)
    {
        string[] complaints = [.. daemon.Errors.Split('\n').Where(line => line.Contains(" error ", StringComparison.Ordinal) || line.Contains(" fatal ", StringComparison.Ordinal))];
        Console.WriteLine();
        foreach (string line in complaints.Take(10)) Console.WriteLine($"the daemon says: {line}");
        if (_failure is not null) Console.WriteLine($"error: {_failure}");
        bool good = _failure is null && complaints.Length == 0 && !daemon.HasExited;
        Console.WriteLine($"errors   {(_failure is null ? 0 : 1)}, lines of error from the daemon {complaints.Length}: {Verdict(good)}");
        if (all.Count <= WarmMinutes)
        {
            Console.WriteLine($"growth   not judged in the first {WarmMinutes} minutes");
            return good;
        }
        Minute warm = all[WarmMinutes - 1], last = all[^1];
        double growth = last.Resident / (double)warm.Resident - 1;
        bool memory = growth <= AllowedGrowth, handles = last.Handles <= warm.Handles;
        Console.WriteLine($"memory   {last.Resident:#,0} KiB against {warm.Resident:#,0} in minute {WarmMinutes}: {growth * 100:+0.0;-0.0} %, allowed {AllowedGrowth * 100:+0} %: {Verdict(memory)}");
        Console.WriteLine($"handles  {last.Handles} against {warm.Handles}: {Verdict(handles)}");
        return good && memory && handles;
    }

    private static string Verdict(bool good) => good ? "good" : "NOT GOOD";

    private static long Median(List<ProcessFigures> samples, Func<ProcessFigures, long> figure)
    {
        List<long> sorted = [.. samples.Select(figure).Order()];
        return sorted.Count == 0 ? 0 : sorted[sorted.Count / 2];
    }

    private readonly record struct Minute(long Resident, long Anonymous, int Handles, int Threads, double Processor, double P50, double P99);
}

using System.Diagnostics;
using System.Globalization;
using CarServer.Tests.Support;

namespace CarServer.Tests.Bench;

/// <summary>A mixed load at a steady pace for as long as one likes: nothing may go wrong, and nothing may grow.</summary>
internal sealed class Soak(TestDaemon daemon, int minutes)
{
    /// <summary>How much more may be resident at the end than near the beginning: the collector's own ups and downs.</summary>
    private const double AllowedGrowth = 0.02;

    /// <summary>In these everything that the daemon keeps up to a limit fills: events, headers of ended runs, buffers.</summary>
    private const int FillingMinutes = 2;

    /// <summary>
    /// Minutes at the end, and behind the first ones, that are compared. The collector takes memory in regions of 4 MiB, so that one minute
    /// may be a tenth above the next and mean nothing; what leaks is in the median of five, at either end.
    /// </summary>
    private const int ComparedMinutes = 5;

    private static readonly TimeSpan s_betweenSamples = TimeSpan.FromSeconds(5);

    /// <summary>Each minute ends with a pause: the longest step takes three seconds, and half a second to a second later the daemon gives memory back.</summary>
    private static readonly TimeSpan s_pause = TimeSpan.FromSeconds(5);

    private readonly ManualResetEventSlim _end = new(), _go = new(true);
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
                _go.Wait();
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
        Console.WriteLine($"{minutes} minutes; memory in KiB, under load (medians) and in the pause that ends the minute; handles the least of the minute; ping in µs");
        Console.WriteLine("{0,6} {1,12} {2,6} {3,9} {4,9} {5,8} {6,8} {7,8} {8,6} {9,8} {10,8}", "minute", "requests", "errors", "resident", "anonymous", "pause", "handles", "threads", "cpu %", "p50", "p99");
        foreach (Thread thread in _threads) thread.Start();

        var all = new List<Minute>();
        while (all.Count < minutes && !_end.IsSet)
        {
            all.Add(Watch());
            Print(all.Count, all[^1]);
        }
        _end.Set();
        foreach (Thread thread in _threads) thread.Join();
        return Judge(all);
    }

    private Minute Watch()
    {
        var samples = new List<ProcessFigures> { ProcessFigures.Of(daemon.ProcessId) };
        long started = Stopwatch.GetTimestamp();
        while (samples.Count < TimeSpan.FromMinutes(1) / s_betweenSamples && !_end.Wait(s_betweenSamples)) samples.Add(ProcessFigures.Of(daemon.ProcessId));
        double processor = (samples[^1].Processor - samples[0].Processor) / Stopwatch.GetElapsedTime(started).TotalSeconds;
        long busy = Median(samples, one => one.Resident), threads = Median(samples, one => one.Threads);
        _go.Reset();
        if (!_end.Wait(s_pause)) samples.Add(ProcessFigures.Of(daemon.ProcessId));
        _go.Set();
        lock (_pingLock)
        {
            List<double> pings = _pings;
            _pings = [];
            pings.Sort();
            return new Minute(busy, Median(samples, one => one.Anonymous), samples[^1].Resident, samples.Min(one => one.Handles), threads, processor, At(pings, 0.5), At(pings, 0.99));
        }

        static double At(List<double> sorted, double part) => sorted.Count == 0 ? 0 : sorted[(int)(part * (sorted.Count - 1))];
    }

    private void Print(int minute, Minute one) => Console.WriteLine("{0,6} {1,12:#,0} {2,6} {3,9:#,0} {4,9:#,0} {5,8:#,0} {6,8} {7,8} {8,6:0.0} {9,8:0.0} {10,8:0.0}",
        minute, SoakClient.Requests, _failure is null ? 0 : 1, one.Resident, one.Anonymous, one.Quiet, one.Handles, one.Threads, one.Processor * 100, one.P50, one.P99);

    private bool Judge(List<Minute> all)
    {
        string[] complaints = [.. daemon.Errors.Split('\n').Where(line => line.Contains(" error ", StringComparison.Ordinal) || line.Contains(" fatal ", StringComparison.Ordinal))];
        Console.WriteLine();
        foreach (string line in complaints.Take(10)) Console.WriteLine($"the daemon says: {line}");
        if (_failure is not null) Console.WriteLine($"error: {_failure}");
        bool good = _failure is null && complaints.Length == 0 && !daemon.HasExited;
        Console.WriteLine($"errors   {(_failure is null ? 0 : 1)}, lines of error from the daemon {complaints.Length}: {Verdict(good)}");
        if (all.Count <= FillingMinutes + ComparedMinutes)
        {
            Console.WriteLine($"growth   not judged in the first {FillingMinutes + ComparedMinutes} minutes");
            return good;
        }
        List<Minute> first = all.GetRange(FillingMinutes, ComparedMinutes), last = all.GetRange(all.Count - ComparedMinutes, ComparedMinutes);
        // A connection that comes or goes while they are counted is one handle; what leaks is there in each of the last minutes.
        int before = first.Max(minute => minute.Handles), after = last.Min(minute => minute.Handles);
        bool handles = after <= before;
        bool memory = Compare("load", minute => minute.Resident) & Compare("pause", minute => minute.Quiet);
        Console.WriteLine($"handles  {after} in the last {ComparedMinutes} minutes against {before} in minutes {FillingMinutes + 1} to {FillingMinutes + ComparedMinutes}: {Verdict(handles)}");
        return good && memory && handles;

        bool Compare(string when, Func<Minute, long> resident)
        {
            long now = Median(last, resident), then = Median(first, resident);
            double growth = now / (double)then - 1;
            Console.WriteLine($"{when,-8} {now:#,0} KiB resident in the last {ComparedMinutes} minutes against {then:#,0} in minutes {FillingMinutes + 1} to {FillingMinutes + ComparedMinutes}, medians: {growth * 100:+0.0;-0.0} %, allowed {AllowedGrowth * 100:+0} %: {Verdict(growth <= AllowedGrowth)}");
            return growth <= AllowedGrowth;
        }
    }

    private static string Verdict(bool good) => good ? "good" : "NOT GOOD";

    private static long Median<T>(List<T> samples, Func<T, long> figure)
    {
        List<long> sorted = [.. samples.Select(figure).Order()];
        return sorted[sorted.Count / 2];
    }

    private readonly record struct Minute(long Resident, long Anonymous, long Quiet, int Handles, long Threads, double Processor, double P50, double P99);
}

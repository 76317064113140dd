using CarServer.RunStore;
using CarServer.State.Events;
using CarServer.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Win32.SafeHandles;

namespace CarServer.Tests.Bench;

/// <summary>An event on its way into memory and journal, against the write of its bytes.</summary>
internal static class EventCases
{
    private const int Events = 1_000;

    public static IEnumerable<Case> All()
    {
        yield return Record("events recorded, an event", isChained: false);
        yield return Record("the same in a hash chain", isChained: true);
    }

    private static Case Record(string name, bool isChained)
    {
        byte[] journal = new byte[Events * (isChained ? 300 : 130)];
        return new Case(name, "one write(2) of a thousand lines", Shown.Each(Events, Shown.PerSecond),
            window =>
            {
                using var home = new TempHome();
                var appender = new Appender(NullLogger.Instance);
                try
                {
                    var log = new EventLog(home.In("journal.jsonl"), appender, TimeProvider.System);
                    if (isChained) log.EnableChain();
                    return Timed.Loop(times =>
                    {
                        for (int i = 0; i < times; i++)
                        {
                            for (int n = 0; n < Events; n++) log.Record(EventKind.ActionSucceeded, "a1", "p", new("tool", "read_file"), new(EventKeys.DurationMs, 1.25));
                            log.Flush();
                            appender.FlushAsync().GetAwaiter().GetResult();
                        }
                    })(window);
                }
                finally
                {
                    appender.DisposeAsync().AsTask().GetAwaiter().GetResult();
                }
            },
            window =>
            {
                using var home = new TempHome();
                using SafeFileHandle file = File.OpenHandle(home.In("journal.jsonl"), FileMode.Create, FileAccess.Write);
                long end = 0;
                return Timed.Loop(times =>
                {
                    for (int i = 0; i < times; i++)
                    {
                        RandomAccess.Write(file, journal, end);
                        end += journal.Length;
                    }
                })(window);
            });
    }
}

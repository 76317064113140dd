using Microsoft.Extensions.Logging;
using Tomlyn;
using Tomlyn.Parsing;

namespace CarServer.RunStore;

/// <summary>Which limit a run has passed, in the words of the file.</summary>
internal enum RetentionReason { MaxPerAgent, MaxAgeDays }

/// <summary>How many finished runs are kept, and for how long (protocol 14.2). 0 or less: no such limit.</summary>
internal sealed record Retention(int MaxPerAgent = Retention.DefaultMaxPerAgent, int MaxAgeDays = Retention.DefaultMaxAgeDays)
{
    /// <summary>Finished runs kept per agent (protocol 14.2).</summary>
    public const int DefaultMaxPerAgent = 50;

    /// <summary>Days that a finished run is kept (protocol 14.2).</summary>
    public const int DefaultMaxAgeDays = 30;

    /// <summary>The finished runs that have to go: those beyond the newest, and those that ended too long ago.</summary>
    /// <param name="newestFirst">One agent's.</param>
    public IEnumerable<(T Run, RetentionReason Reason)> Excess<T>(IEnumerable<T> newestFirst, Func<T, RunSummary> summary, DateTime now)
    {
        int kept = 0;
        foreach (T one in newestFirst)
        {
            RunSummary run = summary(one);
            if (run.Status == RunStatus.InProgress) continue;
            if (IsTooOld(run.EndedAt ?? run.StartedAt, now)) yield return (one, RetentionReason.MaxAgeDays);
            else if (MaxPerAgent > 0 && kept >= MaxPerAgent) yield return (one, RetentionReason.MaxPerAgent);
            else kept++;
        }
    }

    public bool IsTooOld(DateTime ended, DateTime now) => MaxAgeDays > 0 && (now - ended).TotalDays > MaxAgeDays;

    /// <summary>What the <c>[runs]</c> table of a file says; the default for what it does not say.</summary>
    /// <param name="last">What holds on where the file can't be understood: a slip of the pen must not make the daemon delete.</param>
    public static Retention Read(string path, Retention last, ILogger log)
    {
        if (!Path.Exists(path)) return new Retention();   // as at most starts, where an exception would bring its whole machinery into memory
        string? problem = null;
        Retention read;
        try
        {
            read = Parse(File.ReadAllText(path), last, out problem);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return new Retention();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            (read, problem) = (last, PrivateFiles.Reason(e));
        }
        if (problem is not null)
            log.LogWarning("{Path}: {Problem}: runs are kept as max_per_agent = {MaxPerAgent}, max_age_days = {MaxAgeDays} say", path, problem, read.MaxPerAgent, read.MaxAgeDays);
        return read;
    }

    /// <param name="problem">Null when there was none.</param>
    public static Retention Parse(string text, Retention last, out string? problem)
    {
        problem = null;
        var read = new Retention();
        try
        {
            TomlParser parser = TomlParser.Create(text);
            string? table = null;
            while (parser.MoveNext())
            {
                if (parser.Current.Kind != TomlParseEventKind.PropertyName) continue;
                string name = parser.GetPropertyName();
                if (parser.Depth == 1) table = name;
                else if (parser.Depth == 2 && table == "runs") read = read.With(name, ref parser, last, ref problem);
            }
            return read;
        }
        catch (TomlException e)
        {
            problem = e.Line is { } line ? $"line {line} is not TOML" : "not TOML";
            return last;
        }
    }

    private Retention With(string name, ref TomlParser parser, Retention last, ref string? problem)
    {
        if (name is not ("max_per_agent" or "max_age_days")) return this;   // a later version's perhaps
        parser.MoveNext();
        int? number = parser.Current.Kind == TomlParseEventKind.Integer ? (int)Math.Clamp(parser.Current.GetInt64(), int.MinValue, int.MaxValue) : null;
        if (number is null) problem = $"{name} is not a whole number";
        return name == "max_per_agent" ? this with { MaxPerAgent = number ?? last.MaxPerAgent } : this with { MaxAgeDays = number ?? last.MaxAgeDays };
    }
}

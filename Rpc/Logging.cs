using System.Text;
using System.Text.Json;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Logging.Console;
using Microsoft.Extensions.Options;

namespace CarServer.Rpc;

/// <summary>One line an event, on stderr; as text or as JSON. The console's own queue writes, so no caller waits for a terminal; when nobody reads it and
/// the queue is full, lines are dropped and counted.</summary>
internal static class Logging
{
    /// <remarks>No factory: its rules are for several providers, and found by reflection at every start.</remarks>
    public static ILoggerProvider Create(LogLevel level, LogFormat format) => new DeferredConsole(level, format);

    /// <summary>Makes the console and its thread at the first line: a quiet daemon never pays for them.</summary>
    private sealed class DeferredConsole(LogLevel least, LogFormat format) : ILoggerProvider
    {
        private readonly Lazy<ConsoleLoggerProvider> _console = new(() => new ConsoleLoggerProvider(
            new FixedOptions(new ConsoleLoggerOptions { FormatterName = LineFormatter.FormatterName, LogToStandardErrorThreshold = LogLevel.Trace, QueueFullMode = ConsoleLoggerQueueFullMode.DropWrite }),
            [new LineFormatter(format)]));

        public ILogger CreateLogger(string categoryName) => new DeferredLogger(_console, categoryName, least);

        public void Dispose()
        {
            if (_console.IsValueCreated) _console.Value.Dispose();
        }
    }

    private sealed class DeferredLogger(Lazy<ConsoleLoggerProvider> console, string category, LogLevel least) : ILogger
    {
        private ILogger? _logger;

        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;
        public bool IsEnabled(LogLevel logLevel) => logLevel >= least && logLevel != LogLevel.None;
        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (IsEnabled(logLevel)) (_logger ??= console.Value.CreateLogger(category)).Log(logLevel, eventId, state, exception, formatter);
        }
    }

    private sealed class FixedOptions(ConsoleLoggerOptions options) : IOptionsMonitor<ConsoleLoggerOptions>
    {
        public ConsoleLoggerOptions CurrentValue => options;
        public ConsoleLoggerOptions Get(string? name) => options;
        public IDisposable? OnChange(Action<ConsoleLoggerOptions, string?> listener) => null;
    }

    /// <summary><c>2026-01-31T12:00:00.000Z warn wire connection failed …</c>, or the same as an object.</summary>
    private sealed class LineFormatter(LogFormat format) : ConsoleFormatter(FormatterName)
    {
        public const string FormatterName = "line";

        public override void Write<TState>(in LogEntry<TState> entry, IExternalScopeProvider? scopeProvider, TextWriter textWriter)
        {
            string time = DateTime.UtcNow.ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", System.Globalization.CultureInfo.InvariantCulture);
            string message = entry.Formatter(entry.State, entry.Exception);
            if (format == LogFormat.Text)
            {
                string failure = entry.Exception is null ? "" : " exception=" + entry.Exception;
                textWriter.WriteLine($"{time} {Word(entry.LogLevel)} {entry.Category} {OneLine(message)}{OneLine(failure)}");
                return;
            }
            using var stream = new MemoryStream();
            using (var json = new Utf8JsonWriter(stream))
            {
                json.WriteStartObject();
                json.WriteString("time", time);
                json.WriteString("level", Word(entry.LogLevel));
                json.WriteString("category", entry.Category);
                json.WriteString("message", message);
                if (entry.State is IReadOnlyList<KeyValuePair<string, object?>> values)
                    foreach ((string key, object? value) in values)
                        if (key != "{OriginalFormat}") json.WriteString(key.ToLowerInvariant(), value?.ToString());
                if (entry.Exception is not null) json.WriteString("exception", entry.Exception.ToString());
                json.WriteEndObject();
            }
            textWriter.WriteLine(Encoding.UTF8.GetString(stream.GetBuffer(), 0, (int)stream.Length));
        }

        private static string Word(LogLevel level) => level switch
        {
            LogLevel.Trace => "trace",
            LogLevel.Debug => "debug",
            LogLevel.Information => "info",
            LogLevel.Warning => "warn",
            LogLevel.Error => "error",
            _ => "critical",
        };

        /// <summary>Text that came from outside must not be able to start a line of its own or to steer a terminal.</summary>
        private static string OneLine(string text)
        {
            if (!text.AsSpan().ContainsAnyInRange('\0', '\x1F') && !text.AsSpan().ContainsAnyInRange('\x7F', '\x9F')) return text;
            var line = new StringBuilder(text.Length + 16);
            foreach (char c in text)
            {
                if (c is '\n') line.Append(" | ");
                else if (c is '\r') continue;
                else if (char.IsControl(c)) line.Append($"\\x{(int)c:x2}");
                else line.Append(c);
            }
            return line.ToString();
        }
    }
}

using System.Text;
using System.Text.Json;
using CarServer.Rpc.Transport.Native;
using CarServer.RunStore;

namespace CarServer.Rpc.CommandLine.Runs;

/// <summary>A trace as one page (its parts lie in <c>Page/</c>) that shows every turn on a timeline and needs nothing beside itself.</summary>
/// <remarks>
/// The records go into the page as blocks of JSON that no browser runs; the script parses a turn's when somebody opens it. In a block
/// every '&lt;' is spelled as JSON's escape, so no text of a trace can end it. The page's policy lets nothing run but the one script
/// with this export's nonce, and fetches nothing. Records are written as they come; only a line for each turn is kept until the end.
/// </remarks>
internal static class HtmlExport
{
    private const string RecordsGoHere = "{{records}}";

    public static async Task WriteAsync(Stream target, IAsyncEnumerable<RawJson> records)
    {
        string[] page = Part("page.html").Replace("{{style}}", Part("page.css")).Replace("{{script}}", Part("page.js"))
            .Replace("{{nonce}}", Entropy.Token()).Split(RecordsGoHere);
        var turns = new List<TurnGlance>();
        RunStarted? started = null;
        RunEnded? ended = null;

        bool opened = false;
        await foreach (RawJson record in records)
        {
            // Not before the first record: a run that is not there leaves nothing behind.
            if (!opened) Write(target, page[0]);
            opened = true;
            switch (TraceReader.Parse(record))
            {
                case RunStarted head:
                    started = head;
                    WriteBlock(target, "id=\"started\"", record.Utf8);
                    break;
                case RunEnded end:
                    ended = end;
                    WriteBlock(target, "id=\"ended\"", record.Utf8);
                    break;
                case RunTurn turn:
                    turns.Add(TurnGlance.Of(turn));
                    WriteBlock(target, "class=\"record\"", record.Utf8);
                    break;
                default:
                    turns.Add(TurnGlance.Unreadable(turns.Count));
                    WriteBlock(target, "class=\"record\"", record.Utf8);
                    break;
            }
        }
        if (!opened) Write(target, page[0]);
        WriteBlock(target, "id=\"overview\"", Overview(started, ended, turns));
        Write(target, page[1]);
    }

    /// <summary>Whatever the terminal's commands say of the run too, so that page and terminal say it in the same words.</summary>
    private static byte[] Overview(RunStarted? started, RunEnded? ended, List<TurnGlance> turns)
    {
        using var json = new MemoryStream();
        using (var writer = new Utf8JsonWriter(json))
        {
            writer.WriteStartObject();
            writer.WriteString("by", $"car-server {CarCommand.Version}");
            writer.WriteString("exported_at", DateTime.UtcNow);
            writer.WriteString("how", ended is null ? RunWords.Status(RunStatus.InProgress) : RunWords.How(ended.Termination));
            writer.WriteString("outcome", ended is null ? "open" : Name(RunWords.Colour(ended.Termination)));
            if (started is not null && ended is not null) writer.WriteString("took", TimeText.Of(ended.EndedAt - started.StartedAt));
            writer.WriteStartArray("turns");
            foreach (TurnGlance turn in turns)
            {
                writer.WriteStartObject();
                writer.WriteNumber("index", turn.Index);
                writer.WriteString("tool", turn.Tool);
                writer.WriteString("outcome", Name(turn.Outcome));
                writer.WriteString("word", turn.Word);
                writer.WriteString("given", turn.Given);
                writer.WriteString("came", turn.Came);
                if (turn.DurationMs is { } duration) writer.WriteNumber("ms", duration);
                if (turn.Took is { } took) writer.WriteString("took", took);
                writer.WriteEndObject();
            }
            writer.WriteEndArray();
            writer.WriteEndObject();
        }
        return json.ToArray();
    }

    private static string Name(TurnOutcome outcome) => outcome.ToString().ToLowerInvariant();

    private static void WriteBlock(Stream target, string attribute, ReadOnlySpan<byte> json)
    {
        Write(target, $"<script type=\"application/json\" {attribute}>");
        for (int tag; (tag = json.IndexOf((byte)'<')) >= 0; json = json[(tag + 1)..])
        {
            target.Write(json[..tag]);
            target.Write("\\u003c"u8);   // outside of strings JSON has no '<'
        }
        target.Write(json);
        Write(target, "</script>\n");
    }

    private static void Write(Stream target, string text) => target.Write(Encoding.UTF8.GetBytes(text));

    private static string Part(string name)
    {
        using Stream part = typeof(HtmlExport).Assembly.GetManifestResourceStream(name) ?? throw new InvalidOperationException($"{name} is not in the executable");
        return new StreamReader(part).ReadToEnd();
    }
}

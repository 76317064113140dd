using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace CarServer.Rpc.CommandLine;

/// <summary>What <c>car-server config</c> prints: every setting, what it came to, and who said so.</summary>
internal static class ConfigReport
{
    public static string Text(ServeSettings settings)
    {
        int names = settings.Table.Max(value => value.Setting.Name.Length);
        int values = settings.Table.Max(value => Math.Min(value.Text.Length, 48));
        var text = new StringBuilder();
        foreach (Value value in settings.Table)
            text.Append(value.Setting.Name.PadRight(names + 2)).Append(value.Text.PadRight(values + 2)).Append(Where(value)).Append('\n');
        foreach (string notice in settings.Notices) text.Append("\nnote: ").Append(notice).Append('\n');
        return text.ToString();
    }

    /// <summary><c>{"settings":[{name, value, origin, source}], "notices":[…]}</c>; values as text, just as they would be given again.</summary>
    public static byte[] Json(ServeSettings settings)
    {
        var json = new System.Buffers.ArrayBufferWriter<byte>(4096);
        using var writer = new Utf8JsonWriter(json, new JsonWriterOptions { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
        writer.WriteStartObject();
        writer.WriteStartArray("settings"u8);
        foreach (Value value in settings.Table)
        {
            writer.WriteStartObject();
            writer.WriteString("name"u8, value.Setting.Name);
            writer.WriteString("value"u8, value.Text);
            writer.WriteString("origin"u8, Name(value.Origin));
            if (value.IsGiven) writer.WriteString("source"u8, value.Source);
            writer.WriteEndObject();
        }
        writer.WriteEndArray();
        writer.WriteStartArray("notices"u8);
        foreach (string notice in settings.Notices) writer.WriteStringValue(notice);
        writer.WriteEndArray();
        writer.WriteEndObject();
        writer.Flush();
        return [.. json.WrittenSpan, (byte)'\n'];
    }

    private static string Where(Value value) => value.IsGiven ? $"{Name(value.Origin)} {value.Source}" : Name(value.Origin);

    private static string Name(Origin origin) => origin switch
    {
        Origin.Flag => "flag",
        Origin.Environment => "environment",
        Origin.File => "file",
        _ => "default",
    };
}

using System.Text.Json;

namespace CarServer.RunStore;

internal static class JsonNames
{
    /// <summary>Whether the name or string that the reader stands on is this ASCII text.</summary>
    /// <remarks>
    /// <see cref="Utf8JsonReader.ValueTextEquals(ReadOnlySpan{byte})"/> throws when it meets the escape of half a surrogate pair, which is
    /// JSON all the same; here that is just another text. No ASCII text has an escape from <c>\ud000</c> on.
    /// </remarks>
    public static bool TextIs(this ref Utf8JsonReader reader, ReadOnlySpan<byte> ascii)
    {
        if (!reader.ValueIsEscaped) return reader.ValueSpan.SequenceEqual(ascii);
        return reader.ValueSpan.IndexOf("\\ud"u8) < 0 && reader.ValueSpan.IndexOf("\\uD"u8) < 0 && reader.ValueTextEquals(ascii);
    }
}

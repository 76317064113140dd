using System.Text.Json;
using CarServer.RunStore;

namespace CarServer.State.Engine;

/// <summary>JSON equality as the protocol means it: numbers by numeric value (1 equals 1.0), strings by their text, objects without regard to key order.</summary>
internal static class JsonEquality
{
    private static readonly JsonDocumentOptions Options = new() { MaxDepth = RawJsonConverter.MaxDepth };

    public static bool Equal(RawJson left, RawJson right)
    {
        if (left.Utf8.SequenceEqual(right.Utf8)) return true;
        try
        {
            using JsonDocument leftDocument = JsonDocument.Parse(left.Memory, Options);
            using JsonDocument rightDocument = JsonDocument.Parse(right.Memory, Options);
            return JsonElement.DeepEquals(leftDocument.RootElement, rightDocument.RootElement);
        }
        catch (Exception e) when (e is InvalidOperationException or ArgumentException)
        {
            // A lone surrogate or an exponent beyond an int: such a value equals only its own spelling, which was compared above.
            return false;
        }
    }
}

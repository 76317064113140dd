using System.Text.Json;
using CarServer.RunStore;

namespace CarServer.State.Engine;

/// <summary>JSON equality as the protocol means it: numbers by numeric value (1 equals 1.0), strings by their text, objects without regard to key order.</summary>
internal static class JsonEquality
{
    private static readonly JsonDocumentOptions Options = new() { MaxDepth = RawJsonConverter.MaxDepth };

    public static bool Equal(RawJson left, RawJson right) => Equal(left.Memory, right.Memory);

    /// <param name="left">Compact JSON, as <see cref="RawJson"/> has it; so is <paramref name="right"/>.</param>
    public static bool Equal(ReadOnlyMemory<byte> left, ReadOnlyMemory<byte> right)
    {
        if (left.Span.SequenceEqual(right.Span)) return true;
        if (!MayDiffer(left.Span, right.Span)) return false;
        try
        {
            using JsonDocument leftDocument = JsonDocument.Parse(left, Options);
            using JsonDocument rightDocument = JsonDocument.Parse(right, Options);
            return JsonElement.DeepEquals(leftDocument.RootElement, rightDocument.RootElement);
        }
        catch (Exception e) when (e is InvalidOperationException or ArgumentException)
        {
            // A lone surrogate or an exponent beyond an int: such a value equals only its own spelling, which was compared above.
            return false;
        }
    }

    /// <summary>Whether two values that are spelled differently may be the same: of one kind, and of a kind that has several spellings.</summary>
    public static bool MayDiffer(ReadOnlySpan<byte> left, ReadOnlySpan<byte> right) => Kind(left) == Kind(right) && left[0] switch
    {
        (byte)'t' or (byte)'f' or (byte)'n' => false,
        (byte)'"' => left.Contains((byte)'\\') || right.Contains((byte)'\\'),
        _ => true,
    };

    private static byte Kind(ReadOnlySpan<byte> value) => value[0] is (byte)'-' or >= (byte)'0' and <= (byte)'9' ? (byte)'0' : value[0];
}

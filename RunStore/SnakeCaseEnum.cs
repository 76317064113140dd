using System.Text.Json;
using System.Text.Json.Serialization;

namespace CarServer.RunStore;

/// <summary>Writes an enum as the protocol spells it, <c>partial_success</c> for <c>PartialSuccess</c>; refuses numbers and unknown words.</summary>
internal sealed class SnakeCaseEnum<T>() : JsonStringEnumConverter<T>(JsonNamingPolicy.SnakeCaseLower, allowIntegerValues: false)
    where T : struct, Enum;

using System.Diagnostics.CodeAnalysis;
using System.Text.Json.Serialization;
using CarServer.RunStore;

namespace CarServer.State.Engine.Tools;

/// <summary>A tool as its owner describes it (protocol 3.3, 7.2). Optional fields are left out on the wire while unset.</summary>
internal sealed record ToolDefinition
{
    public required string Name { get; set; }

    [AllowNull]
    public string Description { get => field ?? ""; set; }

    /// <summary>JSON Schema of the parameters; exactly <c>{}</c> accepts anything.</summary>
    public RawJson Parameters { get => field.IsNull ? RawJson.EmptyObject : field; set; }

    /// <summary>JSON Schema of the output.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    public RawJson Returns { get; set; }

    public bool Idempotent { get; set; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public ulong? CacheTtlSecs { get; set; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public ToolRateLimit? RateLimit { get; set; }
}

internal sealed record ToolRateLimit
{
    public required uint MaxCalls { get; set; }
    public required double IntervalSecs { get; set; }
}

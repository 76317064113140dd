using System.Diagnostics.CodeAnalysis;
using System.Text.Json.Serialization;
using CarServer.RunStore;

namespace CarServer.State.Engine;

/// <summary>A condition on one state key, checked before its action runs (protocol 10.1).</summary>
internal sealed record Precondition
{
    [JsonRequired]
    public string Key { get; set; } = "";

    /// <summary>One of the words in <see cref="Engine.Preconditions"/>; an unknown one fails the check, not the proposal.</summary>
    [AllowNull]
    public string Operator { get => field ?? "eq"; set; }

    public RawJson Value { get; set; }

    [AllowNull]
    public string Description { get => field ?? ""; set; }
}

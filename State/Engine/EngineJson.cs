using System.Text.Json.Serialization;
using CarServer.RunStore;

namespace CarServer.State.Engine;

/// <summary>The engine's own types as the wire spells them. A carried value may nest as deep as a whole message may.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, RespectNullableAnnotations = true,
    RespectRequiredConstructorParameters = true, MaxDepth = RawJsonConverter.MaxDepth)]
[JsonSerializable(typeof(ActionProposal)), JsonSerializable(typeof(ProposalResult)), JsonSerializable(typeof(ToolDefinition))]
internal sealed partial class EngineJson : JsonSerializerContext;

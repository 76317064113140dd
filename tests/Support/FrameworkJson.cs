using System.Diagnostics.CodeAnalysis;
using System.Reflection;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using CarServer.Rpc.Methods;
using CarServer.RunStore;
using CarServer.State.Engine;
using CarServer.State.Engine.Analysis;
using CarServer.State.Events;
using CarServer.State.Permissions;

namespace CarServer.Tests.Support;

/// <summary>The same types by the framework's own serializer and generator: what our contracts have to agree with.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true,
    AllowDuplicateProperties = false, AllowOutOfOrderMetadataProperties = true, MaxDepth = RawJsonConverter.MaxWrappedDepth, GenerationMode = JsonSourceGenerationMode.Metadata,
    Converters = [typeof(FrameworkTime), typeof(FrameworkWords<ActionType>), typeof(FrameworkWords<FailureBehavior>), typeof(FrameworkWords<InvocationMode>),
        typeof(FrameworkWords<Reversibility>), typeof(FrameworkWords<CompensationType>), typeof(FrameworkWords<ActionStatus>), typeof(FrameworkWords<Severity>),
        typeof(FrameworkWords<EvidenceTier>), typeof(FrameworkWords<RateSource>), typeof(FrameworkWords<RunStatus>), typeof(FrameworkWords<VerifierVerdict>),
        typeof(FrameworkWords<CliOutcomeKind>), typeof(FrameworkWords<OutcomeStatus>), typeof(FrameworkWords<EvidenceKind>), typeof(FrameworkWords<AlertKind>)])]
[JsonSerializable(typeof(ProposalSubmitParams)), JsonSerializable(typeof(ProposalResult)), JsonSerializable(typeof(ToolsListResult))]
[JsonSerializable(typeof(Verification)), JsonSerializable(typeof(TrialReport)), JsonSerializable(typeof(MonteCarloParams)), JsonSerializable(typeof(EquivalentParams))]
[JsonSerializable(typeof(CompleteRunParams)), JsonSerializable(typeof(ListRunsResult)), JsonSerializable(typeof(GetTraceResult)), JsonSerializable(typeof(RecordTurnsParams))]
[JsonSerializable(typeof(RunRecord)), JsonSerializable(typeof(EventQuery)), JsonSerializable(typeof(MetricsAlertsResult)), JsonSerializable(typeof(AgentPostures))]
[JsonSerializable(typeof(ApprovalRecord)), JsonSerializable(typeof(PermissionDecideParams)), JsonSerializable(typeof(EvaluateResult)), JsonSerializable(typeof(EventsTruncateParams))]
internal sealed partial class FrameworkJson : JsonSerializerContext
{
    public static JsonTypeInfo<T> Of<T>() =>
        (JsonTypeInfo<T>)new JsonSerializerOptions(Default.Options) { TypeInfoResolver = Default.WithAddedModifier(AllowNulls) }.GetTypeInfo(typeof(T));

    /// <summary>[AllowNull] lies on the setter's parameter in an assembly, where the framework's generator does not look.</summary>
    private static void AllowNulls(JsonTypeInfo type)
    {
        foreach (JsonPropertyInfo property in type.Properties)
            if (property.AttributeProvider is PropertyInfo { SetMethod: { } setter } && setter.GetParameters()[0].IsDefined(typeof(AllowNullAttribute), inherit: false)) property.IsSetNullable = true;
    }
}

internal sealed class FrameworkWords<T> : JsonConverter<T>
    where T : struct, Enum
{
    private static readonly T[] Values = Enum.GetValues<T>();
    private static readonly string[] Spelled = [.. Values.Select(value => JsonNamingPolicy.SnakeCaseLower.ConvertName(value.ToString()))];

    public override T Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        string? word = reader.TokenType == JsonTokenType.String ? reader.GetString() : null;
        int at = Array.IndexOf(Spelled, word);
        return at < 0 ? throw new JsonException() : Values[at];
    }

    public override void Write(Utf8JsonWriter writer, T value, JsonSerializerOptions options) => writer.WriteStringValue(Spelled[Array.IndexOf(Values, value)]);
}

internal sealed class FrameworkTime : JsonConverter<DateTime>
{
    public override DateTime Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        DateTime read = reader.GetDateTime();
        return read.Kind == DateTimeKind.Unspecified ? DateTime.SpecifyKind(read, DateTimeKind.Utc) : read.ToUniversalTime();
    }

    public override void Write(Utf8JsonWriter writer, DateTime value, JsonSerializerOptions options) => writer.WriteStringValue(value);
}

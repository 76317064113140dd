namespace CarServer.Tests.Support;

/// <summary>How much a fuzz test does: a little in the ordinary run, millions of inputs in <c>./build.sh fuzz</c>.</summary>
internal static class FuzzBudget
{
    public static bool IsLong { get; } = Environment.GetEnvironmentVariable("CAR_FUZZ") == "long";

    /// <summary>Frame-parser inputs of one run.</summary>
    public static int ParserInputs => IsLong ? 5_000_000 : 50_000;

    /// <summary>JSON-RPC envelope inputs of one run.</summary>
    public static int EnvelopeInputs => IsLong ? 1_000_000 : 20_000;

    /// <summary>Proposals that the engine runs beside its reference in one run.</summary>
    public static int Proposals => IsLong ? 2_000_000 : 100_000;

    /// <summary>Schemas of one run, each with some values.</summary>
    public static int Schemas => IsLong ? 500_000 : 5_000;
}

using System.Collections.Immutable;
using System.Text;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Text;

namespace CarServer.RunStore.Contracts.Generator;

/// <summary>Writes the class <c>CarServer.Json</c>: a contract for each type that is marked, and for all they hold.</summary>
/// <remarks>One file from all marks at once, and anew with each change: types hold each other across files, and the whole takes a few milliseconds.</remarks>
[Generator]
public sealed class ContractGenerator : IIncrementalGenerator
{
    private const string FromJson = "CarServer.RunStore.Contracts.FromJsonAttribute";
    private const string ToJson = "CarServer.RunStore.Contracts.ToJsonAttribute";

    public void Initialize(IncrementalGeneratorInitializationContext context)
    {
        IncrementalValueProvider<ImmutableArray<ITypeSymbol>> read = Marked(context, FromJson), written = Marked(context, ToJson);
        context.RegisterSourceOutput(read.Combine(written), static (output, marked) => Generate(output, marked.Left, marked.Right));
    }

    private static IncrementalValueProvider<ImmutableArray<ITypeSymbol>> Marked(IncrementalGeneratorInitializationContext context, string attribute) =>
        context.SyntaxProvider.ForAttributeWithMetadataName(attribute, static (_, _) => true, static (found, _) => (ITypeSymbol)found.TargetSymbol).Collect();

    private static void Generate(SourceProductionContext output, ImmutableArray<ITypeSymbol> read, ImmutableArray<ITypeSymbol> written)
    {
        var contracts = new ContractSet();
        try
        {
            foreach (ITypeSymbol type in read) contracts.Add(type, Direction.Read);
            foreach (ITypeSymbol type in written) contracts.Add(type, Direction.Write);
            output.AddSource("Json.g.cs", SourceText.From(new ContractWriter(contracts).Write(), Encoding.UTF8));
        }
        catch (NoContractException e)
        {
            output.ReportDiagnostic(Diagnostic.Create(NoContract, e.Where, e.Message));
        }
    }

    private static readonly DiagnosticDescriptor NoContract = new(
        "CAR001", "No JSON contract", "{0}", "Contracts", DiagnosticSeverity.Error, isEnabledByDefault: true);
}

using System.Collections.Generic;
using System.Linq;
using System.Text;
using Microsoft.CodeAnalysis;

namespace CarServer.RunStore.Contracts.Generator;

/// <summary>What the generator asks of the compiler's symbols.</summary>
internal static class Symbols
{
    public static readonly SymbolDisplayFormat FullNames = SymbolDisplayFormat.FullyQualifiedFormat;

    public static AttributeData? Attribute(ISymbol symbol, string name) => symbol.GetAttributes().FirstOrDefault(a => a.AttributeClass?.Name == name);

    public static INamedTypeSymbol? ConverterOf(ISymbol symbol) => Attribute(symbol, "JsonConverterAttribute")?.ConstructorArguments[0].Value as INamedTypeSymbol;

    public static string? ScalarOf(ITypeSymbol type) => type.SpecialType switch
    {
        SpecialType.System_String => "Text",
        SpecialType.System_Boolean => "Boolean",
        SpecialType.System_Int32 => "Int32",
        SpecialType.System_UInt32 => "UInt32",
        SpecialType.System_Int64 => "Int64",
        SpecialType.System_UInt64 => "UInt64",
        SpecialType.System_Double => "Double",
        SpecialType.System_DateTime => "Time",
        _ => type.Name switch { "RawJson" => "Raw", "JsonElement" => "Element", _ => null },
    };

    public static ITypeSymbol? ItemOf(ITypeSymbol type) => type switch
    {
        IArrayTypeSymbol { Rank: 1 } array => array.ElementType,
        INamedTypeSymbol { Name: "List" or "IReadOnlyList", TypeArguments.Length: 1 } list => list.TypeArguments[0],
        _ => null,
    };

    public static ITypeSymbol? MapItemOf(ITypeSymbol type) =>
        type is INamedTypeSymbol { Name: "Dictionary" or "IReadOnlyDictionary", TypeArguments.Length: 2 } map && map.TypeArguments[0].SpecialType == SpecialType.System_String
            ? map.TypeArguments[1] : null;

    public static string PlainName(ITypeSymbol type) =>
        ItemOf(type) is { } item ? "ListOf" + PlainName(item)
        : MapItemOf(type) is { } value ? "MapOf" + PlainName(value)
        : ScalarOf(type) ?? type.Name;

    /// <summary>A record's own: what it is written with in parentheses, else the one without parameters.</summary>
    public static IMethodSymbol? ConstructorOf(INamedTypeSymbol type) => type.InstanceConstructors.FirstOrDefault(constructor =>
        constructor.Parameters.Length > 0 && !(constructor.Parameters.Length == 1 && SymbolEqualityComparer.Default.Equals(constructor.Parameters[0].Type, type)));

    /// <summary>Its own in the order they are written, then what it inherits.</summary>
    public static IEnumerable<IPropertySymbol> PropertiesOf(INamedTypeSymbol type)
    {
        var seen = new HashSet<string>();
        for (INamedTypeSymbol? level = type; level is { SpecialType: SpecialType.None }; level = level.BaseType)
            foreach (IPropertySymbol property in level.GetMembers().OfType<IPropertySymbol>())
                if (property is { IsStatic: false, IsIndexer: false, DeclaredAccessibility: Accessibility.Public, GetMethod: not null } && seen.Add(property.Name)) yield return property;
    }

    /// <summary>As the framework's own policy spells names: a word begins at a capital behind a small letter or digit, or before a small letter.</summary>
    public static string SnakeCase(string name)
    {
        var spelled = new StringBuilder();
        for (int i = 0; i < name.Length; i++)
        {
            bool begins = char.IsUpper(name[i]) && i > 0 && (!char.IsUpper(name[i - 1]) || (i + 1 < name.Length && char.IsLower(name[i + 1])));
            if (begins) spelled.Append('_');
            spelled.Append(char.ToLowerInvariant(name[i]));
        }
        return spelled.ToString();
    }
}

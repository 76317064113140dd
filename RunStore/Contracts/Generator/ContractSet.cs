using System;
using System.Collections.Generic;
using System.Linq;
using Microsoft.CodeAnalysis;

namespace CarServer.RunStore.Contracts.Generator;

[Flags]
internal enum Direction { Read = 1, Write = 2 }

internal enum Kind { Scalar, Words, List, Map, Converted, Object, Union }

/// <summary>A type has no JSON form that we know.</summary>
internal sealed class NoContractException(ISymbol symbol, string message) : Exception($"{symbol.ToDisplayString()}: {message}")
{
    public Location? Where { get; } = symbol.Locations.FirstOrDefault();
}

/// <summary>The contract of one type.</summary>
internal sealed class ContractOf(ITypeSymbol type, Kind kind, string name)
{
    public ITypeSymbol Type { get; } = type;
    public Kind Kind { get; } = kind;
    /// <summary>Of the field in <c>Json</c>; of a scalar, the whole expression.</summary>
    public string Name { get; } = name;
    public Direction Direction { get; set; }
    public ContractOf? Item { get; set; }
    /// <summary>Of a union: the member whose text tells the case, and the cases.</summary>
    public string? Discriminator { get; set; }
    public List<(ContractOf Contract, string Word)> Cases { get; } = [];
    /// <summary>Written as a case of a union too, without the braces.</summary>
    public bool IsCase { get; set; }
    public List<Member> Members { get; set; } = [];
    /// <summary>Keeps the members that nothing else takes.</summary>
    public IPropertySymbol? Unknown { get; set; }
    public IMethodSymbol? Constructor { get; set; }
    /// <summary>The class of a converter.</summary>
    public INamedTypeSymbol? Converter { get; set; }

    public bool IsReference => Type.IsReferenceType;
    public string FullName => Type.WithNullableAnnotation(NullableAnnotation.None).ToDisplayString(Symbols.FullNames);
    public string Expression => Kind == Kind.Scalar ? Name : $"Json.{Name}";
    /// <summary>Whether its schema says anything.</summary>
    public bool HasSchema => Kind switch
    {
        Kind.Scalar => Type.SpecialType != SpecialType.None,
        Kind.Converted => Type.SpecialType == SpecialType.System_String,   // one of some words
        _ => true,
    };
}

/// <summary>One property on the wire.</summary>
internal sealed class Member(IPropertySymbol property, string name, ContractOf contract)
{
    public IPropertySymbol Property { get; } = property;
    public string Name { get; } = name;
    public ContractOf Contract { get; } = contract;
    /// <summary>Null may be read.</summary>
    public bool MayBeNull { get; set; }
    public bool IsNullableValue { get; set; }
    public bool IsRequired { get; set; }
    /// <summary>Left out of what is written: null for never, else the condition's name.</summary>
    public string? LeftOut { get; set; }
    public IParameterSymbol? Parameter { get; set; }
    public bool IsRead => Parameter != null || Property.SetMethod != null;
}

/// <summary>The contracts that the marked types need, each once, what it holds before itself.</summary>
internal sealed class ContractSet
{
    private readonly Dictionary<string, ContractOf> _byKey = [];
    private readonly Dictionary<string, ContractOf> _byName = [];
    private readonly HashSet<ContractOf> _filling = [];

    public List<ContractOf> All { get; } = [];

    public ContractOf Add(ITypeSymbol type, Direction direction, INamedTypeSymbol? converter = null)
    {
        type = type.WithNullableAnnotation(NullableAnnotation.None);
        // Whatever kind of list it is, what it holds says how it looks.
        string key = Symbols.ItemOf(type) is { } listed ? $"[{listed.ToDisplayString(Symbols.FullNames)}]"
            : Symbols.MapItemOf(type) is { } mapped ? $"{{{mapped.ToDisplayString(Symbols.FullNames)}}}"
            : type.ToDisplayString(Symbols.FullNames) + converter?.Name;
        if (!_byKey.TryGetValue(key, out ContractOf? contract))
        {
            contract = Make(type, converter ?? Symbols.ConverterOf(type));
            _byKey[key] = contract;
            if (contract.Kind != Kind.Scalar)
            {
                if (_byName.TryGetValue(contract.Name, out ContractOf? other)) throw new NoContractException(type, $"another type is called {contract.Name}: {other.FullName}");
                _byName[contract.Name] = contract;
            }
            Fill(contract, direction);
            All.Add(contract);
        }
        else if (_filling.Contains(contract)) throw new NoContractException(type, "holds itself: its schema would have no end");
        else if ((contract.Direction & direction) != direction) Fill(contract, direction);
        return contract;
    }

    private static ContractOf Make(ITypeSymbol type, INamedTypeSymbol? converter)
    {
        if (Symbols.ScalarOf(type) is { } scalar && (converter is null || scalar == "Raw")) return new ContractOf(type, Kind.Scalar, "Scalar." + scalar);
        if (converter != null) return new ContractOf(type, Kind.Converted, converter.Name) { Converter = converter };
        if (type.TypeKind == TypeKind.Enum) return new ContractOf(type, Kind.Words, type.Name);
        if (Symbols.ItemOf(type) is { } item) return new ContractOf(type, Kind.List, "ListOf" + Symbols.PlainName(item));
        if (Symbols.MapItemOf(type) is { } value) return new ContractOf(type, Kind.Map, "MapOf" + Symbols.PlainName(value));
        if (Symbols.Attribute(type, "JsonPolymorphicAttribute") != null) return new ContractOf(type, Kind.Union, type.Name);
        if (type is INamedTypeSymbol { TypeKind: TypeKind.Class or TypeKind.Struct, IsRecord: true }) return new ContractOf(type, Kind.Object, type.Name);
        throw new NoContractException(type, "is neither a record, an enum, a list, a map of texts, nor one of the scalars that have a JSON form here");
    }

    /// <summary>Follows what it holds. Again when it is needed in another direction.</summary>
    private void Fill(ContractOf contract, Direction direction)
    {
        contract.Direction |= direction;
        _filling.Add(contract);
        switch (contract.Kind)
        {
            case Kind.List: contract.Item = Add(Symbols.ItemOf(contract.Type)!, direction); break;
            case Kind.Map: contract.Item = Add(Symbols.MapItemOf(contract.Type)!, direction); break;
            case Kind.Object: FillObject(contract, direction); break;
            case Kind.Union: FillUnion(contract, direction); break;
        }
        _filling.Remove(contract);
    }

    private void FillUnion(ContractOf contract, Direction direction)
    {
        contract.Discriminator = (string)Symbols.Attribute(contract.Type, "JsonPolymorphicAttribute")!.NamedArguments.Single(a => a.Key == "TypeDiscriminatorPropertyName").Value.Value!;
        contract.Cases.Clear();
        foreach (AttributeData derived in contract.Type.GetAttributes().Where(a => a.AttributeClass?.Name == "JsonDerivedTypeAttribute"))
        {
            ContractOf one = Add((ITypeSymbol)derived.ConstructorArguments[0].Value!, direction);
            one.IsCase = true;
            contract.Cases.Add((one, (string)derived.ConstructorArguments[1].Value!));
        }
    }

    private void FillObject(ContractOf contract, Direction direction)
    {
        var type = (INamedTypeSymbol)contract.Type;
        contract.Constructor = Symbols.ConstructorOf(type);
        contract.Members = [];
        foreach (IPropertySymbol property in Symbols.PropertiesOf(type))
        {
            if (Symbols.Attribute(property, "JsonExtensionDataAttribute") != null)
            {
                contract.Unknown = property;
                continue;
            }
            AttributeData? ignore = Symbols.Attribute(property, "JsonIgnoreAttribute");
            object? condition = ignore?.NamedArguments.FirstOrDefault(a => a.Key == "Condition").Value.Value;
            if (ignore != null && condition is null) continue;
            if (direction == Direction.Read && property.SetMethod is { IsInitOnly: true } && contract.Constructor?.Parameters.Any(p => p.Name == property.Name) != true)
                throw new NoContractException(property, "can be set by an initializer alone, and then what was left out would lose its default");

            ITypeSymbol value = property.Type;
            bool nullableValue = value is INamedTypeSymbol { OriginalDefinition.SpecialType: SpecialType.System_Nullable_T };
            if (nullableValue) value = ((INamedTypeSymbol)value).TypeArguments[0];
            IParameterSymbol? parameter = contract.Constructor?.Parameters.FirstOrDefault(p => p.Name == property.Name);
            string name = (string?)Symbols.Attribute(property, "JsonPropertyNameAttribute")?.ConstructorArguments[0].Value ?? Symbols.SnakeCase(property.Name);
            contract.Members.Add(new Member(property, name, Add(value, direction, Symbols.ConverterOf(property)))
            {
                Parameter = parameter,
                IsNullableValue = nullableValue,
                MayBeNull = nullableValue || (value.IsReferenceType && (property.NullableAnnotation == NullableAnnotation.Annotated || Symbols.Attribute(property, "AllowNullAttribute") != null)),
                IsRequired = parameter is { HasExplicitDefaultValue: false } || property.IsRequired || Symbols.Attribute(property, "JsonRequiredAttribute") != null,
                LeftOut = condition switch
                {
                    null => null,
                    2 => "default",   // JsonIgnoreCondition.WhenWritingDefault
                    3 => "null",      // JsonIgnoreCondition.WhenWritingNull
                    _ => throw new NoContractException(property, "is ignored on a condition that contracts do not know"),
                },
            });
        }
        if (contract.Members.Count > 64) throw new NoContractException(type, "has more than 64 members");
    }
}

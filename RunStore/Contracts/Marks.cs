namespace CarServer.RunStore.Contracts;

/// <summary>Comes as JSON: <c>Json.TheType</c> reads it, and whatever it holds.</summary>
[AttributeUsage(AttributeTargets.Class | AttributeTargets.Struct, Inherited = false)]
internal sealed class FromJsonAttribute : Attribute;

/// <summary>Goes out as JSON: <c>Json.TheType</c> writes it, and whatever it holds.</summary>
[AttributeUsage(AttributeTargets.Class | AttributeTargets.Struct, Inherited = false)]
internal sealed class ToJsonAttribute : Attribute;

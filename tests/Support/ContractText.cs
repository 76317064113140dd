using System.Text;
using CarServer.RunStore.Contracts;

namespace CarServer.Tests.Support;

/// <summary>Contracts over texts, which the product has no use for.</summary>
internal static class ContractText
{
    public static T? Parse<T>(this IReads<T> contract, string json) => contract.Parse(Encoding.UTF8.GetBytes(json));

    public static string Text<T>(this IWrites<T> contract, T value) => Encoding.UTF8.GetString(contract.ToUtf8(value));
}

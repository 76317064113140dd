using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace CarServer.RunStore.Contracts;

/// <summary>How values of a type look as JSON.</summary>
internal interface IContract
{
    /// <summary>Adds the members of the type's JSON Schema, without the braces around them.</summary>
    /// <param name="orNull">Whether <c>null</c> may stand in its place.</param>
    void Describe(IBufferWriter<byte> output, bool orNull = false);
}

/// <summary>Reads values of a type.</summary>
/// <remarks>
/// The rules of all of them: member names as written, none twice, unknown ones ignored unless the type keeps them; <c>null</c> only where the
/// type allows it; an item of a list may be null, which its owner has to look at.
/// </remarks>
internal interface IReads<T> : IContract
{
    /// <summary>Reads the value that the reader stands on, and leaves it on the last token.</summary>
    /// <exception cref="JsonException">It has another form. Its path is not known here: <see cref="Contract.Parse"/> finds it.</exception>
    /// <exception cref="InvalidOperationException">A string is no text: half a surrogate pair.</exception>
    T Read(ref Utf8JsonReader reader);
}

/// <summary>Writes values of a type.</summary>
internal interface IWrites<in T> : IContract
{
    void Write(Utf8JsonWriter writer, T value);
}

internal static class Contract
{
    private static readonly JsonReaderOptions Options = new() { MaxDepth = RawJsonConverter.MaxWrappedDepth };

    /// <summary>For what is stored: text stays readable and small, only what JSON itself demands is escaped.</summary>
    public static readonly JsonWriterOptions Compact = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, SkipValidation = true };

    /// <summary>Reads exactly one value.</summary>
    /// <returns>Null for the JSON <c>null</c>, if that is a value of the type.</returns>
    /// <exception cref="JsonException">It is none of this form; its path and line say where.</exception>
    public static T? Parse<T>(this IReads<T> contract, ReadOnlySpan<byte> json)
    {
        var reader = new Utf8JsonReader(json, Options);
        try
        {
            reader.Read();
            T? value = reader.TokenType == JsonTokenType.Null && default(T) is null ? default : contract.Read(ref reader);
            reader.Read();   // refuses whatever comes behind it
            return value;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new JsonException(e.Message, JsonPath.At(json, reader.TokenStartIndex), json[..(int)reader.TokenStartIndex].Count((byte)'\n'), null, e);
        }
    }

    /// <summary>Writes the value and hands all of it to the writer's output.</summary>
    public static void WriteAll<T>(this IWrites<T> contract, Utf8JsonWriter writer, T value)
    {
        contract.Write(writer, value);
        writer.Flush();
    }

    /// <summary>The JSON Schema of the type.</summary>
    public static byte[] Schema(this IContract contract)
    {
        var text = new ArrayBufferWriter<byte>();
        text.Write("{"u8);
        contract.Describe(text);
        text.Write("}"u8);
        return text.WrittenSpan.ToArray();
    }

    /// <summary>For a value of the type that is at hand as the text it was written as, or will be stored as.</summary>
    public static IWrites<RawJson> Encoded(this IContract contract) => new EncodedContract(contract);

    private sealed class EncodedContract(IContract of) : IWrites<RawJson>
    {
        public void Write(Utf8JsonWriter writer, RawJson value) => writer.WriteRawValue(value.Utf8, skipInputValidation: true);
        public void Describe(IBufferWriter<byte> output, bool orNull = false) => of.Describe(output, orNull);
    }

    public static byte[] ToUtf8<T>(this IWrites<T> contract, T value, JsonWriterOptions options = default)
    {
        var output = new ArrayBufferWriter<byte>(512);
        using (var writer = new Utf8JsonWriter(output, options)) contract.Write(writer, value);
        return output.WrittenSpan.ToArray();
    }
}
